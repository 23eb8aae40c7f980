#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The verbs of a local folder, without a disk.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/verbs.sh"

mkdir "$tmp/remote"
remote=("$tmp/remote")
see_in_folder "$tmp/remote"
verbs_keeps_times=yes
verbs
verbs_names
verbs_times
verbs_ranges 300000
verbs_large 20000000
verbs_stopped
if [ -n "${CLOUDSHARE_LONG:-}" ]; then
    verbs_many 10000
    verbs_huge
else
    verbs_many 1000
fi
[ -z "$(ls -A "$tmp/remote")" ] || fail "left behind: $(ls -A "$tmp/remote")"
