#!/usr/bin/env python3
"""Fits the generated Python module to what a Python programmer expects: `adapt_python.py FILE`. Each
text that is replaced has to stand there as often as is said here: when the generator changes, the build
says so.

1. Whatever is raised in a callback reaches the library as a failure. The generator catches Exception
   only: after Ctrl-C in StoreBackend.commit the library would believe that all was written. Ctrl-C may
   even leave a callback before its first line: so each says that it has run to its end.
2. Bytes may be any object that has them (bytearray, memoryview), and a text is none; a time that is too
   large for the library is refused, and not 0.
3. A call costs half of what it did: texts cross in one call instead of several with a growing buffer,
   and the record of a call's outcome is made empty, not filled in with zeros.
4. A text that is none, or that has no encoding, is INVALID_FIELD and not TypeError: whoever sends an event
   may put null where a key should be. (Numbers, paths and passphrases are the program's own.)
5. The library is the one beside this module; if it cannot be loaded, it is said which one and why.
"""

import pathlib
import re
import sys

path = pathlib.Path(sys.argv[1])
code = path.read_text()


def replace(old, new, times=1):
    global code
    if code.count(old) != times:
        sys.exit(f"adapt_python.py does not fit the generated code, where it says:\n{old}")
    code = code.replace(old, new)


replace(
    """    try:
        return write_return_value(make_call())
    except Exception as e:
""",
    """    try:
        write_return_value(make_call())
        _uniffi_confirm_callback()
    except Exception as e:
""",
)
replace(
    """        try:
            return write_return_value(make_call())
        except error_type as e:
""",
    """        try:
            write_return_value(make_call())
            _uniffi_confirm_callback()
        except error_type as e:
""",
)
replace(
    """def _uniffi_trait_interface_call(call_status, make_call, write_return_value):
""",
    """def _uniffi_confirm_callback():
    call_status = _UniffiRustCallStatus()
    _UniffiLib.uniffi_matrixe2ee_fn_func_confirm_callback(ctypes.byref(call_status))

def _uniffi_trait_interface_call(call_status, make_call, write_return_value):
""",
)
replace(
    """
__all__ = [
""",
    """
# The promise to confirm each callback.
_uniffi_confirm_callback()

__all__ = [
""",
)
replace('    "confirm_callback",\n', "")
replace(
    """    except Exception as e:
        call_status.code = _UniffiRustCallStatus.CALL_UNEXPECTED_ERROR
""",
    """    except BaseException as e:
        call_status.code = _UniffiRustCallStatus.CALL_UNEXPECTED_ERROR
""",
    times=2,
)
replace(
    """    call_status = _UniffiRustCallStatus.default()

    args_with_error = args + (ctypes.byref(call_status),)
    result = fn(*args_with_error)
    _uniffi_check_call_status(error_ffi_converter, call_status)
""",
    """    call_status = _UniffiRustCallStatus()
    result = fn(*args, ctypes.byref(call_status))
    if call_status.code != 0:
        _uniffi_check_call_status(error_ffi_converter, call_status)
""",
)
replace(
    """        with buf.consume_with_stream() as stream:
            return stream.read(stream.remaining()).decode("utf-8")
""",
    """        try:
            return buf.data[:buf.len].decode("utf-8")
        finally:
            buf.free()
""",
)
replace(
    """        with _UniffiRustBuffer.alloc_with_builder() as builder:
            builder.write(value.encode("utf-8"))
            return builder.finalize()
""",
    """        utf8_bytes = value.encode("utf-8")
        if len(utf8_bytes) > 0x7FFFFFFF:
            raise ValueError("the text is too long")
        return _uniffi_rust_call(
            _UniffiLib.ffi_matrixe2ee_rustbuffer_from_bytes,
            _UniffiForeignText(len(utf8_bytes), utf8_bytes),
        )
""",
)
replace(
    """_UniffiLib.ffi_matrixe2ee_rustbuffer_from_bytes.argtypes = (
    _UniffiForeignBytes,
""",
    """_UniffiLib.ffi_matrixe2ee_rustbuffer_from_bytes.argtypes = (
    _UniffiForeignText,
""",
)
replace(
    """class _UniffiFfiConverterByRefBytes:
""",
    """class _UniffiForeignText(ctypes.Structure):
    # As _UniffiForeignBytes, made from a bytes object and keeping that alive.
    _fields_ = [
        ("len", ctypes.c_int32),
        ("data", ctypes.c_char_p),
    ]


class _UniffiFfiConverterByRefBytes:
""",
)
replace(
    """    def write(value, buf):
        buf.write_i32(len(value))
        buf.write(value)
""",
    """    def write(value, buf):
        value = bytes(memoryview(value))
        buf.write_i32(len(value))
        buf.write(value)
""",
)
replace(
    """            uniffi_out_return[0] = _UniffiFfiConverterInt64.lower(v)
""",
    """            _UniffiFfiConverterInt64.check_lower(v)
            uniffi_out_return[0] = _UniffiFfiConverterInt64.lower(v)
""",
)
code, count = re.subn(
    r"^( +)(_UniffiFfiConverter(?:Optional)?String)\.check_lower\((?!path|passphrase)(\w+)\)$",
    r'\1_uniffi_check_argument("\3", \2, \3)',
    code,
    flags=re.MULTILINE,
)
if count < 60:
    sys.exit(f"adapt_python.py finds {count} checks of texts only")
replace(
    """# The promise to confirm each callback.
""",
    """def _uniffi_check_argument(name, converter, value):
    try:
        converter.check_lower(value)
        if isinstance(value, str) and not value.isascii():
            value.encode("utf-8")
    except UnicodeEncodeError:
        problem = "holds half of a surrogate pair, which no text has"
    except TypeError:
        problem = f"is no text, but of type {type(value).__name__}"
    else:
        return
    raise E2eeError.InvalidField(f"{name} {problem}", name)

# The promise to confirm each callback.
""",
)
replace(
    """    lib = ctypes.cdll.LoadLibrary(path)
    return lib
""",
    """    try:
        return ctypes.cdll.LoadLibrary(path)
    except OSError as error:
        raise ImportError(f"the library of this package cannot be loaded: {error}", path=path) from error
""",
)
path.write_text(code)
