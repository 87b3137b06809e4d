/* The library in Kotlin, with its store in memory. Arguments and answer as in benches/measure.rs. */

import java.io.File
import org.matrixe2ee.Account
import org.matrixe2ee.InboundMegolmSession
import org.matrixe2ee.OutboundMegolmSession
import org.matrixe2ee.Store
import org.matrixe2ee.canonicalJson

class Task(arguments: Array<String>) {
    val row = arguments[0]
    val count = arguments[2].toInt()
    val content = """{"msgtype":"m.text","body":"${"x".repeat(arguments[1].toInt())}"}"""
    private val lines = File(arguments[3], "deep.lines").readLines()
    val senderKey get() = lines[0]
    val roomKey get() = lines[1]
    val events get() = lines.drop(2).take(count)

    fun alice() =
        Account.open(Store.inMemory(ByteArray(32) { 7 }), "@alice:example.org", "ALICEDEVICE")

    fun session() =
        InboundMegolmSession.fromRoomKey(alice(), "@bob:example.org", senderKey, roomKey)
}

class Timer {
    private val times = mutableListOf<Double>()

    fun <T> time(operation: () -> T): T {
        val start = System.nanoTime()
        val result = operation()
        times += (System.nanoTime() - start) / 1000.0
        return result
    }

    /** µs of one: the median over blocks. */
    fun result(each: Int = 1) =
        times.chunked((times.size + 14) / 15) { it.average() }.sorted().let { it[it.size / 2] } / each
}

fun encrypt(task: Task): Double {
    val session = OutboundMegolmSession.create(task.alice(), "!room:example.org")
    // Nobody to send the key to, and nothing that ends the session early.
    session.getSessionKeyForSending(
        """{"encryption": {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 10000},
            "members": {}, "device_keys": {}}"""
    )
    val timer = Timer()
    repeat(task.count) { timer.time { session.encrypt("m.room.message", task.content) } }
    return timer.result()
}

fun decrypt(task: Task): Double {
    val session = task.session()
    val timer = Timer()
    task.events.forEach { timer.time { session.decrypt(it) } }
    return timer.result()
}

fun decryptMany(task: Task): Double {
    val session = task.session()
    val timer = Timer()
    val batch = (task.events.size + 9) / 10
    task.events.chunked(batch).forEach { events ->
        val list = events.joinToString(",", "[", "]")
        val answers = timer.time { session.decryptMany(list) }
        check(answers.split("{\"event\":").size == events.size + 1) { answers.take(1000) }
    }
    return timer.result(batch)
}

fun bareCall(task: Task): Double {
    val session = task.session()
    val timer = Timer()
    repeat(task.count) { timer.time { session.sessionId() } }
    return timer.result()
}

fun bareText(task: Task): Double {
    val timer = Timer()
    repeat(task.count) { timer.time { canonicalJson(task.content) } }
    return timer.result()
}

val rows = mapOf(
    "megolm_encrypt" to ::encrypt,
    "megolm_decrypt" to ::decrypt,
    "decrypt_many" to ::decryptMany,
    "bare_call" to ::bareCall,
    "bare_text" to ::bareText,
)

fun main(arguments: Array<String>) {
    val task = Task(arguments)
    // Several times: what counts is a program that the virtual machine has compiled.
    val values = List(4) { rows[task.row]?.invoke(task) }
    println("""{"value": ${values.last()}}""")
}
