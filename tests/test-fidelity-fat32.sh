#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Random file operations in a real Linux guest on FAT32, with and without sync, with unmounting or a power cut at the end: the
# cloud's tree becomes what they lead to, byte for byte; no content is sent more often than it came into being; no conflicts.
# A guest whose power is cut while it works leaves nothing garbled, and nothing missing that it did not touch.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
. "$(dirname "$0")/fidelity/guest-test.sh"

echo "seed $seed"
all_runs fat32
