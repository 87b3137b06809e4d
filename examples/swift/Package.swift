// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "AliceAndBob",
    dependencies: [
        .package(path: "../../target/swift/MatrixE2ee"), // where `make swift-package` puts it
    ],
    targets: [
        .executableTarget(
            name: "AliceAndBob",
            dependencies: [.product(name: "MatrixE2ee", package: "MatrixE2ee")],
            path: ".",
            sources: ["AliceAndBob.swift", "Device.swift", "Homeserver.swift", "JSON.swift"]
        ),
    ]
)
