#!/bin/sh
# The first start makes the site in the role of VIGO_ROLE; every start serves it. A spoke waits for the join token that its hub's operator leaves in VIGO_JOIN_TOKEN.
set -eu
data=/srv/vigo
role=${VIGO_ROLE:-standalone}
if [ ! -e "$data/server.yaml" ]; then
  name=${VIGO_HOSTNAME:?set VIGO_HOSTNAME to the name that agents dial}
  case $role in
    spoke)
      while [ ! -s "${VIGO_JOIN_TOKEN:?set VIGO_JOIN_TOKEN to the file with the join token}" ]; do sleep 1; done
      install -m 0600 "$VIGO_JOIN_TOKEN" /tmp/join.token
      vigosrv --data-dir "$data" init --role spoke --spoke-id "${VIGO_SPOKE:?}" --hub-addr "${VIGO_HUB:?}:1530" --hostname "$name" --join-token-file /tmp/join.token
      ;;
    *) vigosrv --data-dir "$data" init --role "$role" --hostname "$name" ;;
  esac
fi
exec vigosrv --data-dir "$data" run
