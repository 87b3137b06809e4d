import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.add
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonArray
import kotlinx.serialization.json.putJsonObject

const val ROOM = "!room:example.org"

/** The requests of the Matrix specification that matter for encryption, with JSON text in and out. */
interface Homeserver {
    /** `POST /keys/upload`, by this device. */
    fun keysUpload(userId: String, deviceId: String, body: String): String

    /** `POST /keys/query`: `{"device_keys": {"@bob:example.org": []}}`. */
    fun keysQuery(body: String): String

    /** `POST /keys/claim`: gives away one key of each device, a fallback key if there is no other. */
    fun keysClaim(body: String): String

    /** `GET /rooms/{room_id}/joined_members`: `{"joined": {"@bob:example.org": {}}}`. */
    fun joinedMembers(): String

    /** `PUT /sendToDevice/{type}`: `{"messages": {"@bob:example.org": {"DEVICE": {...}}}}`. */
    fun sendToDevice(userId: String, eventType: String, body: String)

    /** `PUT /rooms/{room_id}/send/{type}`: gives `{"event_id": "$..."}`. There is one room. */
    fun send(userId: String, eventType: String, content: String): String

    /** `GET /sync`: what is new for this device since it asked last. */
    fun sync(userId: String, deviceId: String): String

    /** `GET /rooms/{room_id}/event/{event_id}`. */
    fun event(eventId: String): String
}

/**
 * A stand-in for the homeserver, inside the program: it answers the requests as a real one does over
 * HTTP, and forgets everything at the end. It sees what a real one sees: public keys and ciphertexts.
 */
class LocalHomeserver : Homeserver {
    private class Registered {
        var deviceKeys: JsonElement? = null
        val oneTimeKeys = sortedMapOf<String, JsonElement>()
        val fallbackKeys = sortedMapOf<String, JsonElement>()
        val toDevice = mutableListOf<JsonElement>()
        var seen = 0 // events of the timeline that were handed out
    }

    private val devices = mutableMapOf<Pair<String, String>, Registered>()
    private val timeline = mutableListOf<JsonObject>()

    override fun keysUpload(userId: String, deviceId: String, body: String): String {
        val request = fromText(body)
        val device = device(userId, deviceId)
        request["device_keys"]?.let { device.deviceKeys = it }
        request["one_time_keys"]?.let { device.oneTimeKeys += it.jsonObject }
        request["fallback_keys"]?.let { device.fallbackKeys += it.jsonObject }
        return buildJsonObject { put("one_time_key_counts", keyCounts(device)) }.toString()
    }

    override fun keysQuery(body: String): String = buildJsonObject {
        putJsonObject("device_keys") {
            for (userId in fromText(body).objectIn("device_keys").keys) {
                putJsonObject(userId) {
                    for ((owner, device) in devices) {
                        if (owner.first == userId) device.deviceKeys?.let { put(owner.second, it) }
                    }
                }
            }
        }
        putJsonObject("failures") {}
    }.toString()

    override fun keysClaim(body: String): String = buildJsonObject {
        putJsonObject("one_time_keys") {
            for ((userId, wanted) in fromText(body).objectIn("one_time_keys")) {
                putJsonObject(userId) {
                    for (deviceId in wanted.jsonObject.keys) {
                        val device = device(userId, deviceId)
                        val oneTime = device.oneTimeKeys.entries.firstOrNull()
                        val (keyId, key) = oneTime ?: device.fallbackKeys.entries.firstOrNull() ?: continue
                        putJsonObject(deviceId) { put(keyId, key) }
                        device.oneTimeKeys.remove(keyId)
                    }
                }
            }
        }
        putJsonObject("failures") {}
    }.toString()

    override fun joinedMembers(): String = buildJsonObject {
        putJsonObject("joined") {
            putJsonObject("@alice:example.org") {}
            putJsonObject("@bob:example.org") {}
        }
    }.toString()

    override fun sendToDevice(userId: String, eventType: String, body: String) {
        for ((recipient, messages) in fromText(body).objectIn("messages")) {
            for ((deviceId, content) in messages.jsonObject) {
                device(recipient, deviceId).toDevice += buildJsonObject {
                    put("sender", userId)
                    put("type", eventType)
                    put("content", content)
                }
            }
        }
    }

    override fun send(userId: String, eventType: String, content: String): String {
        val number = timeline.size + 1
        timeline += buildJsonObject {
            put("event_id", "\$event$number")
            put("sender", userId)
            put("type", eventType)
            put("origin_server_ts", 1_700_000_000_000 + number)
            put("content", fromText(content))
        }
        return buildJsonObject { put("event_id", "\$event$number") }.toString()
    }

    override fun sync(userId: String, deviceId: String): String {
        val device = device(userId, deviceId)
        val answer = buildJsonObject {
            putJsonObject("to_device") { put("events", JsonArray(device.toDevice.toList())) }
            putJsonObject("rooms") {
                putJsonObject("join") {
                    putJsonObject(ROOM) {
                        putJsonObject("timeline") { put("events", JsonArray(timeline.drop(device.seen))) }
                    }
                }
            }
            put("device_one_time_keys_count", keyCounts(device))
            putJsonArray("device_unused_fallback_key_types") {
                if (device.fallbackKeys.isNotEmpty()) add("signed_curve25519")
            }
        }
        device.toDevice.clear()
        device.seen = timeline.size
        return answer.toString()
    }

    override fun event(eventId: String): String {
        val event = timeline.first { it.stringIn("event_id") == eventId }
        return event.with("room_id", ROOM).toString()
    }

    private fun device(userId: String, deviceId: String) =
        devices.getOrPut(userId to deviceId) { Registered() }

    private fun keyCounts(device: Registered) =
        buildJsonObject { put("signed_curve25519", device.oneTimeKeys.size) }
}
