/** Who may import whom (ARCHITECTURE.md, "Levels"). Only downwards; no circles anywhere. */
const npm = (names) => `node_modules/(${names})/`;
const never = (name, from, to) => ({ name, severity: 'error', from: { path: from, pathNot: '\\.test\\.ts$' }, to: { path: to } });
module.exports = {
  forbidden: [
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    never('proto-is-the-bottom', '^proto/', '^(core|server|hub|spoke|replication|agent|network-gateway|cli|bin|test|tools|bench)/'),
    never('core-stands-on-proto', '^core/', '^(server|hub|spoke|replication|agent|network-gateway|cli|bin|test|tools|bench)/'),
    never('core-is-pure', '^core/', npm('fastify|better-sqlite3|pg|kysely|lmdb|chokidar|ssh2|@grpc/grpc-js')),
    never('server-stands-on-core', '^server/', '^(hub|spoke|replication|agent|network-gateway|cli|bin|test|tools|bench)/'),
    never('server-packages', '^server/', npm('lmdb|ssh2')),
    never('replication-stands-on-core', '^replication/', '^(server|hub|spoke|agent|network-gateway|cli|bin|test|tools|bench)/'),
    never('agent-stands-on-core', '^agent/', '^(server|hub|spoke|replication|network-gateway|cli|bin|test|tools|bench)/'),
    never('agent-packages', '^agent/', npm('fastify|better-sqlite3|pg|kysely|chokidar|ssh2')),
    never('cli-stands-on-core', '^cli/', '^(proto|server|hub|spoke|replication|agent|network-gateway|bin|test|tools|bench)/'),
    never('cli-packages', '^cli/', npm('@grpc/grpc-js|lmdb|better-sqlite3|pg|kysely|fastify')),
    never('gateway-is-an-agent', '^network-gateway/', '^(server|hub|spoke|replication|cli|bin|test|tools|bench)/'),
    never('hub-and-spoke-apart', '^hub/', '^(spoke|agent|network-gateway|cli|bin|test|tools|bench)/'),
    never('spoke-and-hub-apart', '^spoke/', '^(hub|agent|network-gateway|cli|bin|test|tools|bench)/'),
    never('nobody-imports-tests', '^(proto|core|server|hub|spoke|replication|agent|network-gateway|cli|bin)/', '^(test|tools|bench)/'),
    never('when-and-template-are-low', '^core/(when|template|traits)/', '^core/(resources|policy|config|api|command)/'),
    never('resources-below-policy', '^core/resources/', '^core/(policy|config|api|command)/'),
    never('policy-below-config', '^core/policy/', '^core/(config|api|command)/'),
    never('base-is-the-floor', '^core/base/', '^core/(crypto|when|template|traits|resources|policy|config|api|command)/'),
    never('crypto-stands-on-base', '^core/crypto/', '^core/(when|template|traits|resources|policy|config|api|command)/'),
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
