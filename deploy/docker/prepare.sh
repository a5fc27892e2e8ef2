#!/bin/sh
# Demonstration: publishes the example tree and leaves a token for each agent in /tokens. Runs beside a ready server, on its data volume.
set -eu
cli="vigocli --data-dir /srv/vigo"
# what the example tree refers to
for path in os-users/alice os-users/bob; do $cli secrets set "$path" --generate 24 >/dev/null; done
$cli config publish --yes --message "demonstration" || $cli config status
umask 077
for name in ${VIGO_AGENTS:?}; do
  [ -e "/tokens/$name" ] || $cli --json tokens create --pattern "$name" | grep -o 'vgt_[A-Za-z0-9_-]*' | head -n 1 >"/tokens/$name"
done
