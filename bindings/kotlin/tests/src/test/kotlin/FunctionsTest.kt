package org.matrixe2ee.tests

import java.nio.charset.CharacterCodingException
import java.nio.file.Files
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.matrixe2ee.*

class FunctionsTest {
    @Test
    fun `the version is the one of the sources`() {
        val sources = Files.readString(root.resolve("Cargo.toml"))
        assertEquals(Regex("""(?m)^version = "(.*)"""").find(sources)!!.groupValues[1], version())
    }

    @Test
    fun `the canonical form has its keys in order and no spaces`() {
        assertEquals("""{"a":2,"b":"ä"}""", canonicalJson("""{"b": "\u00e4", "a": 2}"""))
    }

    @Test
    fun `a claim names the algorithm for each device, and a timeout if it is given`() {
        val devices = """{"$BOB": ["BOB"]}"""
        val body = """{"one_time_keys":{"$BOB":{"BOB":"signed_curve25519"}}}"""
        assertEquals(parse(body), parse(keysClaimRequest(devices)))
        assertEquals("10000", parse(keysClaimRequest(devices, 10_000u)).text("timeout"))
    }

    @Test
    fun `what a claim brought leads to a channel`() {
        val (alice, bob) = alice() to bob()
        val request = keysClaimRequest("""{"$BOB": ["BOB", "GONE"]}""")
        val response = """{"one_time_keys": {"$BOB": {"BOB": ${bob.oneTimeKey()}}}, "failures": {"example.net": {}}}"""
        val claimed = parse(readKeysClaimResponse(request, response))
        assertEquals("example.net", claimed.text("failures", 0))
        val key = claimed.at("one_time_keys", BOB, "BOB").toString()
        assertEquals(1u, OlmChannel.createOutboundChannel(alice.account, bob.keys, key).sessionCount())
    }

    @Test
    fun `a text that is half a character is an exception`() {
        assertThrows<CharacterCodingException> { canonicalJson("\"\uD83D\"") }
        assertEquals("\"\uD83D\uDE00\"", canonicalJson("\"\uD83D\uDE00\""))
    }
}
