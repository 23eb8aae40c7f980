#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Writers other than Linux, simulated (tests/fidelity/writers.py): Windows on FAT32 and exFAT, a camera's firmware on FAT32.  The
# cloud becomes what they mean; nothing goes up that was no whole file, and nothing more often than it was written.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires apache2

seed=$(seed_for 5)

writer () { "$PYTHON" "$abs_top_srcdir/tests/fidelity/writers.py" "$1" "$seed" "${@:2}"; }

same () { sleep 1; writer "$1" compare "$tmp/remote"; }

# story STYLE FS
story ()
{
    mkdir "$tmp/remote"
    writer "$1" tree "$tmp/remote"
    chmod -R a+rwX "$tmp/remote"
    start_server apache "$tmp/remote"
    start_proxy
    start_rw remote="$URL" fs="$2" settle=0.5
    writer "$1" write "$NBD_URI" || fail "$1: status $?"
    wait_until 60 same "$1" || { same "$1" || true; ctl status || true; fail "$1, seed $seed: see above"; }
    drained
    same "$1"
    no_conflicts "$tmp/remote"
    # What it wrote, and what became of it, hold together.
    sleep 3
    same_content "$tmp/remote"
    writer "$1" uploads "$tmp/requests"
    stop_nbdkit
}

if [ $# -gt 0 ]; then
    "$@"
else
    echo "seed $seed"
    together <<END
story windows-fat32 fat32
story windows-exfat exfat
story camera fat32
END
fi
