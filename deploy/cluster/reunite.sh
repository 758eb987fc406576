#!/bin/sh
# Nodes find each other by address, and containers that all restart at once may all have new ones. This keeps
# looking, and where a node has lost others, tells it where they are now. A node that has never been in a
# cluster is left alone: form.sh takes it in.
#
# NODES  all nodes, as HOST:PORT with spaces between
# EVERY  seconds between two looks (default 10)
set -eu
# shellcheck source=deploy/cluster/node-lib.sh
. "$(dirname "$0")/node-lib.sh"
[ -n "${NODES:-}" ] || die "NODES names no node"

# Whether the node was in a cluster and cannot reach some of it.
has_lost_others() {
    ask "$1" CLUSTER NODES | awk '
        $3 !~ /myself/ && ($8 == "disconnected" || $3 ~ /fail/) { lost = 1 }
        END { exit !lost }'
}

trap 'exit 0' TERM INT
while :; do
    for node in $NODES; do
        has_lost_others "$node" || continue
        say "$node has lost nodes: telling it where they are"
        for peer in $NODES; do
            [ "$peer" = "$node" ] || meet "$node" "$peer" || say "$peer cannot be found"
        done
    done
    # In the background, so that the word to stop is heard at once.
    sleep "${EVERY:-10}" &
    wait $!
done
