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
# The folder keeps others on this machine out.
chmod 0700 secrets
