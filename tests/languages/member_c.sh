#!/bin/sh
# member_c.sh NAME USER_ID ...: starts the member in C (see member.c). It is compiled if need be,
# after `make lib`, against the library as `make install` puts it into target/languages.
set -eu
cd "$(dirname "$0")/../.."
place=$PWD/target/languages

if [ ! -x "$place/member" ] || [ -n "$(find tests/languages/member.c examples/c include \
    target/capi/lib/libmatrixe2ee.so -newer "$place/member")" ]; then
    {
        tools/need.sh gcc pkg-config jansson
        make --no-print-directory install PREFIX="$place"
        # shellcheck disable=SC2046  # lists of flags
        gcc -std=c11 -D_XOPEN_SOURCE=700 -g -Wall -Wextra -Wpedantic -Werror -Iexamples/c \
            tests/languages/member.c examples/c/device.c -o "$place/member" \
            $(PKG_CONFIG_PATH=$place/lib/pkgconfig pkg-config --cflags --libs matrixe2ee jansson) \
            -Wl,-rpath,"$place/lib"
    } >&2
fi
exec "$place/member" "$@"
