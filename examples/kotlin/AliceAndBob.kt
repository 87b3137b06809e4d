// Alice and Bob talk in an encrypted room, each with one device on one SQLite file. The homeserver is
// a stand-in inside this program (Homeserver.kt). The same program stands in examples/ for each
// language, line by line.
//
//     make jar && mvn -f bindings/kotlin install:install-file
//     mvn -f examples/kotlin compile exec:java
//
// The program checks each answer, and ends with an exception if anything is not as it should be.

import java.nio.file.Files
import java.nio.file.Path
import java.security.SecureRandom
import org.matrixe2ee.Account
import org.matrixe2ee.OlmChannel
import org.matrixe2ee.Store
import org.matrixe2ee.version

private val NO_MESSAGES = listOf(
    """{}""",
    """{"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": null, "ciphertext": {}}""",
    """{"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "AAAA", "ciphertext": [1]}""",
    """{"algorithm": "m.megolm.v1.aes-sha2", "session_id": 5, "ciphertext": null}""",
    """{"algorithm": "m.megolm.v1.aes-sha2", "session_id": "AAAA", "ciphertext": "AAAA"}""",
)

private var steps = 0

private fun step(what: String) = tell("\n${++steps}. $what")

private fun expect(expected: List<Pair<String, String>>, read: List<Pair<String, String>>) =
    check(read == expected) { "what was read is what was said" }

private fun newDevice(folder: Path, name: String, userId: String, deviceId: String): Device {
    val storeKey = ByteArray(32).also { SecureRandom().nextBytes(it) }
    return Device(name, userId, deviceId, folder.resolve("$name.sqlite").toString(), storeKey)
}

fun main() {
    tell("matrixe2ee ${version()}, from Kotlin")
    val server = LocalHomeserver()
    val folder = Files.createTempDirectory("alice_and_bob")
    val alice = newDevice(folder, "Alice", "@alice:example.org", "ALICEPHONE")
    val bob = newDevice(folder, "Bob", "@bob:example.org", "BOBPHONE")

    step("Both make an account and upload its public keys")
    openDevice(alice)
    openDevice(bob)
    uploadKeys(server, alice)
    uploadKeys(server, bob)

    step("Alice writes to the room; Bob reads")
    val first = alice.userId to "Hello Bob!"
    val second = alice.userId to "Can you read this?"
    say(server, alice, first.second)
    val secondId = say(server, alice, second.second)
    expect(listOf(first, second), receive(server, bob))

    step("Both programs end, and start again from their files")
    closeDevice(alice)
    closeDevice(bob)
    openDevice(alice)
    openDevice(bob)

    step("Bob answers in a session of his own; Alice goes on in hers")
    val third = bob.userId to "Yes, every word."
    val fourth = alice.userId to "Even after a restart."
    say(server, bob, third.second)
    val fourthId = say(server, alice, fourth.second)
    expect(listOf(first, second, third, fourth), receive(server, alice))
    expect(listOf(third, fourth), receive(server, bob))

    step("Somebody changes one letter of a ciphertext")
    val event = fromText(server.event(fourthId))
    val ciphertext = event.objectIn("content").stringIn("ciphertext")
    val letter = if (ciphertext[20] == 'A') "B" else "A"
    val changed = ciphertext.replaceRange(20..20, letter)
    val tampered = event.with("content", event.objectIn("content").with("ciphertext", changed))
    refuse(bob, tampered, "UNABLE_TO_DECRYPT")

    step("The server delivers an old message again, as a new event")
    val replayed = fromText(server.event(secondId)).with("event_id", "\$another")
    refuse(bob, replayed, "REPLAY")

    step("The server delivers to Bob's laptop what was meant for his phone")
    val laptop = newDevice(folder, "Bob's laptop", bob.userId, "BOBLAPTOP")
    laptop.store = Store.inMemory(laptop.storeKey)
    laptop.account = Account.open(laptop.store, laptop.userId, laptop.deviceId)
    val devices = queryDevices(server)
    val phoneKeys = devices.objectIn(bob.userId).objectIn(bob.deviceId)
    val forPhone = channelTo(server, alice, phoneKeys).use { it.encrypt("m.dummy", "{}") }
    val aliceKey = alice.account.identityKey()
    refused("NOT_ENCRYPTED_FOR_US") {
        OlmChannel.createFromEncryptedMessage(laptop.account, alice.userId, aliceKey, forPhone)
    }
    closeDevice(laptop)

    step("A stranger sends what is no message; Bob's program goes on")
    for (content in NO_MESSAGES) {
        val body = """{"messages": {"${bob.userId}": {"${bob.deviceId}": $content}}}"""
        server.sendToDevice("@mallory:example.org", "m.room.encrypted", body)
        server.send("@mallory:example.org", "m.room.encrypted", content)
    }
    say(server, alice, "Still there?")
    expect(listOf(alice.userId to "Still there?"), receive(server, bob))

    tell("\nAll is as it should be.")
    closeDevice(alice)
    closeDevice(bob)
    folder.toFile().deleteRecursively()
}
