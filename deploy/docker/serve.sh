#!/bin/sh
# The first start makes the site in the role of VIGO_ROLE, on PostgreSQL when VIGO_DATABASE_URL_FILE names a file; every start serves it.
# A spoke waits for the join token that its hub's operator leaves in VIGO_JOIN_TOKEN.
set -eu
data=/srv/vigo
role=${VIGO_ROLE:-standalone}
if [ ! -e "$data/server.yaml" ]; then
  set -- --role "$role" --hostname "${VIGO_HOSTNAME:?set VIGO_HOSTNAME to the name that agents dial}"
  if [ -s "${VIGO_DATABASE_URL_FILE:-}" ]; then set -- "$@" --database-url-file "$VIGO_DATABASE_URL_FILE"; fi
  if [ "$role" = spoke ]; then
    while [ ! -s "${VIGO_JOIN_TOKEN:?set VIGO_JOIN_TOKEN to the file with the join token}" ]; do sleep 1; done
    set -- "$@" --spoke-id "${VIGO_SPOKE:?}" --hub-addr "${VIGO_HUB:?}:1530" --join-token-file "$VIGO_JOIN_TOKEN"
  fi
  vigosrv --data-dir "$data" init "$@"
fi
exec vigosrv --data-dir "$data" run
