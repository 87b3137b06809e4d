package org.matrixe2ee.tests

import java.util.concurrent.Callable
import java.util.concurrent.Executors
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.matrixe2ee.*

class HandlesTest {
    /** Does the same on four threads; gives what each gave. */
    private fun <R> onThreads(what: (Int) -> R): List<R> {
        val threads = Executors.newFixedThreadPool(4)
        try {
            return threads.invokeAll((0 until 4).map { Callable { what(it) } }).map { it.get() }
        } finally {
            threads.shutdown()
        }
    }

    @Test
    fun `use releases each kind of handle, and what is stored stays`() {
        val room = InRoom()
        val account = room.bob.account
        val sessionId = room.inbound.use { it.sessionId() }
        assertThrows<IllegalStateException> { room.inbound.sessionId() }
        assertEquals(sessionId, InboundMegolmSession.fromStorage(account, ROOM, sessionId).use { it.sessionId() })
        room.outbound.use { it.messageIndex() }
        assertThrows<IllegalStateException> { room.outbound.messageIndex() }
        room.alice.channelTo(room.bob).use { channel ->
            channel.close()
            assertThrows<IllegalStateException> { channel.sessionCount() }
        }
        account.use { it.userId() }
        assertThrows<IllegalStateException> { account.userId() }
        assertEquals(BOB, Account.open(room.bob.store, BOB, "BOB").userId())
    }

    @Test
    fun `a handle that was closed is refused as an argument, too`() {
        val store = Store.inMemory(key()).also { it.close() }
        assertThrows<IllegalStateException> { Account.open(store, ALICE, "ALICE") }
        val account = alice().account.also { it.close() }
        assertThrows<IllegalStateException> { OutboundMegolmSession.create(account, ROOM) }
    }

    @Test
    fun `threads share one session and no index is used twice`() {
        val room = InRoom()
        val said = onThreads { thread -> (0 until 25).map { room.say("\$$thread-$it", "$thread $it") } }.flatten()
        assertEquals(100u, room.outbound.messageIndex())
        assertEquals(100, said.map { it.text("content", "ciphertext") }.toSet().size)
        val read = onThreads { thread -> said.filterIndexed { at, _ -> at % 4 == thread }.map(room.inbound::read) }
        assertEquals(100, read.flatten().toSet().size)
    }

    @Test
    fun `closing a handle that other threads use is safe`() {
        repeat(20) {
            val session = alice().outbound()
            onThreads { thread ->
                if (thread == 0) session.close()
                else try {
                    repeat(10) { session.say("hello") }
                } catch (_: IllegalStateException) {
                    // It was closed by the other thread.
                }
            }
            assertThrows<IllegalStateException> { session.messageIndex() }
        }
    }

    @Test
    fun `closing a handle that other threads pass as an argument is safe`() {
        repeat(20) {
            val account = alice().account
            onThreads { thread ->
                if (thread == 0) account.close()
                else try {
                    repeat(10) { OutboundMegolmSession.create(account, ROOM) }
                } catch (_: IllegalStateException) {
                    // It was closed by the other thread.
                }
            }
            assertThrows<IllegalStateException> { OutboundMegolmSession.create(account, ROOM) }
        }
    }

    @Test
    fun `closing a store that other threads use is StoreClosed for them`() {
        repeat(20) {
            val alice = alice()
            val session = alice.outbound()
            onThreads { thread ->
                if (thread == 0) alice.store.close()
                else try {
                    repeat(10) { session.say("hello") }
                } catch (_: E2eeException.StoreClosed) {
                    // The other thread was faster.
                }
            }
            assertThrows<E2eeException.StoreClosed> { session.say("hello") }
        }
    }
}
