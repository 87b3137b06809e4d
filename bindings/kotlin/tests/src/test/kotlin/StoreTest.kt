package org.matrixe2ee.tests

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.matrixe2ee.*

class StoreTest {
    private fun keysIn(store: Store) = Account.open(store, ALICE, "ALICE").use { it.deviceKeys() }

    @Test
    fun `what was stored in a file is found again with its key`() = inFolder { folder ->
        val path = folder.resolve("alice.sqlite").toString()
        val keys = Store.openSqlite(path, key()).use { keysIn(it) }
        assertEquals(keys, Store.openSqlite(path, key()).use { keysIn(it) })
        assertThrows<E2eeException.WrongKey> { Store.openSqlite(path, ByteArray(32)) }
    }

    @Test
    fun `the end of use closes the file even if an account is still open`() = inFolder { folder ->
        val path = folder.resolve("alice.sqlite").toString()
        val account = Store.openSqlite(path, key()).use { store ->
            assertThrows<E2eeException.StoreInUse> { Store.openSqlite(path, key()) }
            Account.open(store, ALICE, "ALICE")
        }
        assertThrows<E2eeException.StoreClosed> { account.deviceKeys() }
        Store.openSqlite(path, key()).close()
    }

    @Test
    fun `use throws what was thrown in it and closes the store all the same`() {
        val thrown = IllegalArgumentException("no")
        lateinit var account: Account
        val caught = assertThrows<IllegalArgumentException> {
            Store.inMemory(key()).use { store ->
                account = Account.open(store, ALICE, "ALICE")
                throw thrown
            }
        }
        assertSame(thrown, caught)
        assertThrows<E2eeException.StoreClosed> { account.userId() }
    }

    @Test
    fun `a failure to write at the end comes out of use`() {
        val backend = Watched()
        val error = assertThrows<E2eeException.StoreIo> {
            Store.foreign(backend, key()).use { store ->
                Device(ALICE, "ALICE", store).outbound().say("so that indices are reserved")
                backend.beforeCommit = { throw IllegalStateException("the disk is full") }
            }
        }
        assertEquals("the backend failed to commit (STORE_IO)", error.detail)
    }

    @Test
    fun `a second close and a shutDown before it do nothing`() {
        val store = Store.inMemory(key())
        store.shutDown()
        store.shutDown()
        store.close()
        store.close()
    }

    @Test
    fun `a store that nobody holds any more still serves its account`() {
        val account = Account.open(Store.inMemory(key()), ALICE, "ALICE")
        System.gc()
        assertEquals(ALICE, account.userId())
    }

    @Test
    fun `another key takes the place of the former one`() = inFolder { folder ->
        val path = folder.resolve("alice.sqlite").toString()
        val newKey = ByteArray(32) { 8 }
        val keys = Store.openSqlite(path, key()).use { store ->
            store.rekey(newKey)
            keysIn(store)
        }
        assertThrows<E2eeException.WrongKey> { Store.openSqlite(path, key()) }
        assertEquals(keys, Store.openSqlite(path, newKey).use { keysIn(it) })
    }

    @Test
    fun `a passphrase opens a store as a key does`() = inFolder { folder ->
        val path = folder.resolve("alice.sqlite").toString()
        val keys = Store.openSqliteWithPassphrase(path, "correct horse").use { keysIn(it) }
        assertThrows<E2eeException.WrongKey> { Store.openSqliteWithPassphrase(path, "battery") }
        Store.openSqliteWithPassphrase(path, "correct horse").use { store ->
            assertEquals(keys, keysIn(store))
            store.rekeyWithPassphrase("staple")
        }
        assertEquals(keys, Store.openSqliteWithPassphrase(path, "staple").use { keysIn(it) })
    }

    @Test
    fun `stores in memory have nothing in common`() {
        assertNotEquals(keysIn(Store.inMemory(key())), keysIn(Store.inMemory(key())))
    }
}
