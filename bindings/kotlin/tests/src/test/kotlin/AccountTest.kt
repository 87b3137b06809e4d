package org.matrixe2ee.tests

import kotlinx.serialization.json.jsonObject
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.matrixe2ee.*

class AccountTest {
    @Test
    fun `an account names its device and signs its keys`() {
        val alice = alice()
        val keys = parse(alice.keys)
        assertEquals(ALICE, alice.account.userId())
        assertEquals("ALICE", alice.account.deviceId())
        assertEquals(alice.identityKey, keys.text("keys", "curve25519:ALICE"))
        assertEquals(alice.account.fingerprintKey(), keys.text("keys", "ed25519:ALICE"))
        verifySignedJson(alice.keys, ALICE, "ed25519:ALICE", alice.account.fingerprintKey())
    }

    @Test
    fun `a mistyped name opens no account where one is expected`() {
        val alice = alice()
        assertEquals(alice.identityKey, Account.openExisting(alice.store, ALICE, "ALICE").identityKey())
        assertThrows<E2eeException.NotFound> { Account.openExisting(alice.store, ALICE, "alice") }
    }

    @Test
    fun `what it signs can be verified`() {
        val alice = alice()
        val signed = alice.account.signJson("""{"one": 1}""")
        verifySignedJson(signed, ALICE, "ed25519:ALICE", alice.account.fingerprintKey())
    }

    @Test
    fun `there is nothing to upload once the server has all keys`() {
        val alice = alice()
        val body = alice.upload()
        assertEquals(50, body.at("one_time_keys").jsonObject.size)
        assertNull(alice.account.keysUploadRequest())
        alice.account.receiveKeyCounts("""{"signed_curve25519": 49}""", """["signed_curve25519"]""")
        assertEquals(1, alice.upload().at("one_time_keys").jsonObject.size)
        alice.account.receiveKeyCounts("""{"signed_curve25519": 50}""")
        assertNull(alice.account.keysUploadRequest())
    }

    @Test
    fun `an upload that the server refused is made again`() {
        val alice = alice()
        val body = alice.account.keysUploadRequest()
        alice.account.receiveKeysUploadResponse(500u, "{}")
        assertEquals(body, alice.account.keysUploadRequest())
    }

    @Test
    fun `events for many devices are encrypted in one call`() {
        val (alice, bob, toAlice) = Connected().run { Triple(alice, bob, toAlice) }
        val item = """{"user_id": "$BOB", "identity_key": "${bob.identityKey}",
            "type": "m.dummy", "content": {"n": 2}}"""
        val stranger = item.replace(BOB, "@carol:example.org")
        val answers = parseList(alice.account.encryptForDevices("[$item, $stranger]"))
        assertEquals("2", parse(toAlice.decrypt(answers.at(0, "content").toString())).text("content", "n"))
        assertEquals("NOT_FOUND", answers.text(1, "error", "name"))
    }

    @Test
    fun `events of any rooms are decrypted in one call`() {
        val room = InRoom()
        val known = room.say("$1", "hello")
        val unknown = room.alice.event("$2", room.alice.outbound().say("in a session of which Bob has no key"))
        val answers = parseList(room.bob.account.decryptRoomEvents("[$known, $unknown]"))
        assertEquals("hello", answers.text(0, "event", "content", "body"))
        assertEquals("NO_SESSION", answers.text(1, "error", "name"))
    }

    @Test
    fun `its sessions are listed, of one room or of all`() {
        val room = InRoom()
        for (list in listOf(room.bob.account.listSessions(), room.bob.account.listSessions(ROOM))) {
            assertEquals(room.inbound.sessionId(), parseList(list).text(0, "session_id"))
        }
        assertEquals("[]", room.bob.account.listSessions("!other:example.org"))
        assertEquals("[]", room.bob.account.listSessions(after = room.inbound.sessionId(), limit = 5u))
        assertThrows<E2eeException.InvalidField> { room.bob.account.listSessions(limit = 0u) }
    }

    @Test
    fun `its channels are listed page by page`() {
        val pair = Connected()
        val channels = parseList(pair.bob.account.listChannels(limit = 1u))
        assertEquals(ALICE, channels.text(0, "user_id"))
        assertEquals("[]", pair.bob.account.listChannels(after = channels.text(0, "identity_key")))
    }

    @Test
    fun `an account that is erased is gone for every handle`() {
        val alice = alice()
        val again = Account.open(alice.store, ALICE, "ALICE")
        assertEquals(alice.keys, again.deviceKeys())
        alice.account.erase()
        assertThrows<E2eeException.NotFound> { again.deviceKeys() }
    }

    @Test
    fun `an account that libolm pickled moves in with all its sessions`() {
        val fixture = fixture("libolm_sessions.json")
        val (us, them) = fixture.at("us") to fixture.at("them")
        val pickleKey = fixture.text("pickle_key").toByteArray()
        val store = Store.inMemory(key())
        val import = {
            Account.fromLibolmPickle(store, us.text("user_id"), us.text("device_id"), us.text("account"), pickleKey)
        }
        val account = import()
        assertEquals(us.text("identity_key"), account.identityKey())
        assertThrows<E2eeException.AlreadyExists> { import() }
        val olm = """{"kind": "olm", "user_id": ${them.at("user_id")},
            "identity_key": ${them.at("identity_key")}, "pickle": ${us.at("sessions", 0)}}"""
        val outbound = """{"kind": "outbound_megolm", "room_id": ${fixture.at("our_room_id")},
            "pickle": ${us.at("outbound")}}"""
        val report = parse(account.importLibolmSessions("[$olm, $outbound, {}]", pickleKey))
        assertEquals("2", report.text("imported"))
        assertEquals("INVALID_FIELD", report.text("failed", 0, "error", "name"))
    }

    @Test
    fun `an account that vodozemac pickled moves in`() {
        val known = fixture("olm_inbound.json").at("account")
        val pickleKey = ByteArray(32) { it.toByte() }
        val import = { pickle: String, key: ByteArray ->
            Account.fromVodozemacPickle(Store.inMemory(key()), known.text("user"), known.text("device"), pickle, key)
        }
        val account = import(known.text("vodozemac_pickle"), pickleKey)
        assertEquals(known.text("curve25519"), account.identityKey())
        assertEquals(known.text("ed25519"), account.fingerprintKey())
        assertThrows<E2eeException.WrongKey> { import(known.text("vodozemac_pickle"), key()) }
        assertThrows<E2eeException.InvalidLength> { import(known.text("vodozemac_pickle"), ByteArray(3)) }
    }

    @Test
    fun `nothing secret is in the text of a handle`() {
        assertTrue(Regex("""org\.matrixe2ee\.Account@[0-9a-f]+""").matches(alice().account.toString()))
    }
}
