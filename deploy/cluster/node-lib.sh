# Read by the scripts beside it: how to ask a node, and where a node is. POSIX sh, redis-cli 7.0 or later.
#
# REDIS_PASSWORD_FILE names the file with the nodes' password; unset means that they have none.

# redis-cli takes the password from here, so that it stands in no list of processes.
if [ -n "${REDIS_PASSWORD_FILE:-}" ]; then
    REDISCLI_AUTH=$(cat "$REDIS_PASSWORD_FILE")
    export REDISCLI_AUTH
fi

say() {
    printf '%s\n' "$*"
}

die() {
    say "$0: $*" >&2
    exit 1
}

# ask HOST:PORT WORD...: the node's answer; fails when the node cannot be reached or answers with an error.
ask() {
    asked=$1
    shift
    answer=$(timeout 10 redis-cli -e -h "${asked%:*}" -p "${asked##*:}" "$@" </dev/null 2>/dev/null) || return 1
    say "$answer" | tr -d '\r'
}

answers() {
    [ "$(ask "$1" PING)" = PONG ]
}

# field NAME: the value in lines of the form name:value, as INFO and CLUSTER INFO write them.
field() {
    awk -F: -v name="$1" '$1 == name { print $2; exit }'
}

# The address behind a name. Nodes meet by address: they do not look names up.
address_of() {
    case $1 in
    *[!0-9.]*) getent hosts "$1" | awk '{ print $1; exit }' ;;
    *) say "$1" ;;
    esac
}

# meet NODE PEER: makes the node say hello to the peer at the address that the peer has now. A peer that is
# known already is reached there from then on.
meet() {
    peer_address=$(address_of "${2%:*}")
    [ -n "$peer_address" ] && ask "$1" CLUSTER MEET "$peer_address" "${2##*:}" >/dev/null
}
