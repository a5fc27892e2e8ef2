/** All contracts, by noun. */
import { getBody } from './agent.ts';
import { auditProof, listAudit, listCheckpoints, verifyAuditLog } from './audit.ts';
import {
  configStatus,
  configTree,
  configVersion,
  getRelease,
  listReleases,
  publishConfig,
  rollbackConfig,
  traceConfig,
  validateConfig,
} from './config.ts';
import { enroll, renew } from './enroll.ts';
import { approveEnrollment, listPending, rejectEnrollment } from './enrollments.ts';
import { deleteEnvoy, envoyPolicy, envoyRuns, envoyTraits, getEnvoy, listEnvoys, pushEnvoys, revokeEnvoy } from './envoys.ts';
import { fleetSummary } from './fleet.ts';
import type { RouteContract } from './route.ts';
import { getRun, listRuns, streamRuns } from './runs.ts';
import { deleteSecret, listSecrets, putSecret, revealSecret, secretMeta, secretRefs } from './secrets.ts';
import { bootstrapCa, getDoctor, getMetrics, getOpenApi, getSuccession, getVersion, healthz, readyz } from './server.ts';
import { createApiToken, getSession, listApiTokens, revokeApiToken } from './session.ts';
import { addSpoke, listSpokes, removeSpoke, routeHostname, setSpoke, showSpoke, spannerStatus } from './spanner.ts';
import { joinSpanner } from './spanner-join.ts';
import {
  batchEvents,
  cancelSpoke,
  drainSpoke,
  evacuateSpoke,
  getBatch,
  listMoves,
  pushSpoke,
  reassign,
  undrainSpoke,
} from './spanner-moves.ts';
import { createTokens, getToken, listTokens, revokeToken } from './tokens.ts';

export const ROUTES: readonly RouteContract[] = [
  addSpoke,
  approveEnrollment,
  auditProof,
  batchEvents,
  bootstrapCa,
  cancelSpoke,
  configStatus,
  configTree,
  configVersion,
  createApiToken,
  createTokens,
  deleteEnvoy,
  deleteSecret,
  drainSpoke,
  enroll,
  envoyPolicy,
  envoyRuns,
  envoyTraits,
  evacuateSpoke,
  fleetSummary,
  getBatch,
  getBody,
  getDoctor,
  getEnvoy,
  getMetrics,
  getOpenApi,
  getRelease,
  getRun,
  getSession,
  getSuccession,
  getToken,
  getVersion,
  healthz,
  joinSpanner,
  listApiTokens,
  listAudit,
  listCheckpoints,
  listEnvoys,
  listMoves,
  listPending,
  listReleases,
  listRuns,
  listSecrets,
  listSpokes,
  listTokens,
  publishConfig,
  pushEnvoys,
  pushSpoke,
  putSecret,
  readyz,
  reassign,
  rejectEnrollment,
  removeSpoke,
  renew,
  revealSecret,
  revokeApiToken,
  revokeEnvoy,
  revokeToken,
  rollbackConfig,
  routeHostname,
  secretMeta,
  secretRefs,
  setSpoke,
  showSpoke,
  spannerStatus,
  streamRuns,
  traceConfig,
  undrainSpoke,
  validateConfig,
  verifyAuditLog,
];
