import Foundation
import MatrixE2ee
import XCTest

final class ChannelTests: XCTestCase {
    func testTwoDevicesTalkOverAChannel() throws {
        let alice = try Person.alice()
        let bob = try Person.bob()
        let toBob = try alice.channel(to: bob)
        let first = try toBob.encrypt(eventType: "m.note", content: #"{"body": "one"}"#)
        let toAlice = try bob.channel(from: alice, content: first)
        let event = try toAlice.firstEvent()
        XCTAssertEqual(object(event)["type"] as? String, "m.note")
        XCTAssertEqual(object(event)["sender"] as? String, "@alice:example.org")
        XCTAssertEqual(words(event), "one")

        try toAlice.setPartnerDeviceKeys(deviceKeys: alice.account.deviceKeys())
        let answer = try toAlice.encrypt(eventType: "m.note", content: #"{"body": "two"}"#)
        XCTAssertEqual(words(try toBob.decrypt(content: answer)), "two")
        XCTAssertFalse(try toBob.shouldCreateNewSession())
    }

    func testAChannelKnowsItsPartner() throws {
        let alice = try Person.alice()
        let bob = try Person.bob()
        let partner = object(try alice.channel(to: bob).partner())
        XCTAssertEqual(partner["user_id"] as? String, "@bob:example.org")
        XCTAssertEqual(partner["device_id"] as? String, "BOB")
        XCTAssertEqual(partner["identity_key"] as? String, try bob.account.identityKey())
        XCTAssertEqual(partner["fingerprint_key"] as? String, try bob.account.fingerprintKey())
        XCTAssertEqual(partner["fingerprint"] as? String, "device_keys")
    }

    func testAChannelHasSessionsUntilItIsErased() throws {
        let alice = try Person.alice()
        let bob = try Person.bob()
        let channel = try alice.channel(to: bob)
        XCTAssertEqual(try channel.sessionCount(), 1)
        try channel.addOutboundOlmSession(oneTimeKey: bob.oneTimeKey())
        XCTAssertEqual(try channel.sessionCount(), 2)

        let stored = try OlmChannel.createFromStorage(
            account: alice.account, partnerUserId: bob.userId,
            partnerIdentityKey: bob.account.identityKey())
        XCTAssertEqual(try stored.sessionCount(), 2)
        let listed = list(try alice.account.listChannels(limit: 1))
        XCTAssertEqual(listed.map { $0["user_id"] as? String }, [bob.userId])
        XCTAssertEqual(try alice.account.listChannels(after: bob.account.identityKey()), "[]")
        try channel.erase()
        XCTAssertEqual(try alice.account.listChannels(), "[]")
        expect("NOT_FOUND", try stored.sessionCount())
    }

    func testOneCallEncryptsForManyDevices() throws {
        let alice = try Person.alice()
        let people = try ["@bob:example.org", "@carol:example.org"].map { try Person($0, "PHONE") }
        for person in people { _ = try alice.channel(to: person) }
        var items = try people.map {
            try ["user_id": $0.userId, "identity_key": $0.account.identityKey(),
                 "type": "m.note", "content": ["body": $0.userId]] as [String: Any]
        }
        items.append(["user_id": "@eve:example.org", "identity_key": try alice.account.identityKey(),
                      "type": "m.note", "content": [String: Any]()])
        let answers = list(try alice.account.encryptForDevices(items: text(items)))
        for (person, answer) in zip(people, answers) {
            let content = text(try XCTUnwrap(answer["content"]))
            let event = try person.channel(from: alice, content: content).firstEvent()
            XCTAssertEqual(words(event), person.userId)
        }
        XCTAssertEqual((answers[2]["error"] as? [String: Any])?["name"] as? String, "NOT_FOUND")
    }
}
