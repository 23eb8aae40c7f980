#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Odd names, many files and large ones, and an end in the middle, by the WebDAV provider, without a disk.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/verbs.sh"
requires apache2 rclone php curl
[ -e /usr/share/php/Sabre/autoload.php ] || skip "php-sabre-dav is not installed"

many=200 large=5000000
[ -z "${CLOUDSHARE_LONG:-}" ] || many=10000 large=70000000

for server in apache rclone sabredav; do
    mkdir "$tmp/$server"
    chmod 777 "$tmp/$server"
    start_server $server "$tmp/$server"
    remote=("$URL")
    see_in_folder "$tmp/$server"
    verbs_names
    verbs_times
    verbs_large $large
    verbs_many $many
    verbs_stopped
    [ -z "${CLOUDSHARE_LONG:-}" ] || [ $server = sabredav ] || verbs_huge
    stop_server $server
done
