import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonObject
import org.matrixe2ee.Account
import org.matrixe2ee.E2eeException
import org.matrixe2ee.InboundMegolmSession
import org.matrixe2ee.OlmChannel
import org.matrixe2ee.OutboundMegolmSession
import org.matrixe2ee.Store
import org.matrixe2ee.keysClaimRequest
import org.matrixe2ee.readKeysClaimResponse

const val MEGOLM = "m.megolm.v1.aes-sha2"

class Device(
    val name: String,
    val userId: String,
    val deviceId: String,
    val path: String,
    val storeKey: ByteArray, // a real program keeps it in the system's key store
) {
    lateinit var store: Store
    lateinit var account: Account
}

/** Everything that is printed passes here. */
var tell: (String) -> Unit = { println(it) }

// Checks: what may not fail is let through, what has to fail stands in refused().

fun refused(expected: String, call: () -> Any) {
    try {
        call()
    } catch (error: E2eeException) {
        check(error.name() == expected) { "${error.name()}: ${error.message}" }
        tell("   refused: ${error.name()} (${error.code()}), \"${error.message}\"")
        return
    }
    error("nothing comes out")
}

// JSON, with kotlinx.serialization.

fun fromText(text: String): JsonObject = Json.parseToJsonElement(text).jsonObject

fun JsonObject.objectIn(name: String): JsonObject = getValue(name).jsonObject

fun JsonObject.stringIn(name: String): String {
    val value = getValue(name).jsonPrimitive
    require(value.isString) { "$name is no text" }
    return value.content
}

fun JsonObject.with(name: String, value: JsonElement) = JsonObject(this + (name to value))

fun JsonObject.with(name: String, value: String) = with(name, JsonPrimitive(value))

// What comes from the server or from another device may be any JSON: objectIn() and stringIn() throw if it
// is not what is asked for, and the library refuses what does not fit. One bad event is left out; the
// others are read.

/** What came of it; or null, and a line that says what is left out because of it. */
fun <T> attempt(device: Device, what: String, call: () -> T): T? {
    val problem = try {
        return call()
    } catch (error: E2eeException) {
        "${error.name()}, \"${error.message}\""
    } catch (error: IllegalArgumentException) {
        error.message
    } catch (error: NoSuchElementException) {
        error.message
    }
    tell("   ${device.name} leaves out $what: $problem")
    return null
}

/** What stands under these names, each in the object before; null if nothing does. */
fun JsonElement.part(vararg names: String): JsonElement? =
    names.fold(this as JsonElement?) { value, name -> (value as? JsonObject)?.get(name) }

/** The items of a list; of anything else, none. */
fun JsonElement?.items(): List<JsonElement> = this as? JsonArray ?: emptyList()

/** The fields of an object; of anything else, none. */
fun JsonElement?.fields(): JsonObject = this as? JsonObject ?: JsonObject(emptyMap())

/** Opens the store and the account in it; the first time, both are made. */
fun openDevice(device: Device) {
    device.store = Store.openSqlite(device.path, device.storeKey)
    device.account = Account.open(device.store, device.userId, device.deviceId)
}

fun closeDevice(device: Device) {
    device.account.close()
    device.store.close()
}

/** Uploads what the account has to upload, if anything. */
fun uploadKeys(server: Homeserver, device: Device) {
    val body = device.account.keysUploadRequest() ?: return
    val answer = server.keysUpload(device.userId, device.deviceId, body)
    // If the answer is none, the next sync uploads them again.
    attempt(device, "the answer to an upload") { device.account.receiveKeysUploadResponse(200u, answer) }
        ?: return
    val request = fromText(body)
    val ofTheDevice = if ("device_keys" in request) "the keys of the device, and " else ""
    val count = request["one_time_keys"]?.jsonObject?.size ?: 0
    tell("   ${device.name} uploads ${ofTheDevice}one-time keys: $count")
}

/** The devices of all members: {user: {device: device keys}}. */
fun queryDevices(server: Homeserver): JsonObject {
    val members = fromText(server.joinedMembers()).part("joined").fields()
    val request = buildJsonObject {
        putJsonObject("device_keys") { for (userId in members.keys) put(userId, JsonArray(emptyList())) }
    }
    return fromText(server.keysQuery(request.toString())).part("device_keys").fields()
}

/** Claims a one-time key of a device: {key_id: key}. */
fun claimKey(server: Homeserver, userId: String, deviceId: String): String {
    val devices = buildJsonObject { put(userId, JsonArray(listOf(JsonPrimitive(deviceId)))) }
    val request = keysClaimRequest(devices.toString(), 10_000u)
    val answer = server.keysClaim(request)
    val key = fromText(readKeysClaimResponse(request, answer)).part("one_time_keys", userId, deviceId)
    return key.fields().toString()
}

/** The channel to a device: the stored one, or a new one with a key claimed for it. */
fun channelTo(server: Homeserver, from: Device, deviceKeys: JsonObject): OlmChannel {
    val userId = deviceKeys.stringIn("user_id")
    val deviceId = deviceKeys.stringIn("device_id")
    val identityKey = deviceKeys.objectIn("keys").stringIn("curve25519:$deviceId")
    val signedKeys = deviceKeys.toString()

    val stored = try {
        OlmChannel.createFromStorage(from.account, userId, identityKey)
    } catch (_: E2eeException.NotFound) {
        val key = claimKey(server, userId, deviceId)
        val channel = OlmChannel.createOutboundChannel(from.account, signedKeys, key)
        tell("   ${from.name} claims a one-time key of $deviceId and opens a channel")
        return channel
    }
    stored.setPartnerDeviceKeys(signedKeys)
    return stored
}

/** The session that encrypts what this device sends: the stored one, or a new one. */
fun roomSession(device: Device): OutboundMegolmSession =
    try {
        OutboundMegolmSession.createFromStorage(device.account, ROOM)
    } catch (_: E2eeException.NotFound) {
        val session = OutboundMegolmSession.create(device.account, ROOM)
        tell("   ${device.name} makes a session for the room")
        // The other half, so that the device can read what it has sent itself.
        InboundMegolmSession.fromOutboundSession(session).close()
        session
    }

/**
 * Sends the room key to each device that lacks it, over its channel. (A real program makes a new
 * session when this answers SessionExpired.)
 */
fun shareRoomKey(server: Homeserver, device: Device, session: OutboundMegolmSession) {
    val members = fromText(server.joinedMembers()).part("joined").fields()
    val recipients = buildJsonObject {
        putJsonObject("encryption") { put("algorithm", MEGOLM) }
        put("history_visibility", "shared")
        putJsonObject("members") { for (userId in members.keys) put(userId, "join") }
        put("device_keys", queryDevices(server))
    }
    val list = Json.parseToJsonElement(session.getSessionKeyForSending(recipients.toString())).jsonArray
    for (item in list) {
        val keys = item.jsonObject.objectIn("device")
        val userId = keys.stringIn("user_id")
        // Absent if nothing that is listed under the user can be read.
        val deviceId = if ("device_id" in keys) keys.stringIn("device_id") else "any device"
        val content = item.part("content")?.toString()
        if (content == null) {
            val problem = item.part("error", "detail")
            tell("   ${device.name} sends no room key to $deviceId of $userId: $problem")
            continue
        }
        val encrypted = attempt(device, deviceId) {
            channelTo(server, device, keys).use { it.encrypt("m.room_key", content) }
        } ?: continue
        val body = buildJsonObject {
            putJsonObject("messages") { putJsonObject(userId) { put(deviceId, fromText(encrypted)) } }
        }
        server.sendToDevice(device.userId, "m.room.encrypted", body.toString())
        session.markAsSent(JsonArray(listOf(keys)).toString())
        tell("   ${device.name} sends the room key to $deviceId")
    }
}

/** Sends words to the room; gives the event's ID. */
fun say(server: Homeserver, device: Device, words: String): String =
    roomSession(device).use { session ->
        shareRoomKey(server, device, session)
        val content = buildJsonObject {
            put("msgtype", "m.text")
            put("body", words)
        }
        val encrypted = session.encrypt("m.room.message", content.toString())
        val answer = fromText(server.send(device.userId, "m.room.encrypted", encrypted))
        val eventId = answer.stringIn("event_id")
        tell("   ${device.name} says in $eventId: $words")
        eventId
    }

/** Decrypts a to-device event. If it is a room key, it is stored before anything else is done. */
fun receiveToDevice(device: Device, event: JsonObject) {
    val content = event.objectIn("content")
    val sender = event.stringIn("sender")
    val senderKey = content.stringIn("sender_key")
    val encrypted = content.toString()
    val text = try {
        OlmChannel.createFromStorage(device.account, sender, senderKey)
    } catch (_: E2eeException.NotFound) {
        null
    }?.use { channel ->
        channel.decrypt(encrypted)
    } ?: OlmChannel.createFromEncryptedMessage(device.account, sender, senderKey, encrypted).use { channel ->
        channel.firstEvent()
    }
    val plain = fromText(text)
    if (plain.stringIn("type") == "m.room_key") {
        val roomKey = plain.objectIn("content").toString()
        InboundMegolmSession.fromRoomKey(device.account, sender, senderKey, roomKey).close()
        tell("   ${device.name} receives a room key from $sender")
    }
}

/** The session that decrypts this event. */
fun sessionOf(device: Device, event: JsonObject): InboundMegolmSession {
    val sessionId = event.objectIn("content").stringIn("session_id")
    return InboundMegolmSession.fromStorage(device.account, ROOM, sessionId, event.stringIn("sender"))
}

/** What an event of the room says: sender and words. */
fun readEvent(device: Device, received: JsonObject): Pair<String, String> {
    // A /sync answer leaves the room out of its events.
    val event = received.with("room_id", ROOM)
    val plain = fromText(sessionOf(device, event).use { session -> session.decrypt(event.toString()) })
    val sender = event.stringIn("sender")
    val words = plain.objectIn("content").stringIn("body")
    tell("   ${device.name} reads from $sender: $words")
    return sender to words
}

/** Takes an answer to /sync; gives the messages that it brings, as sender and words. */
fun receive(server: Homeserver, device: Device): List<Pair<String, String>> {
    val answer = fromText(server.sync(device.userId, device.deviceId))
    for (event in answer.part("to_device", "events").items()) {
        attempt(device, "a to-device event") { receiveToDevice(device, event.jsonObject) }
    }
    val read = answer.part("rooms", "join", ROOM, "timeline", "events").items().mapNotNull {
        attempt(device, "an event") { readEvent(device, it.jsonObject) }
    }
    // How many keys the server still has, so that the account tops them up.
    attempt(device, "the counts of keys") {
        val counts = answer["device_one_time_keys_count"] ?: JsonObject(emptyMap())
        val unused = answer["device_unused_fallback_key_types"]
        device.account.receiveKeyCounts(counts.toString(), unused?.toString())
    }
    uploadKeys(server, device)
    return read
}

/** Takes an event that the library has to refuse. */
fun refuse(device: Device, event: JsonObject, expected: String) {
    sessionOf(device, event).use { session -> refused(expected) { session.decrypt(event.toString()) } }
}
