# SPDX-License-Identifier: BSD-3-Clause
# Sourced by the start scripts of the test servers (bash).  Each is used as
#
#   eval "$(tests/servers/NAME.sh start DIR [option=value]...)"     sets URL, PID, STATE
#   tests/servers/NAME.sh stop "$STATE"
#
# DIR is what the server serves, on a free port of 127.0.0.1.  STATE is a temporary folder with everything else that the
# server has (configuration, log, locks); stop removes it, and ends only processes that start started.  A server leads a
# process group of its own, so its children end with it.
#
# A script defines server_start, which finds the served folder in $dir and its options in ${opt[...]}, starts the server
# by server_run and sets URL; and lists its options with their defaults in opt.

set -euo pipefail

declare -A opt=()
URL= PID= STATE= CAINFO=

die ()
{
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# Prints a port that nobody listens on.  Somebody else may take it before we do: see server_main.
free_port ()
{
    python3 -c 'import socket; s = socket.socket (); s.bind (("127.0.0.1", 0)); print (s.getsockname ()[1])'
}

# proc_start PID: when the process was started, in ticks since boot; tells it from a later one with the same id.
proc_start ()
{
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    set -- $stat
    echo "${20}"
}

# server_run COMMAND...: in the background, as the leader of a process group.
server_run ()
{
    setsid "$@" </dev/null >>"$STATE/log" 2>&1 9>&- &
    PID=$!
    echo "$PID $(proc_start "$PID")" >"$STATE/pid"
}

running ()
{
    [ "$(proc_start "$1" || true)" = "$2" ]
}

server_stop ()
{
    local state=$1 pid start i
    [ -d "$state" ] || return 0
    if [ -s "$state/pid" ]; then
        read -r pid start <"$state/pid"
        if running "$pid" "$start"; then
            kill -TERM -- "-$pid" 2>/dev/null || true
            for ((i = 0; i < 100; i++)); do
                running "$pid" "$start" || break
                sleep 0.05
            done
            kill -KILL -- "-$pid" 2>/dev/null || true
        fi
    fi
    case $state in
        */cloudshare-server.*) rm -rf "$state" ;;
    esac
}

# wait_for COMMAND...: until it succeeds, while the server runs, at most thirty seconds.
wait_for ()
{
    local i start
    start=$(proc_start "$PID" || true)
    for ((i = 0; i < 600; i++)); do
        "$@" && return 0
        [ -n "$start" ] && running "$PID" "$start" || return 1
        sleep 0.05
    done
    return 1
}

# listens PORT: somebody does.  To be asked only once the server has said that it is there: another's server may have
# got the port instead, and a connection to a port that is free may be one with itself.
listens ()
{
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# make_certificate NAME: a throw-away authority (ca.pem) and a certificate for NAME (server.pem, server.key) in $STATE.
make_certificate ()
{
    (
        cd "$STATE"
        exec >>log 2>&1
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 \
            -subj "/CN=cloudshare test authority" -addext basicConstraints=critical,CA:TRUE \
            -addext keyUsage=critical,keyCertSign
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr \
            -subj "/CN=cloudshare test server"
        printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\n' "$1" >server.ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext \
            -out server.pem
    ) || die "openssl could not make a certificate, see $STATE/log"
    CAINFO=$STATE/ca.pem
}

server_main ()
{
    local verb=${1:-} dir arg try name
    shift || true
    case $verb in
        start)
            [ $# -ge 1 ] || die "usage: start DIR [option=value]..."
            dir=$(cd "$1" && pwd -P) || die "$1: no such folder"
            shift
            for arg; do
                name=${arg%%=*}
                [ "$name" != "$arg" ] && [ -n "${opt[$name]+known}" ] || die "unknown option: $arg"
                opt[$name]=${arg#*=}
            done
            # Several tries, because a port may have been taken meanwhile.
            for try in 1 2 3; do
                STATE=$(mktemp -d "${TMPDIR:-/tmp}/cloudshare-server.XXXXXX")
                chmod 755 "$STATE"
                if server_start; then
                    printf 'URL=%q\nPID=%q\nSTATE=%q\n' "$URL" "$PID" "$STATE"
                    [ -z "$CAINFO" ] || printf 'CAINFO=%q\n' "$CAINFO"
                    return 0
                fi
                [ $try = 3 ] && cat "$STATE/log" "$STATE/error.log" >&2 2>/dev/null
                server_stop "$STATE"
            done
            die "the server did not start"
            ;;
        stop)
            [ $# = 1 ] || die "usage: stop STATE"
            server_stop "$1"
            ;;
        *)
            die "usage: start DIR [option=value]... | stop STATE"
            ;;
    esac
}
