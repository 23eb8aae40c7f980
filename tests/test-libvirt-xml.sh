#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# cloudsharectl libvirt-xml: what it tells of a real nbdkit that listens in this way and that, for whom the rules let in and
# for whom they do not; and that libvirt's schema takes it, and the examples, where libvirt is installed.

. "$(dirname "$0")/functions.sh"
requires python3 openssl
CTL=$abs_top_builddir/cloudsharectl
cache=$tmp/cache
mkdir -m 700 "$cache"
mkdir -p "$tmp/remote/Photos" "$tmp/remote/Docs"

# xml STATUS ARGUMENT...: what it prints is in $tmp/out and $err.
xml ()
{
    local want=$1 status=0
    shift
    "$CTL" libvirt-xml "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
    err=$(cat "$tmp/err")
    [ $status = "$want" ] || fail "libvirt-xml $*: exit status $status instead of $want: $(cat "$tmp/out") $err"
    [ $status != 0 ] || valid "$@"
}
complains ()
{
    [[ $err == "cloudsharectl: "*"$1"* ]] || fail "\"$1\" is missing in: $err"
    [ "$(wc -l <"$tmp/err")" = 1 ] || fail "more than one sentence: $err"
}

# is PATH VALUE...: pairs; an element's path below <disk>, with @ATTRIBUTE at its end; "-" stands for none.
is ()
{
    python3 - "$tmp/out" "$@" <<'PY' || fail "wrong: $(cat "$tmp/out")"
import sys, xml.etree.ElementTree as tree
disk = tree.parse (sys.argv[1]).getroot ()
assert disk.tag == "disk" and disk.attrib == { "type": "network", "device": "disk" }, disk.attrib
for path, want in zip (sys.argv[2::2], sys.argv[3::2]):
  path, _, attribute = path.partition ("@")
  element = disk.find (path)
  got = "-" if element is None else element.get (attribute, "-") if attribute else element.text or ""
  assert got == want, (path, attribute, got, want)
PY
}

# valid: the schema takes a domain with it.
domain='<domain type="qemu"><name>x</name><memory>1</memory><os><type>hvm</type></os><devices>%s</devices></domain>'
valid ()
{
    [[ " $* " == *" --json "* ]] && return
    command -v virt-xml-validate >/dev/null && [ -e /usr/share/libvirt/schemas/domain.rng ] || return 0
    printf "${domain//%s/%b}" "$(sed 's/\\/\\\\/g' "$tmp/out")" >"$tmp/domain.xml"
    virt-xml-validate "$tmp/domain.xml" domain >"$tmp/valid" 2>&1 || fail "$(cat "$tmp/valid" "$tmp/out")"
}

# ---- called wrongly, and without a server ----

for wrong in "" "$cache" "$cache a b" "--discard $cache a/b" "--timeout 1 $cache a/b"; do
    xml 2 $wrong
done
! "$CTL" status --usb "$cache" 2>/dev/null || fail "status takes --usb"
xml 4 "$cache" vm1/photos
complains "no server runs with this cache folder"

# ---- rules, a Unix socket ----

cat >"$tmp/rules" <<'RULES'
disk=photos,folder=/Photos
disk=docs,folder=/Docs,ro
disk=a-name-that-is-longer-than-20,folder=/Docs
vm=vm1,disk=photos
vm=vm2,disk=photos:ro,disk=docs
vm=vm3,disk=a-name-that-is-longer-than-20,uid=4242
vm=vm4,disk=docs,cert=CN=vm4\,O=Example
RULES
serve ()
{
    start_nbdkit "$@" remote="$tmp/remote" cache="$cache" size=64M
}
serve "$PLUGIN" config="$tmp/rules"
xml 0 "$cache" vm1/photos
is source@protocol nbd source@name vm1/photos source@tls - source/host@transport unix source/host@socket "$NBD_SOCKET" \
    source/host@name - driver@name qemu driver@type raw driver@cache none driver@discard unmap driver@detect_zeroes unmap \
    driver@error_policy stop driver@rerror_policy stop target@dev vdb target@bus virtio target@removable - readonly - serial photos
! grep -q -e '<!--' "$tmp/out" || fail "a comment: $(cat "$tmp/out")"
xml 0 --usb "$cache" vm1/photos
is target@dev sda target@bus usb target@removable on source/host@socket "$NBD_SOCKET"
for one in vm2/photos vm2/docs; do
    xml 0 "$cache" $one
    is source@name $one readonly '' driver@discard - driver@detect_zeroes - driver@error_policy stop
done
xml 0 "$cache" vm3/a-name-that-is-longer-than-20
is serial a-name-that-is-longe readonly -
grep -q '<!-- .* id 4242\. -->' "$tmp/out" || fail "nothing of the user: $(cat "$tmp/out")"
xml 0 "$cache" vm4/docs
grep -q "<!-- .*certificate" "$tmp/out" || fail "nothing of the certificate: $(cat "$tmp/out")"
xml 0 --json --usb "$cache" vm2/docs
python3 - "$tmp/out" "$NBD_SOCKET" <<'PY'
import json, sys
got = json.load (open (sys.argv[1]))
assert got == { "ok": True, "name": "vm2/docs", "read_only": True, "uid": None, "certificate": False, "transport": "unix",
                "socket": sys.argv[2], "tls": "off", "bus": "usb", "target": "sda", "removable": True, "serial": "docs",
                "driver": { "name": "qemu", "type": "raw", "cache": "none", "error_policy": "stop", "rerror_policy": "stop" } }, got
PY
xml 1 "$cache" vm1/docs
complains 'there is no export "vm1/docs"'
xml 1 "$cache" vm9/docs
complains "there is no virtual machine"
xml 1 "$cache" photos
complains "there is no virtual machine"
xml 1 "$cache" vm1/photos/
complains "there is no export"
xml 1 "$cache" $'vm1/ph\notos'
complains "cannot be written in XML"
xml 1 "$cache" $'vm1/\xff'
complains "cannot be written in XML"
xml 1 --json "$cache" vm1/docs
python3 -c 'import json, sys; s = json.load (open (sys.argv[1])); assert not s["ok"] and "driver" not in s, s' "$tmp/out"
# Asking makes no view.
! nbdinfo "$(nbd_uri vm1/docs)" >/dev/null 2>&1 || fail "vm1/docs exists"
"$CTL" status --json "$cache" | python3 -c 'import json, sys; s = json.load (sys.stdin); assert not any (d["views"] for d in s["disks"]), s'
stop_nbdkit

# ---- other sockets, other options ----

# The path stands between quotes of all kinds; nbdkit is told a name relative to where it starts.
mkdir "$tmp/s & 'q' <x>"
(cd "$tmp" && exec "$NBDKIT" -f -r -U "s & 'q' <x>/s" -P "$tmp/quotes.pid" "$PLUGIN" remote="$tmp/remote" cache="$cache" size=64M \
    >"$tmp/quotes.log" 2>&1 </dev/null) &
NBDKIT_PID=$!
cleanup_fn kill_nbdkit $NBDKIT_PID
wait_until 60 test -s "$tmp/quotes.pid"
xml 0 "$cache" "a virtual machine's \"&<>/cloud"
is source/host@socket "$tmp/s & 'q' <x>/s" source@name "a virtual machine's \"&<>/cloud" readonly '' serial cloud
stop_nbdkit

# tcp HOST OPTION...: a port that is free.
tcp ()
{
    local host=$1 i
    shift
    for i in {1..5}; do
        port=$(python3 -c 'import socket; s = socket.socket (); s.bind (("127.0.0.1", 0)); print (s.getsockname ()[1])')
        rm -f "$tmp/tcp.pid"
        "$NBDKIT" -f -p "$port" ${host:+-i "$host"} -P "$tmp/tcp.pid" "$@" "$PLUGIN" remote="$tmp/remote" cache="$cache" size=64M \
            >"$tmp/tcp.log" 2>&1 </dev/null &
        NBDKIT_PID=$!
        cleanup_fn kill_nbdkit $NBDKIT_PID
        wait_until 60 _started_or_ended "$tmp/tcp.pid"
        [ ! -s "$tmp/tcp.pid" ] || return 0
    done
    fail "nbdkit does not start: $(cat "$tmp/tcp.log")"
}
tcp 127.0.0.1
xml 0 "$cache" vm1/cloud
is source/host@name 127.0.0.1 source/host@port $port source/host@transport - source/host@socket - source@tls -
stop_nbdkit
if [ -e /proc/net/if_inet6 ] && grep -q lo /proc/net/if_inet6; then
    tcp ::1
    xml 0 "$cache" cloud
    is source/host@name ::1 source@name cloud
    stop_nbdkit
fi

mkdir "$tmp/certificates"
(
    cd "$tmp/certificates"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test -keyout ca-key.pem -out ca-cert.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout server-key.pem -out server.csr
    openssl x509 -req -in server.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 2 -out server-cert.pem \
        -extfile <(echo subjectAltName=DNS:localhost)
) >"$tmp/openssl.out" 2>&1 || fail "$(cat "$tmp/openssl.out")"
tcp '' --tls=require --tls-certificates="$tmp/certificates"
xml 0 "$cache" vm1/cloud
is source@tls yes source@tlsHostname - source/host@name localhost source/host@port $port
grep -q "all addresses" "$tmp/out" && grep -q nbd_tls_x509_cert_dir "$tmp/out" || fail "comments: $(cat "$tmp/out")"
stop_nbdkit
serve --tls require --tls-certificates="$tmp/certificates" "$PLUGIN"
xml 0 "$cache" vm1/cloud
is source@tls yes source@tlsHostname localhost source/host@socket "$NBD_SOCKET"
stop_nbdkit
# Both ways: a local socket needs none.
serve --tls=on --tls-certificates="$tmp/certificates" "$PLUGIN"
xml 0 "$cache" vm1/cloud
is source@tls - source@tlsHostname -
xml 0 --json "$cache" vm1/cloud
python3 -c 'import json, sys; assert json.load (open (sys.argv[1]))["tls"] == "on"' "$tmp/out"
stop_nbdkit

# A socket from systemd.
python3 - "$NBDKIT" "$tmp/activated" "$PLUGIN" "$tmp/remote" "$cache" >"$tmp/activated.log" 2>&1 <<'PY' &
import os, socket, sys
nbdkit, path, plugin, remote, cache = sys.argv[1:]
s = socket.socket (socket.AF_UNIX)
s.bind (path)
s.listen (5)
fd = os.dup (s.fileno ())
os.dup2 (fd, 3)
os.environ.update (LISTEN_FDS = "1", LISTEN_PID = str (os.getpid ()))
os.execvp (nbdkit, [nbdkit, "-f", plugin, "remote=" + remote, "cache=" + cache, "size=64M"])
PY
NBDKIT_PID=$!
cleanup_fn kill_nbdkit $NBDKIT_PID
wait_until 60 "$CTL" poke "$cache"
xml 0 "$cache" vm1/cloud
is source/host@socket "$tmp/activated"
stop_nbdkit

# One client on standard input: nobody else can come.
mkfifo "$tmp/in"
"$NBDKIT" -s "$PLUGIN" remote="$tmp/remote" cache="$cache" size=64M <"$tmp/in" >"$tmp/single.out" 2>"$tmp/single.log" &
NBDKIT_PID=$!
cleanup_fn kill_nbdkit $NBDKIT_PID
exec 7>"$tmp/in"
wait_until 60 "$CTL" poke "$cache"
xml 1 "$cache" vm1/cloud
complains "listens at no socket"
exec 7>&-
kill_nbdkit

# ---- the examples ----

if command -v virt-xml-validate >/dev/null; then
    for file in "$abs_top_srcdir"/examples/libvirt/*.xml; do
        if grep -q '^<domain' "$file"; then
            virt-xml-validate "$file" domain >"$tmp/valid" 2>&1 || fail "$file: $(cat "$tmp/valid")"
        else
            { echo "${domain%%\%s*}"; sed '/^<!--/,/-->/d' "$file"; echo "${domain##*%s}"; } >"$tmp/domain.xml"
            virt-xml-validate "$tmp/domain.xml" domain >"$tmp/valid" 2>&1 || fail "$file: $(cat "$tmp/valid")"
        fi
    done
fi
