/// \file
/// What the calls of matrixe2ee.hpp throw.
#ifndef MATRIXE2EE_ERRORS_HPP
#define MATRIXE2EE_ERRORS_HPP

#include <matrixe2ee.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace matrixe2ee {

/// \cond
namespace detail {

// The errors' JSON is the library's own: one flat object of numbers and strings, without spaces, in
// which only quotes, backslashes and control characters are escaped.

/// The value's text from its first letter on; empty if the object has no such member.
inline std::string_view value_in(std::string_view json, std::string_view name) {
  for (std::size_t at = 0; at < json.size(); ++at) {
    if (json[at] != '"') continue;
    const std::size_t start = ++at;
    while (at < json.size() && json[at] != '"') at += json[at] == '\\' ? 2U : 1U;
    if (at >= json.size()) break;
    const bool is_name = at + 1 < json.size() && json[at + 1] == ':';
    if (is_name && json.substr(start, at - start) == name) return json.substr(at + 2);
  }
  return {};
}

template <typename Number>
Number number_in(std::string_view json, std::string_view name) {
  const std::string_view value = value_in(json, name);
  Number number = 0;
  std::from_chars(value.data(), value.data() + value.size(), number);
  return number;
}

inline std::string string_in(std::string_view json, std::string_view name) {
  static constexpr std::string_view escapes = "bfnrt", escaped = "\b\f\n\r\t";
  static constexpr std::string_view hex = "0123456789abcdef";
  const std::string_view value = value_in(json, name);
  std::string text;
  for (std::size_t at = 1; at < value.size() && value[at] != '"'; ++at) {
    if (value[at] != '\\' || ++at == value.size()) {
      text += value[at];
    } else if (value[at] == 'u' && at + 4 < value.size()) {  // \u00xx: a control character
      text += static_cast<char>(hex.find(value[at + 3]) * 16 + hex.find(value[at + 4]));
      at += 4;
    } else {
      const std::size_t letter = escapes.find(value[at]);
      text += letter == std::string_view::npos ? value[at] : escaped[letter];
    }
  }
  return text;
}

/// What an error consists of, shared by its copies: an exception's copy may not throw.
struct ErrorParts {
  matrixe2ee_status code;
  std::string detail, json;
  std::exception_ptr cause;
};

}  // namespace detail
/// \endcond

/// A call that failed. Each kind of failure is a struct of its own, so that a program can catch
/// what it can do something about: `catch (const matrixe2ee::SessionExpired &)`.
///
/// what() is an English sentence for logs. Like the rest, it holds no key and no plaintext.
class Error : public std::runtime_error {
 public:
  /// \cond
  explicit Error(std::shared_ptr<const detail::ErrorParts> parts)
      : std::runtime_error(parts->detail), parts_(std::move(parts)) {}
  /// \endcond

  /// The number of this kind of failure, the same in every language: MATRIXE2EE_STATUS_REPLAY.
  matrixe2ee_status code() const noexcept { return parts_->code; }

  /// Its name, the same in every language: "REPLAY".
  std::string name() const { return matrixe2ee_status_name(parts_->code); }

  /// What went wrong, as what() says it.
  const std::string &detail() const noexcept { return parts_->detail; }

  /// The error as JSON: {"code": 306, "name": "REPLAY", "detail": "...", "message_index": 4, ...}.
  const std::string &json() const noexcept { return parts_->json; }

  /// What a StoreBackend or a Clock of the program's own threw, if the call failed for that; null
  /// otherwise.
  std::exception_ptr cause() const noexcept { return parts_->cause; }

 private:
  std::shared_ptr<const detail::ErrorParts> parts_;
};

/// A pointer argument that may not be NULL is NULL. (1)
struct NullPointer : Error { using Error::Error; };

/// A text argument is not valid UTF-8. (2)
struct InvalidUtf8 : Error { using Error::Error; };

/// A byte argument has the wrong length. (3)
struct InvalidLength : Error { using Error::Error; };

/// The handle was freed, or was never made by this library. (4)
struct StaleHandle : Error { using Error::Error; };

/// The handle belongs to another kind of object than the call takes. (5)
struct WrongHandle : Error { using Error::Error; };

/// A callback called back into the library. (6)
struct Busy : Error { using Error::Error; };

/// The handle was made before this process was forked. (7)
struct Forked : Error { using Error::Error; };

/// An internal error; the handle refuses further use. Reopen the store. (8)
struct Panic : Error { using Error::Error; };

/// The text is not JSON, repeats a key, or is nested too deeply. (100)
struct InvalidJson : Error { using Error::Error; };

/// A field or an argument is missing, or has the wrong type or value. (101)
struct InvalidField : Error {
  using Error::Error;
  /// The field or argument.
  std::string field() const { return detail::string_in(json(), "field"); }
};

/// The input is larger than the library accepts. (102)
struct TooLarge : Error {
  using Error::Error;
  /// The largest size accepted, in bytes.
  std::uint64_t limit() const { return detail::number_in<std::uint64_t>(json(), "limit"); }
};

/// A key is badly encoded, of the wrong length, not canonical or weak. (103)
struct InvalidKey : Error { using Error::Error; };

/// A signature is missing or does not verify. (104)
struct BadSignature : Error { using Error::Error; };

/// The algorithm is not one that this call handles. (105)
struct UnknownAlgorithm : Error {
  using Error::Error;
  /// The algorithm that was found.
  std::string algorithm() const { return detail::string_in(json(), "algorithm"); }
};

/// There is no session to encrypt or decrypt with. (200)
struct NoSession : Error { using Error::Error; };

/// The message has no ciphertext for this device. (201)
struct NotEncryptedForUs : Error { using Error::Error; };

/// The ciphertext could not be decrypted. (202)
struct UnableToDecrypt : Error {
  using Error::Error;
  /// bad_mac, malformed, no_matching_session, missing_message_key, message_gap or redacted.
  std::string reason() const { return detail::string_in(json(), "reason"); }
};

/// The message was decrypted, but what it says of itself is wrong: discard it. (203)
struct InvalidMessage : Error { using Error::Error; };

/// The fingerprint key is not the one known for this device. (204)
struct MismatchedFingerprint : Error { using Error::Error; };

/// The fingerprint key of the other device is not known, or not from device keys. (205)
struct UnknownFingerprint : Error { using Error::Error; };

/// The room key must be rotated: create a new outbound session. (300)
struct SessionExpired : Error {
  using Error::Error;
  /// invalidated, count, time, clock, device_gone, user_gone, history_visibility,
  /// recipients_unknown or superseded.
  std::string reason() const { return detail::string_in(json(), "reason"); }
};

/// The room has no encryption settings. (301)
struct RoomNotEncrypted : Error { using Error::Error; };

/// The event, its plaintext and the session do not name the same room. (302)
struct WrongRoom : Error { using Error::Error; };

/// The event was not sent by the owner of the session. (303)
struct WrongSender : Error { using Error::Error; };

/// The session ID is not the one of the key or session. (304)
struct MismatchedSessionId : Error { using Error::Error; };

/// The message is older than the first one that the session can decrypt. (305)
struct UnknownIndex : Error {
  using Error::Error;
  /// The first index that the session can decrypt.
  std::uint32_t first_known() const {
    return detail::number_in<std::uint32_t>(json(), "first_known");
  }
  /// The index asked for.
  std::uint32_t got() const { return detail::number_in<std::uint32_t>(json(), "got"); }
};

/// The message index was already used by another event. (306)
struct Replay : Error {
  using Error::Error;
  /// The index that both events use.
  std::uint32_t message_index() const {
    return detail::number_in<std::uint32_t>(json(), "message_index");
  }
  /// The event that used it first.
  std::string event_id() const { return detail::string_in(json(), "event_id"); }
};

/// Nothing of that name is stored, or it was erased. (500)
struct NotFound : Error { using Error::Error; };

/// An object of that name is stored already. (501)
struct AlreadyExists : Error { using Error::Error; };

/// The store is open already, here or in another process. (502)
struct StoreInUse : Error { using Error::Error; };

/// The store was shut down. (503)
struct StoreClosed : Error { using Error::Error; };

/// A stored record was altered, exchanged or damaged. (504)
struct Corrupt : Error { using Error::Error; };

/// The store or record was written by a newer version of this library. (505)
struct NewerFormat : Error {
  using Error::Error;
  /// The format found.
  std::uint32_t found() const { return detail::number_in<std::uint32_t>(json(), "found"); }
  /// The newest format that this version reads.
  std::uint32_t supported() const { return detail::number_in<std::uint32_t>(json(), "supported"); }
};

/// The key does not open this store or pickle. (506)
struct WrongKey : Error { using Error::Error; };

/// The store could not read or write. (507)
struct StoreIo : Error { using Error::Error; };

/// The clock callback reported a failure. (508)
struct ClockFailed : Error { using Error::Error; };
/// \cond
namespace detail {

/// Throws the error of this number; a plain Error if only a later version knows it.
[[noreturn]] inline void raise(std::shared_ptr<const ErrorParts> parts) {
  // Without a default: the compiler says which number is missing here.
  switch (parts->code) {
    case MATRIXE2EE_STATUS_OK: break;
    case MATRIXE2EE_STATUS_NULL_POINTER: throw NullPointer(std::move(parts));
    case MATRIXE2EE_STATUS_INVALID_UTF8: throw InvalidUtf8(std::move(parts));
    case MATRIXE2EE_STATUS_INVALID_LENGTH: throw InvalidLength(std::move(parts));
    case MATRIXE2EE_STATUS_STALE_HANDLE: throw StaleHandle(std::move(parts));
    case MATRIXE2EE_STATUS_WRONG_HANDLE: throw WrongHandle(std::move(parts));
    case MATRIXE2EE_STATUS_BUSY: throw Busy(std::move(parts));
    case MATRIXE2EE_STATUS_FORKED: throw Forked(std::move(parts));
    case MATRIXE2EE_STATUS_PANIC: throw Panic(std::move(parts));
    case MATRIXE2EE_STATUS_INVALID_JSON: throw InvalidJson(std::move(parts));
    case MATRIXE2EE_STATUS_INVALID_FIELD: throw InvalidField(std::move(parts));
    case MATRIXE2EE_STATUS_TOO_LARGE: throw TooLarge(std::move(parts));
    case MATRIXE2EE_STATUS_INVALID_KEY: throw InvalidKey(std::move(parts));
    case MATRIXE2EE_STATUS_BAD_SIGNATURE: throw BadSignature(std::move(parts));
    case MATRIXE2EE_STATUS_UNKNOWN_ALGORITHM: throw UnknownAlgorithm(std::move(parts));
    case MATRIXE2EE_STATUS_NO_SESSION: throw NoSession(std::move(parts));
    case MATRIXE2EE_STATUS_NOT_ENCRYPTED_FOR_US: throw NotEncryptedForUs(std::move(parts));
    case MATRIXE2EE_STATUS_UNABLE_TO_DECRYPT: throw UnableToDecrypt(std::move(parts));
    case MATRIXE2EE_STATUS_INVALID_MESSAGE: throw InvalidMessage(std::move(parts));
    case MATRIXE2EE_STATUS_MISMATCHED_FINGERPRINT: throw MismatchedFingerprint(std::move(parts));
    case MATRIXE2EE_STATUS_UNKNOWN_FINGERPRINT: throw UnknownFingerprint(std::move(parts));
    case MATRIXE2EE_STATUS_SESSION_EXPIRED: throw SessionExpired(std::move(parts));
    case MATRIXE2EE_STATUS_ROOM_NOT_ENCRYPTED: throw RoomNotEncrypted(std::move(parts));
    case MATRIXE2EE_STATUS_WRONG_ROOM: throw WrongRoom(std::move(parts));
    case MATRIXE2EE_STATUS_WRONG_SENDER: throw WrongSender(std::move(parts));
    case MATRIXE2EE_STATUS_MISMATCHED_SESSION_ID: throw MismatchedSessionId(std::move(parts));
    case MATRIXE2EE_STATUS_UNKNOWN_INDEX: throw UnknownIndex(std::move(parts));
    case MATRIXE2EE_STATUS_REPLAY: throw Replay(std::move(parts));
    case MATRIXE2EE_STATUS_NOT_FOUND: throw NotFound(std::move(parts));
    case MATRIXE2EE_STATUS_ALREADY_EXISTS: throw AlreadyExists(std::move(parts));
    case MATRIXE2EE_STATUS_STORE_IN_USE: throw StoreInUse(std::move(parts));
    case MATRIXE2EE_STATUS_STORE_CLOSED: throw StoreClosed(std::move(parts));
    case MATRIXE2EE_STATUS_CORRUPT: throw Corrupt(std::move(parts));
    case MATRIXE2EE_STATUS_NEWER_FORMAT: throw NewerFormat(std::move(parts));
    case MATRIXE2EE_STATUS_WRONG_KEY: throw WrongKey(std::move(parts));
    case MATRIXE2EE_STATUS_STORE_IO: throw StoreIo(std::move(parts));
    case MATRIXE2EE_STATUS_CLOCK_FAILED: throw ClockFailed(std::move(parts));
  }
  throw Error(std::move(parts));
}

}  // namespace detail
/// \endcond

}  // namespace matrixe2ee

#endif
