package org.matrixe2ee.tests

import java.util.Arrays
import java.util.TreeMap
import org.matrixe2ee.StoreBackend
import org.matrixe2ee.StoreChange
import org.matrixe2ee.StoreEntry

/** Records by collection and key, the keys in the order of their unsigned bytes. */
class Records {
    val collections = TreeMap<String, TreeMap<ByteArray, ByteArray>>()

    fun of(collection: String) = collections.getOrPut(collection) { TreeMap(Arrays::compareUnsigned) }
}

/** A store of our own, in memory; another one on the same records finds what this one left. */
open class MapStore(val records: Records = Records()) : StoreBackend {
    override fun get(collection: String, key: ByteArray): ByteArray? =
        synchronized(records) { records.of(collection)[key]?.copyOf() }

    override fun scan(collection: String, afterKey: ByteArray?, limit: UInt): List<StoreEntry> =
        synchronized(records) {
            val all = records.of(collection)
            val after = if (afterKey == null) all else all.tailMap(afterKey, false)
            // The limit may be larger than an Int.
            val count = limit.coerceAtMost(Int.MAX_VALUE.toUInt()).toInt()
            after.entries.take(count).map { StoreEntry(it.key.copyOf(), it.value.copyOf()) }
        }

    override fun commit(changes: List<StoreChange>) = synchronized(records) {
        for (change in changes) {
            val collection = records.of(change.collection)
            val value = change.value
            if (value == null) collection.remove(change.key) else collection[change.key] = value
        }
    }
}

/** The same, with something that happens before each commit. */
class Watched(records: Records = Records()) : MapStore(records) {
    @Volatile var beforeCommit: () -> Unit = {}

    override fun commit(changes: List<StoreChange>) {
        beforeCommit()
        super.commit(changes)
    }
}
