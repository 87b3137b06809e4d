// swift-tools-version: 6.0
// The package for Linux, as bindings/swift/build.sh puts it together: with the generated code in
// Sources and the shared library in lib. (For Apple's systems: build-xcframework.sh.)
import PackageDescription

let library = Context.packageDirectory + "/lib"

let package = Package(
    name: "MatrixE2ee",
    products: [
        .library(name: "MatrixE2ee", targets: ["MatrixE2ee"]),
    ],
    targets: [
        .target(name: "MatrixE2eeFFI"),
        .target(
            name: "MatrixE2ee",
            dependencies: ["MatrixE2eeFFI"],
            linkerSettings: [
                // Programs find the library here, or beside themselves; the old kind of path comes
                // before LD_LIBRARY_PATH, so that they take no other.
                .unsafeFlags(["-L", library, "-Xlinker", "-rpath", "-Xlinker", library]),
                .unsafeFlags(["-Xlinker", "--disable-new-dtags"]),
                .linkedLibrary("matrixe2ee_uniffi"),
            ]
        ),
        .testTarget(name: "MatrixE2eeTests", dependencies: ["MatrixE2ee"]),
    ]
)
