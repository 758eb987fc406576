#!/bin/sh
# Makes one whole cluster of the nodes, from whatever state they are in: creates it, finishes a creation that
# was cut short, takes in nodes that were added, gives new primaries their share of the slots. Run again, it
# changes nothing.
#
# NODES      all nodes, as HOST:PORT with spaces between; the first ones become primaries
# PRIMARIES  how many primaries there should be (default 3); the other nodes become replicas, spread evenly
# PATIENCE   seconds to wait for each step (default 120)
set -eu
# shellcheck source=deploy/cluster/node-lib.sh
. "$(dirname "$0")/node-lib.sh"

SLOTS=16384
primaries=${PRIMARIES:-3}
[ -n "${NODES:-}" ] || die "NODES names no node"
# shellcheck disable=SC2086 # a list of words
set -- $NODES
[ $# -ge "$primaries" ] || die "$# nodes cannot be $primaries primaries"

# until_true WHAT COMMAND...: waits until the command succeeds.
until_true() {
    what=$1
    shift
    deadline=$(($(date +%s) + ${PATIENCE:-120}))
    until "$@"; do
        [ "$(date +%s)" -lt "$deadline" ] || die "waited in vain for $what"
        sleep 1
    done
}

id_of() {
    ask "$1" CLUSTER MYID
}

slots_assigned() {
    ask "$1" CLUSTER INFO | field cluster_slots_assigned
}

# Every node that serves slots must be one that the rest knows: two clusters are never joined by mistake.
find_anchor() {
    anchor=
    for node in $NODES; do
        [ "$(own_slots "$node")" -gt 0 ] || continue
        : "${anchor:=$node}"
        ask "$anchor" CLUSTER NODES | grep -q "^$(id_of "$node") " ||
            die "$node and $anchor serve slots of different clusters"
    done
    : "${anchor:=${NODES%% *}}"
}

# Slots that the node itself serves.
own_slots() {
    ask "$1" CLUSTER NODES | awk '$3 ~ /myself/ { print count_slots() } '"$COUNT_SLOTS"
}

# An awk function: slots in a line of CLUSTER NODES. What stands in brackets is a slot on its way.
# shellcheck disable=SC2016 # the dollars are awk's
COUNT_SLOTS='
function count_slots(   i, ends, sum) {
    for (i = 9; i <= NF; i++) {
        if ($i ~ /^\[/) continue
        sum += split($i, ends, "-") == 2 ? ends[2] - ends[1] + 1 : 1
    }
    return sum + 0
}'

all_know_each_other() {
    for node in $NODES; do
        view=$(ask "$node" CLUSTER NODES) || return 1
        for other in $NODES; do
            say "$view" | grep -q "^$(id_of "$other") .* connected" || return 1
        done
        case $view in *handshake*) return 1 ;; esac
    done
}

introduce() {
    all_know_each_other && return
    say "introducing the nodes to each other"
    for node in $NODES; do
        [ "$node" = "$anchor" ] || meet "$anchor" "$node" || die "$anchor cannot meet $node"
    done
    until_true "nodes that know each other" all_know_each_other
}

# Slots that have never had an owner are given to the first nodes. Slots that lost theirs are not: a node
# with data may be gone, and a person must decide.
assign_slots() {
    [ "$(slots_assigned "$anchor")" -eq "$SLOTS" ] && return
    for node in $NODES; do
        [ "$(ask "$node" DBSIZE)" -eq 0 ] || die \
            "only $(slots_assigned "$anchor") of $SLOTS slots have an owner, and $node holds data: look at" \
            "'redis-cli --cluster check $anchor' and decide"
    done
    place=0
    for node in $NODES; do
        [ "$place" -lt "$primaries" ] || break
        from=$((SLOTS * place / primaries))
        to=$((SLOTS * (place + 1) / primaries - 1))
        ranges=$(unowned "$from" "$to")
        if [ -n "$ranges" ]; then
            say "slots $from to $to go to $node"
            # shellcheck disable=SC2086 # pairs of first and last slot
            ask "$node" CLUSTER ADDSLOTSRANGE $ranges >/dev/null || die "$node refuses slots $from to $to"
        fi
        place=$((place + 1))
    done
    until_true "nodes that agree on the slots" agreed
}

# unowned FROM TO: what of that range no node serves, as pairs of first and last slot.
unowned() {
    ask "$anchor" CLUSTER NODES | awk -v from="$1" -v to="$2" '
        { for (i = 9; i <= NF; i++) if ($i !~ /^\[/) {
            last = split($i, ends, "-")
            for (slot = ends[1] + 0; slot <= ends[last] + 0; slot++) owned[slot] = 1
        } }
        END { for (slot = from; slot <= to; slot++) if (!(slot in owned)) {
            first = slot
            while (slot < to && !((slot + 1) in owned)) slot++
            print first, slot
        } }'
}

agreed() {
    for node in $NODES; do
        [ "$(slots_assigned "$node")" = "$SLOTS" ] || return 1
    done
}

# A primary without slots stays one while primaries are missing, and becomes a replica otherwise.
attach_replicas() {
    serving=$(ask "$anchor" CLUSTER NODES | awk '$3 ~ /master/ && count_slots() > 0 { n++ } END { print n + 0 } '"$COUNT_SLOTS")
    heads=
    for node in $NODES; do
        line=$(ask "$anchor" CLUSTER NODES | grep "^$(id_of "$node") ")
        case $line in *slave*) continue ;; esac
        if [ "$(say "$line" | awk '{ print count_slots() } '"$COUNT_SLOTS")" -gt 0 ]; then
            heads="$heads $node"
        elif [ "$serving" -lt "$primaries" ]; then
            say "$node becomes a primary"
            heads="$heads $node"
            serving=$((serving + 1))
        fi
    done
    for node in $NODES; do
        case " $heads " in *" $node "*) continue ;; esac
        ask "$anchor" CLUSTER NODES | grep "^$(id_of "$node") " | grep -q slave && continue
        replicate "$node"
    done
}

# replicate NODE: follows the primary that has the fewest replicas.
replicate() {
    fewest=
    for head in $heads; do
        id=$(id_of "$head")
        count=$(ask "$anchor" CLUSTER NODES | awk -v id="$id" '$4 == id { n++ } END { print n + 0 }')
        if [ -z "$fewest" ] || [ "$count" -lt "$fewest" ]; then
            fewest=$count
            primary=$head
            primary_id=$id
        fi
    done
    say "$1 becomes a replica of $primary"
    until_true "$1 to accept its primary" ask "$1" CLUSTER REPLICATE "$primary_id" >/dev/null
    until_true "$anchor to see the replica $1" sees_replica "$(id_of "$1")" "$primary_id"
}

sees_replica() {
    ask "$anchor" CLUSTER NODES | awk -v id="$1" -v primary="$2" '$1 == id && $4 == primary { found = 1 } END { exit !found }'
}

# Slots that a killed rebalance left open are brought home, and a primary with less than half of its share
# gets the rest. redis-cli moves the slots: clients are served meanwhile.
rebalance() {
    if redis-cli --cluster check "$anchor" </dev/null 2>&1 | grep -q 'slots in \(migrating\|importing\) state'; then
        say "finishing slot moves that were cut short"
        redis-cli --cluster fix "$anchor" --cluster-yes </dev/null || die "the open slots could not be closed"
    fi
    least=$(for head in $heads; do own_slots "$head"; done | sort -n | head -n 1)
    [ "$least" -lt $((SLOTS / primaries / 2)) ] || return 0
    until_true "a cluster that serves every slot" all_ok
    say "moving slots to the new primaries"
    redis-cli --cluster rebalance "$anchor" --cluster-use-empty-masters --cluster-yes </dev/null >/dev/null ||
        die "the slots could not be spread"
}

all_ok() {
    for node in $NODES; do
        [ "$(ask "$node" CLUSTER INFO | field cluster_state)" = ok ] || return 1
        replication=$(ask "$node" INFO replication) || return 1
        case $(say "$replication" | field role) in
        slave) [ "$(say "$replication" | field master_link_status)" = up ] || return 1 ;;
        esac
    done
}

for node in $NODES; do
    until_true "an answer of $node" answers "$node"
done
find_anchor
introduce
assign_slots
attach_replicas
rebalance
until_true "a cluster that serves every slot, with replicas in step" all_ok
say "the cluster is whole: $SLOTS slots, $(say "$heads" | wc -w) primaries, $# nodes"
