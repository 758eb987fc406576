#!/bin/sh
# Becomes one node of the cluster: the common settings, its own port and address, the password out of a file.
#
# NODE_ADDRESS         where the other nodes and the gateway reach it (default: this host's first address)
# NODE_PORT            its port (default 6379); the port between nodes is 10000 above
# NODE_DIR             where its data stands (default /data)
# REDIS_PASSWORD_FILE  the file with the password that all nodes share; unset means none
set -eu
here=$(dirname "$0")

address=${NODE_ADDRESS:-$(hostname -i | awk '{ print $1 }')}
password=
if [ -n "${REDIS_PASSWORD_FILE:-}" ]; then
    # Quoted as a settings file wants it.
    password=$(sed 's/[\\"]/\\&/g' "$REDIS_PASSWORD_FILE")
fi

# The password comes through standard input: neither the list of processes nor a file shows it.
exec redis-server "$here/node.conf" \
    --port "${NODE_PORT:-6379}" \
    --dir "${NODE_DIR:-/data}" \
    --cluster-announce-ip "$address" \
    - <<SECRETS
requirepass "$password"
masterauth "$password"
SECRETS
