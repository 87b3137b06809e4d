// One member of the room of run.sh: a device as in examples/kotlin, that is told what to do line by
// line on standard input, and reaches the homeserver the same way.
//
//     member_kotlin.sh NAME USER_ID DEVICE_ID STORE_PATH STORE_KEY_HEX

import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonObjectBuilder
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import org.matrixe2ee.E2eeException

private fun write(line: JsonObject) {
    println(line)
    System.out.flush()
}

/** Asks whoever started the program; the answer is the next line. */
private object Pipes : Homeserver {
    private fun ask(what: String, arguments: JsonObjectBuilder.() -> Unit): String {
        write(buildJsonObject { put("ask", what); arguments() })
        return checkNotNull(readlnOrNull()) { "the answer to $what is missing" }
    }

    override fun keysUpload(userId: String, deviceId: String, body: String) = ask("keys_upload") {
        put("user_id", userId)
        put("device_id", deviceId)
        put("body", fromText(body))
    }

    override fun keysQuery(body: String) = ask("keys_query") { put("body", fromText(body)) }

    override fun keysClaim(body: String) = ask("keys_claim") { put("body", fromText(body)) }

    override fun joinedMembers() = ask("joined_members") {}

    override fun sendToDevice(userId: String, eventType: String, body: String) {
        ask("send_to_device") {
            put("user_id", userId)
            put("event_type", eventType)
            put("body", fromText(body))
        }
    }

    override fun send(userId: String, eventType: String, content: String) = ask("send") {
        put("user_id", userId)
        put("event_type", eventType)
        put("content", fromText(content))
    }

    override fun sync(userId: String, deviceId: String) = ask("sync") {
        put("user_id", userId)
        put("device_id", deviceId)
    }

    override fun event(eventId: String) = ask("event") { put("event_id", eventId) }
}

/** Does what a command says; gives what belongs into the answer. */
private fun obey(device: Device, command: JsonObject): JsonObject = buildJsonObject {
    put("done", true)
    when (val what = command.stringIn("do")) {
        "open" -> {
            openDevice(device)
            uploadKeys(Pipes, device)
        }
        "say" -> put("event_id", say(Pipes, device, command.stringIn("words")))
        "receive" -> put("read", JsonArray(receive(Pipes, device).map { (sender, words) ->
            buildJsonObject {
                put("sender", sender)
                put("words", words)
            }
        }))
        "restart" -> {
            closeDevice(device)
            openDevice(device)
        }
        "end" -> closeDevice(device)
        else -> error("no such command: $what")
    }
}

fun main(arguments: Array<String>) {
    tell = { System.err.println(it) }
    val (name, userId, deviceId, path, keyHex) = arguments
    val storeKey = keyHex.chunked(2).map { it.toInt(16).toByte() }.toByteArray()
    val device = Device(name, userId, deviceId, path, storeKey)
    for (line in generateSequence(::readlnOrNull)) {
        val command = fromText(line)
        try {
            write(obey(device, command))
        } catch (error: E2eeException) {
            write(buildJsonObject { put("failed", error.name()) })
        } catch (error: Exception) {
            write(buildJsonObject { put("failed", error.toString()) })
        }
        if (command.stringIn("do") == "end") break
    }
}
