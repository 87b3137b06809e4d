#!/bin/sh
# swift.sh COMMAND...: runs a command with a Swift toolchain, in the folder one is in.
# swift.sh --install: only makes sure that there is one; ends with 3 if there is none.
#
# The machine's own Swift is taken; if it has none, its package `swiftlang`; if its distribution is too
# old for that, Debian 13's, in a chroot: the folder SWIFT_ROOT, or else .cache/swift. A chroot sees the
# checkout, /tmp and TMPDIR at their own paths. Both kinds of installing need root.
#
# Everything is mounted in a mount namespace that ends with the command, however it ends: nothing is
# left to be unmounted, and nobody else ever sees these mounts.
set -eu
here=$(pwd -P)
cd "$(dirname "$0")/.."
checkout=$(pwd -P)
root=${SWIFT_ROOT:-$checkout/.cache/swift}
bin=/usr/libexec/swift/bin # where Debian keeps `swift test`

# A tool of OpenStack is called swift, too.
host_has_swift() { PATH="$bin:$PATH" swift --version 2> /dev/null | grep -q 'Swift version'; }

is_root() { [ "$(id -u)" = 0 ]; }

chroot_has_swift() { is_root && [ -x "$root$bin/swift" ]; }

package_exists() { apt-cache policy swiftlang 2> /dev/null | grep -q 'Candidate: [0-9]'; }

# From this machine's apt sources, so that a mirror that works here is used there, too.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' \
        'Component: main' 2> /dev/null | head -n 1
}

reason() { echo "Swift: $1"; return 1; }

# Under a lock, so that two that need it at once make it once.
install() {
    is_root || reason "only root can install it" || return 1
    command -v apt-get > /dev/null || reason "it can be installed with apt-get only" || return 1
    mkdir -p .cache
    package_exists || flock .cache/apt.lock apt-get update -q > /dev/null 2>&1 || true
    if package_exists; then
        tools/need.sh swift && host_has_swift
        return
    fi
    unshare --mount true 2> /dev/null || reason "a chroot needs the right to mount" || return 1
    tools/need.sh debootstrap || return 1
    [ -n "$(mirror)" ] || reason "the apt sources name no mirror of Debian" || return 1
    echo "installing Debian's Swift in a chroot; this takes some minutes"
    mkdir -p "$(dirname "$root")"
    if ! unshare --mount "$checkout/tools/swift.sh" --make "$(mirror)" > "$root.log" 2>&1; then
        tail -n 20 "$root.log"
        return 1
    fi
}

# In a namespace of its own. Only a finished chroot gets the name: what was left half made by somebody
# who was stopped is thrown away.
make() {
    part=$root.part
    [ ! -e "$root" ] || { echo "$root is there, but has no Swift: remove it"; exit 1; }
    rm -rf --one-file-system "$part"
    # The script of sid is that of every suite; an older debootstrap does not know trixie by name.
    debootstrap --variant=minbase trixie "$part" "$1" /usr/share/debootstrap/scripts/sid
    apt-config dump --format '%F "%v";%n' Acquire | grep -v '^Acquire::IndexTargets' \
        > "$part/etc/apt/apt.conf.d/99-as-outside"
    for file in /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt; do
        [ ! -e "$file" ] || install_file "$file"
    done
    lean > "$part/etc/dpkg/dpkg.cfg.d/lean"
    mount -t proc proc "$part/proc"
    export DEBIAN_FRONTEND=noninteractive
    chroot "$part" apt-get update -q
    chroot "$part" apt-get install -y -q --no-install-recommends swiftlang libc6-dev \
        libstdc++-14-dev binutils git
    chroot "$part" apt-get clean
    umount "$part/proc"
    mv "$part" "$root"
}

# Nobody needs this to survive a power failure, or reads manuals there; and of the toolchain, no
# debugger, no language server and no static libraries: 1.2 GB less.
lean() {
    echo force-unsafe-io
    for file in share/doc share/man share/locale \
        libexec/swift/bin/clangd libexec/swift/bin/docc libexec/swift/bin/lldb \
        libexec/swift/bin/sourcekit-lsp libexec/swift/bin/swift-format \
        libexec/swift/lib/liblldb libexec/swift/lib/libsourcekitd libexec/swift/lib/swift_static \
        libexec/swift/lib/swift/embedded libexec/swift/lib/swift/FrameworkABIBaseline; do
        echo "path-exclude=/usr/$file*"
    done
}

install_file() {
    mkdir -p "$part$(dirname "$1")"
    cat "$1" > "$part$1"
}

# In a namespace of its own.
enter() {
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    for folder in /tmp "${TMPDIR:-/tmp}" "$checkout"; do
        [ -d "$folder" ] || continue
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
    done
    exec chroot "$root" env -C "$here" HOME=/root LC_ALL=C.UTF-8 \
        PATH="$bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}

case ${1:?a command} in
    --make) make "$2"; exit ;;
    --enter) shift; enter "$@" ;;
esac

if ! host_has_swift && ! chroot_has_swift; then
    mkdir -p "$(dirname "$root")"
    exec 9> "$root.lock"
    flock 9
    if ! chroot_has_swift && ! install >&2; then
        echo 'SKIPPED: swift (no toolchain)'
        exit 3
    fi
    exec 9>&-
fi
[ "$1" != --install ] || exit 0

if host_has_swift; then
    cd "$here"
    PATH="$bin:$PATH" exec "$@"
fi
cd "$here"
exec unshare --mount "$checkout/tools/swift.sh" --enter "$@"
