#!/bin/sh
# doxygen.sh OUTPUT: the reference of the interfaces in C and C++, as HTML. Doxygen's warnings are
# on stderr.
set -eu
mkdir -p "$1"
OUTPUT=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
tools/need.sh doxygen
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
INPUT=$(mktemp -d)
trap 'rm -rf "$INPUT"' EXIT
export OUTPUT VERSION INPUT

cp -R include/. docs/json.md "$INPUT"
# The conventions at the beginning of matrixe2ee.h are an ordinary comment.
sed '1s,/\*,/** \\file,' include/matrixe2ee.h > "$INPUT/matrixe2ee.h"
cat > "$INPUT/main.md" << 'END'
# libmatrixe2ee {#mainpage}

End-to-end encryption for Matrix.

- \ref matrixe2ee.h is the interface in C: the conventions first, then each function.
- \ref matrixe2ee.hpp is the one in C++, a layer over it: \ref matrixe2ee::Store,
  \ref matrixe2ee::Account, \ref matrixe2ee::OlmChannel, \ref matrixe2ee::OutboundMegolmSession,
  \ref matrixe2ee::InboundMegolmSession, and the errors, all kinds of \ref matrixe2ee::Error.
- \ref md_json lists the JSON shapes that are this library's own, and all errors.
END
doxygen tools/Doxyfile
