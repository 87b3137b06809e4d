import Foundation
import MatrixE2ee
import XCTest

/// Each error that a Swift program can meet, made by what causes it; those of the store are in
/// StoreTests, NoSession, which stands in answers about many events, in RoomTests.
/// (NullPointer, InvalidUtf8, StaleHandle and WrongHandle are C's only; Forked needs a fork, which
/// Swift does not offer; Panic would be a mistake in the library.)
final class ErrorTests: XCTestCase {
    func testErrorsOfInput() throws {
        let alice = try Person.alice()
        expect("INVALID_LENGTH", try Store.inMemory(key: Data(count: 31)))
        expect("INVALID_JSON", try alice.account.signJson(object: "{"))
        expect("INVALID_JSON", try canonicalJson(value: #"{"a": 1.5}"#))
        expect(try Person("alice", "ALICE")) {
            if case .InvalidField(_, field: "user_id") = $0 { true } else { false }
        }
        let talk = try Conversation()
        let long = String(repeating: "x", count: 65_536)
        expect(try talk.alice.event("$1", long, in: talk.sending)) {
            if case .TooLarge(_, limit: 65_536) = $0 { true } else { false }
        }
    }

    func testErrorsOfKeysAndSignatures() throws {
        let alice = try Person.alice()
        let bob = try Person.bob()
        func open(_ deviceKeys: String, _ oneTimeKey: String) throws -> OlmChannel {
            try OlmChannel.createOutboundChannel(
                account: alice.account, recipientDeviceKeys: deviceKeys,
                recipientOneTimeKey: oneTimeKey)
        }
        let keys = try bob.account.deviceKeys()
        expect("BAD_SIGNATURE", try open(keys, Person.alice().oneTimeKey()))
        let altered = keys.replacingOccurrences(of: "m.megolm.v1", with: "m.megolm.v9")
        expect("BAD_SIGNATURE", try open(altered, bob.oneTimeKey()))
        expect(
            "INVALID_KEY",
            try OlmChannel.createFromStorage(
                account: alice.account, partnerUserId: bob.userId, partnerIdentityKey: "short"))
        let channel = try open(keys, bob.oneTimeKey())
        expect("ALREADY_EXISTS", try open(keys, bob.oneTimeKey()))
        expect(try channel.decrypt(content: #"{"algorithm": "m.new", "ciphertext": {}}"#)) {
            if case .UnknownAlgorithm(_, algorithm: "m.new") = $0 { true } else { false }
        }
    }

    func testErrorsOfTheChannel() throws {
        let alice = try Person.alice()
        let bob = try Person.bob()
        let toBob = try alice.channel(to: bob)
        let content = try toBob.encrypt(eventType: "m.note", content: "{}")
        let identityKey = try alice.account.identityKey()

        let laptop = try Person("@bob:example.org", "LAPTOP")
        expect("NOT_ENCRYPTED_FOR_US", try laptop.channel(from: alice, content: content))
        expect(
            "MISMATCHED_FINGERPRINT",
            try OlmChannel.createFromEncryptedMessage(
                account: bob.account, partnerUserId: alice.userId, partnerIdentityKey: identityKey,
                content: content, partnerFingerprintKey: bob.account.fingerprintKey()
            ).firstEvent())

        // Bob's store is not as it was: a message that has to be discarded makes a channel, too.
        let again = try alice.channel(to: laptop)
        let forLaptop = try again.encrypt(eventType: "m.note", content: "{}")
        let byEve = try OlmChannel.createFromEncryptedMessage(
            account: laptop.account, partnerUserId: "@eve:example.org",
            partnerIdentityKey: identityKey, content: forLaptop)
        expect("INVALID_MESSAGE", try byEve.firstEvent())
    }

    func testAnAlteredMessageDoesNotDecryptAndAnUnknownDeviceGetsNoSession() throws {
        let alice = try Person.alice()
        let bob = try Person.bob()
        let toBob = try alice.channel(to: bob)
        let first = try toBob.encrypt(eventType: "m.note", content: "{}")
        let toAlice = try bob.channel(from: alice, content: first)
        expect("UNKNOWN_FINGERPRINT", try toAlice.addOutboundOlmSession(oneTimeKey: alice.oneTimeKey()))
        expect(try toAlice.decrypt(content: first)) {
            if case .UnableToDecrypt(_, reason: "missing_message_key") = $0 { true } else { false }
        }
        var second = object(try toBob.encrypt(eventType: "m.note", content: "{}"))
        var ciphertext = second["ciphertext"] as! [String: [String: Any]]
        let bobsKey = try bob.account.identityKey()
        let body = ciphertext[bobsKey]!["body"] as! String
        ciphertext[bobsKey]!["body"] = String(body.dropLast(6)) + "AAAAAA"
        second["ciphertext"] = ciphertext
        expect(try toAlice.decrypt(content: text(second))) {
            if case .UnableToDecrypt(_, reason: "bad_mac") = $0 { true } else { false }
        }
    }

    func testErrorsOfTheSendingSession() throws {
        let alice = try Person.alice()
        let session = try OutboundMegolmSession.create(account: alice.account, roomId: room)
        expect("ROOM_NOT_ENCRYPTED", try session.getSessionKeyForSending(recipients: #"{"members": {}}"#))
        try session.invalidate()
        expect(try session.encrypt(eventType: "m.room.message", content: "{}")) {
            if case .SessionExpired(_, reason: "invalidated") = $0 { true } else { false }
        }
        expect(
            "NOT_FOUND",
            try OutboundMegolmSession.createFromStorage(account: alice.account, roomId: "!other:b.org"))
    }

    func testErrorsOfTheReceivingSession() throws {
        let talk = try Conversation()
        let event = try talk.alice.event("$1", "words", in: talk.sending)
        func decrypt(_ change: (inout [String: Any]) -> Void) throws -> String {
            var changed = event
            change(&changed)
            return try talk.receiving.decrypt(event: text(changed))
        }
        expect("WRONG_ROOM", try decrypt { $0["room_id"] = "!other:example.org" })
        expect("WRONG_SENDER", try decrypt { $0["sender"] = "@eve:example.org" })
        expect(try decrypt { event in
            var content = event["content"] as! [String: Any]
            let ciphertext = content["ciphertext"] as! String
            content["ciphertext"] = String(ciphertext.dropLast(90)) + String(repeating: "A", count: 90)
            event["content"] = content
        }) {
            if case .UnableToDecrypt(_, reason: "bad_mac") = $0 { true } else { false }
        }
        _ = try decrypt { _ in }
        expect(try decrypt { $0["event_id"] = "$2" }) {
            if case .Replay(_, messageIndex: 0, eventId: "$1") = $0 { true } else { false }
        }
        var roomKey = object(talk.roomKey)
        roomKey["session_id"] = try OutboundMegolmSession.create(
            account: talk.alice.account, roomId: room
        ).sessionId()
        expect("MISMATCHED_SESSION_ID", try talk.bob.receive(text(roomKey), from: talk.alice))

        let carol = try Person("@carol:example.org", "CAROL")
        let later = try InboundMegolmSession.fromExport(
            account: carol.account, sessionData: talk.receiving.exportAt(index: 1))
        expect(try later.decrypt(event: text(event))) {
            if case .UnknownIndex(_, firstKnown: 1, got: 0) = $0 { true } else { false }
        }
    }

    func testErrorsOfAFile() throws {
        let folder = try folder()
        expect("STORE_IO", try Store.openSqlite(path: "/nonexistent/store", key: storeKey))
        let other = folder.appendingPathComponent("other")
        try Data("no database, but a text that is long enough".utf8).write(to: other)
        expect("CORRUPT", try Store.openSqlite(at: other, key: storeKey))

        // SQLite keeps the format's number in bytes 60 to 63 of the file.
        let file = folder.appendingPathComponent("newer.sqlite")
        try Store.openSqlite(at: file, key: storeKey).shutDown()
        var bytes = try Data(contentsOf: file)
        let supported = UInt32(bytes[63])
        bytes[63] += 7
        try bytes.write(to: file)
        expect(try Store.openSqlite(at: file, key: storeKey)) {
            if case .NewerFormat(_, found: supported + 7, supported: supported) = $0 {
                true
            } else {
                false
            }
        }
    }

    func testAfterShutDownEveryHandleSaysThatTheStoreIsClosed() throws {
        let talk = try Conversation()
        let channel = try talk.alice.channel(to: talk.bob)
        try talk.alice.store.shutDown()
        try talk.bob.store.shutDown()
        expect("STORE_CLOSED", try Person.alice(in: talk.alice.store))
        expect("STORE_CLOSED", try talk.alice.account.userId())
        expect("STORE_CLOSED", try channel.sessionCount())
        expect("STORE_CLOSED", try talk.sending.encrypt(eventType: "m.note", content: "{}"))
        expect("STORE_CLOSED", try talk.receiving.sessionId())
    }

    func testAnErrorSaysItsNumberNameTextAndJson() throws {
        let error = E2eeError.Replay(detail: "again", messageIndex: 4, eventId: "$1")
        XCTAssertEqual(error.code(), 306)
        XCTAssertEqual(error.name(), "REPLAY")
        XCTAssertEqual(error.detail, "again")
        XCTAssertEqual("\(error)", "REPLAY (306): again")
        XCTAssertEqual((error as Error).localizedDescription, "REPLAY (306): again")
        let fields = object(error.json())
        XCTAssertEqual(fields["message_index"] as? Int, 4)
        XCTAssertEqual(fields["event_id"] as? String, "$1")
    }

    func testNothingThatIsPrintedHoldsASecret() throws {
        let talk = try Conversation()
        let key = try XCTUnwrap(object(talk.roomKey)["session_key"] as? String)
        var printed = ""
        for value: Any in [talk.bob.store, talk.bob.account, talk.sending, talk.receiving] {
            dump(value, to: &printed)
            printed += "\(value) \(String(reflecting: value))"
        }
        XCTAssertFalse(printed.contains(key.prefix(20)))
        XCTAssertFalse(printed.contains(storeKey.base64EncodedString()))
        XCTAssert(printed.contains("InboundMegolmSession"))
    }
}
