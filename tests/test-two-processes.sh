#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# One cache folder belongs to one process: a second one is refused, and the first goes on undisturbed.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"

make_tree "$tmp/remote" --files 50 --sums "$tmp/want.sums"
start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache"
first=$NBDKIT_PID

refused 'in use by another process' remote="$tmp/remote" cache="$tmp/cache"
ln -s cache "$tmp/alias"
refused 'in use by another process' remote="$tmp/remote" cache="$tmp/alias"
same_content "$tmp/remote" "$tmp/want.sums"

# With a cache of its own a second process may serve the same remote.
start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache2"
same_content "$tmp/remote" "$tmp/want.sums"
stop_nbdkit

# As soon as the first has ended, however it ended, the cache is free.
kill_nbdkit "$first"
start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache"
same_content "$tmp/remote" "$tmp/want.sums"
