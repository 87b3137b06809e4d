# Fits the generated Kotlin code to what a Kotlin programmer expects. Each change has to be found as
# often as it stands here: when the generator changes, the build says so.
#
# 1. Whatever is thrown in a callback reaches the library as a failure. The generator catches
#    Exception only, so that after an Error (TODO(), OutOfMemoryError) in StoreBackend.commit the
#    library would believe that all was written.
# 2. Clock and StoreOpener take a lambda.
# 3. Store.close() shuts the store down, so that after `use` the file is closed; the generator's
#    close() releases the handle alone.
# 4. `use` is Kotlin's own, which calls close() and hides no exception.
# 5. A handle that was closed, or is being closed by another thread, is refused as an argument, as it
#    is refused as the receiver of a call. The generator uses what was freed.
# 6. An exception's message is the sentence in `detail`, without names and fields around it.
# 7. The documentation leaves out what no program needs.

/catch\(e: kotlin\.Exception\)/ { sub(/kotlin\.Exception/, "Throwable"); caught++ }

/^public interface (Clock|StoreOpener) \{/ { sub(/interface/, "fun interface"); lambdas++ }

/^open class / { store = /^open class Store:/ }
store && /^    @Synchronized$/ {
    print "    /**"
    print "     * Shuts the store down and releases it: `use` does this at its end. Every handle that was"
    print "     * opened on the store throws [E2eeException.StoreClosed] from then on. A second call does"
    print "     * nothing."
    print "     *"
    print "     * Errors: STORE_IO (as of `shutDown`; the store is closed all the same)."
    print "     */"
}
store && /^    override fun close\(\)/ { closing = 1 }
closing && /^        this\.destroy\(\)$/ {
    print "        if (uniffiIsDestroyed) return"
    print "        try { shutDown() } finally { this.destroy() }"
    closing = 0
    closed++
    next
}

/^(interface Disposable|open class (Clock|StoreBackend|StoreOpener)Impl)/ { print "/** @suppress */"; left_out++ }

/^inline fun <T : Disposable\?, R> T\.use\(/ { $0 = "private " $0; hidden++ }

/^ *return value\.uniffiCloneHandle\(\)$/ { sub(/uniffiCloneHandle\(\)/, "callWithHandle { it }"); kept++ }

/^        \) : E2eeException\(\)/ { errors++ }
/get\(\) = "detail=\$\{ `detail` \}/ { sub(/".*/, "`detail`"); messages++ }

{ print }

END {
    if (caught != 2 || lambdas != 2 || closed != 1 || hidden != 1 || kept != 8 || left_out != 4 ||
        !errors || messages != errors) {
        print "adapt.awk does not fit the generated code:", caught + 0, lambdas + 0, closed + 0, \
            hidden + 0, kept + 0, left_out + 0, errors + 0, messages + 0 > "/dev/stderr"
        exit 1
    }
}
