package org.matrixe2ee.tests

import java.io.File
import java.util.jar.JarFile
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.matrixe2ee.*

class PackageTest {
    private val file = File(Store::class.java.protectionDomain.codeSource.location.toURI())

    @Test
    fun `the tests run through the jar, and nothing tells JNA where the library is`() {
        assertEquals("matrixe2ee-jvm-${version()}.jar", file.name)
        for (property in listOf("jna.library.path", "uniffi.component.matrixe2ee.libraryOverride")) {
            assertNull(System.getProperty(property), property)
        }
        assertNull(System.getenv("LD_LIBRARY_PATH"))
    }

    @Test
    fun `the jar holds the library, the licence and nothing of the tests`() = JarFile(file).use { jar ->
        val names = jar.entries().toList().filterNot { it.isDirectory }.map { it.name }
        assertTrue(names.any { it.matches(Regex("linux-[a-z0-9-]+/libmatrixe2ee_uniffi.so")) }) { "$names" }
        assertNotNull(jar.getEntry("META-INF/LICENSE"))
        val others = names.filterNot { it.startsWith("org/matrixe2ee/") || it.startsWith("META-INF/") }
        assertEquals(1, others.size) { "$others" }
        assertEquals("org.matrixe2ee", jar.manifest.mainAttributes.getValue("Automatic-Module-Name"))
        assertEquals(version(), jar.manifest.mainAttributes.getValue("Implementation-Version"))
    }
}
