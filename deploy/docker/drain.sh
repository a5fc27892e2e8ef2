#!/bin/sh
# Before a spoke stops for good: asks the hub to drain it and waits until no envoy is left. Nothing happens unless VIGO_DRAIN_ON_STOP=true.
set -eu
[ "${VIGO_DRAIN_ON_STOP:-false}" = true ] || exit 0
exec vigocli --server "https://${VIGO_HUB:?}:8443" --ca-file /srv/vigo/tls/ca-bundle.pem --token-file "${VIGO_DRAIN_TOKEN_FILE:?}" \
  spanner spoke drain "${VIGO_SPOKE:?}" --deadline 5m
