/// \file
/// matrixe2ee::InboundMegolmSession
#ifndef MATRIXE2EE_INBOUND_MEGOLM_SESSION_HPP
#define MATRIXE2EE_INBOUND_MEGOLM_SESSION_HPP

#include <matrixe2ee.h>
#include <matrixe2ee/call.hpp>
#include <matrixe2ee/callbacks.hpp>
#include <matrixe2ee/outbound_megolm_session.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace matrixe2ee {

/// A room key of some device, with which its messages in one room are decrypted.
class InboundMegolmSession
    : public Handle<matrixe2ee_inbound_megolm_session, matrixe2ee_inbound_megolm_session_free> {
 public:
  using Handle::Handle;

  /// The session that decrypts what the own outbound session encrypts:
  /// matrixe2ee_inbound_megolm_session_from_outbound_session().
  static InboundMegolmSession from_outbound_session(const OutboundMegolmSession &outbound) {
    return detail::object<InboundMegolmSession>(
        matrixe2ee_inbound_megolm_session_from_outbound_session, outbound.get());
  }

  /// Stores the room key of an m.room_key event that came through a channel:
  /// matrixe2ee_inbound_megolm_session_from_room_key().
  static InboundMegolmSession from_room_key(const Account &account,
                                            const std::string &sender_user_id,
                                            const std::string &sender_key,
                                            const std::string &room_key_content) {
    return detail::object<InboundMegolmSession>(matrixe2ee_inbound_megolm_session_from_room_key,
                                                account.get(), detail::c_text(sender_user_id),
                                                detail::c_text(sender_key),
                                                detail::c_text(room_key_content));
  }

  /// Stores an exported room key: matrixe2ee_inbound_megolm_session_from_export().
  static InboundMegolmSession from_export(const Account &account, const std::string &session_data,
                                          const OptionalText &sender_user_id = std::nullopt) {
    return detail::object<InboundMegolmSession>(matrixe2ee_inbound_megolm_session_from_export,
                                                account.get(), detail::c_text(session_data),
                                                detail::c_text(sender_user_id));
  }

  /// Takes over a session of libolm: matrixe2ee_inbound_megolm_session_from_libolm_pickle().
  static InboundMegolmSession from_libolm_pickle(
      const Account &account, const std::string &room_id, const std::string &sender_key,
      const std::string &pickle, ByteView pickle_key,
      const OptionalText &sender_user_id = std::nullopt) {
    return detail::object<InboundMegolmSession>(
        matrixe2ee_inbound_megolm_session_from_libolm_pickle, account.get(),
        detail::c_text(room_id), detail::c_text(sender_key), detail::c_text(pickle),
        pickle_key.data(), pickle_key.size(), detail::c_text(sender_user_id));
  }

  /// A session that is stored: matrixe2ee_inbound_megolm_session_from_storage().
  static InboundMegolmSession from_storage(const Account &account, const std::string &room_id,
                                           const std::string &session_id,
                                           const OptionalText &sender_user_id = std::nullopt) {
    return detail::object<InboundMegolmSession>(matrixe2ee_inbound_megolm_session_from_storage,
                                                account.get(), detail::c_text(room_id),
                                                detail::c_text(session_id),
                                                detail::c_text(sender_user_id));
  }

  /// Decrypts an event of the room: matrixe2ee_inbound_megolm_session_decrypt().
  std::string decrypt(const std::string &event) const {
    return detail::text(matrixe2ee_inbound_megolm_session_decrypt, get(), detail::c_text(event));
  }

  /// Decrypts events of this session, with one commit:
  /// matrixe2ee_inbound_megolm_session_decrypt_many().
  std::string decrypt_many(const std::string &events) const {
    return detail::text(matrixe2ee_inbound_megolm_session_decrypt_many, get(),
                        detail::c_text(events));
  }

  /// The session's ID: matrixe2ee_inbound_megolm_session_session_id().
  std::string session_id() const {
    return detail::text(matrixe2ee_inbound_megolm_session_session_id, get());
  }

  /// The identity key of the device that the session came from:
  /// matrixe2ee_inbound_megolm_session_sender_key().
  std::string sender_key() const {
    return detail::text(matrixe2ee_inbound_megolm_session_sender_key, get());
  }

  /// Whether the session came straight from its owner, through a channel:
  /// matrixe2ee_inbound_megolm_session_authenticated().
  bool authenticated() const {
    return detail::result<bool>(matrixe2ee_inbound_megolm_session_authenticated, get());
  }

  /// The index of the first message that the session can decrypt:
  /// matrixe2ee_inbound_megolm_session_first_known_index().
  std::uint32_t first_known_index() const {
    return detail::result<std::uint32_t>(matrixe2ee_inbound_megolm_session_first_known_index,
                                         get());
  }

  /// Exports the session, from its first known message on if no index is given:
  /// matrixe2ee_inbound_megolm_session_export_at().
  std::string export_at(std::optional<std::uint32_t> index = std::nullopt) const {
    return detail::text(matrixe2ee_inbound_megolm_session_export_at, get(),
                        detail::c_number(index));
  }

  /// Erases the session: matrixe2ee_inbound_megolm_session_erase().
  void erase() const { detail::call(matrixe2ee_inbound_megolm_session_erase, get()); }
};

}  // namespace matrixe2ee

#endif
