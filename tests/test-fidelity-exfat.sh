#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Random file operations in a real Linux guest on exFAT, with and without sync; at the end it unmounts, shuts down with an open
# file, is left alone, or its power is cut: the cloud's tree becomes what they lead to, byte for byte; no content is sent more
# often than it came into being; no conflicts.  A guest whose power is cut while it works leaves nothing garbled, and nothing
# missing that it did not touch; and once it is back, the cloud has what it sees.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
plain_seed=635252598
. "$(dirname "$0")/fidelity/guest-test.sh"

if [ $# -gt 0 ]; then "$@"; else all_runs exfat; fi
