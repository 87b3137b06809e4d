#!/bin/sh
# member_swift.sh NAME USER_ID DEVICE_ID PATH STORE_KEY_HEX: starts tests/languages/Member.swift, after
# bindings/swift/build.sh. member_swift.sh --build: only compiles it, which else happens first.
# Without a Swift toolchain it says so on standard error, and ends with 3.
set -eu
cd "$(dirname "$0")/../.."
package=target/swift/member
mkdir -p "$package/Sources/Member"
cat > "$package/Package.swift.new" <<'END'
// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "Member",
    dependencies: [.package(path: "../MatrixE2ee")],
    targets: [
        .executableTarget(
            name: "Member", dependencies: [.product(name: "MatrixE2ee", package: "MatrixE2ee")]),
    ]
)
END
cmp -s "$package/Package.swift.new" "$package/Package.swift" ||
    cp "$package/Package.swift.new" "$package/Package.swift"
for file in tests/languages/Member examples/swift/Device examples/swift/Homeserver examples/swift/JSON; do
    ln -sf "$PWD/$file.swift" "$package/Sources/Member/"
done
tools/swift.sh --install >&2
tools/swift.sh swift build --package-path "$package" --scratch-path target/swift/build/member >&2
[ "$1" = --build ] || exec tools/swift.sh target/swift/build/member/debug/Member "$@"
