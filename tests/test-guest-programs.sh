#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# What people do in a guest: sed -i, vi, mv over a file, unzip, tar and cp -a of trees of 1,000 files; and, when it is left to
# itself, what fsck does to a volume that was not unmounted.  The cloud has the same files, with the same times, as the guest.
# CLOUDSHARE_LONG=1: 10,000 files in one copy, and on exFAT a file of more than 4 GiB.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires qemu-system-x86_64 busybox

kernel=6.1

# guest SECONDS END SCRIPT [-d DISK...]: runs it with the disk at /m, in the guest.
guest ()
{
    local seconds=$1 end=$2 script=$3 status=0
    shift 3
    python3 "$abs_top_srcdir/tests/guest/guest.py" run -v -k "$kernel" -t "$seconds" -e "$end" -d "$NBD_URI" "$@" \
        -c "set -e; mkdir -p /m; $check; mount -t $type -o $options \$(part d0 1) /m; cd /m; $script" >"$tmp/guest.out" 2>&1 || status=$?
    [ $status != 77 ] || skip "there is no guest: $(cat "$tmp/guest.out")"
    [ $status = 0 ] || fail "status $status: $(tail -n 20 "$tmp/guest.out")"
}

# many DIR FILES: a tree.
many () { python3 "$abs_top_srcdir/tests/make-tree.py" "$1" --files "$2" --folders $(($2 / 25)) --depth 4 --largest "${3:-6000}" --names plain >/dev/null; }

# times DIR: of the files, whole even seconds (FAT32 keeps no others).
times () { (cd "$1" && find . -type f -printf '%Ts %P\n' | awk '{ $1 -= $1 % 2; print }' | LC_ALL=C sort -k 2); }

# arrives SECONDS: what is in $tmp/want comes into the cloud.
arrives ()
{
    local begin=$SECONDS
    want "$tmp/want"
    becomes "$1" "$tmp/remote"
    drained "$1"
    becomes 5 "$tmp/remote"
    no_conflicts "$tmp/remote"
    echo "  in the cloud $((SECONDS - begin)) s after the guest's end"
}

# programs FS
programs ()
{
    local begin check=: type=vfat options=utf8=1,iocharset=iso8859-1,tz=UTC fsck="fsck.fat -a"
    [ "$1" = fat32 ] || { type=exfat options=iocharset=utf8 fsck="fsck.exfat -y"; }
    mkdir "$tmp/remote" "$tmp/want"
    (
        cd "$tmp/remote"
        printf 'one old line\nand another old line\n' >"a text file.txt"
        seq 2000 >"numbers.txt"
        printf 'alpha\nbeta\n' >"edited by vi.txt"
        head -c 50000 /dev/urandom >"replaced.bin"
        mkdir -p "a folder" "an outer folder/an inner folder"
        head -c 5000 /dev/urandom >"a folder/file in it.bin"
        echo inner >"an outer folder/an inner folder/file"
        find . -type f -exec touch -d '2023-11-14 22:13:20 UTC' {} +
    )
    cp -a "$tmp/remote/." "$tmp/want"
    many "$tmp/tree" 1000
    many "$tmp/zipped" 300
    (cd "$tmp/tree" && find . -type f -exec touch -d '2024-02-29 12:34:56 UTC' {} +)
    tar -C "$tmp/tree" -b 128 -cf "$tmp/tree.tar" .
    (cd "$tmp/zipped" && python3 -m zipfile -c "$tmp/tree.zip" .)
    truncate -s %512 "$tmp/tree.zip"
    head -c 70000 /dev/urandom >"$tmp/new.bin"
    truncate -s %512 "$tmp/new.bin"
    start_rw remote="$tmp/remote" fs="$1" size=${size:-1G}

    echo "---- $1: editors, tar, unzip, cp -a"
    guest 300 clean '
        sed -i s/old/new/ "a text file.txt"
        sed -i -e 500,1500d numbers.txt
        (for keys in "" "iomega " "\033" ":wq\r"; do sleep 1; printf "$keys"; done) | vi "edited by vi.txt" >/dev/null
        cp $(disk new) .replaced.tmp; sync .replaced.tmp; mv -f .replaced.tmp replaced.bin
        mkdir "from tar" "from zip"
        time tar -xf $(disk tar) -C "from tar"
        time unzip -q $(disk zip) -d "from zip"
        time cp -a "from tar" "a copy"
        mv "a folder" "a folder of another name"
        # Inside out: in the end each of them is in what was in it.
        mv "an outer folder/an inner folder" "an inner folder"
        mv "an outer folder" "an inner folder"
        cd /; time umount /m' -d "$tmp/tree.tar,name=tar,ro=1" -d "$tmp/tree.zip,name=zip,ro=1" -d "$tmp/new.bin,name=new,ro=1"
    grep -E '^(real|sys|user)' "$tmp/guest.out" | grep real | tr '\n' ' '
    (
        cd "$tmp/want"
        sed -i s/old/new/ "a text file.txt"
        sed -i -e 500,1500d numbers.txt
        printf 'omega alpha\nbeta\n' >"edited by vi.txt"
        cp "$tmp/new.bin" replaced.bin
        mv "a folder" "a folder of another name"
        # Inside out: in the end each of them is in what was in it.
        mv "an outer folder/an inner folder" "an inner folder"
        mv "an outer folder" "an inner folder"
        cp -a "$tmp/tree" "from tar"
        cp -a "$tmp/zipped" "from zip"
        cp -a "$tmp/tree" "a copy"
    )
    arrives 90
    for dir in "from tar" "a copy"; do
        times "$tmp/tree" >"$tmp/times.want"
        times "$tmp/remote/$dir" | diff "$tmp/times.want" - >"$tmp/times.diff" || fail "$1: times differ: $(head -n 6 "$tmp/times.diff")"
    done

    echo "---- $1: a power cut while files are copied, and fsck when it is back"
    # Few: fsck.fat needs minutes to save some thousand lost chains, on any disk.
    guest 100 kill '(cp -r "from zip" "again 1"; sync & cp -r "from zip" "again 2") >/dev/null 2>&1 & sleep 4'
    check="$fsck \$(part d0 1) || [ \$? = 1 ]"
    guest 200 clean 'rm -rf again*; echo checked >checked.txt; cd /; umount /m'
    check=:
    echo checked >"$tmp/want/checked.txt"
    arrives 90

    if [ -n "${CLOUDSHARE_LONG:-}" ]; then
        echo "---- $1: 10,000 files"
        many "$tmp/ten" 10000 3000
        tar -C "$tmp/ten" -b 128 -cf "$tmp/ten.tar" .
        guest 600 clean 'mkdir ten; time tar -xf $(disk ten) -C ten; cd /; time umount /m' -d "$tmp/ten.tar,name=ten,ro=1"
        grep real "$tmp/guest.out" | tr '\n' ' '
        cp -a "$tmp/ten" "$tmp/want/ten"
        arrives 600
    fi
    stop_nbdkit
}

# large: on exFAT, by a kernel that does not write zeros for what nobody wrote.
large ()
{
    local begin type=exfat options=iocharset=utf8 check=: kernel=6.12
    echo "---- exfat: 4.2 GiB"
    mkdir "$tmp/remote" "$tmp/want"
    start_rw remote="$tmp/remote" fs=exfat size=8G
    guest 300 clean 'dd if=/dev/urandom of=large.bin bs=1M count=3 2>/dev/null; truncate -s 4300M large.bin; cd /; umount /m'
    begin=$SECONDS
    wait_until 300 test -e "$tmp/remote/large.bin"
    drained 100
    [ "$(stat -c %s "$tmp/remote/large.bin")" = $((4300 << 20)) ] || fail "it has $(stat -c %s "$tmp/remote/large.bin") bytes"
    [ "$(tail -c +$((3 << 20 | 1)) "$tmp/remote/large.bin" | tr -d '\0' | wc -c)" = 0 ] || fail "there are bytes that nobody wrote"
    guest 300 clean 'sha256sum large.bin >/run/sum; dd if=large.bin bs=1M count=3 2>/dev/null | sha256sum'
    grep -q "$(head -c $((3 << 20)) "$tmp/remote/large.bin" | sha256sum | cut -d' ' -f1)" "$tmp/guest.out" || fail "its beginning differs"
    echo "  in the cloud $((SECONDS - begin)) s after the guest's end"
    stop_nbdkit
}

if [ $# -gt 0 ]; then
    "$@"
else
    together <<END
programs fat32
programs exfat
END
    [ -z "${CLOUDSHARE_LONG:-}" ] || "$0" large
fi
