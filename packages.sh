# SPDX-License-Identifier: BSD-3-Clause
# Sourced by quickstart and runtests: Debian packages, and how to build.

build_packages=(
    autoconf automake libtool pkg-config gcc libc6-dev make perl
    nbdkit nbdkit-plugin-dev libcurl4-openssl-dev libsqlite3-dev libexpat1-dev libssl-dev libutf8proc-dev
    libjson-c-dev libmicrohttpd-dev
)
run_packages=(
    nbdkit libnbd-bin mtools fdisk
)
test_packages=(
    check valgrind
    libnbd-bin python3 python3-libnbd mtools p7zip-full dosfstools exfatprogs exfat-fuse fuse3 grub-common grub-pc-bin e2fsprogs fdisk gdisk
    apache2-bin apache2-utils media-types openssl curl rclone php-cli php-sabre-dav php-xml
    qemu-system-x86 qemu-utils busybox-static cpio kmod xz-utils zstd util-linux procps iproute2 mount tzdata
    libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients
)
# Real S3 servers, for the long tests.
long_packages=(
    ceph-mon ceph-osd radosgw python3-boto3
    python3-swift
)

as_root=()
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo)
fi

# install_packages PACKAGE...: those that are missing.
install_packages ()
{
    local missing=() p
    for p; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
    done
    [ ${#missing[@]} = 0 ] && return 0
    if [ ${#as_root[@]} -gt 0 ] && ! command -v sudo >/dev/null; then
        echo "these packages are missing, and there is neither root nor sudo to install them: ${missing[*]}" >&2
        return 1
    fi
    echo "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${missing[@]}" >/dev/null
}

# build_in DIR CONFIGURE-OPTION...: configures it if need be, and builds.  What goes wrong is in DIR/build.log.
build_in ()
{
    local dir=$1
    shift
    mkdir -p "$dir"
    {
        [ -e configure ] || autoreconf -fi
        [ -e "$dir/Makefile" ] || (cd "$dir" && ../configure CFLAGS='-O2 -g' "$@")
        make -C "$dir" -j"$(nproc)"
    } >"$dir/build.log" 2>&1 || {
        tail -n 40 "$dir/build.log" >&2
        echo "building failed: see $dir/build.log" >&2
        return 1
    }
}
