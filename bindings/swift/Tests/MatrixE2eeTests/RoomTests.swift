import Foundation
import MatrixE2ee
import XCTest

final class RoomTests: XCTestCase {
    func testARoomMessageIsReadByWhoGotTheKey() throws {
        let talk = try Conversation()
        XCTAssertEqual(try talk.sending.sessionId(), try talk.receiving.sessionId())
        XCTAssertEqual(try talk.receiving.senderKey(), try talk.alice.account.identityKey())
        XCTAssert(try talk.receiving.authenticated())
        XCTAssertEqual(try talk.receiving.firstKnownIndex(), 0)

        let event = try talk.alice.event("$1", "Hello Bob! 🙂", in: talk.sending)
        XCTAssertEqual(try talk.sending.messageIndex(), 1)
        let decrypted = try talk.receiving.decrypt(event: text(event))
        XCTAssertEqual(words(decrypted), "Hello Bob! 🙂")
        let about = object(decrypted)["matrixe2ee"] as? [String: Any]
        XCTAssertEqual(about?["owner"] as? String, "known")
        XCTAssertEqual(about?["authenticated"] as? Bool, true)
        XCTAssertEqual(about?["sender_key"] as? String, try talk.receiving.senderKey())
        XCTAssertNotNil(about?["sender_fingerprint"] as? String)
    }

    func testTheKeyGoesOnceToEachDeviceAndNotToThoseThatAreBlocked() throws {
        let alice = try Person.alice()
        let bob = try Person.bob()
        let carol = try Person("@carol:example.org", "CAROL")
        let session = try OutboundMegolmSession.create(account: alice.account, roomId: room)
        var recipients = try alice.recipients([bob, carol])
        recipients["blocked"] = [carol.userId: [carol.deviceId: "m.blacklisted"]]
        let entries = list(try session.getSessionKeyForSending(recipients: text(recipients)))
        XCTAssertEqual(entries.count, 2)
        let withheld = entries.compactMap { $0["withheld"] as? [String: Any] }
        XCTAssertEqual(withheld.map { $0["code"] as? String }, ["m.blacklisted"])
        try session.markAsSent(devices: text(entries.map { $0["device"]! }))
        XCTAssertEqual(try session.getSessionKeyForSending(recipients: text(recipients)), "[]")
    }

    func testManyEventsAreDecryptedInOneCall() throws {
        let talk = try Conversation()
        var events = try (0..<5).map { try talk.alice.event("$\($0)", "\($0)", in: talk.sending) }
        events.append(events[0])
        events[5]["event_id"] = "$again"
        let answers = list(try talk.receiving.decryptMany(events: text(events)))
        XCTAssertEqual(
            answers.prefix(5).map { words(text($0["event"]!)) }, ["0", "1", "2", "3", "4"])
        let error = answers[5]["error"] as? [String: Any]
        XCTAssertEqual(error?["name"] as? String, "REPLAY")

        let carol = try Person("@carol:example.org", "CAROL")
        let unknown = list(try carol.account.decryptRoomEvents(events: text(events)))
        XCTAssertEqual(
            unknown.map { ($0["error"] as? [String: Any])?["name"] as? String },
            Array(repeating: "NO_SESSION", count: 6))
    }

    func testASessionGoesOnAfterARestart() throws {
        let file = try folder().appendingPathComponent("alice.sqlite")
        let bob = try Person.bob()
        let store = try Store.openSqlite(at: file, key: storeKey)
        let alice = try Person.alice(in: store)
        let session = try OutboundMegolmSession.create(account: alice.account, roomId: room)
        let receiving = try bob.receive(alice.roomKey(of: session, for: bob), from: alice)
        _ = try InboundMegolmSession.fromOutboundSession(outbound: session)
        let first = try alice.event("$1", "before", in: session)
        let sessionId = try session.sessionId()
        try store.shutDown()

        let again = try Person.alice(in: Store.openSqlite(at: file, key: storeKey))
        let stored = try OutboundMegolmSession.createFromStorage(account: again.account, roomId: room)
        XCTAssertEqual(try stored.sessionId(), sessionId)
        let second = try again.event("$2", "after", in: stored)
        for (event, said) in [(first, "before"), (second, "after")] {
            XCTAssertEqual(words(try receiving.decrypt(event: text(event))), said)
        }
        let own = try InboundMegolmSession.fromStorage(
            account: again.account, roomId: room, sessionId: sessionId,
            senderUserId: "@alice:example.org")
        XCTAssertEqual(words(try own.decrypt(event: text(first))), "before")
        XCTAssertEqual(list(try again.account.listSessions(roomId: room)).count, 1)
        XCTAssertEqual(try again.account.listSessions(after: sessionId, limit: 5), "[]")
        try own.erase()
        XCTAssertEqual(try again.account.listSessions(), "[]")
    }

    func testAnExportedSessionIsReadButNobodyVouchesForIt() throws {
        let talk = try Conversation()
        _ = try talk.alice.event("$0", "earlier", in: talk.sending)
        let event = text(try talk.alice.event("$1", "later", in: talk.sending))
        let exported = try talk.receiving.exportAt(index: 1)
        let carol = try Person("@carol:example.org", "CAROL")
        let session = try InboundMegolmSession.fromExport(account: carol.account, sessionData: exported)
        XCTAssertFalse(try session.authenticated())
        XCTAssertEqual(try session.firstKnownIndex(), 1)
        let decrypted = try session.decrypt(event: event)
        XCTAssertEqual(words(decrypted), "later")
        let about = object(decrypted)["matrixe2ee"] as? [String: Any]
        XCTAssertEqual(about?["owner"] as? String, "unknown")
        _ = try InboundMegolmSession.fromExport(
            account: carol.account, sessionData: exported, senderUserId: talk.alice.userId)
        let again = object(try session.decrypt(event: event))["matrixe2ee"] as? [String: Any]
        XCTAssertEqual(again?["owner"] as? String, "known")
        XCTAssertEqual(
            object(try talk.receiving.exportAt())["session_id"] as? String,
            try talk.sending.sessionId())
    }

    func testTheSessionsOfAKeyExportAreImportedInOneCall() throws {
        let talk = try Conversation()
        let carol = try Person("@carol:example.org", "CAROL")
        let report = object(
            try carol.account.importSessions(sessions: "[\(try talk.receiving.exportAt()), {}]"))
        XCTAssertEqual(report["imported"] as? Int, 1)
        let failed = report["failed"] as? [[String: Any]]
        XCTAssertEqual(failed?.map { $0["index"] as? Int }, [1])
        XCTAssertEqual(list(try carol.account.listSessions(roomId: room)).count, 1)
    }

    func testSettingsLimitHowLongASessionLasts() throws {
        let alice = try Person.alice()
        let session = try OutboundMegolmSession.create(
            account: alice.account, roomId: room, settings: #"{"maximum_rotation_period_msgs": 1}"#)
        _ = try alice.event("$1", "once", in: session)
        expect(try alice.event("$2", "twice", in: session)) {
            if case .SessionExpired(_, "count") = $0 { true } else { false }
        }
        try session.erase()
        expect("NOT_FOUND", try session.messageIndex())
    }
}
