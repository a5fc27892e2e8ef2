#!/bin/sh
# Demonstration: waits for this host's token and enrols at the hub, which routes it to its spoke; an enrolled host stays as it is.
set -eu
[ -e /etc/vigo-envoy/envoy-id ] && exit 0
while [ ! -s "/tokens/$(hostname)" ]; do sleep 1; done
install -m 0600 "/tokens/$(hostname)" /root/token
vigo bootstrap --server "https://hub:8443" --token-file /root/token --install-service
rm -f /root/token
