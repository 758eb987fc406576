#!/bin/sh
# Makes the passwords that the compose files read, each in a file of its own. What is there is kept.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
for name in redis_password slotway_password grafana_password; do
    [ -s "secrets/$name" ] && continue
    head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"secrets/$name"
    # Containers run as users of their own, and compose hands files over with the owner they have.
    chmod 0444 "secrets/$name"
    printf 'made secrets/%s\n' "$name"
done
# The exporter wants the nodes' password once for each of them.
if [ ! -s secrets/redis_exporter.json ]; then
    for node in 1:7000 2:7001 3:7002 4:7003 5:7004 6:7005; do
        printf '"redis://redis-node-%s": "%s"\n' "$node" "$(cat secrets/redis_password)"
    done | sed '1s/^/{/; $!s/$/,/; $s/$/}/' >secrets/redis_exporter.json
    chmod 0444 secrets/redis_exporter.json
    printf 'made secrets/redis_exporter.json\n'
fi
# The folder keeps others on this machine out.
chmod 0700 secrets
