import Foundation
import MatrixE2ee
import XCTest

let room = "!room:example.org"
let megolm = "m.megolm.v1.aes-sha2"
let storeKey = Data(repeating: 7, count: 32)

/// JSON text of dictionaries, lists and so on.
func text(_ value: Any) -> String {
    let data = try! JSONSerialization.data(withJSONObject: value, options: .fragmentsAllowed)
    return String(decoding: data, as: UTF8.self)
}

func value(_ text: String) -> Any {
    try! JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
}

func object(_ text: String) -> [String: Any] { value(text) as! [String: Any] }

func list(_ text: String) -> [[String: Any]] { value(text) as! [[String: Any]] }

/// Checks that a call fails, and with which error.
func expect<T>(
    _ call: @autoclosure () throws -> T, file: StaticString = #filePath, line: UInt = #line,
    fails: (E2eeError) -> Bool
) {
    do {
        XCTFail("it gave \(try call())", file: file, line: line)
    } catch let error as E2eeError {
        XCTAssert(fails(error), "it failed with \(error.json())", file: file, line: line)
        XCTAssertFalse(error.detail.isEmpty, file: file, line: line)
    } catch {
        XCTFail("it threw \(error)", file: file, line: line)
    }
}

/// The same, by the name of the error.
func expect<T>(
    _ name: String, _ call: @autoclosure () throws -> T, file: StaticString = #filePath,
    line: UInt = #line
) {
    expect(try call(), file: file, line: line) { $0.name() == name }
}

/// One device of one user, in a store of its own.
struct Person: Sendable {
    let userId: String
    let deviceId: String
    let store: Store
    let account: Account

    init(_ userId: String, _ deviceId: String, in store: Store? = nil) throws {
        self.userId = userId
        self.deviceId = deviceId
        self.store = try store ?? Store.inMemory(key: storeKey)
        account = try Account.open(store: self.store, userId: userId, deviceId: deviceId)
    }

    static func alice(in store: Store? = nil) throws -> Person {
        try Person("@alice:example.org", "ALICE", in: store)
    }

    static func bob(in store: Store? = nil) throws -> Person {
        try Person("@bob:example.org", "BOB", in: store)
    }

    /// Uploads keys and gives one: `{key_id: key}`.
    func oneTimeKey() throws -> String {
        try account.receiveKeyCounts(oneTimeCounts: "{}")
        let request = object(try XCTUnwrap(account.keysUploadRequest()))
        try account.receiveKeysUploadResponse(httpStatus: 200, body: "{}")
        let keys = try XCTUnwrap(request["one_time_keys"] as? [String: Any])
        let (keyId, key) = try XCTUnwrap(keys.first)
        return text([keyId: key])
    }

    /// A channel to another person's device, with a one-time key of theirs.
    func channel(to other: Person) throws -> OlmChannel {
        try OlmChannel.createOutboundChannel(
            account: account, recipientDeviceKeys: other.account.deviceKeys(),
            recipientOneTimeKey: other.oneTimeKey())
    }

    /// The channel that a first message makes.
    func channel(from other: Person, content: String) throws -> OlmChannel {
        try OlmChannel.createFromEncryptedMessage(
            account: account, partnerUserId: other.userId,
            partnerIdentityKey: other.account.identityKey(), content: content)
    }

    /// What `getSessionKeyForSending` takes, for a room with these people.
    func recipients(_ people: [Person]) throws -> [String: Any] {
        var members: [String: Any] = [:]
        var deviceKeys: [String: Any] = [:]
        for person in people {
            members[person.userId] = "join"
            deviceKeys[person.userId] = [person.deviceId: object(try person.account.deviceKeys())]
        }
        return [
            "encryption": ["algorithm": megolm], "members": members, "device_keys": deviceKeys,
        ]
    }

    /// The content of the `m.room_key` for another person's device.
    func roomKey(of session: OutboundMegolmSession, for other: Person) throws -> String {
        let recipients = text(try recipients([self, other]))
        let entries = list(try session.getSessionKeyForSending(recipients: recipients))
        let entry = try XCTUnwrap(
            entries.first { ($0["device"] as? [String: Any])?["user_id"] as? String == other.userId })
        try session.markAsSent(devices: text([XCTUnwrap(entry["device"])]))
        return text(try XCTUnwrap(entry["content"]))
    }

    /// The session of somebody who received this room key.
    func receive(_ roomKey: String, from other: Person) throws -> InboundMegolmSession {
        try InboundMegolmSession.fromRoomKey(
            account: account, senderUserId: other.userId, senderKey: other.account.identityKey(),
            roomKeyContent: roomKey)
    }

    /// An event of the room that this person sends.
    func event(_ id: String, _ words: String, in session: OutboundMegolmSession) throws
        -> [String: Any]
    {
        let content = try session.encrypt(
            eventType: "m.room.message", content: text(["msgtype": "m.text", "body": words]))
        return [
            "event_id": id, "sender": userId, "room_id": room, "type": "m.room.encrypted",
            "origin_server_ts": 1_700_000_000_000, "content": object(content),
        ]
    }
}

/// Alice's session for the room, and Bob's half of it.
struct Conversation {
    let alice: Person
    let bob: Person
    let sending: OutboundMegolmSession
    let roomKey: String
    let receiving: InboundMegolmSession

    init() throws {
        alice = try .alice()
        bob = try .bob()
        sending = try OutboundMegolmSession.create(account: alice.account, roomId: room)
        roomKey = try alice.roomKey(of: sending, for: bob)
        receiving = try bob.receive(roomKey, from: alice)
    }
}

/// The words of a decrypted message.
func words(_ decrypted: String) -> String? {
    (object(decrypted)["content"] as? [String: Any])?["body"] as? String
}

/// A folder that is gone when the test is over.
extension XCTestCase {
    func folder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("matrixe2ee-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        addTeardownBlock { try FileManager.default.removeItem(at: folder) }
        return folder
    }
}
