# SPDX-License-Identifier: BSD-3-Clause
# Sourced by every integration test (bash), first of all:
#
#   . "$(dirname "$0")/functions.sh"
#   requires nbdinfo
#   mkdir "$tmp/remote"
#   start_nbdkit "$PLUGIN" remote="$tmp/remote"
#   nbdinfo "$NBD_URI"
#
# A test passes when it reaches its end: errors end it (set -e).  $tmp is a folder of its own, which is removed at the
# end, together with all that was started.  After a failure the logs are shown; with CLOUDSHARE_KEEP=1 $tmp is kept.
#
# Tests run from the build tree or without it:
#   abs_top_srcdir, abs_top_builddir   from make; otherwise the folder above this one
#   PLUGIN                             the plugin to test; otherwise the one that was built, not an installed one
#   CLOUDSHARE_NO_SKIP=1               what a test would be skipped for is a failure (for machines that have it all)

set -eu -o pipefail
shopt -s inherit_errexit

: "${abs_top_srcdir:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}"
# make runs tests in the top build folder.
if [ -z "${abs_top_builddir:-}" ]; then
    [ -e config.status ] && abs_top_builddir=$PWD || abs_top_builddir=$abs_top_srcdir
fi
: "${PLUGIN:=$abs_top_builddir/.libs/nbdkit-cloudshare-plugin.so}"
: "${NBDKIT:=nbdkit}"
export abs_top_srcdir abs_top_builddir PLUGIN
# Leaks are judged from the log, at the end.
export LSAN_OPTIONS=${LSAN_OPTIONS:-exitcode=0}
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1

# ---- the end ----

_cleanup=()

# cleanup_fn COMMAND...: is run at the end of the test, whatever the end; the latest first.
cleanup_fn ()
{
    _cleanup+=("$(printf '%q ' "$@")")
}

# nbdkit forgets a few bytes of its own when it is ended at some moments.  A leak counts as its own, and its report goes out
# of the log, where every block was allocated by nbdkit's program itself.
_without_foreign_leaks ()
{
    awk '/^SUMMARY: AddressSanitizer: .*leaked/ { if (ours) print text $0; text = ""; inside = ours = 0; next }
         /ERROR: LeakSanitizer/ { inside = 1 }
         inside && /^ *#1 / && $0 !~ /\(\/usr\/s?bin\/nbdkit\+/ { ours = 1 }
         inside { text = text $0 "\n"; next }
         { print }
         END { printf "%s", text }' "$1" >"$1.own" && mv "$1.own" "$1"
}

_at_exit ()
{
    local status=$? i log
    trap '' INT TERM
    set +e
    for ((i = ${#_cleanup[@]} - 1; i >= 0; i--)); do
        eval "${_cleanup[i]}"
    done
    # What only the log tells must not pass.
    for log in "$tmp"/*.log; do
        [ -e "$log" ] || continue
        _without_foreign_leaks "$log"
        if grep -qE 'ERROR: [A-Za-z]*Sanitizer|WARNING: ThreadSanitizer|runtime error:|^==[0-9]+== ' "$log"; then
            echo "$log: a sanitizer or valgrind complained" >&2
            [ $status = 0 ] && status=1
        fi
    done
    if [ $status != 0 ] && [ $status != 77 ]; then
        for log in "$tmp"/*.log; do
            [ -s "$log" ] && { echo "---- $(basename "$log")"; tail -n 100 "$log"; } >&2
        done
        echo "$0: failed (status $status)" >&2
    fi
    if [ -n "${CLOUDSHARE_KEEP:-}" ]; then
        echo "$0: $tmp is kept" >&2
    else
        chmod -R u+rwX "$tmp" 2>/dev/null
        rm -rf "$tmp"
    fi
    exit $status
}

tmp=$(mktemp -d "${TMPDIR:-/tmp}/cloudshare-test.XXXXXX")
# Servers that give up root have to get in.
chmod 755 "$tmp"
trap _at_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'echo "$0: line $LINENO: failed: $BASH_COMMAND" >&2' ERR

# ---- chance ----

# seed_for NUMBER: which random things this run does.  What runs on each change does what it did the last time, so that only the
# change can break it; long runs do something else each time.  Both can be had again by CLOUDSHARE_SEED.
seed_for ()
{
    if [ -n "${CLOUDSHARE_SEED:-}" ]; then
        echo "$CLOUDSHARE_SEED"
    elif [ -n "${CLOUDSHARE_LONG:-}" ]; then
        echo $((RANDOM * 32768 + RANDOM))
    else
        echo "$1"
    fi
}

# ---- conditions ----

# skip MESSAGE: this test cannot run here.
skip ()
{
    if [ "${CLOUDSHARE_NO_SKIP:-0}" = 1 ]; then
        echo "$0: nothing may be skipped here, but: $*" >&2
        exit 1
    fi
    echo "$0: skipped: $*" >&2
    exit 77
}

fail ()
{
    echo "$0: $*" >&2
    exit 1
}

# requires PROGRAM...: skips the test unless all of them are there.
requires ()
{
    local p
    for p; do
        command -v "$p" >/dev/null || skip "$p is not installed"
    done
}

# requires_run COMMAND...: skips the test unless the command succeeds.
requires_run ()
{
    "$@" >/dev/null 2>&1 || skip "this does not work here: $*"
}

# wait_until SECONDS COMMAND...: until the command succeeds; fails when it does not in time.
wait_until ()
{
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            echo "$0: this has not become true in time: $*" >&2
            return 1
        fi
        sleep 0.05
    done
}

# ---- nbdkit ----

_n_nbdkit=0

# A plugin with a sanitizer needs its library in the program before anything else.
_preload ()
{
    { ldd "$PLUGIN" 2>/dev/null || true; } | awk '$1 ~ /^lib(asan|tsan)\.so/ && $3 ~ /^\// { print $3; exit }'
}

# start_nbdkit [OPTION...] PLUGIN [KEY=VALUE...]: sets NBDKIT_PID, NBD_SOCKET, NBDKIT_LOG and NBD_URI (of the default
# export; nbd_uri NAME gives another's).  nbdkit and its plugin must be ready within a minute.  May be called several
# times.
start_nbdkit ()
{
    local pidfile preload
    _n_nbdkit=$((_n_nbdkit + 1))
    NBD_SOCKET=$tmp/nbd$_n_nbdkit
    # The kernel takes 107 characters.
    if [ ${#NBD_SOCKET} -gt 100 ]; then
        NBD_SOCKET=$(mktemp -d /tmp/cloudshare-nbd.XXXXXX)
        cleanup_fn rm -rf "$NBD_SOCKET"
        NBD_SOCKET+=/s
    fi
    NBDKIT_LOG=$tmp/nbdkit$_n_nbdkit.log
    pidfile=$tmp/nbdkit$_n_nbdkit.pid
    preload=$(_preload)
    ${preload:+env LD_PRELOAD="$preload"} "$NBDKIT" -f -U "$NBD_SOCKET" -P "$pidfile" "$@" \
        </dev/null >>"$NBDKIT_LOG" 2>&1 &
    NBDKIT_PID=$!
    cleanup_fn kill_nbdkit $NBDKIT_PID
    NBD_URI=$(nbd_uri '')
    if ! wait_until 60 _started_or_ended "$pidfile" || [ ! -s "$pidfile" ]; then
        echo "$0: nbdkit did not start: $(tail -n 5 "$NBDKIT_LOG")" >&2
        return 1
    fi
}

_started_or_ended ()
{
    [ -s "$1" ] || ! kill -0 "$NBDKIT_PID" 2>/dev/null
}

# nbd_uri NAME: the URI of an export of the nbdkit that was started last.
nbd_uri ()
{
    python3 -c 'import sys, urllib.parse
print ("nbd+unix:///%s?socket=%s" % (urllib.parse.quote (sys.argv[1]), urllib.parse.quote (sys.argv[2])))' \
        "$1" "$NBD_SOCKET"
}

# stop_nbdkit [PID]: asks it to end and waits; fails unless it ends well within 30 seconds.
stop_nbdkit ()
{
    local pid=${1:-$NBDKIT_PID} status=0
    kill -TERM "$pid"
    # With a sanitizer's library a process that has loaded libcurl can hang in exit, in a destructor of p11-kit (nbdkit's own
    # curl plugin, too), after everything of ours has ended and been reported.
    case $(_preload) in
        *tsan*) wait_until 5 _has_ended "$pid" 2>/dev/null || kill_nbdkit "$pid"; return 0 ;;
        *asan*) wait_until 5 _has_ended "$pid" 2>/dev/null || { kill_nbdkit "$pid"; return 0; } ;;
    esac
    wait_until 30 _has_ended "$pid" || { kill_nbdkit "$pid"; return 1; }
    wait "$pid" || status=$?
    [ $status = 0 ] || echo "$0: nbdkit ended with status $status" >&2
    return $status
}

# kill_nbdkit [PID]: like a crash; nothing happens if it has ended already.
kill_nbdkit ()
{
    local pid=${1:-$NBDKIT_PID}
    _has_ended "$pid" && return 0
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

# Ended, or at least a zombie that waits for us.  Only a child of ours is meant: its number may be another's by now.
_has_ended ()
{
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    stat=${stat##*) }
    set -- $stat
    [ "$1" = Z ] || [ "$2" != $$ ]
}

# ---- servers ----

# start_server NAME DIR [option=value]...: NAME is apache, nextcloud, rclone or sabredav (tests/servers/NAME.sh tells its options).
# Sets URL, SERVER_PID, SERVER_STATE and, with TLS, CAINFO.
start_server ()
{
    local script=$abs_top_srcdir/tests/servers/$1.sh out PID STATE
    shift
    CAINFO=
    out=$(TMPDIR=$tmp "$script" start "$@")
    cleanup_fn "$script" stop "$(eval "$out"; echo "$STATE")"
    eval "$out"
    SERVER_PID=$PID SERVER_STATE=$STATE
}

# stop_server NAME: ends the server that was started last, as if it had crashed politely.
stop_server ()
{
    "$abs_top_srcdir/tests/servers/$1.sh" stop "$SERVER_STATE"
}

# start_delay MS: makes the server at URL look MS milliseconds away in each direction; changes URL.  Sets DELAY_PID.
start_delay ()
{
    local proxy=$abs_top_builddir/tests/servers/delayproxy port rest PORT
    [ -x "$proxy" ] || skip "$proxy has not been built"
    rest=${URL#*://127.0.0.1:}
    port=${rest%%/*}
    "$proxy" "$1" "$port" </dev/null >"$tmp/delay.out" 2>"$tmp/delay.log" &
    DELAY_PID=$!
    cleanup_fn kill_nbdkit $DELAY_PID
    wait_until 10 test -s "$tmp/delay.out"
    . "$tmp/delay.out"
    URL=${URL%%://*}://127.0.0.1:$PORT/${rest#*/}
}

# ---- content ----

# make_tree DIR [option]...: fills the folder with a random tree (tests/make-tree.py tells the options) and prints the
# seed; CLOUDSHARE_SEED makes the same tree again.
make_tree ()
{
    CLOUDSHARE_SEED=$(seed_for 1) python3 "$abs_top_srcdir/tests/make-tree.py" "$@"
}
