/// \file
/// matrixe2ee.hpp - end-to-end encryption for Matrix, in C++17
///
/// A thin layer over matrixe2ee.h, in headers only: objects that release their handles,
/// std::string for texts, exceptions for failures. What a call takes and gives, and what is on disk
/// when it returns, stands at the function of matrixe2ee.h that is named beside it; the conventions
/// stand at its beginning. The JSON shapes are in docs/json.md.
///
/// ERRORS. A call that fails throws a struct of matrixe2ee/errors.hpp, derived from Error: the
/// errors that the function of matrixe2ee.h answers. Nothing is changed then, except where it says
/// otherwise.
///
/// OBJECTS can be moved, not copied. When one ends its handle is freed, and what is stored stays.
/// They may be used from any thread, and from several at once; moving and destroying are the
/// program's to order.
///
/// SECRETS. Keys go in as ByteView and are copied; wipe() your own copy after the call, and texts
/// with plaintexts and room keys when you are done with them.
///
/// Text is UTF-8 and has no NUL in it. Optional text and numbers are left out, or std::nullopt.
#ifndef MATRIXE2EE_HPP
#define MATRIXE2EE_HPP

#include <matrixe2ee.h>
#include <matrixe2ee/account.hpp>
#include <matrixe2ee/call.hpp>
#include <matrixe2ee/callbacks.hpp>
#include <matrixe2ee/errors.hpp>
#include <matrixe2ee/inbound_megolm_session.hpp>
#include <matrixe2ee/olm_channel.hpp>
#include <matrixe2ee/outbound_megolm_session.hpp>
#include <matrixe2ee/store.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

/// End-to-end encryption for Matrix: a thin layer over matrixe2ee.h.
namespace matrixe2ee {

/// The version of the library that is running, for example "0.2.0": matrixe2ee_version().
inline std::string version() { return matrixe2ee_version(); }

/// The version of its ABI, to be compared with MATRIXE2EE_ABI_VERSION: matrixe2ee_abi_version().
inline std::uint32_t abi_version() noexcept { return matrixe2ee_abi_version(); }

/// The name of a status, for example "REPLAY": matrixe2ee_status_name().
inline std::string status_name(std::int32_t status) { return matrixe2ee_status_name(status); }

/// Overwrites memory with zeroes, which no compiler leaves out: matrixe2ee_wipe().
inline void wipe(void *data, std::size_t size) noexcept { matrixe2ee_wipe(data, size); }

/// Overwrites all of a std::string, std::vector or std::array of bytes with zeroes.
template <typename Container>
void wipe(Container &container) noexcept {
  static_assert(sizeof(*container.data()) == 1, "a container of bytes");
  wipe(container.data(), container.size());
}

/// The body of a request to /keys/claim: matrixe2ee_keys_claim_request().
inline std::string keys_claim_request(const std::string &devices,
                                      std::optional<std::uint32_t> timeout_ms = std::nullopt) {
  return detail::text(matrixe2ee_keys_claim_request, detail::c_text(devices),
                      detail::c_number(timeout_ms));
}

/// What the server's answer to /keys/claim has: matrixe2ee_read_keys_claim_response().
inline std::string read_keys_claim_response(const std::string &request,
                                            const std::string &response) {
  return detail::text(matrixe2ee_read_keys_claim_response, detail::c_text(request),
                      detail::c_text(response));
}

/// Checks one signature, and throws unless it holds: matrixe2ee_verify_signed_json().
inline void verify_signed_json(const std::string &object, const std::string &user_id,
                               const std::string &key_id, const std::string &public_key) {
  detail::call(matrixe2ee_verify_signed_json, detail::c_text(object), detail::c_text(user_id),
               detail::c_text(key_id), detail::c_text(public_key));
}

/// A JSON value as canonical JSON: matrixe2ee_canonical_json().
inline std::string canonical_json(const std::string &value) {
  return detail::text(matrixe2ee_canonical_json, detail::c_text(value));
}

}  // namespace matrixe2ee

#endif
