// What a device asks of a homeserver, and a stand-in for one, inside the program: it answers the
// requests that matter for encryption as a real one does over HTTP, with JSON text in and out, and
// forgets everything at the end. It sees what a real one sees: public keys and ciphertexts.

let room = "!room:example.org"

protocol Homeserver {
    /// `POST /keys/upload`, by this device.
    func keysUpload(userId: String, deviceId: String, body: String) throws -> String

    /// `POST /keys/query`: `{"device_keys": {"@bob:example.org": []}}`.
    func keysQuery(body: String) throws -> String

    /// `POST /keys/claim`: gives away one key of each device, a fallback key if there is no other.
    func keysClaim(body: String) throws -> String

    /// `GET /rooms/{room_id}/joined_members`: `{"joined": {"@alice:example.org": {}, ...}}`.
    func joinedMembers() throws -> String

    /// `PUT /sendToDevice/{type}`: `{"messages": {"@bob:example.org": {"DEVICE": {...}}}}`.
    func sendToDevice(userId: String, eventType: String, body: String) throws

    /// `PUT /rooms/{room_id}/send/{type}`: gives `{"event_id": "$..."}`. There is one room.
    func send(userId: String, eventType: String, content: String) throws -> String

    /// `GET /sync`: what is new for this device since it asked last.
    func sync(userId: String, deviceId: String) throws -> String

    /// `GET /rooms/{room_id}/event/{event_id}`.
    func event(eventId: String) throws -> String
}

final class StandIn: Homeserver {
    private struct Device {
        var deviceKeys: JSON?
        var oneTimeKeys: [String: JSON] = [:]
        var fallbackKeys: [String: JSON] = [:]
        var toDevice: [JSON] = []
        /// Events of the timeline that were handed out.
        var seen = 0

        var keyCounts: JSON { ["signed_curve25519": .integer(Int64(oneTimeKeys.count))] }
    }

    private var devices: [String: [String: Device]] = [:]
    private var timeline: [JSON] = []

    func keysUpload(userId: String, deviceId: String, body: String) throws -> String {
        let request = try JSON(body)
        return try device(userId, deviceId) { device in
            if request["device_keys"] != .null { device.deviceKeys = request["device_keys"] }
            device.oneTimeKeys.merge(request["one_time_keys"].object) { _, new in new }
            device.fallbackKeys.merge(request["fallback_keys"].object) { _, new in new }
            return try JSON.object(["one_time_key_counts": device.keyCounts]).text
        }
    }

    func keysQuery(body: String) throws -> String {
        var found: JSON = [:]
        for userId in try JSON(body)["device_keys"].object.keys {
            found[userId] = [:]
            for (deviceId, device) in devices[userId] ?? [:] {
                if let keys = device.deviceKeys { found[userId][deviceId] = keys }
            }
        }
        return try JSON.object(["device_keys": found, "failures": [:]]).text
    }

    func keysClaim(body: String) throws -> String {
        var found: JSON = [:]
        for (userId, devices) in try JSON(body)["one_time_keys"].object {
            for deviceId in devices.object.keys {
                device(userId, deviceId) { device in
                    if let keyId = device.oneTimeKeys.keys.min() {
                        found[userId][deviceId] = [keyId: device.oneTimeKeys.removeValue(forKey: keyId)!]
                    } else if let (keyId, key) = device.fallbackKeys.first {
                        found[userId][deviceId] = [keyId: key]
                    }
                }
            }
        }
        return try JSON.object(["one_time_keys": found, "failures": [:]]).text
    }

    func joinedMembers() throws -> String {
        #"{"joined": {"@alice:example.org": {}, "@bob:example.org": {}}}"#
    }

    func sendToDevice(userId: String, eventType: String, body: String) throws {
        for (recipient, devices) in try JSON(body)["messages"].object {
            for (deviceId, content) in devices.object {
                let event: JSON = [
                    "sender": .string(userId), "type": .string(eventType), "content": content,
                ]
                device(recipient, deviceId) { $0.toDevice.append(event) }
            }
        }
    }

    func send(userId: String, eventType: String, content: String) throws -> String {
        let number = timeline.count + 1
        let eventId = JSON.string("$event\(number)")
        timeline.append([
            "event_id": eventId, "sender": .string(userId), "type": .string(eventType),
            "origin_server_ts": .integer(1_700_000_000_000 + Int64(number)),
            "content": try JSON(content),
        ])
        return try JSON.object(["event_id": eventId]).text
    }

    func sync(userId: String, deviceId: String) throws -> String {
        try device(userId, deviceId) { device in
            let events = timeline[device.seen...]
            let answer: JSON = [
                "to_device": ["events": .list(device.toDevice)],
                "rooms": ["join": [room: ["timeline": ["events": .list(Array(events))]]]],
                "device_one_time_keys_count": device.keyCounts,
                "device_unused_fallback_key_types":
                    device.fallbackKeys.isEmpty ? [] : ["signed_curve25519"],
            ]
            device.toDevice = []
            device.seen = timeline.count
            return try answer.text
        }
    }

    func event(eventId: String) throws -> String {
        var event = timeline.first { $0["event_id"] == .string(eventId) }!
        event["room_id"] = .string(room)
        return try event.text
    }

    private func device<T>(_ userId: String, _ deviceId: String, use: (inout Device) throws -> T)
        rethrows -> T
    {
        try use(&devices[userId, default: [:]][deviceId, default: Device()])
    }
}
