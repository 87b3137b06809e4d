#!/bin/sh
# need.sh TOOL...: makes sure that these tools are there; as root, it installs what is missing with
# apt-get.
set -u
here=$(dirname "$0")

package_of() {
    case $1 in
        jansson) echo libjansson-dev ;;
        libolm) echo libolm-dev ;;
        swift) echo swiftlang g++ binutils git ;; # Debian 13 and newer; see tools/swift.sh
        nlohmann-json) echo nlohmann-json3-dev ;;
        venv) echo python3-venv ;;
        mvn) echo maven ;;
        abidiff) echo abigail-tools ;;
        javac) echo default-jdk-headless ;;
        python-olm) echo python3-olm ;;
        *) echo "$1" ;;
    esac
}

there() {
    case $1 in
        jansson) pkg-config --exists jansson ;;
        libolm) pkg-config --exists olm || echo '#include <olm/olm.h>' | cc -E - ;;
        nlohmann-json) echo '#include <nlohmann/json.hpp>' | c++ -x c++ -std=c++17 -M - ;;
        binutils) command -v nm ;;
        venv) python3 -c 'import venv, ensurepip' ;;
        python-olm) /usr/bin/python3 -c 'import olm' ;;
        # Not in PATH: several versions may be there.
        postgresql) ls /usr/lib/postgresql/*/bin/postgres || command -v postgres ;;
        *) command -v "$1" ;;
    esac > /dev/null 2>&1
}

install() {
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || return 1
    # Two that install at the same time take turns, updates included.
    mkdir -p "$here/../.cache"
    (
        flock 8
        export DEBIAN_FRONTEND=noninteractive
        apt-get -o DPkg::Lock::Timeout=300 install -y -q "$@" > /dev/null 2>&1 && exit
        apt-get update -q > /dev/null 2>&1
        apt-get -o DPkg::Lock::Timeout=300 install -y -q "$@"
    ) 8> "$here/../.cache/apt.lock"
}

rust() {
    if ! cargo --version > /dev/null 2>&1; then
        # Debian 13 and Ubuntu 24.04 have rustup as a package.
        command -v rustup > /dev/null || install rustup > /dev/null 2>&1
        command -v rustup > /dev/null && rustup default stable
        cargo --version > /dev/null 2>&1 || {
            echo "Rust is missing: install 1.89 or newer with rustup (https://rustup.rs), then try again."
            exit 1
        }
    fi
    minor=$(cargo --version | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p')
    [ "${minor:-999}" -ge 89 ] && return
    echo "$(cargo --version) is too old: 'rustup update' brings Rust 1.89 or newer."
    exit 1
}

# A component of a nightly Rust. The one that is there is kept: it is asked for what it lacks, first.
nightly() {
    there_already() { rustup component list --toolchain nightly 2> /dev/null | grep -q "^$1.*(installed)"; }
    there_already "$1" || rustup component add "$1" --toolchain nightly 2> /dev/null ||
        rustup toolchain install nightly --profile minimal --component "$1" 2> /dev/null
    there_already "$1" && return
    echo "A nightly Rust with $1 is missing: rustup toolchain install nightly --component $1"
    exit 1
}

# Debian's package makes a cluster of databases and starts it, unless it is told not to.
postgresql() {
    settings=/etc/postgresql-common/createcluster.conf
    [ -e "$settings" ] || install postgresql-common &&
        sed -i.before 's/^#*create_main_cluster.*/create_main_cluster = false/' "$settings" &&
        install postgresql
    result=$?
    [ -e "$settings.before" ] && mv "$settings.before" "$settings"
    [ "$result" = 0 ] || { echo "Please install: postgresql"; exit 1; }
}

missing=
for tool in "$@"; do
    if [ "$tool" = cargo ]; then rust; continue; fi
    case $tool in rust-src | miri) nightly "$tool"; continue ;; esac
    if [ "$tool" = postgresql ] && ! there postgresql; then postgresql; continue; fi
    there "$tool" || missing="$missing $(package_of "$tool")"
done
[ -z "$missing" ] && exit 0
echo "installing$missing"
# shellcheck disable=SC2086  # a list
install $missing || { echo "Please install:$missing"; exit 1; }
