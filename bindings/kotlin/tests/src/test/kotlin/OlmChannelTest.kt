package org.matrixe2ee.tests

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.matrixe2ee.*

class OlmChannelTest {
    @Test
    fun `a first message makes the channel of the other side`() {
        val pair = Connected()
        val event = parse(pair.toAlice.firstEvent())
        assertEquals("m.dummy", event.text("type"))
        assertEquals("1", event.text("content", "n"))
        assertEquals(ALICE, event.text("sender"))
        assertEquals(BOB, event.text("recipient"))
        assertThrows<E2eeException.NotFound> { pair.toBob.firstEvent() }
    }

    @Test
    fun `messages go both ways`() {
        val pair = Connected()
        val answer = pair.toAlice.encrypt("m.dummy", """{"n": 2}""")
        assertEquals("2", parse(pair.toBob.decrypt(answer)).text("content", "n"))
        val next = pair.toBob.encrypt("m.dummy", """{"n": 3}""")
        assertEquals("3", parse(pair.toAlice.decrypt(next)).text("content", "n"))
    }

    @Test
    fun `a channel says who is at its other end`() {
        val pair = Connected()
        val bob = parse(pair.toBob.partner())
        assertEquals(BOB, bob.text("user_id"))
        assertEquals("BOB", bob.text("device_id"))
        assertEquals(pair.bob.identityKey, bob.text("identity_key"))
        assertEquals(pair.bob.account.fingerprintKey(), bob.text("fingerprint_key"))
        assertEquals("device_keys", bob.text("fingerprint"))
    }

    @Test
    fun `device keys verify a fingerprint that a message taught`() {
        val pair = Connected()
        assertEquals("learned", parse(pair.toAlice.partner()).text("fingerprint"))
        pair.toAlice.setPartnerDeviceKeys(pair.alice.keys)
        assertEquals("device_keys", parse(pair.toAlice.partner()).text("fingerprint"))
    }

    @Test
    fun `what the caller knows of the sender is compared with the first message`() {
        val pair = Connected()
        val carol = Device("@carol:example.org", "CAROL")
        val content = carol.channelTo(pair.bob).encrypt("m.dummy", "{}")
        val channel = OlmChannel.createFromEncryptedMessage(
            pair.bob.account, carol.userId, carol.identityKey, content,
            partnerDeviceId = "CAROL", partnerFingerprintKey = pair.alice.account.fingerprintKey(),
        )
        assertThrows<E2eeException.MismatchedFingerprint> { channel.firstEvent() }
    }

    @Test
    fun `a stored channel is found by user and identity key`() {
        val pair = Connected()
        val find = { user: String -> OlmChannel.createFromStorage(pair.alice.account, user, pair.bob.identityKey) }
        assertEquals(pair.toBob.partner(), find(BOB).partner())
        assertThrows<E2eeException.NotFound> { find(ALICE) }
    }

    @Test
    fun `a further session is added with a further key`() {
        val pair = Connected()
        assertEquals(1u, pair.toBob.sessionCount())
        pair.toBob.addOutboundOlmSession(pair.bob.oneTimeKey())
        assertEquals(2u, pair.toBob.sessionCount())
        assertEquals("m.dummy", parse(pair.toAlice.decrypt(pair.toBob.encrypt("m.dummy", "{}"))).text("type"))
        assertEquals(2u, pair.toAlice.sessionCount())
    }

    @Test
    fun `a new session is due after a message that did not decrypt, and no more than once an hour`() {
        val pair = Connected()
        assertFalse(pair.toAlice.shouldCreateNewSession())
        val content = altered(pair.toBob.encrypt("m.dummy", "{}"), pair.bob)
        assertThrows<E2eeException.UnableToDecrypt> { pair.toAlice.decrypt(content) }
        assertTrue(pair.toAlice.shouldCreateNewSession())
        assertThrows<E2eeException.UnableToDecrypt> { pair.toAlice.decrypt(content) }
        assertFalse(pair.toAlice.shouldCreateNewSession())
    }

    @Test
    fun `a channel that is erased is gone for every handle`() {
        val pair = Connected()
        val again = OlmChannel.createFromStorage(pair.alice.account, BOB, pair.bob.identityKey)
        pair.toBob.erase()
        assertThrows<E2eeException.NotFound> { again.encrypt("m.dummy", "{}") }
    }

    @Test
    fun `sessions that libolm pickled go on where they were`() {
        val fixture = fixture("libolm_sessions.json")
        val (us, them) = fixture.at("us") to fixture.at("them")
        val pickleKey = fixture.text("pickle_key").toByteArray()
        val account = Account.fromLibolmPickle(
            Store.inMemory(key()), us.text("user_id"), us.text("device_id"), us.text("account"), pickleKey,
        )
        val channel = OlmChannel.fromLibolmPickles(
            account, them.text("user_id"), them.text("identity_key"), us.at("sessions").toString(), pickleKey,
        )
        assertEquals(3u, channel.sessionCount())
        channel.decrypt(fixture.at("waiting", 0, "content").toString())
        assertEquals("learned", parse(channel.partner()).text("fingerprint"))
    }

    @Test
    fun `sessions that vodozemac pickled go on where they were`() {
        val fixture = fixture("olm_inbound.json")
        val (known, message) = fixture.at("account") to fixture.at("events", 2)
        val pickleKey = ByteArray(32) { it.toByte() }
        val account = Account.fromVodozemacPickle(
            Store.inMemory(key()), known.text("user"), known.text("device"), known.text("vodozemac_pickle"), pickleKey,
        )
        val channel = OlmChannel.fromVodozemacPickles(
            account, message.text("sender"), message.text("event", "content", "sender_key"),
            "[${message.at("session_before", "vodozemac_pickle_before")}]", pickleKey,
        )
        val plain = parse(channel.decrypt(message.at("event", "content").toString()))
        assertEquals(message.at("plaintext", "content"), plain.at("content"))
    }
}
