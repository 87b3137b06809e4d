#!/usr/bin/env python3
"""Makes calls through the generated Kotlin code several times cheaper, and finds the right library:
`adapt_kotlin.py FILE`. Each text that is replaced has to stand there as often as is said here: when the
generator changes, the build says so.

1. JNA fills the fields of a structure by reflection: here the two that every call needs do it themselves.
2. The structure for a call's outcome is used again by a later call of the thread, unless it has an
   error in it.
3. A text is encoded and copied in one piece, not letter by letter.
4. The library is the one in the jar. JNA looks into the system's folders first, and would take whatever
   has that name there.
"""

import pathlib
import sys

path = pathlib.Path(sys.argv[1])
code = path.read_text()


def replace(old, new, times=1):
    global code
    if code.count(old) != times:
        sys.exit(f"adapt_kotlin.py does not fit the generated code, where it says:\n{old}")
    code = code.replace(old, new)


replace(
    """    class ByReference: RustBuffer(), Structure.ByReference
""",
    """    class ByReference: RustBuffer(), Structure.ByReference

    override fun read() {
        val memory = pointer
        capacity = memory.getLong(0)
        len = memory.getLong(8)
        data = memory.getPointer(16)
    }

    override fun write() {
        val memory = pointer
        memory.setLong(0, capacity)
        memory.setLong(8, len)
        memory.setPointer(16, data)
    }
""",
)
replace(
    """    class ByValue: UniffiRustCallStatus(), Structure.ByValue
""",
    """    class ByValue: UniffiRustCallStatus(), Structure.ByValue

    // The memory of a new one is empty: that is success.
    override fun read() {
        code = pointer.getByte(0)
        if (code != UNIFFI_CALL_SUCCESS) super.read()
    }

    override fun write() {
        if (code != UNIFFI_CALL_SUCCESS) super.write()
    }
""",
)
replace(
    """// Call a rust function that returns a Result<>.  Pass in the Error class""",
    """private val uniffiFreeStatuses = ThreadLocal.withInitial { ArrayList<UniffiRustCallStatus>() }

// Call a rust function that returns a Result<>.  Pass in the Error class""",
)
replace(
    """    var status = UniffiRustCallStatus()
    val return_value = callback(status)
    uniffiCheckCallStatus(errorHandler, status)
""",
    """    val free = uniffiFreeStatuses.get()
    val status = if (free.isEmpty()) UniffiRustCallStatus() else free.removeAt(free.size - 1)
    val return_value = callback(status)
    uniffiCheckCallStatus(errorHandler, status)
    free.add(status)
""",
)
replace(
    """            val byteArr = ByteArray(value.len.toInt())
            value.asByteBuffer()!!.get(byteArr)
            return byteArr.toString(Charsets.UTF_8)
        } finally {
""",
    """            return value.data!!.getByteArray(0, value.len.toInt()).toString(Charsets.UTF_8)
        } finally {
""",
)
replace(
    """        val byteBuf = toUtf8(value)
        // Ideally""",
    """        // Half of a pair has no encoding: toUtf8 refuses it.
        val bytes = if (value.none { it.isSurrogate() }) value.toByteArray(Charsets.UTF_8)
            else toUtf8(value).let { ByteArray(it.remaining()).also(it::get) }
        // Ideally""",
)
replace(
    """        val rbuf = RustBuffer.alloc(byteBuf.limit().toULong())
        rbuf.asByteBuffer()!!.put(byteBuf)
        return rbuf
""",
    """        val rbuf = RustBuffer.alloc(bytes.size.toULong())
        rbuf.data!!.write(0, bytes, 0, bytes.size)
        return rbuf
""",
)
replace(
    """@Synchronized
private fun findLibraryName(componentName: String): String {
    val libOverride = System.getProperty("uniffi.component.$componentName.libraryOverride")
    if (libOverride != null) {
        return libOverride
    }
    return "matrixe2ee_uniffi"
}
""",
    """// Null if nothing may be unpacked (jna.nounpack): then somebody has unpacked it for us.
private fun uniffiUnpackedLibrary(loader: ClassLoader?): java.io.File? = try {
    Native.extractFromResourcePath("matrixe2ee_uniffi", loader)
} catch (error: java.io.IOException) {
    val system = com.sun.jna.Platform.RESOURCE_PREFIX
    throw UnsatisfiedLinkError("this package of matrixe2ee has no library for $system: ${error.message}")
}

private val uniffiLibrary: com.sun.jna.NativeLibrary by lazy {
    val loader = RustBuffer::class.java.classLoader
    val override = System.getProperty("uniffi.component.matrixe2ee.libraryOverride")
    // Android has put it where the libraries of this app are, and no others.
    val file = if (override != null || com.sun.jna.Platform.isAndroid()) null else uniffiUnpackedLibrary(loader)
    val name = override ?: file?.absolutePath ?: "matrixe2ee_uniffi"
    try {
        com.sun.jna.NativeLibrary.getInstance(name, loader)
    } finally {
        // What is loaded needs no file; a folder of classes, though, is not ours to change.
        if (file != null && file.name != System.mapLibraryName("matrixe2ee_uniffi")) file.delete()
    }
}
""",
)
replace('findLibraryName(componentName = "matrixe2ee")', "uniffiLibrary", times=2)
path.write_text(code)
