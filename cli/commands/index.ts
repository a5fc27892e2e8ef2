/** All commands of vigocli, sorted by name. */
import type { CliCommand } from '../globals.ts';
import { auditLog } from './audit/log.ts';
import { auditCheckpoint, auditProofCommand, auditVerify } from './audit/verify.ts';
import { authClear } from './auth/clear.ts';
import { authCreateToken } from './auth/create-token.ts';
import { authListTokens } from './auth/list-tokens.ts';
import { authRevokeToken } from './auth/revoke-token.ts';
import { authSetToken } from './auth/set-token.ts';
import { authStatus } from './auth/status.ts';
import { completionOf } from './completion/completion.ts';
import { configHistory, configShow } from './config/history.ts';
import { configPublish, configRollback } from './config/publish.ts';
import { configStatusCommand } from './config/status.ts';
import { configTrace } from './config/trace.ts';
import { configTreeCommand } from './config/tree.ts';
import { configValidate } from './config/validate.ts';
import { doctor } from './doctor/doctor.ts';
import { envoysApprove, envoysReject } from './envoys/approve.ts';
import { envoysList } from './envoys/list.ts';
import { envoysPending } from './envoys/pending.ts';
import { envoysPush } from './envoys/push.ts';
import { envoysRevoke } from './envoys/revoke.ts';
import { envoysShow } from './envoys/show.ts';
import { envoysTraits } from './envoys/traits.ts';
import { runsList } from './runs/list.ts';
import { runsShow } from './runs/show.ts';
import { runsWatch } from './runs/watch.ts';
import { secretsDelete } from './secrets/delete.ts';
import { secretsGetMeta, secretsInit, secretsList } from './secrets/list.ts';
import { secretsRefs } from './secrets/refs.ts';
import { secretsReveal } from './secrets/reveal.ts';
import { secretsSet } from './secrets/set.ts';
import { spannerMoves } from './spanner/moves.ts';
import { spannerReassign } from './spanner/reassign.ts';
import { spannerRoute } from './spanner/route.ts';
import { spokeAdd } from './spanner/spoke-add.ts';
import { spokeEnvoys, spokeRuns } from './spanner/spoke-contents.ts';
import { spokeDrain, spokeEvacuate, spokePush, spokeUndrain } from './spanner/spoke-drain.ts';
import { spokeList, spokeShow } from './spanner/spoke-list.ts';
import { spokeRemove } from './spanner/spoke-remove.ts';
import { spokeSet } from './spanner/spoke-set.ts';
import { spannerStatusCommand } from './spanner/status.ts';
import { tokensCreate } from './tokens/create.ts';
import { tokensList } from './tokens/list.ts';
import { tokensRevoke } from './tokens/revoke.ts';
import { version } from './version/version.ts';

const COMMANDS: readonly CliCommand[] = [
  auditCheckpoint,
  auditLog,
  auditProofCommand,
  auditVerify,
  authClear,
  authCreateToken,
  authListTokens,
  authRevokeToken,
  authSetToken,
  authStatus,
  configHistory,
  configPublish,
  configRollback,
  configShow,
  configStatusCommand,
  configTrace,
  configTreeCommand,
  configValidate,
  doctor,
  envoysApprove,
  envoysList,
  envoysPending,
  envoysPush,
  envoysReject,
  envoysRevoke,
  envoysShow,
  envoysTraits,
  runsList,
  runsShow,
  runsWatch,
  secretsDelete,
  secretsGetMeta,
  secretsInit,
  secretsList,
  secretsRefs,
  secretsReveal,
  secretsSet,
  spannerMoves,
  spannerReassign,
  spannerRoute,
  spannerStatusCommand,
  spokeAdd,
  spokeDrain,
  spokeEnvoys,
  spokeEvacuate,
  spokePush,
  spokeUndrain,
  spokeList,
  spokeRemove,
  spokeRuns,
  spokeSet,
  spokeShow,
  tokensCreate,
  tokensList,
  tokensRevoke,
  version,
];

export const CLI_COMMANDS: readonly CliCommand[] = [...COMMANDS, completionOf(COMMANDS)].sort((a, b) =>
  a.name.join(' ') < b.name.join(' ') ? -1 : 1,
);
