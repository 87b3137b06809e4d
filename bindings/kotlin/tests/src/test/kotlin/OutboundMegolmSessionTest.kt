package org.matrixe2ee.tests

import kotlinx.serialization.json.jsonObject
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.matrixe2ee.*

class OutboundMegolmSessionTest {
    @Test
    fun `each message has the next index`() {
        val session = alice().outbound()
        assertEquals(0u, session.messageIndex())
        val content = parse(session.say("hello"))
        assertEquals(1u, session.messageIndex())
        assertEquals(session.sessionId(), content.text("session_id"))
        assertEquals(MEGOLM, content.text("algorithm"))
        assertEquals("ALICE", content.text("device_id"))
    }

    @Test
    fun `the newest session is the room's current one and older ones stay`() {
        val alice = alice()
        assertThrows<E2eeException.NotFound> { OutboundMegolmSession.createFromStorage(alice.account, ROOM) }
        val (first, second) = alice.outbound() to alice.outbound()
        val stored = { id: String? -> OutboundMegolmSession.createFromStorage(alice.account, ROOM, id).sessionId() }
        assertNotEquals(first.sessionId(), second.sessionId())
        assertEquals(second.sessionId(), stored(null))
        assertEquals(first.sessionId(), stored(first.sessionId()))
    }

    @Test
    fun `a device gets the key until it was sent, and then no more`() {
        val (alice, bob) = alice() to bob()
        val session = alice.outbound()
        val room = recipients(alice, bob)
        val list = parseList(session.getSessionKeyForSending(room))
        assertEquals(1, list.size)
        assertEquals(parse(bob.keys), list.at(0, "device"))
        assertEquals(session.sessionId(), list.text(0, "content", "session_id"))
        session.say("in between")
        assertEquals(list, parseList(session.getSessionKeyForSending(room)))
        session.markAsSent("[${bob.keys}]")
        assertEquals("[]", session.getSessionKeyForSending(room))
    }

    @Test
    fun `a blocked device is told why it gets no key`() {
        val (alice, bob) = alice() to bob()
        val room = parse(recipients(alice, bob)).with("blocked", parse("""{"$BOB": {"BOB": "m.blacklisted"}}"""))
        alice.channelTo(bob)
        val list = parseList(alice.outbound().getSessionKeyForSending(room.toString()))
        assertEquals("m.blacklisted", list.text(0, "withheld", "code"))
        assertEquals(false, "content" in list.at(0).jsonObject)
    }

    @Test
    fun `the settings limit what the room asks for`() {
        val (alice, bob) = alice() to bob()
        val session = alice.outbound("""{"maximum_rotation_period_msgs": 2}""")
        val encryption = """{"algorithm": "$MEGOLM", "rotation_period_msgs": 100}"""
        session.getSessionKeyForSending(recipients(alice, bob, encryption = encryption))
        repeat(2) { session.say("hello") }
        val error = assertThrows<E2eeException.SessionExpired> { session.say("one more") }
        assertEquals("count", error.reason)
    }

    @Test
    fun `a session that was invalidated encrypts nothing more`() {
        val session = alice().outbound()
        session.invalidate()
        val error = assertThrows<E2eeException.SessionExpired> { session.say("hello") }
        assertEquals("invalidated", error.reason)
    }

    @Test
    fun `a session that is erased is gone for every handle`() {
        val alice = alice()
        val session = alice.outbound()
        val again = OutboundMegolmSession.createFromStorage(alice.account, ROOM)
        session.erase()
        assertThrows<E2eeException.NotFound> { again.say("hello") }
    }

    @Test
    fun `a session that libolm pickled goes on where it was`() {
        val fixture = fixture("libolm_sessions.json")
        val us = fixture.at("us")
        val pickleKey = fixture.text("pickle_key").toByteArray()
        val account = Account.fromLibolmPickle(
            Store.inMemory(key()), us.text("user_id"), us.text("device_id"), us.text("account"), pickleKey,
        )
        val session = OutboundMegolmSession.fromLibolmPickle(
            account, fixture.text("our_room_id"), us.text("outbound"), pickleKey,
        )
        assertEquals(fixture.text("our_events", 0, "session_id"), session.sessionId())
        assertEquals(3u, session.messageIndex())
    }
}
