package org.matrixe2ee.tests

import java.io.RandomAccessFile
import java.nio.file.Files
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.matrixe2ee.*

/**
 * Each error as its own exception, as it comes about. At the end all of them, also those that only C can
 * have, and NO_SESSION, which stands in the answers of a batch: see AccountTest.
 */
class ErrorsTest {
    /** The exception, if its sentence, name and JSON fit together. */
    private inline fun <reified E : E2eeException> refused(call: () -> Any?): E {
        val error = assertThrows<E> { call() }
        val json = parse(error.json())
        assertEquals(json.text("detail"), error.message)
        assertEquals(json.text("name"), error.name())
        assertEquals(json.text("code"), error.code().toString())
        assertTrue(error.message!!.isNotBlank())
        return error
    }

    @Test
    fun `a key of the wrong length is InvalidLength`() {
        refused<E2eeException.InvalidLength> { Store.inMemory(ByteArray(5)) }
    }

    @Test
    fun `what is not JSON is InvalidJson`() {
        refused<E2eeException.InvalidJson> { canonicalJson("{") }
    }

    @Test
    fun `an argument that makes no sense is InvalidField and is named`() {
        val error = refused<E2eeException.InvalidField> { Account.open(Store.inMemory(key()), "alice", "ALICE") }
        assertEquals("user_id", error.field)
    }

    @Test
    fun `an event that is too large is TooLarge and says what the limit is`() {
        val error = refused<E2eeException.TooLarge> { InRoom().inbound.decrypt(" ".repeat(65_537)) }
        assertEquals("65536", error.limit.toString())
    }

    @Test
    fun `a key that is none is InvalidKey`() {
        val signed = alice().account.signJson("{}")
        refused<E2eeException.InvalidKey> { verifySignedJson(signed, ALICE, "ed25519:ALICE", "AAAA") }
    }

    @Test
    fun `a signature that does not hold is BadSignature`() {
        val (alice, bob) = alice() to bob()
        val signed = alice.account.signJson("{}")
        val otherKey = bob.account.fingerprintKey()
        refused<E2eeException.BadSignature> { verifySignedJson(signed, ALICE, "ed25519:ALICE", otherKey) }
    }

    @Test
    fun `an algorithm that the call does not handle is UnknownAlgorithm and is named`() {
        val error = refused<E2eeException.UnknownAlgorithm> {
            bob().receive(alice(), """{"algorithm": "m.megolm.v9"}""")
        }
        assertEquals("m.megolm.v9", error.algorithm)
    }

    @Test
    fun `an Olm message for another device is NotEncryptedForUs`() {
        val pair = Connected()
        val content = pair.toBob.encrypt("m.dummy", "{}")
        refused<E2eeException.NotEncryptedForUs> { Device(BOB, "LAPTOP").receiveFirst(pair.alice, content) }
    }

    @Test
    fun `an Olm message that was altered or comes again is UnableToDecrypt and says why`() {
        val pair = Connected()
        val content = pair.toBob.encrypt("m.dummy", "{}")
        val wrong = altered(content, pair.bob)
        assertEquals("bad_mac", refused<E2eeException.UnableToDecrypt> { pair.toAlice.decrypt(wrong) }.reason)
        pair.toAlice.decrypt(content)
        val again = refused<E2eeException.UnableToDecrypt> { pair.toAlice.decrypt(content) }
        assertEquals("missing_message_key", again.reason)
    }

    @Test
    fun `a message of a type that does not exist is InvalidMessage`() {
        val pair = Connected()
        val content = parse(pair.toBob.encrypt("m.dummy", "{}"))
        val ours = parse(content.at("ciphertext", pair.bob.identityKey).toString()).with("type", JsonPrimitive(7))
        val ciphertext = parse("""{"${pair.bob.identityKey}": $ours}""")
        val message = content.with("ciphertext", ciphertext).toString()
        refused<E2eeException.InvalidMessage> { pair.toAlice.decrypt(message) }
    }

    @Test
    fun `device keys with another fingerprint are MismatchedFingerprint`() {
        val pair = Connected()
        val other = bob()
        val keys = parse(other.keys)
        val mixed = parse(keys.at("keys").toString()).with("curve25519:BOB", pair.bob.identityKey)
        val forged = other.account.signJson(JsonObject(keys - "signatures").with("keys", mixed).toString())
        refused<E2eeException.MismatchedFingerprint> { pair.toBob.setPartnerDeviceKeys(forged) }
    }

    @Test
    fun `nothing is encrypted for a device whose fingerprint nobody knows, that is UnknownFingerprint`() {
        val fixture = fixture("libolm_sessions.json")
        val (us, them) = fixture.at("us") to fixture.at("them")
        val pickleKey = fixture.text("pickle_key").toByteArray()
        val account = Account.fromLibolmPickle(
            Store.inMemory(key()), us.text("user_id"), us.text("device_id"), us.text("account"), pickleKey,
        )
        val channel = OlmChannel.fromLibolmPickles(
            account, them.text("user_id"), them.text("identity_key"), us.at("sessions").toString(), pickleKey,
        )
        refused<E2eeException.UnknownFingerprint> { channel.encrypt("m.dummy", "{}") }
    }

    @Test
    fun `a session that has done its work is SessionExpired and says why`() {
        val session = alice().outbound().also { it.invalidate() }
        assertEquals("invalidated", refused<E2eeException.SessionExpired> { session.say("hello") }.reason)
    }

    @Test
    fun `a room without encryption is RoomNotEncrypted`() {
        val (alice, bob) = alice() to bob()
        val room = recipients(alice, bob, encryption = null)
        refused<E2eeException.RoomNotEncrypted> { alice.outbound().getSessionKeyForSending(room) }
    }

    @Test
    fun `an event in another room is WrongRoom, by somebody else WrongSender`() {
        val room = InRoom()
        val event = room.say("$1", "hello")
        val elsewhere = event.with("room_id", "!other:example.org").toString()
        refused<E2eeException.WrongRoom> { room.inbound.decrypt(elsewhere) }
        refused<E2eeException.WrongSender> { room.inbound.decrypt(event.with("sender", BOB).toString()) }
    }

    @Test
    fun `an event of another session is MismatchedSessionId`() {
        val room = InRoom()
        val event = room.alice.event("$1", room.alice.outbound().say("hello"))
        refused<E2eeException.MismatchedSessionId> { room.inbound.decrypt(event.toString()) }
    }

    @Test
    fun `an event before the first that can be read is UnknownIndex and says which`() {
        val room = InRoom()
        val event = room.say("$1", "hello")
        val later = InboundMegolmSession.fromExport(Device(BOB, "LAPTOP").account, room.inbound.exportAt(1u))
        val error = refused<E2eeException.UnknownIndex> { later.decrypt(event.toString()) }
        assertEquals(1u to 0u, error.firstKnown to error.got)
    }

    @Test
    fun `an index that another event has used is Replay and names that event`() {
        val room = InRoom()
        room.say("$1", "first")
        val event = room.say("$2", "second")
        room.inbound.read(event)
        val error = refused<E2eeException.Replay> { room.inbound.decrypt(event.with("event_id", "$3").toString()) }
        assertEquals(1u to "$2", error.messageIndex to error.eventId)
    }

    @Test
    fun `what is not stored is NotFound, what is stored already AlreadyExists`() {
        val (alice, bob) = alice() to bob()
        refused<E2eeException.NotFound> { OlmChannel.createFromStorage(alice.account, BOB, bob.identityKey) }
        val key = bob.oneTimeKey()
        OlmChannel.createOutboundChannel(alice.account, bob.keys, key)
        refused<E2eeException.AlreadyExists> { OlmChannel.createOutboundChannel(alice.account, bob.keys, key) }
    }

    @Test
    fun `a file that is open already is StoreInUse, with another key WrongKey`() = inFolder { folder ->
        val path = folder.resolve("alice.sqlite").toString()
        Store.openSqlite(path, key()).use {
            refused<E2eeException.StoreInUse> { Store.openSqlite(path, key()) }
        }
        refused<E2eeException.WrongKey> { Store.openSqlite(path, ByteArray(32)) }
    }

    @Test
    fun `a store that was shut down is StoreClosed`() {
        val alice = alice()
        alice.store.shutDown()
        refused<E2eeException.StoreClosed> { alice.account.deviceKeys() }
    }

    @Test
    fun `a record that was altered is Corrupt`() {
        val records = Records()
        val open = { Device(ALICE, "ALICE", Store.foreign(MapStore(records), key())) }
        open().store.shutDown()
        for (record in records.collections.values.flatMap { it.values }) record[record.size - 1]++
        refused<E2eeException.Corrupt> { open() }
    }

    @Test
    fun `a file of a newer version is NewerFormat and says which`() = inFolder { folder ->
        val path = folder.resolve("alice.sqlite").toString()
        Store.openSqlite(path, key()).close()
        RandomAccessFile(path, "rw").use { file ->
            file.seek(60) // SQLite's user_version, in which the format stands
            file.writeInt(99)
        }
        val error = refused<E2eeException.NewerFormat> { Store.openSqlite(path, key()) }
        assertEquals(99u, error.found)
        assertTrue(error.supported < 99u)
    }

    @Test
    fun `a file that cannot be made is StoreIo`() = inFolder { folder ->
        val path = folder.resolve("missing/alice.sqlite").toString()
        refused<E2eeException.StoreIo> { Store.openSqlite(path, key()) }
    }

    @Test
    fun `a clock that fails is ClockFailed`() {
        val alice = alice().apply { clock.now = -1 }
        refused<E2eeException.ClockFailed> { alice.outbound() }
    }

    @Test
    fun `each error of the header has its exception with the same number and name`() {
        val header = Files.readString(root.resolve("include/matrixe2ee.h"))
        val statuses = Regex("""MATRIXE2EE_STATUS_(\w+) = ([1-9]\d*)""").findAll(header)
            .associate { it.groupValues[1] to it.groupValues[2].toInt() }
        val exceptions = E2eeException::class.java.declaredClasses
            .filter { E2eeException::class.java.isAssignableFrom(it) }
            .associate { made(it).run { name() to code() } }
        assertEquals(statuses, exceptions)
        assertTrue(exceptions.size > 30)
    }

    /** An exception of this class, with whatever in its fields. */
    private fun made(kind: Class<*>): E2eeException {
        val constructor = kind.declaredConstructors.first { !it.isSynthetic }
        val fields = constructor.parameterTypes.map<Class<*>, Any> {
            when (it) {
                String::class.java -> "bad_mac"
                Long::class.javaPrimitiveType -> 1L
                else -> 1
            }
        }
        constructor.isAccessible = true
        return constructor.newInstance(*fields.toTypedArray()) as E2eeException
    }
}
