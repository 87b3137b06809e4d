// One device: its store and its account, what it says to the homeserver, and how it reads and writes
// in the room. A call that fails although it may not fail throws, and so ends the program.

import Foundation
import MatrixE2ee

let megolm = "m.megolm.v1.aes-sha2"

struct Device {
    let name: String
    let userId: String
    let deviceId: String
    let path: String
    let storeKey: Data // a real program keeps it in the system's key store
    var store: Store!
    var account: Account!
}

/// Shows a line to whoever watches; a program may put another in its place.
nonisolated(unsafe) var tell: (String) -> Void = { print($0) }

/// What is thrown if something is not as it should be.
struct Failure: Error, CustomStringConvertible {
    let description: String
}

func check(_ holds: Bool, _ what: String) throws {
    if !holds { throw Failure(description: "this should hold: \(what)") }
}

/// Checks that a call fails as it has to; one that may not fail stands behind `try` alone.
func refused<T>(_ expected: String, _ call: () throws -> T) throws {
    do {
        _ = try call()
    } catch let error as E2eeError {
        try check(error.name() == expected, "\(error) is \(expected)")
        tell("   refused: \(error.name()) (\(error.code())), \"\(error.detail)\"")
        return
    }
    try check(false, "nothing comes out")
}

/// A field that has to be there, and to be a string.
func stringIn(_ object: JSON, _ name: String) throws -> String {
    guard let string = object[name].string else { throw Failure(description: "no \(name)") }
    return string
}

// What comes from the server or from another device may be any JSON: what is absent is null, stringIn()
// throws if there is no text, and the library refuses what does not fit. One bad event is left out; the
// others are read.

/// What came of it; or nil, and a line that says what is left out because of it.
func attempt<T>(_ device: Device, _ what: String, _ call: () throws -> T) -> T? {
    do {
        return try call()
    } catch {
        tell("   \(device.name) leaves out \(what): \(error)")
        return nil
    }
}

/// Opens the store and the account in it; the first time, both are made.
func openDevice(_ device: inout Device) throws {
    device.store = try Store.openSqlite(path: device.path, key: device.storeKey)
    device.account = try Account.open(
        store: device.store, userId: device.userId, deviceId: device.deviceId)
}

func closeDevice(_ device: inout Device) throws {
    try device.store.shutDown()
    device.account = nil
    device.store = nil
}

/// Uploads what the account has to upload, if anything.
func uploadKeys(_ server: Homeserver, _ device: Device) throws {
    guard let body = try device.account.keysUploadRequest() else { return }
    let answer = try server.keysUpload(
        userId: device.userId, deviceId: device.deviceId, body: body)
    // If the answer is none, the next sync uploads them again.
    guard attempt(device, "the answer to an upload", {
        try device.account.receiveKeysUploadResponse(httpStatus: 200, body: answer)
    }) != nil else { return }
    let request = try JSON(body)
    let deviceKeys = request["device_keys"] == .null ? "" : "the keys of the device, and "
    let count = request["one_time_keys"].object.count
    tell("   \(device.name) uploads \(deviceKeys)one-time keys: \(count)")
}

/// Who is in the room: {user: value}, with the same value for each.
func members(_ server: Homeserver, _ value: JSON) throws -> JSON {
    let answer = try JSON(server.joinedMembers())
    return .object(answer["joined"].object.mapValues { _ in value })
}

/// The devices of all who are in the room: {user: {device: device keys}}.
func queryDevices(_ server: Homeserver) throws -> JSON {
    let body: JSON = ["device_keys": try members(server, [])]
    let answer = try JSON(server.keysQuery(body: body.text))
    return .object(answer["device_keys"].object)
}

/// Claims a one-time key of a device: {key_id: key}.
func claimKey(_ server: Homeserver, _ userId: String, _ deviceId: String) throws -> String {
    let devices: JSON = [userId: [.string(deviceId)]]
    let request = try keysClaimRequest(devices: devices.text, timeoutMs: 10_000)
    let answer = try server.keysClaim(body: request)
    let claimed = try JSON(readKeysClaimResponse(request: request, response: answer))
    return try claimed["one_time_keys"][userId][deviceId].text
}

/// The channel to a device: the stored one, or a new one with a key claimed for it.
func channelTo(_ server: Homeserver, _ from: Device, _ deviceKeys: JSON) throws -> OlmChannel {
    let userId = try stringIn(deviceKeys, "user_id")
    let deviceId = try stringIn(deviceKeys, "device_id")
    let identityKey = try stringIn(deviceKeys["keys"], "curve25519:\(deviceId)")
    let signedKeys = try deviceKeys.text

    do {
        let channel = try OlmChannel.createFromStorage(
            account: from.account, partnerUserId: userId, partnerIdentityKey: identityKey)
        try channel.setPartnerDeviceKeys(deviceKeys: signedKeys)
        return channel
    } catch E2eeError.NotFound {
        let key = try claimKey(server, userId, deviceId)
        let channel = try OlmChannel.createOutboundChannel(
            account: from.account, recipientDeviceKeys: signedKeys, recipientOneTimeKey: key)
        tell("   \(from.name) claims a one-time key of \(deviceId) and opens a channel")
        return channel
    }
}

/// The session that encrypts what this device sends: the stored one, or a new one.
func roomSession(_ device: Device) throws -> OutboundMegolmSession {
    do {
        return try OutboundMegolmSession.createFromStorage(account: device.account, roomId: room)
    } catch E2eeError.NotFound {
        let session = try OutboundMegolmSession.create(account: device.account, roomId: room)
        tell("   \(device.name) makes a session for the room")
        // The other half, so that the device can read what it has sent itself.
        _ = try InboundMegolmSession.fromOutboundSession(outbound: session)
        return session
    }
}

/// Sends the room key to each device that lacks it, over its channel. (A real program makes a new
/// session when this answers SessionExpired.)
func shareRoomKey(_ server: Homeserver, _ device: Device, _ session: OutboundMegolmSession) throws {
    let recipients: JSON = [
        "encryption": ["algorithm": .string(megolm)],
        "history_visibility": "shared",
        "members": try members(server, "join"),
        "device_keys": try queryDevices(server),
    ]
    for item in try JSON(session.getSessionKeyForSending(recipients: recipients.text)).list {
        let keys = item["device"]
        let userId = try stringIn(keys, "user_id")
        // Absent if nothing that is listed under the user can be read.
        let deviceId = keys["device_id"].string ?? "any device"
        if item["content"] == .null {
            let problem = item["error"]["detail"].string ?? ""
            tell("   \(device.name) sends no room key to \(deviceId) of \(userId): \(problem)")
            continue
        }
        guard let encrypted = attempt(device, deviceId, {
            let channel = try channelTo(server, device, keys)
            return try channel.encrypt(eventType: "m.room_key", content: item["content"].text)
        }) else { continue }
        let body: JSON = ["messages": [userId: [deviceId: try JSON(encrypted)]]]
        try server.sendToDevice(
            userId: device.userId, eventType: "m.room.encrypted", body: body.text)
        try session.markAsSent(devices: JSON.list([keys]).text)
        tell("   \(device.name) sends the room key to \(deviceId)")
    }
}

/// Sends words to the room; gives the event's ID.
func say(_ server: Homeserver, _ device: Device, _ words: String) throws -> String {
    let session = try roomSession(device)
    try shareRoomKey(server, device, session)
    let content: JSON = ["msgtype": "m.text", "body": .string(words)]
    let encrypted = try session.encrypt(eventType: "m.room.message", content: content.text)
    let answer = try JSON(
        server.send(userId: device.userId, eventType: "m.room.encrypted", content: encrypted))
    let eventId = try stringIn(answer, "event_id")
    tell("   \(device.name) says in \(eventId): \(words)")
    return eventId
}

/// Decrypts a to-device event. If it is a room key, it is stored before anything else is done.
func receiveToDevice(_ device: Device, _ event: JSON) throws {
    let sender = try stringIn(event, "sender")
    let senderKey = try stringIn(event["content"], "sender_key")
    let encrypted = try event["content"].text
    let text: String
    do {
        let channel = try OlmChannel.createFromStorage(
            account: device.account, partnerUserId: sender, partnerIdentityKey: senderKey)
        text = try channel.decrypt(content: encrypted)
    } catch E2eeError.NotFound {
        let channel = try OlmChannel.createFromEncryptedMessage(
            account: device.account, partnerUserId: sender, partnerIdentityKey: senderKey,
            content: encrypted)
        text = try channel.firstEvent()
    }
    let plain = try JSON(text)
    if try stringIn(plain, "type") == "m.room_key" {
        _ = try InboundMegolmSession.fromRoomKey(
            account: device.account, senderUserId: sender, senderKey: senderKey,
            roomKeyContent: plain["content"].text)
        tell("   \(device.name) receives a room key from \(sender)")
    }
}

/// The session that decrypts this event.
func sessionOf(_ device: Device, _ event: JSON) throws -> InboundMegolmSession {
    let sessionId = try stringIn(event["content"], "session_id")
    return try InboundMegolmSession.fromStorage(
        account: device.account, roomId: room, sessionId: sessionId,
        senderUserId: stringIn(event, "sender"))
}

struct Message: Equatable {
    let sender: String
    let words: String
}

/// What an event of the room says.
func readEvent(_ device: Device, _ received: JSON) throws -> Message {
    var event = received
    // A /sync answer leaves the room out of its events.
    event["room_id"] = .string(room)
    let session = try sessionOf(device, event)
    let plain = try JSON(session.decrypt(event: event.text))
    let words = try stringIn(plain["content"], "body")
    let sender = try stringIn(event, "sender")
    tell("   \(device.name) reads from \(sender): \(words)")
    return Message(sender: sender, words: words)
}

/// Takes an answer to /sync; gives what was read.
func receive(_ server: Homeserver, _ device: Device) throws -> [Message] {
    let answer = try JSON(server.sync(userId: device.userId, deviceId: device.deviceId))
    var read: [Message] = []
    for event in answer["to_device"]["events"].list {
        _ = attempt(device, "a to-device event") { try receiveToDevice(device, event) }
    }
    for event in answer["rooms"]["join"][room]["timeline"]["events"].list {
        if let message = attempt(device, "an event", { try readEvent(device, event) }) {
            read.append(message)
        }
    }
    // How many keys the server still has, so that the account tops them up.
    let counts = JSON.object(answer["device_one_time_keys_count"].object)
    let unused = answer["device_unused_fallback_key_types"]
    _ = attempt(device, "the counts of keys") {
        try device.account.receiveKeyCounts(
            oneTimeCounts: counts.text, unusedFallbackTypes: unused == .null ? nil : unused.text)
    }
    try uploadKeys(server, device)
    return read
}

/// Takes an event that the library has to refuse.
func refuse(_ device: Device, _ event: JSON, _ expected: String) throws {
    let session = try sessionOf(device, event)
    try refused(expected) { try session.decrypt(event: event.text) }
}
