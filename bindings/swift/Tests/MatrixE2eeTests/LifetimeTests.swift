import Foundation
import MatrixE2ee
import XCTest

/// Handles are ordinary Swift objects: they end with their last reference, and cross threads.
final class LifetimeTests: XCTestCase {
    func testAFileIsFreeAgainWhenTheLastHandleOnItIsGone() throws {
        let file = try folder().appendingPathComponent("alice.sqlite")
        var store: Store? = try Store.openSqlite(at: file, key: storeKey)
        var account: Account? = try Account.open(
            store: XCTUnwrap(store), userId: "@alice:example.org", deviceId: "ALICE")
        store = nil
        XCTAssertEqual(try account?.deviceId(), "ALICE", "an account keeps its store open")
        expect("STORE_IN_USE", try Store.openSqlite(at: file, key: storeKey))
        account = nil
        XCTAssertNoThrow(try Store.openSqlite(at: file, key: storeKey).shutDown())
        XCTAssertNil(account)
        XCTAssertNil(store)
    }

    func testAStoreOfOurOwnIsReleasedWithTheLastHandleAndByShutDown() throws {
        weak var released: OwnStore?
        var alice: Person? = try {
            let backend = OwnStore()
            released = backend
            return try Person.alice(in: Store.foreign(backend: backend, key: storeKey))
        }()
        XCTAssertNotNil(released)
        alice = nil
        XCTAssertNil(released)

        alice = try {
            let backend = OwnStore()
            released = backend
            return try Person.alice(in: Store.foreign(backend: backend, key: storeKey))
        }()
        try alice?.store.shutDown()
        XCTAssertNil(released)
        XCTAssertNotNil(alice)
    }

    func testAClockIsReleasedWhenAnotherTakesItsPlace() throws {
        weak var released: OwnClock?
        let store = try Store.inMemory(key: storeKey)
        try {
            let clock = OwnClock()
            released = clock
            try store.setClock(clock: clock)
        }()
        XCTAssertNotNil(released)
        try store.setClock(clock: OwnClock())
        XCTAssertNil(released)
    }

    func testManyThreadsUseOneSession() throws {
        let talk = try Conversation()
        let lock = NSLock()
        nonisolated(unsafe) var events: [[String: Any]] = []
        DispatchQueue.concurrentPerform(iterations: 64) { number in
            let event = try! talk.alice.event("$\(number)", "\(number)", in: talk.sending)
            lock.withLock { events.append(event) }
        }
        XCTAssertEqual(try talk.sending.messageIndex(), 64)
        let answers = list(try talk.receiving.decryptMany(events: text(events)))
        let read = Set(answers.compactMap { $0["event"].flatMap { words(text($0)) } })
        XCTAssertEqual(read, Set((0..<64).map(String.init)))
    }

    func testTasksShareHandlesOnAStoreOfOurOwn() async throws {
        let bob = try Person.bob(in: Store.foreign(backend: OwnStore(), key: storeKey))
        let account = bob.account
        try await withThrowingTaskGroup(of: String.self) { group in
            for number in 0..<16 {
                group.addTask {
                    let session = try OutboundMegolmSession.create(
                        account: account, roomId: "!\(number):example.org")
                    _ = try InboundMegolmSession.fromOutboundSession(outbound: session)
                    return try session.sessionId()
                }
            }
            let sessionIds = try await group.reduce(into: Set<String>()) { $0.insert($1) }
            XCTAssertEqual(sessionIds.count, 16)
        }
        XCTAssertEqual(list(try account.listSessions()).count, 16)
    }

    func testAHandleMayGoWhileAnotherThreadUsesIt() throws {
        for _ in 0..<20 {
            nonisolated(unsafe) var talk: Conversation? = try Conversation()
            let session = talk!.sending
            let done = DispatchSemaphore(value: 0)
            Thread.detachNewThread {
                for _ in 0..<10 { _ = try! session.encrypt(eventType: "m.note", content: "{}") }
                done.signal()
            }
            talk = nil
            XCTAssertNil(talk)
            done.wait()
        }
    }
}
