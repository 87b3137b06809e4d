#!/bin/sh
# Makes sure that there are a JDK, Maven, and Maven Central or what was downloaded from it before.
set -u
cd "$(dirname "$0")/../.."
tools/need.sh mvn javac && {
    [ -d .cache/m2/org/jetbrains/kotlin/kotlin-maven-plugin ] ||
        bindings/kotlin/maven.sh -f bindings/kotlin/pom.xml resources:resources
} || { echo "SKIPPED: kotlin (no toolchain)"; exit 1; }
