import Foundation
import MatrixE2ee

/// Where the records of a store of our own are; it outlives the stores that are opened on it.
final class Place: @unchecked Sendable {
    private let lock = NSLock()
    private var records: [String: [Data: Data]] = [:]

    func use<T>(_ work: (inout [String: [Data: Data]]) throws -> T) rethrows -> T {
        lock.lock()
        defer { lock.unlock() }
        return try work(&records)
    }
}

/// A store of our own: dictionaries in memory.
class OwnStore: StoreBackend, @unchecked Sendable {
    let place: Place

    init(_ place: Place = Place()) {
        self.place = place
    }

    func get(collection: String, key: Data) throws -> Data? {
        place.use { $0[collection]?[key] }
    }

    func scan(collection: String, afterKey: Data?, limit: UInt32) throws -> [StoreEntry] {
        place.use { records in
            let found = (records[collection] ?? [:])
                .filter { key, _ in afterKey.map { $0.lexicographicallyPrecedes(key) } ?? true }
                .sorted { $0.key.lexicographicallyPrecedes($1.key) }
            return found.prefix(Int(limit)).map { StoreEntry(key: $0.key, value: $0.value) }
        }
    }

    func commit(changes: [StoreChange]) throws {
        place.use { records in
            for change in changes {
                records[change.collection, default: [:]][change.key] = change.value
            }
        }
    }
}

/// Opens a store of our own, again and again, on one place.
final class Opener<Backend: OwnStore>: StoreOpener {
    let make: @Sendable () -> Backend

    init(_ make: @escaping @Sendable () -> Backend) {
        self.make = make
    }

    func open() throws -> StoreBackend { make() }
}

/// Something of which each use may fail, with any error that a Swift program has.
final class Failure: @unchecked Sendable {
    private let lock = NSLock()
    private var error: Error?

    func set(_ error: Error?) { lock.withLock { self.error = error } }

    func occur() throws {
        if let error = lock.withLock({ error }) { throw error }
    }
}

/// A store of our own that fails when we want.
final class FailingStore: OwnStore, @unchecked Sendable {
    let failure = Failure()

    override func get(collection: String, key: Data) throws -> Data? {
        try failure.occur()
        return try super.get(collection: collection, key: key)
    }

    override func scan(collection: String, afterKey: Data?, limit: UInt32) throws -> [StoreEntry] {
        try failure.occur()
        return try super.scan(collection: collection, afterKey: afterKey, limit: limit)
    }

    override func commit(changes: [StoreChange]) throws {
        try failure.occur()
        try super.commit(changes: changes)
    }
}

/// A clock that shows what we want.
final class OwnClock: Clock, @unchecked Sendable {
    let failure = Failure()
    private let lock = NSLock()
    private var time: Int64 = 1_700_000_000_000
    private var inside: (@Sendable () -> Void)?

    func set(_ time: Int64) { lock.withLock { self.time = time } }

    /// What is done inside of the callback.
    func doInside(_ work: @escaping @Sendable () -> Void) { lock.withLock { inside = work } }

    func nowMs() throws -> Int64 {
        try failure.occur()
        lock.withLock { inside }?()
        return lock.withLock { time }
    }
}
