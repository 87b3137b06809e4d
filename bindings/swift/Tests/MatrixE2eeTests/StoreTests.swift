import Foundation
import MatrixE2ee
import XCTest

final class StoreTests: XCTestCase {
    struct DiskOnFire: Error {
        let password = "1234"
    }

    func testAStoreInAFileOpensWithItsKeyOnly() throws {
        let file = try folder().appendingPathComponent("store.sqlite")
        let store = try Store.openSqlite(at: file, key: storeKey)
        expect("STORE_IN_USE", try Store.openSqlite(path: file.path, key: storeKey))
        let newKey = Data(repeating: 8, count: 32)
        try store.rekey(newKey: newKey)
        try store.shutDown()
        try store.shutDown()
        expect("STORE_CLOSED", try store.rekey(newKey: newKey))
        expect("WRONG_KEY", try Store.openSqlite(at: file, key: storeKey))
        try Store.openSqlite(at: file, key: newKey).shutDown()
    }

    func testAStoreInAFileOpensWithItsPassphrase() throws {
        let file = try folder().appendingPathComponent("store.sqlite")
        let store = try Store.openSqlite(at: file, passphrase: "correct horse")
        try store.rekeyWithPassphrase(passphrase: "battery staple")
        try store.shutDown()
        expect("WRONG_KEY", try Store.openSqlite(at: file, passphrase: "correct horse"))
        let again = try Store.openSqliteWithPassphrase(path: file.path, passphrase: "battery staple")
        try again.shutDown()
        expect("INVALID_LENGTH", try Store.openSqlite(at: file, passphrase: ""))
    }

    func testAStoreOfOurOwnKeepsToTheRules() {
        let place = Place()
        XCTAssertEqual(brokenStoreRules(opener: Opener { OwnStore(place) }), [])
    }

    func testABrokenRuleIsNamed() {
        final class Unsorted: OwnStore, @unchecked Sendable {
            override func scan(collection: String, afterKey: Data?, limit: UInt32) throws -> [StoreEntry] {
                try super.scan(collection: collection, afterKey: afterKey, limit: limit).reversed()
            }
        }
        let place = Place()
        XCTAssertFalse(brokenStoreRules(opener: Opener { Unsorted(place) }).isEmpty)
        XCTAssertFalse(
            brokenStoreRules(opener: Opener { OwnStore() }).isEmpty, "each opening forgets all")
    }

    func testAnOpenerThatThrowsBreaksTheRules() {
        final class Locked: StoreOpener {
            func open() throws -> StoreBackend { throw DiskOnFire() }
        }
        XCTAssertFalse(brokenStoreRules(opener: Locked()).isEmpty)
    }

    func testAnAccountLivesInAStoreOfOurOwnAndNothingIsReadableThere() throws {
        let place = Place()
        let store = try Store.foreign(backend: OwnStore(place), key: storeKey)
        let identityKey = try Person.alice(in: store).account.identityKey()
        try store.shutDown()
        place.use { records in
            XCTAssertFalse(records.isEmpty)
            for value in records.values.flatMap(\.values) {
                XCTAssertNil(value.range(of: Data("alice".utf8)))
            }
        }
        expect(
            "WRONG_KEY",
            try Store.foreign(backend: OwnStore(place), key: Data(repeating: 8, count: 32)))
        let again = try Store.foreign(backend: OwnStore(place), key: storeKey)
        XCTAssertEqual(try Person.alice(in: again).account.identityKey(), identityKey)
    }

    func testWhatAStoreOfOurOwnThrowsArrivesAsAnErrorOfTheStore() throws {
        let backend = FailingStore()
        let account = try Person.alice(in: Store.foreign(backend: backend, key: storeKey)).account
        let session = try OutboundMegolmSession.create(account: account, roomId: room)
        let errors: [(Error, String)] = [
            (DiskOnFire(), " (STORE_IO)"),
            (CocoaError(.fileWriteOutOfSpace), " (STORE_IO)"),
            (E2eeError.StoreIo(detail: "disk full"), ": disk full"),
            (E2eeError.Corrupt(detail: "password"), " (CORRUPT)"),
        ]
        for (error, says) in errors {
            backend.failure.set(error)
            for _ in 1...2 {
                // The first time a commit fails, then the reading of what may have been committed.
                expect(try session.encrypt(eventType: "m.room.message", content: "{}")) {
                    if case .StoreIo(let detail) = $0 {
                        ["commit", "get"].contains { detail == "the backend failed to \($0)\(says)" }
                    } else {
                        false
                    }
                }
            }
            expect("STORE_IO", try account.listSessions())
        }
        backend.failure.set(nil)
        _ = try session.encrypt(eventType: "m.room.message", content: "{}")
        XCTAssertEqual(try session.messageIndex(), 1)
    }

    func testWhatAStoreOfOurOwnLosesOrAltersIsNoticed() throws {
        let place = Place()
        let store = try Store.foreign(backend: OwnStore(place), key: storeKey)
        _ = try Person.alice(in: store)
        try store.shutDown()
        place.use { records in
            for (collection, found) in records where collection != "header" {
                for (key, value) in found {
                    var altered = value
                    altered[altered.startIndex + altered.count / 2] ^= 1
                    records[collection]?[key] = altered
                }
            }
        }
        expect("CORRUPT", try Person.alice(in: Store.foreign(backend: OwnStore(place), key: storeKey)))
    }

    func testTheClockOfOurOwnIsAsked() throws {
        let clock = OwnClock()
        let alice = try Person.alice()
        try alice.store.setClock(clock: clock)
        let session = try OutboundMegolmSession.create(account: alice.account, roomId: room)
        _ = try session.encrypt(eventType: "m.room.message", content: "{}")
        clock.set(1_700_000_000_000 + 30 * 24 * 3_600_000)
        expect(try session.encrypt(eventType: "m.room.message", content: "{}")) {
            if case .SessionExpired(_, "time") = $0 { true } else { false }
        }
    }

    func testWhatTheClockThrowsArrivesAsAnErrorOfTheClock() throws {
        let clock = OwnClock()
        let alice = try Person.alice()
        try alice.store.setClock(clock: clock)
        for error: Error in [DiskOnFire(), E2eeError.ClockFailed(detail: "no battery")] {
            clock.failure.set(error)
            expect(try OutboundMegolmSession.create(account: alice.account, roomId: room)) {
                if case .ClockFailed(let detail) = $0 { !detail.contains("1234") } else { false }
            }
        }
        clock.failure.set(nil)
        _ = try OutboundMegolmSession.create(account: alice.account, roomId: room)
    }

    func testACallbackMayNotCallTheLibrary() throws {
        let clock = OwnClock()
        let alice = try Person.alice()
        try alice.store.setClock(clock: clock)
        let called = expectation(description: "the clock was asked")
        called.assertForOverFulfill = false
        let account = alice.account
        @Sendable func callBack() {
            expect("BUSY", try account.userId())
            called.fulfill()
        }
        clock.doInside(callBack)
        _ = try OutboundMegolmSession.create(account: alice.account, roomId: room)
        wait(for: [called], timeout: 0)
    }
}
