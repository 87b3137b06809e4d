/// \file
/// matrixe2ee::Account
#ifndef MATRIXE2EE_ACCOUNT_HPP
#define MATRIXE2EE_ACCOUNT_HPP

#include <matrixe2ee.h>
#include <matrixe2ee/call.hpp>
#include <matrixe2ee/callbacks.hpp>
#include <matrixe2ee/store.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace matrixe2ee {

/// One device of one user: its long-term keys and its one-time keys.
class Account : public Handle<matrixe2ee_account, matrixe2ee_account_free> {
 public:
  using Handle::Handle;

  /// The account of a device, which is made the first time: matrixe2ee_account_open().
  static Account open(const Store &store, const std::string &user_id,
                      const std::string &device_id) {
    return detail::object<Account>(matrixe2ee_account_open, store.get(), detail::c_text(user_id),
                                   detail::c_text(device_id));
  }

  /// The account of a device, which the store must have: matrixe2ee_account_open_existing().
  static Account open_existing(const Store &store, const std::string &user_id,
                               const std::string &device_id) {
    return detail::object<Account>(matrixe2ee_account_open_existing, store.get(),
                                   detail::c_text(user_id), detail::c_text(device_id));
  }

  /// Takes over an account of libolm: matrixe2ee_account_from_libolm_pickle().
  static Account from_libolm_pickle(const Store &store, const std::string &user_id,
                                    const std::string &device_id, const std::string &pickle,
                                    ByteView pickle_key) {
    return detail::object<Account>(matrixe2ee_account_from_libolm_pickle, store.get(),
                                   detail::c_text(user_id), detail::c_text(device_id),
                                   detail::c_text(pickle), pickle_key.data(), pickle_key.size());
  }

  /// Takes over an account of vodozemac: matrixe2ee_account_from_vodozemac_pickle().
  static Account from_vodozemac_pickle(const Store &store, const std::string &user_id,
                                       const std::string &device_id, const std::string &pickle,
                                       ByteView pickle_key) {
    return detail::object<Account>(matrixe2ee_account_from_vodozemac_pickle, store.get(),
                                   detail::c_text(user_id), detail::c_text(device_id),
                                   detail::c_text(pickle), pickle_key.data(), pickle_key.size());
  }

  /// The user ID that the account was opened with: matrixe2ee_account_user_id().
  std::string user_id() const { return detail::text(matrixe2ee_account_user_id, get()); }

  /// The device ID that the account was opened with: matrixe2ee_account_device_id().
  std::string device_id() const { return detail::text(matrixe2ee_account_device_id, get()); }

  /// The Curve25519 identity key: matrixe2ee_account_identity_key().
  std::string identity_key() const { return detail::text(matrixe2ee_account_identity_key, get()); }

  /// The Ed25519 fingerprint key, which users compare: matrixe2ee_account_fingerprint_key().
  std::string fingerprint_key() const {
    return detail::text(matrixe2ee_account_fingerprint_key, get());
  }

  /// The signed device keys: matrixe2ee_account_device_keys().
  std::string device_keys() const { return detail::text(matrixe2ee_account_device_keys, get()); }

  /// The body of the next request to /keys/upload; none if there is nothing to upload:
  /// matrixe2ee_account_keys_upload_request().
  std::optional<std::string> keys_upload_request() const {
    return detail::text_or_none(matrixe2ee_account_keys_upload_request, get());
  }

  /// Tells the account what the server answered to it:
  /// matrixe2ee_account_receive_keys_upload_response().
  void receive_keys_upload_response(std::uint16_t http_status, const std::string &body) const {
    detail::call(matrixe2ee_account_receive_keys_upload_response, get(), http_status,
                 detail::c_text(body));
  }

  /// Tells the account how many of its keys the server still has:
  /// matrixe2ee_account_receive_key_counts().
  void receive_key_counts(const std::string &one_time_counts,
                          const OptionalText &unused_fallback_types = std::nullopt) const {
    detail::call(matrixe2ee_account_receive_key_counts, get(), detail::c_text(one_time_counts),
                 detail::c_text(unused_fallback_types));
  }

  /// The object, signed with the fingerprint key: matrixe2ee_account_sign_json().
  std::string sign_json(const std::string &object) const {
    return detail::text(matrixe2ee_account_sign_json, get(), detail::c_text(object));
  }

  /// Encrypts events for many devices, with one commit: matrixe2ee_account_encrypt_for_devices().
  std::string encrypt_for_devices(const std::string &items) const {
    return detail::text(matrixe2ee_account_encrypt_for_devices, get(), detail::c_text(items));
  }

  /// Decrypts events of any rooms, with one commit: matrixe2ee_account_decrypt_room_events().
  std::string decrypt_room_events(const std::string &events) const {
    return detail::text(matrixe2ee_account_decrypt_room_events, get(), detail::c_text(events));
  }

  /// A page of the inbound Megolm sessions that are stored: matrixe2ee_account_list_sessions().
  std::string list_sessions(const OptionalText &room_id = std::nullopt,
                            const OptionalText &after = std::nullopt,
                            std::optional<std::uint32_t> limit = std::nullopt) const {
    return detail::text(matrixe2ee_account_list_sessions, get(), detail::c_text(room_id),
                        detail::c_text(after), detail::c_number(limit));
  }

  /// A page of the Olm channels that are stored: matrixe2ee_account_list_channels().
  std::string list_channels(const OptionalText &after = std::nullopt,
                            std::optional<std::uint32_t> limit = std::nullopt) const {
    return detail::text(matrixe2ee_account_list_channels, get(), detail::c_text(after),
                        detail::c_number(limit));
  }

  /// Takes over sessions of libolm, of all kinds and in any number:
  /// matrixe2ee_account_import_libolm_sessions().
  std::string import_libolm_sessions(const std::string &sessions, ByteView pickle_key) const {
    return detail::text(matrixe2ee_account_import_libolm_sessions, get(), detail::c_text(sessions),
                        pickle_key.data(), pickle_key.size());
  }

  /// Takes over exported Megolm sessions, in any number: matrixe2ee_account_import_sessions().
  std::string import_sessions(const std::string &sessions) const {
    return detail::text(matrixe2ee_account_import_sessions, get(), detail::c_text(sessions));
  }

  /// Erases the account and everything stored under it: matrixe2ee_account_erase().
  void erase() const { detail::call(matrixe2ee_account_erase, get()); }
};

}  // namespace matrixe2ee

#endif
