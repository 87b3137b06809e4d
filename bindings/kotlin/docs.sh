#!/bin/sh
# docs.sh FOLDER: writes the documentation of the Kotlin package into a folder, as HTML made by Dokka
# from the descriptions in the generated code.
set -eu
mkdir -p "$1"
output=$(cd "$1" && pwd)
cd "$(dirname "$0")"
./build.sh > /dev/null
./maven.sh -f pom.xml -Ddokka.output="$output" dokka:dokka
echo "$output/index.html"
