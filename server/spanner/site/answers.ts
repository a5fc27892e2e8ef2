/** What every site answers to its hub, the hub's own site included. */
import type { RoleSite } from '../../role.ts';
import type { Answer, LinkSession } from '../link.ts';
import { answerAuditPulls } from './audit.ts';
import { answerEnrollCreate } from './enroll.ts';
import { answerQueries } from './query.ts';
import { answerReleaseHealth } from './release-health.ts';
import { answerRunsTail } from './runs-tail.ts';
import { trustAnswers } from './trust.ts';

export interface SiteContext {
  readonly site: RoleSite;
  /** the open link to the hub; undefined while there is none */
  hub(): LinkSession | undefined;
}

export function siteAnswers({ site }: SiteContext): readonly Answer[] {
  const { fleet, releases, store, checkpointer } = site.parts;
  return [
    answerEnrollCreate(site.parts),
    answerAuditPulls({ store, checkpointer }),
    answerQueries(site.ownHandlers),
    answerRunsTail(site.parts),
    answerReleaseHealth({ fleet, serving: () => releases.live?.number ?? 0 }),
    ...trustAnswers(site.parts),
  ];
}
