package org.matrixe2ee.tests

import java.lang.ref.WeakReference
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.matrixe2ee.*

class OwnStoreTest {
    @Test
    fun `a store of our own keeps an account`() {
        val records = Records()
        val keys = Store.foreign(MapStore(records), key()).use { Device(ALICE, "ALICE", it).keys }
        assertEquals(keys, Store.foreign(MapStore(records), key()).use { Device(ALICE, "ALICE", it).keys })
        assertThrows<E2eeException.WrongKey> { Store.foreign(MapStore(records), ByteArray(32)) }
    }

    @Test
    fun `what it is given says nothing of the user`() {
        val records = Records()
        Store.foreign(MapStore(records), key()).use { Device(ALICE, "ALICE", it).outbound() }
        val all = records.collections.values.flatMap { it.entries }.flatMap { listOf(it.key, it.value) }
        assertTrue(all.isNotEmpty())
        assertFalse(all.any { "alice" in String(it, Charsets.ISO_8859_1) || ROOM in String(it, Charsets.ISO_8859_1) })
    }

    @Test
    fun `it keeps all the rules of a store`() {
        val records = Records()
        assertEquals(emptyList<String>(), brokenStoreRules { MapStore(records) })
    }

    @Test
    fun `a rule that is broken is named`() {
        val records = Records()
        val forgetful = object : MapStore(records) {
            override fun commit(changes: List<StoreChange>) = super.commit(changes.filter { it.value != null })
        }
        val broken = brokenStoreRules { forgetful }
        assertTrue(broken.isNotEmpty())
        assertTrue(broken.all { it.isNotBlank() }) { "$broken" }
    }

    @Test
    fun `whatever is thrown in a commit is StoreIo, and nothing was encrypted`() {
        val backend = Watched()
        val session = Device(ALICE, "ALICE", Store.foreign(backend, key())).outbound("""{"reserve_ahead": 0}""")
        for ((thrown, detail) in listOf(
            IllegalStateException("password: 1234") to "the backend failed to commit (STORE_IO)",
            E2eeException.StoreIo("disk full") to "the backend failed to commit: disk full",
            E2eeException.Corrupt("password") to "the backend failed to commit (CORRUPT)",
            // Not only an Exception: any Throwable, as TODO() and the JVM throw them.
            NotImplementedError("password") to "the backend failed to commit (STORE_IO)",
            StackOverflowError() to "the backend failed to commit (STORE_IO)",
        )) {
            backend.beforeCommit = { throw thrown }
            val error = assertThrows<E2eeException.StoreIo>("$thrown") { session.say("hello") }
            assertEquals(detail, error.detail)
        }
        backend.beforeCommit = {}
        session.say("hello")
        assertEquals(1u, session.messageIndex())
    }

    @Test
    fun `whatever is thrown in get or scan is StoreIo`() {
        for (thrown in listOf(IllegalStateException(), NotImplementedError())) {
            val noGet = object : MapStore() {
                override fun get(collection: String, key: ByteArray) = throw thrown
            }
            val noScan = object : MapStore() {
                override fun scan(collection: String, afterKey: ByteArray?, limit: UInt) = throw thrown
            }
            for (backend in listOf(noGet, noScan)) {
                assertThrows<E2eeException.StoreIo> { Device(ALICE, "ALICE", Store.foreign(backend, key())) }
            }
        }
    }

    @Test
    fun `what is thrown while a place is opened breaks a rule and nothing else`() {
        for (thrown in listOf(IllegalStateException(), NotImplementedError())) {
            assertTrue(brokenStoreRules { throw thrown }.isNotEmpty())
        }
    }

    @Test
    fun `a store that calls back is told Busy`() {
        val backend = Watched()
        val alice = Device(ALICE, "ALICE", Store.foreign(backend, key()))
        val answers = mutableListOf<E2eeException>()
        backend.beforeCommit = { answers += assertThrows<E2eeException> { alice.account.deviceKeys() } }
        alice.outbound()
        assertEquals(setOf("BUSY"), answers.map { it.name() }.toSet())
        assertTrue(answers[0] is E2eeException.Busy)
    }

    @Test
    fun `a store of our own serves many threads`() {
        val session = Device(ALICE, "ALICE", Store.foreign(MapStore(), key())).outbound()
        val threads = (0 until 4).map { Thread { repeat(10) { session.say("hello") } }.apply { start() } }
        threads.forEach { it.join() }
        assertEquals(40u, session.messageIndex())
    }

    @Test
    fun `a store that was closed lets go of its backend`() {
        var backend: MapStore? = MapStore()
        val watch = WeakReference(backend)
        val store = Store.foreign(backend!!, key())
        @Suppress("UNUSED_VALUE")
        backend = null
        System.gc()
        assertNotNull(watch.get())
        store.close()
        System.gc()
        assertNull(watch.get())
    }
}
