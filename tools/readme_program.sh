#!/bin/sh
# readme_program.sh LANGUAGE: prints the README's first block of code in a language (c, cpp, python,
# kotlin, swift, ...), so that a test can run it as it stands.
set -eu
cd "$(dirname "$0")/.."
awk -v fence="\`\`\`$1" '$0 == fence { inside = 1; next } /^```$/ { if (inside) exit } inside' README.md
