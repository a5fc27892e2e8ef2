#!/bin/sh
# The first start makes the site; every start serves it.
set -eu
data=/srv/vigo
if [ ! -e "$data/server.yaml" ]; then
  vigosrv --data-dir "$data" init --hostname "${VIGO_HOSTNAME:?set VIGO_HOSTNAME to the name that agents dial}"
fi
exec vigosrv --data-dir "$data" run
