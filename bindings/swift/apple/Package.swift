// swift-tools-version: 6.0
// The package for Apple's systems, as bindings/swift/build-xcframework.sh puts it together.
// It has not been built yet: no Mac was there.
import PackageDescription

let package = Package(
    name: "MatrixE2ee",
    platforms: [.iOS(.v13), .macOS(.v11)],
    products: [
        .library(name: "MatrixE2ee", targets: ["MatrixE2ee"]),
    ],
    targets: [
        .binaryTarget(name: "MatrixE2eeFFI", path: "MatrixE2eeFFI.xcframework"),
        .target(
            name: "MatrixE2ee",
            dependencies: ["MatrixE2eeFFI"],
            linkerSettings: [.linkedLibrary("iconv")] // Rust's standard library asks for it
        ),
        .testTarget(name: "MatrixE2eeTests", dependencies: ["MatrixE2ee"]),
    ]
)
