#!/bin/sh
# member_c.sh --build: compiles the member in C, against the library as `make install` puts it into
# target/languages. member_c.sh NAME USER_ID ...: starts it (see member.c).
set -eu
cd "$(dirname "$0")/../.."
place=$PWD/target/languages

if [ "${1:-}" = --build ]; then
    make --no-print-directory install PREFIX="$place"
    # shellcheck disable=SC2046  # lists of flags
    gcc -std=c11 -D_XOPEN_SOURCE=700 -g -Wall -Wextra -Wpedantic -Werror -Iexamples/c \
        tests/languages/member.c examples/c/device.c -o "$place/member" \
        $(PKG_CONFIG_PATH=$place/lib/pkgconfig pkg-config --cflags --libs matrixe2ee jansson) \
        -Wl,-rpath,"$place/lib"
    exit
fi
[ -x "$place/member" ] || "$0" --build >&2
exec "$place/member" "$@"
