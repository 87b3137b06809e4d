package org.matrixe2ee.tests

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.matrixe2ee.*

class ClockTest {
    @Test
    fun `a session expires by the store's clock`() {
        val room = InRoom()
        room.say("$1", "hello")
        room.alice.clock.now += 8 * 24 * 60 * 60 * 1000L
        val error = assertThrows<E2eeException.SessionExpired> { room.say("$2", "a week later") }
        assertEquals("time", error.reason)
    }

    @Test
    fun `a clock may be a lambda`() {
        var asked = 0
        val alice = alice()
        alice.store.setClock { START.also { asked++ } }
        alice.outbound()
        assertEquals(true, asked > 0)
    }

    @Test
    fun `whatever is thrown by a clock is ClockFailed, and so is a negative time`() {
        val alice = alice()
        for (clock in listOf(
            Clock { throw IllegalStateException("no battery") },
            Clock { throw E2eeException.ClockFailed("no battery") },
            Clock { throw NotImplementedError() },
            Clock { -1 },
        )) {
            alice.store.setClock(clock)
            assertThrows<E2eeException.ClockFailed> { alice.outbound() }
        }
        alice.store.setClock { START }
        alice.outbound()
    }
}
