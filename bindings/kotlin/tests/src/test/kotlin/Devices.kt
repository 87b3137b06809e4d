package org.matrixe2ee.tests

import java.nio.file.Files
import java.nio.file.Path
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.matrixe2ee.Account
import org.matrixe2ee.Clock
import org.matrixe2ee.InboundMegolmSession
import org.matrixe2ee.OlmChannel
import org.matrixe2ee.OutboundMegolmSession
import org.matrixe2ee.Store

const val ROOM = "!room:example.org"
const val MEGOLM = "m.megolm.v1.aes-sha2"
const val ALICE = "@alice:example.org"
const val BOB = "@bob:example.org"
const val START = 1_700_000_000_000L

fun key() = ByteArray(32) { 7 }

val root: Path = Path.of(System.getProperty("root")).toRealPath()

fun fixture(name: String): JsonObject = parse(Files.readString(root.resolve("tests/fixtures/$name")))

// JSON

fun parse(text: String): JsonObject = Json.parseToJsonElement(text).jsonObject

fun parseList(text: String): JsonArray = Json.parseToJsonElement(text).jsonArray

fun JsonElement.at(vararg path: Any): JsonElement = path.fold(this) { value, step ->
    if (step is Int) value.jsonArray[step] else value.jsonObject.getValue(step as String)
}

fun JsonElement.text(vararg path: Any): String = at(*path).jsonPrimitive.content

fun JsonObject.with(name: String, value: String) = JsonObject(this + (name to JsonPrimitive(value)))

fun JsonObject.with(name: String, value: JsonElement) = JsonObject(this + (name to value))

/** A clock that stands still until it is told otherwise. */
class TestClock : Clock {
    @Volatile var now = START

    override fun nowMs() = now
}

/** A device with a store in memory, or in a store that is given. */
class Device(
    val userId: String,
    val deviceId: String,
    val store: Store = Store.inMemory(key()),
) {
    val clock = TestClock().also { store.setClock(it) }
    val account = Account.open(store, userId, deviceId)

    val keys get() = account.deviceKeys()
    val identityKey get() = account.identityKey()

    private val published = ArrayDeque<Pair<String, JsonElement>>()

    /** A one-time key as a claim gives it, {key_id: key}; another one each time. */
    fun oneTimeKey(): String {
        if (published.isEmpty()) published += upload().at("one_time_keys").jsonObject.toList()
        return JsonObject(mapOf(published.removeFirst())).toString()
    }

    /** Uploads what there is to upload, to a server that keeps all keys. */
    fun upload(): JsonObject {
        val body = account.keysUploadRequest()!!
        account.receiveKeysUploadResponse(200u, """{"one_time_key_counts": {"signed_curve25519": 50}}""")
        return parse(body)
    }

    fun channelTo(other: Device): OlmChannel =
        OlmChannel.createOutboundChannel(account, other.keys, other.oneTimeKey())

    /** The channel that a first message makes. */
    fun receiveFirst(from: Device, content: String): OlmChannel =
        OlmChannel.createFromEncryptedMessage(account, from.userId, from.identityKey, content)

    fun outbound(settings: String? = null) = OutboundMegolmSession.create(account, ROOM, settings)

    /** What `session` of this device gives for the others, as if Olm had carried it. */
    fun share(session: OutboundMegolmSession, other: Device): InboundMegolmSession {
        val list = parseList(session.getSessionKeyForSending(recipients(this, other)))
        session.markAsSent(JsonArray(list.map { it.at("device") }).toString())
        return other.receive(this, list.at(0, "content").toString())
    }

    fun receive(from: Device, roomKey: String): InboundMegolmSession =
        InboundMegolmSession.fromRoomKey(account, from.userId, from.identityKey, roomKey)

    /** An event that this device sends, as the others receive it. */
    fun event(eventId: String, content: String): JsonObject = parse(
        """{"event_id": "$eventId", "sender": "$userId", "room_id": "$ROOM", "content": $content}""",
    )
}

fun alice() = Device(ALICE, "ALICE")

fun bob() = Device(BOB, "BOB")

/** A room with these devices, each member with one. */
fun recipients(vararg devices: Device, encryption: String? = """{"algorithm": "$MEGOLM"}"""): String {
    val members = devices.joinToString { """"${it.userId}": "join"""" }
    val keys = devices.joinToString { """"${it.userId}": {"${it.deviceId}": ${it.keys}}""" }
    val settings = encryption?.let { """"encryption": $it, """ } ?: ""
    return """{$settings"history_visibility": "shared", "members": {$members}, "device_keys": {$keys}}"""
}

fun OutboundMegolmSession.say(words: String): String =
    encrypt("m.room.message", """{"msgtype": "m.text", "body": "$words"}""")

fun InboundMegolmSession.read(event: JsonObject): String = parse(decrypt(event.toString())).text("content", "body")

/** Alice and Bob with a channel between them. */
class Connected {
    val alice = alice()
    val bob = bob()
    val toBob = alice.channelTo(bob)
    val toAlice = bob.receiveFirst(alice, toBob.encrypt("m.dummy", """{"n": 1}"""))
}

/** Alice's session for the room, and Bob's other half of it. */
class InRoom {
    val alice = alice()
    val bob = bob()
    val outbound = alice.outbound()
    val inbound = alice.share(outbound, bob)

    fun say(eventId: String, words: String) = alice.event(eventId, outbound.say(words))
}

/** A folder that is gone after the block. */
fun inFolder(block: (Path) -> Unit) {
    val folder = Files.createTempDirectory("matrixe2ee")
    try {
        block(folder)
    } finally {
        folder.toFile().deleteRecursively()
    }
}

/** The content of an Olm message with one letter of its ciphertext changed. */
fun altered(content: String, recipient: Device): String {
    val ciphertext = parse(content).text("ciphertext", recipient.identityKey, "body")
    val at = ciphertext.length - 6
    return content.replace(ciphertext, ciphertext.replaceRange(at..at, if (ciphertext[at] == 'A') "B" else "A"))
}
