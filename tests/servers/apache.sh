#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Apache with mod_dav: see common.sh for how to call it.
#
#   auth=none|basic|digest  user= password=
#   tls=no|yes|wrong-name   yes: CAINFO= is printed too; wrong-name: the certificate is another host's
#   http2=no|yes            over TLS by ALPN, without TLS by prior knowledge or upgrade
#   path=/                  the URL path that the folder has
#   infinity=no|yes         answers PROPFIND with Depth: infinity
#   beside=no|yes           what is in $STATE/empty is served beside the folder's path, to everybody
#   keepalive=15            seconds; 0: every connection closes after one answer
#
# As root it serves as www-data, so www-data has to be able to read (for tests that write: to write) the folder.

. "$(dirname "$0")/common.sh"

opt=([auth]=none [user]=user [password]=password [tls]=no [http2]=no [path]=/ [infinity]=no [beside]=no [keepalive]=15)

modules=/usr/lib/apache2/modules

may_read ()
{
    [ "$(id -u)" != 0 ] || setpriv --reuid www-data --regid www-data --clear-groups test -r "$1" -a -x "$1"
}

write_users ()
{
    local realm=cloudshare
    case ${opt[auth]} in
        basic)
            printf '%s:%s\n' "${opt[user]}" "$(openssl passwd -apr1 -stdin <<<"${opt[password]}")"
            ;;
        digest)
            printf '%s:%s:%s\n' "${opt[user]}" $realm \
                "$(printf '%s:%s:%s' "${opt[user]}" $realm "${opt[password]}" | md5sum | cut -d' ' -f1)"
            ;;
    esac >"$STATE/users"
}

write_conf ()
{
    local port=$1 m
    # Other distributions build some of these in.
    for m in mpm_event authn_core authn_file authz_core authz_user auth_basic auth_digest dav dav_fs alias mime \
        setenvif ssl http2; do
        [ -e "$modules/mod_$m.so" ] && echo "LoadModule ${m}_module $modules/mod_$m.so"
    done
    cat <<CONF
ServerRoot "$STATE"
ServerName 127.0.0.1
Listen 127.0.0.1:$port
PidFile "$STATE/httpd.pid"
Mutex file:$STATE
ErrorLog "$STATE/error.log"
LogLevel warn
DocumentRoot "$STATE/empty"
TypesConfig /etc/mime.types
DavLockDB "$STATE/locks/db"
KeepAlive $([ "${opt[keepalive]}" = 0 ] && echo off || echo on)
KeepAliveTimeout ${opt[keepalive]}
MaxKeepAliveRequests 0
StartServers 1
ThreadsPerChild 32
MaxRequestWorkers 64
ServerLimit 2
AllowEncodedSlashes on
CONF
    [ "$(id -u)" = 0 ] && printf 'User www-data\nGroup www-data\n'
    if [ "${opt[tls]}" != no ]; then
        printf 'SSLEngine on\nSSLCertificateFile "%s"\nSSLCertificateKeyFile "%s"\n' \
            "$STATE/server.pem" "$STATE/server.key"
        printf 'SSLSessionCache none\n'
    fi
    if [ "${opt[http2]}" = yes ]; then
        echo "Protocols $([ "${opt[tls]}" = no ] && echo h2c || echo h2) http/1.1"
    fi
    [ "${opt[path]}" = / ] || echo "Alias \"${opt[path]}\" \"$dir\""
    [ "${opt[path]}" = / ] && echo "DocumentRoot \"$dir\""
    cat <<CONF
<Directory "/">
  Require all denied
</Directory>
$([ "${opt[beside]}" = no ] || printf '<Directory "%s">\n  Require all granted\n</Directory>' "$STATE/empty")
<Directory "$dir">
  Dav on
  DavDepthInfinity $([ "${opt[infinity]}" = yes ] && echo on || echo off)
  Options None
  AllowOverride None
  $(case ${opt[auth]} in
      basic) printf 'AuthType Basic\n  AuthBasicProvider file\n  AuthUserFile "%s"\n' "$STATE/users" ;;
      digest) printf 'AuthType Digest\n  AuthDigestProvider file\n  AuthUserFile "%s"\n' "$STATE/users" ;;
    esac)
  $([ "${opt[auth]}" = none ] || echo 'AuthName "cloudshare"')
  Require $([ "${opt[auth]}" = none ] && echo all granted || echo valid-user)
</Directory>
CONF
}

# It writes its number once it has its port.
is_up ()
{
    [ -s "$STATE/httpd.pid" ] && listens "$1"
}

server_start ()
{
    local port scheme=http
    command -v apache2 >/dev/null || die "apache2 is not installed"
    may_read "$dir" || die "$dir: www-data cannot read it; chmod it and the folders above it"
    mkdir "$STATE/empty" "$STATE/locks"
    [ "$(id -u)" != 0 ] || chown www-data "$STATE/locks" "$STATE"
    case ${opt[tls]} in
        yes) make_certificate IP:127.0.0.1,DNS:localhost ;;
        wrong-name) make_certificate DNS:other.example ;;
    esac
    [ "${opt[tls]}" = no ] || scheme=https
    port=$(free_port)
    write_users
    write_conf "$port" >"$STATE/httpd.conf"
    server_run apache2 -f "$STATE/httpd.conf" -DFOREGROUND
    wait_for is_up "$port" || return 1
    URL=$scheme://127.0.0.1:$port${opt[path]%/}/
}

server_main "$@"
