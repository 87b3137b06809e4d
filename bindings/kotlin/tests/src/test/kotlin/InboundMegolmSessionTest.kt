package org.matrixe2ee.tests

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.matrixe2ee.*

class InboundMegolmSessionTest {
    @Test
    fun `who has the room key reads what is said`() {
        val room = InRoom()
        val plain = parse(room.inbound.decrypt(room.say("$1", "hello").toString()))
        assertEquals("m.room.message", plain.text("type"))
        assertEquals("hello", plain.text("content", "body"))
        assertEquals("0", plain.text("matrixe2ee", "message_index"))
        assertEquals("true", plain.text("matrixe2ee", "authenticated"))
        assertEquals("known", plain.text("matrixe2ee", "owner"))
        assertEquals(room.inbound.senderKey(), plain.text("matrixe2ee", "sender_key"))
        assertEquals("unknown", plain.text("matrixe2ee", "sender_fingerprint"))
    }

    @Test
    fun `a session says where it comes from`() {
        val room = InRoom()
        assertEquals(room.outbound.sessionId(), room.inbound.sessionId())
        assertEquals(room.alice.identityKey, room.inbound.senderKey())
        assertTrue(room.inbound.authenticated())
        assertEquals(0u, room.inbound.firstKnownIndex())
    }

    @Test
    fun `the sender reads back what it said itself`() {
        val alice = alice()
        val session = alice.outbound()
        val own = InboundMegolmSession.fromOutboundSession(session)
        assertEquals("hello", own.read(alice.event("$1", session.say("hello"))))
    }

    @Test
    fun `the same event may be read again`() {
        val room = InRoom()
        val event = room.say("$1", "hello")
        assertEquals(room.inbound.read(event), room.inbound.read(event))
    }

    @Test
    fun `many events are decrypted in one call, in their order`() {
        val room = InRoom()
        val events = (1..20).map { room.say("$$it", "message $it") }
        val replayed = events[3].with("event_id", "\$another")
        val answers = parseList(room.inbound.decryptMany((events + replayed).toString()))
        for (number in 1..20) {
            assertEquals("message $number", answers.text(number - 1, "event", "content", "body"))
        }
        assertEquals("REPLAY", answers.text(20, "error", "name"))
        assertEquals("$4", answers.text(20, "error", "event_id"))
    }

    @Test
    fun `a stored session is found by its room, ID and sender`() {
        val room = InRoom()
        val id = room.inbound.sessionId()
        val find = { sender: String? -> InboundMegolmSession.fromStorage(room.bob.account, ROOM, id, sender) }
        assertEquals(id, find(null).sessionId())
        assertEquals(id, find(ALICE).sessionId())
        assertThrows<E2eeException.NotFound> { find(BOB) }
    }

    @Test
    fun `an export opens from its index on, and is not authenticated`() {
        val room = InRoom()
        val (first, second) = room.say("$1", "first") to room.say("$2", "second")
        val laptop = Device(BOB, "LAPTOP")
        val session = InboundMegolmSession.fromExport(laptop.account, room.inbound.exportAt(1u))
        assertEquals(1u, session.firstKnownIndex())
        assertFalse(session.authenticated())
        assertEquals("second", session.read(second))
        assertThrows<E2eeException.UnknownIndex> { session.read(first) }
        val whole = InboundMegolmSession.fromExport(laptop.account, room.inbound.exportAt())
        assertEquals("first", whole.read(first))
        InboundMegolmSession.fromExport(laptop.account, whole.exportAt(), ALICE)
        val plain = parse(session.decrypt(second.toString()))
        assertEquals("known", plain.text("matrixe2ee", "owner"))
    }

    @Test
    fun `the sessions of a key export are imported in one call`() {
        val room = InRoom()
        val laptop = Device(BOB, "LAPTOP")
        val report = parse(laptop.account.importSessions("[${room.inbound.exportAt()}, {}]"))
        assertEquals("1", report.text("imported"))
        assertEquals("1", report.text("failed", 0, "index"))
        val id = room.inbound.sessionId()
        assertEquals(id, InboundMegolmSession.fromStorage(laptop.account, ROOM, id).sessionId())
    }

    @Test
    fun `a session that is erased is gone for every handle`() {
        val room = InRoom()
        val again = InboundMegolmSession.fromStorage(room.bob.account, ROOM, room.inbound.sessionId())
        room.inbound.erase()
        assertThrows<E2eeException.NotFound> { again.senderKey() }
    }

    @Test
    fun `a session that libolm pickled reads on`() {
        val fixture = fixture("libolm_sessions.json")
        val them = fixture.at("them")
        val session = InboundMegolmSession.fromLibolmPickle(
            bob().account, fixture.text("room_id"), them.text("identity_key"), fixture.text("us", "inbound"),
            fixture.text("pickle_key").toByteArray(), them.text("user_id"),
        )
        val event = """{"event_id": "$1", "sender": ${them.at("user_id")}, "room_id": ${fixture.at("room_id")},
            "content": ${fixture.at("events", 0)}}"""
        assertEquals("org.example.note", parse(session.decrypt(event)).text("type"))
        assertFalse(session.authenticated())
    }
}
