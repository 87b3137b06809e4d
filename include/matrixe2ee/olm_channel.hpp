/// \file
/// matrixe2ee::OlmChannel
#ifndef MATRIXE2EE_OLM_CHANNEL_HPP
#define MATRIXE2EE_OLM_CHANNEL_HPP

#include <matrixe2ee.h>
#include <matrixe2ee/account.hpp>
#include <matrixe2ee/call.hpp>
#include <matrixe2ee/callbacks.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace matrixe2ee {

/// All Olm sessions with one other device: the encrypted way to send it room keys and other
/// to-device events.
class OlmChannel : public Handle<matrixe2ee_olm_channel, matrixe2ee_olm_channel_free> {
 public:
  using Handle::Handle;

  /// A channel to a device with which there is none yet:
  /// matrixe2ee_olm_channel_create_outbound_channel().
  static OlmChannel create_outbound_channel(const Account &account,
                                            const std::string &recipient_device_keys,
                                            const std::string &recipient_one_time_key) {
    return detail::object<OlmChannel>(matrixe2ee_olm_channel_create_outbound_channel, account.get(),
                                      detail::c_text(recipient_device_keys),
                                      detail::c_text(recipient_one_time_key));
  }

  /// A channel from the first message of a device:
  /// matrixe2ee_olm_channel_create_from_encrypted_message().
  static OlmChannel create_from_encrypted_message(
      const Account &account, const std::string &partner_user_id,
      const std::string &partner_identity_key, const std::string &content,
      const OptionalText &partner_device_id = std::nullopt,
      const OptionalText &partner_fingerprint_key = std::nullopt) {
    return detail::object<OlmChannel>(matrixe2ee_olm_channel_create_from_encrypted_message,
                                      account.get(), detail::c_text(partner_user_id),
                                      detail::c_text(partner_identity_key), detail::c_text(content),
                                      detail::c_text(partner_device_id),
                                      detail::c_text(partner_fingerprint_key));
  }

  /// A channel that is stored: matrixe2ee_olm_channel_create_from_storage().
  static OlmChannel create_from_storage(const Account &account, const std::string &partner_user_id,
                                        const std::string &partner_identity_key) {
    return detail::object<OlmChannel>(matrixe2ee_olm_channel_create_from_storage, account.get(),
                                      detail::c_text(partner_user_id),
                                      detail::c_text(partner_identity_key));
  }

  /// Takes over the sessions with one device that libolm has pickled:
  /// matrixe2ee_olm_channel_from_libolm_pickles().
  static OlmChannel from_libolm_pickles(const Account &account, const std::string &partner_user_id,
                                        const std::string &partner_identity_key,
                                        const std::string &pickles, ByteView pickle_key) {
    return detail::object<OlmChannel>(matrixe2ee_olm_channel_from_libolm_pickles, account.get(),
                                      detail::c_text(partner_user_id),
                                      detail::c_text(partner_identity_key), detail::c_text(pickles),
                                      pickle_key.data(), pickle_key.size());
  }

  /// Takes over the sessions with one device that vodozemac has pickled:
  /// matrixe2ee_olm_channel_from_vodozemac_pickles().
  static OlmChannel from_vodozemac_pickles(const Account &account,
                                           const std::string &partner_user_id,
                                           const std::string &partner_identity_key,
                                           const std::string &pickles, ByteView pickle_key) {
    return detail::object<OlmChannel>(matrixe2ee_olm_channel_from_vodozemac_pickles, account.get(),
                                      detail::c_text(partner_user_id),
                                      detail::c_text(partner_identity_key), detail::c_text(pickles),
                                      pickle_key.data(), pickle_key.size());
  }

  /// The event that came with the message the channel was made from:
  /// matrixe2ee_olm_channel_first_event().
  std::string first_event() const {
    return detail::text(matrixe2ee_olm_channel_first_event, get());
  }

  /// Adds a new Olm session: matrixe2ee_olm_channel_add_outbound_olm_session().
  void add_outbound_olm_session(const std::string &one_time_key) const {
    detail::call(matrixe2ee_olm_channel_add_outbound_olm_session, get(),
                 detail::c_text(one_time_key));
  }

  /// Encrypts an event for the device: matrixe2ee_olm_channel_encrypt().
  std::string encrypt(const std::string &event_type, const std::string &content) const {
    return detail::text(matrixe2ee_olm_channel_encrypt, get(), detail::c_text(event_type),
                        detail::c_text(content));
  }

  /// Decrypts a message of the device and checks what it says of itself:
  /// matrixe2ee_olm_channel_decrypt().
  std::string decrypt(const std::string &content) const {
    return detail::text(matrixe2ee_olm_channel_decrypt, get(), detail::c_text(content));
  }

  /// The number of Olm sessions in the channel: matrixe2ee_olm_channel_session_count().
  std::uint32_t session_count() const {
    return detail::result<std::uint32_t>(matrixe2ee_olm_channel_session_count, get());
  }

  /// Gives the channel the partner's signed device keys:
  /// matrixe2ee_olm_channel_set_partner_device_keys().
  void set_partner_device_keys(const std::string &device_keys) const {
    detail::call(matrixe2ee_olm_channel_set_partner_device_keys, get(),
                 detail::c_text(device_keys));
  }

  /// Who the other device is, as far as is known: matrixe2ee_olm_channel_partner().
  std::string partner() const { return detail::text(matrixe2ee_olm_channel_partner, get()); }

  /// Whether the sessions are broken, so that a new one should be made:
  /// matrixe2ee_olm_channel_should_create_new_session().
  bool should_create_new_session() const {
    return detail::result<bool>(matrixe2ee_olm_channel_should_create_new_session, get());
  }

  /// Erases the channel and its sessions: matrixe2ee_olm_channel_erase().
  void erase() const { detail::call(matrixe2ee_olm_channel_erase, get()); }
};

}  // namespace matrixe2ee

#endif
