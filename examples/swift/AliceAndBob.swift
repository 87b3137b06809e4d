// Alice and Bob talk in an encrypted room, each with one device on one SQLite file. What a device does
// is in Device.swift; the homeserver is a stand-in inside this program (Homeserver.swift).
// examples/rust, examples/c and the others hold the same program, line by line.
//
//     make swift-package && swift run --package-path examples/swift
//
// The program checks each answer, and ends with 1 if anything is not as it should be.

import Foundation
import MatrixE2ee

nonisolated(unsafe) private var number = 0

func step(_ what: String) {
    number += 1
    tell("\n\(number). \(what)")
}

let noMessages: [JSON] = [
    [:],
    ["algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": .null, "ciphertext": [:]],
    ["algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "AAAA", "ciphertext": [.integer(1)]],
    ["algorithm": "m.megolm.v1.aes-sha2", "session_id": .integer(5), "ciphertext": .null],
    ["algorithm": "m.megolm.v1.aes-sha2", "session_id": "AAAA", "ciphertext": "AAAA"],
]

/// What receive() gives for words of this device.
func said(_ device: Device, _ words: String) -> Message {
    Message(sender: device.userId, words: words)
}

func newDevice(_ folder: URL, _ name: String, _ userId: String, _ deviceId: String) -> Device {
    let path = folder.appendingPathComponent("\(name).sqlite").path
    let storeKey = Data((0..<32).map { _ in UInt8.random(in: .min ... .max) })
    return Device(name: name, userId: userId, deviceId: deviceId, path: path, storeKey: storeKey)
}

@main
struct AliceAndBob {
    static func main() {
        do {
            try story()
        } catch {
            tell("FAILED: \(error)")
            exit(1)
        }
    }

    static func story() throws {
        tell("matrixe2ee \(version()), from Swift")
        let server = StandIn()
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("alice_and_bob_\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        var alice = newDevice(folder, "Alice", "@alice:example.org", "ALICEPHONE")
        var bob = newDevice(folder, "Bob", "@bob:example.org", "BOBPHONE")

        step("Both make an account and upload its public keys")
        try openDevice(&alice)
        try openDevice(&bob)
        try uploadKeys(server, alice)
        try uploadKeys(server, bob)

        step("Alice writes to the room; Bob reads")
        _ = try say(server, alice, "Hello Bob!")
        let second = try say(server, alice, "Can you read this?")
        try check(
            receive(server, bob) == [
                said(alice, "Hello Bob!"), said(alice, "Can you read this?"),
            ], "it is what was said")

        step("Both programs end, and start again from their files")
        try closeDevice(&alice)
        try closeDevice(&bob)
        try openDevice(&alice)
        try openDevice(&bob)

        step("Bob answers in a session of his own; Alice goes on in hers")
        _ = try say(server, bob, "Yes, every word.")
        let fourth = try say(server, alice, "Even after a restart.")
        try check(
            receive(server, alice) == [
                said(alice, "Hello Bob!"), said(alice, "Can you read this?"),
                said(bob, "Yes, every word."), said(alice, "Even after a restart."),
            ], "it is what was said")
        try check(
            receive(server, bob) == [
                said(bob, "Yes, every word."), said(alice, "Even after a restart."),
            ], "it is what was said")

        step("Somebody changes one letter of a ciphertext")
        var tampered = try JSON(server.event(eventId: fourth))
        var ciphertext = Array(try stringIn(tampered["content"], "ciphertext"))
        ciphertext[20] = ciphertext[20] == "A" ? "B" : "A"
        tampered["content"]["ciphertext"] = .string(String(ciphertext))
        try refuse(bob, tampered, "UNABLE_TO_DECRYPT")

        step("The server delivers an old message again, as a new event")
        var replayed = try JSON(server.event(eventId: second))
        replayed["event_id"] = "$another"
        try refuse(bob, replayed, "REPLAY")

        step("The server delivers to Bob's laptop what was meant for his phone")
        var laptop = newDevice(folder, "Bob's laptop", bob.userId, "BOBLAPTOP")
        laptop.store = try Store.inMemory(key: laptop.storeKey)
        laptop.account = try Account.open(
            store: laptop.store, userId: laptop.userId, deviceId: laptop.deviceId)
        let devices = try queryDevices(server)
        let channel = try channelTo(server, alice, devices[bob.userId][bob.deviceId])
        let forPhone = try channel.encrypt(eventType: "m.dummy", content: "{}")
        let aliceKey = try alice.account.identityKey()
        try refused("NOT_ENCRYPTED_FOR_US") {
            try OlmChannel.createFromEncryptedMessage(
                account: laptop.account, partnerUserId: alice.userId, partnerIdentityKey: aliceKey,
                content: forPhone)
        }
        try closeDevice(&laptop)

        step("A stranger sends what is no message; Bob's program goes on")
        for content in noMessages {
            let body: JSON = ["messages": [bob.userId: [bob.deviceId: content]]]
            try server.sendToDevice(
                userId: "@mallory:example.org", eventType: "m.room.encrypted", body: body.text)
            _ = try server.send(
                userId: "@mallory:example.org", eventType: "m.room.encrypted", content: content.text)
        }
        _ = try say(server, alice, "Still there?")
        try check(receive(server, bob) == [said(alice, "Still there?")], "it is what was said")

        tell("\nAll is as it should be.")
        try closeDevice(&alice)
        try closeDevice(&bob)
    }
}
