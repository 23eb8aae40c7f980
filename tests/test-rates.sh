#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Limits of bytes a second: of what is read, and of what is written, over all connections together; changed while the server
# runs.  By the clock only lower bounds are looked at: a machine may
# be busy.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires apache2 curl

CTL=$abs_top_builddir/cloudsharectl

ms ()
{
    echo $(($(date +%s%N) / 1000000))
}

# at_least MS COMMAND...: it takes so long, or longer.
at_least ()
{
    local least=$1 start=$(ms) took
    shift
    "$@"
    took=$(($(ms) - start))
    echo "$took ms, at least $least: $*"
    [ $took -ge "$least" ] || fail "$took ms instead of $least: $*"
}

mkdir "$tmp/remote"
for i in 1 2 3 4 5; do
    head -c 4M /dev/urandom >"$tmp/remote/$i.bin"
done
head -c 8M /dev/urandom >"$tmp/remote/other.bin"
chmod -R a+rwX "$tmp/remote"
start_server apache "$tmp/remote"

# ---- down ----

read_all ()
{
    local pids=()
    for i in 1 2 3 4 5; do
        on_disk cat $i.bin >"$tmp/$i.got" &
        pids+=($!)
    done
    wait "${pids[@]}"
    for i in 1 2 3 4 5; do
        cmp "$tmp/$i.got" "$tmp/remote/$i.bin" || fail "$i.bin is not what it was"
    done
}

start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache" fs=fat32 download-rate=5M upload-rate=0
wait_until 30 "$CTL" rate "$tmp/cache"
"$CTL" rate "$tmp/cache" >"$tmp/rate"
printf 'upload: no limit\ndownload: at most 5.0 MiB a second\n' | diff - "$tmp/rate"
at_least 3000 read_all

# Changed while a transfer is under way: what would take more than two hours is there soon.
"$CTL" rate --download=1K --json "$tmp/cache" | grep -q '"download": 1024' || fail "the limit was not set"
on_disk cat other.bin >"$tmp/other.got" &
reader=$!
sleep 1
kill -0 $reader || fail "8 MiB came at once, at 1 KiB a second"
# Other requests go on: what was changed in the cloud is seen.
"$CTL" rate --download=64K "$tmp/cache" >/dev/null
echo new >"$tmp/remote/new.txt"
"$CTL" poke "$tmp/cache" >/dev/null
kill -0 $reader || fail "8 MiB came at once, at 64 KiB a second"
"$CTL" rate --download=0 "$tmp/cache" | grep -q 'download: no limit' || fail "the limit was not taken away"
wait $reader
cmp "$tmp/other.got" "$tmp/remote/other.bin"
stop_nbdkit

refused 'upload-rate=17' remote="$URL" cache="$tmp/cache-bad" upload-rate=17
refused 'local folder' remote="$tmp/remote" cache="$tmp/cache-dir" upload-rate=1M
start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache-dir" fs=fat32
wait_until 30 "$CTL" rate "$tmp/cache-dir"
! "$CTL" rate --upload=1M "$tmp/cache-dir" 2>"$tmp/said" && grep -q 'local folder' "$tmp/said" || fail "a folder with a limit"
"$CTL" rate "$tmp/cache-dir" >/dev/null
stop_nbdkit

# ---- up ----

# Six files at once share the limit.
make_files ()
{
    local i
    mkdir -p "$tmp/up"
    for i in 1 2 3 4 5 6; do
        head -c 2M /dev/urandom >"$tmp/up/$1$i.bin"
    done
}

all_there ()
{
    local i
    for i in 1 2 3 4 5 6; do
        cmp "$tmp/up/$1$i.bin" "$tmp/remote/$1$i.bin" || return 1
    done
}

# A disk that nobody has open is looked at soon.
write_all ()
{
    attach
    mt mcopy "$tmp"/up/$1*.bin ::
    detach
}

send_all ()
{
    write_all $1
    wait_until 60 all_there $1 || fail "not sent: $(ctl status)"
}

make_files up
make_files more
rm -rf "$tmp/cache"
start_rw remote="$URL" upload-rate=4M fs=fat32
at_least 2500 send_all up
# Changed on the way.
ctl rate --upload=1K >/dev/null
write_all more
wait_until 20 eval 'ctl status | grep -q "^waiting for upload: 6 changes"'
sleep 2
! all_there more 2>/dev/null || fail "12 MiB went at once, at 1 KiB a second"
ctl rate --upload=0 >/dev/null
wait_until 60 all_there more || fail "not sent: $(ctl status)"
