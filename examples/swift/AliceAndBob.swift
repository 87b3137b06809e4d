// Alice and Bob talk in an encrypted room, each with one device on one SQLite file. The homeserver
// is a stand-in inside this program (Homeserver.swift). examples/alice_and_bob.rs is the same program
// in Rust, line by line, and there are more beside it.
//
//     make swift-package && swift run --package-path examples/swift
//
// The program checks each answer, and ends with an error if anything is not as it should be.

import Foundation
import MatrixE2ee

@main
struct AliceAndBob {
    static func main() throws {
        tell("matrixe2ee \(version()), from Swift")
        let server = StandIn()
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("alice_and_bob_\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        var alice = newDevice(folder, "Alice", "@alice:example.org", "ALICEPHONE")
        var bob = newDevice(folder, "Bob", "@bob:example.org", "BOBPHONE")

        step(1, "Both make an account and upload its public keys")
        try openDevice(&alice)
        try openDevice(&bob)
        try uploadKeys(server, alice)
        try uploadKeys(server, bob)

        step(2, "Alice writes to the room; Bob reads")
        let first = Message(sender: alice.userId, words: "Hello Bob!")
        let second = Message(sender: alice.userId, words: "Can you read this?")
        _ = try say(server, alice, first.words)
        let secondEvent = try say(server, alice, second.words)
        check(try receive(server, bob) == [first, second], "it is what was said")

        step(3, "Both programs end, and start again from their files")
        try closeDevice(&alice)
        try closeDevice(&bob)
        try openDevice(&alice)
        try openDevice(&bob)

        step(4, "Bob answers in a session of his own; Alice goes on in hers")
        let third = Message(sender: bob.userId, words: "Yes, every word.")
        let fourth = Message(sender: alice.userId, words: "Even after a restart.")
        _ = try say(server, bob, third.words)
        let fourthEvent = try say(server, alice, fourth.words)
        check(try receive(server, alice) == [first, second, third, fourth], "it is what was said")
        check(try receive(server, bob) == [third, fourth], "it is what was said")

        step(5, "Somebody changes one letter of a ciphertext")
        var tampered = try JSON(server.event(eventId: fourthEvent))
        var ciphertext = Array(stringIn(tampered["content"], "ciphertext"))
        ciphertext[20] = ciphertext[20] == "A" ? "B" : "A"
        tampered["content"]["ciphertext"] = .string(String(ciphertext))
        try refuse(bob, tampered, "UNABLE_TO_DECRYPT")

        step(6, "The server delivers an old message again, as a new event")
        var replayed = try JSON(server.event(eventId: secondEvent))
        replayed["event_id"] = "$another"
        try refuse(bob, replayed, "REPLAY")

        step(7, "The server delivers to Bob's laptop what was meant for his phone")
        var laptop = newDevice(folder, "Bob's laptop", bob.userId, "BOBLAPTOP")
        laptop.store = try Store.inMemory(key: laptop.storeKey)
        laptop.account = try Account.open(
            store: laptop.store, userId: laptop.userId, deviceId: laptop.deviceId)
        let devices = try queryDevices(server)
        let channel = try channelTo(server, alice, devices[bob.userId][bob.deviceId])
        let forPhone = try channel.encrypt(eventType: "m.dummy", content: "{}")
        let aliceKey = try alice.account.identityKey()
        refused("NOT_ENCRYPTED_FOR_US") {
            try OlmChannel.createFromEncryptedMessage(
                account: laptop.account, partnerUserId: alice.userId, partnerIdentityKey: aliceKey,
                content: forPhone)
        }
        try closeDevice(&laptop)

        tell("\nAll is as it should be.")
        try closeDevice(&alice)
        try closeDevice(&bob)
    }

    static func step(_ number: Int, _ what: String) {
        tell("\n\(number). \(what)")
    }

    static func newDevice(_ folder: URL, _ name: String, _ userId: String, _ deviceId: String)
        -> Device
    {
        let storeKey = Data((0..<32).map { _ in UInt8.random(in: .min ... .max) })
        let path = folder.appendingPathComponent("\(name).sqlite").path
        return Device(name: name, userId: userId, deviceId: deviceId, path: path, storeKey: storeKey)
    }
}
