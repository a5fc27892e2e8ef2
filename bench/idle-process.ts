/** A Node process that does nothing: the least that any program of it can weigh. */
import { serve, usageNow } from './child.ts';

serve(() => usageNow());
process.send?.({ ready: true });
