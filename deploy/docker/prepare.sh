#!/bin/sh
# Demonstration, beside a ready hub and on its data volume: adds the spokes, publishes the tree, leaves a token for each spoke and each host in /tokens.
set -eu
cli="vigocli --data-dir /srv/vigo"
first_token() { grep -o "$1[A-Za-z0-9_.-]*" | head -n 1; }
for spoke in ${VIGO_SPOKES:?}; do
  [ -e "/tokens/$spoke.join" ] && continue
  $cli --json spanner spoke add "$spoke" --pattern "*.$spoke.example.com" --addr "$spoke:1530" | first_token vgj_ >"/tokens/.$spoke"
  mv "/tokens/.$spoke" "/tokens/$spoke.join"
done
rm -rf /srv/vigo/stacks/* && cp -R /opt/vigo/deploy/config-regions/. /srv/vigo/stacks/
$cli config publish --yes --message "demonstration" || $cli config status
for name in ${VIGO_AGENTS:?}; do
  [ -e "/tokens/$name" ] && continue
  $cli --json tokens create --pattern "$name" | first_token vgt_ >"/tokens/.$name"
  mv "/tokens/.$name" "/tokens/$name"
done
