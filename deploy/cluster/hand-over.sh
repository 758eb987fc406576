#!/bin/sh
# Run before a node stops: a primary first lets a replica in step take over, so that its slots are not without
# an owner until the others notice. A replica, or a primary without one, needs nothing.
#
# NODE_PORT  the node's port on this host (default 6379)
# PATIENCE   seconds to wait for the replica (default 20)
set -eu
# shellcheck source=deploy/cluster/node-lib.sh
. "$(dirname "$0")/node-lib.sh"
node=127.0.0.1:${NODE_PORT:-6379}

role() {
    ask "$node" INFO replication | field role
}

[ "$(role)" = master ] || exit 0
# slave0:ip=10.0.0.7,port=6379,state=online,offset=1,lag=0
replica=$(ask "$node" INFO replication |
    sed -n 's/^slave[0-9]*:ip=\([^,]*\),port=\([0-9]*\),state=online,.*/\1:\2/p' | head -n 1)
[ -n "$replica" ] || exit 0

ask "$replica" CLUSTER FAILOVER >/dev/null || die "$replica will not take over"
deadline=$(($(date +%s) + ${PATIENCE:-20}))
while [ "$(role)" = master ]; do
    [ "$(date +%s)" -lt "$deadline" ] || die "$replica has not taken over"
    sleep 1
done
say "$replica has taken over"
