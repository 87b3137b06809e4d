#!/bin/sh
# Tests the Swift package that build.sh has made: its own tests; the README's program as a package of
# its own, with what the archive holds; the example. Also compiles the member of tests/languages.
set -eu
cd "$(dirname "$0")/../.."
out=target/swift
build=$out/build

tools/swift.sh --install || { [ $? = 3 ] && [ "${CI:-}" != true ] && exit 0; exit 1; }

echo 'the tests of the package'
tools/swift.sh swift test --package-path "$out/MatrixE2ee" --scratch-path "$build/package" \
    --disable-swift-testing

echo "the README's program"
readme=$out/readme
mkdir -p "$readme/Sources/First"
rm -f "$readme/alice.sqlite"*
tar -C "$readme" -xzf "$out"/MatrixE2ee-"$(cat "$out/VERSION")"-*.tar.gz
cat > "$readme/Package.swift" <<'END'
// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "First",
    dependencies: [.package(path: "MatrixE2ee")],
    targets: [
        .executableTarget(
            name: "First", dependencies: [.product(name: "MatrixE2ee", package: "MatrixE2ee")]),
    ]
)
END
tools/readme_program.sh swift > "$readme/Sources/First/main.swift"
tools/swift.sh swift build --package-path "$readme" --scratch-path "$build/readme"
(cd "$readme" && ../../../tools/swift.sh ../build/readme/debug/First) > "$readme/output"
grep -q '^POST /_matrix/client/v3/keys/upload' "$readme/output"
grep -q '"algorithm":"m.megolm.v1.aes-sha2"' "$readme/output"

echo 'the example'
tools/swift.sh swift run --package-path examples/swift --scratch-path "$build/example" \
    AliceAndBob > "$out/example.txt"
grep -x 'All is as it should be.' "$out/example.txt"

tests/languages/member_swift.sh --build
# What only a Mac can build: at least it can be read.
tools/swift.sh swift package --package-path bindings/swift/apple dump-package > "$out/apple.json"
grep -q MatrixE2eeFFI.xcframework "$out/apple.json"
for script in bindings/swift/*.sh tools/swift.sh tests/languages/member_swift.sh; do
    sh -n "$script"
done
echo 'the Swift package is as it should be'
