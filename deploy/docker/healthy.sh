#!/bin/sh
# Exit 0 while the server answers, asked through its local socket.
exec /opt/vigo/node/bin/node -e '
const { readFileSync } = require("node:fs");
const ca = readFileSync("/srv/vigo/tls/ca-bundle.pem");
const request = require("node:https").get({ socketPath: "/srv/vigo/run/admin.sock", servername: "localhost", ca, path: "/healthz", timeout: 3000 });
request.on("response", (reply) => process.exit(reply.statusCode === 200 ? 0 : 1)).on("error", () => process.exit(1)).on("timeout", () => process.exit(1));
'
