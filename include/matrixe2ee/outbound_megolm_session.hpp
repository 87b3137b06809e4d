/// \file
/// matrixe2ee::OutboundMegolmSession
#ifndef MATRIXE2EE_OUTBOUND_MEGOLM_SESSION_HPP
#define MATRIXE2EE_OUTBOUND_MEGOLM_SESSION_HPP

#include <matrixe2ee.h>
#include <matrixe2ee/account.hpp>
#include <matrixe2ee/call.hpp>
#include <matrixe2ee/callbacks.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace matrixe2ee {

/// The session that encrypts what this device sends to one room.
class OutboundMegolmSession
    : public Handle<matrixe2ee_outbound_megolm_session, matrixe2ee_outbound_megolm_session_free> {
 public:
  using Handle::Handle;

  /// A new session, which becomes the room's current one:
  /// matrixe2ee_outbound_megolm_session_create().
  static OutboundMegolmSession create(const Account &account, const std::string &room_id,
                                      const OptionalText &settings = std::nullopt) {
    return detail::object<OutboundMegolmSession>(matrixe2ee_outbound_megolm_session_create,
                                                 account.get(), detail::c_text(room_id),
                                                 detail::c_text(settings));
  }

  /// A session that is stored; the room's current one if none is named:
  /// matrixe2ee_outbound_megolm_session_create_from_storage().
  static OutboundMegolmSession create_from_storage(const Account &account,
                                                   const std::string &room_id,
                                                   const OptionalText &session_id = std::nullopt) {
    return detail::object<OutboundMegolmSession>(
        matrixe2ee_outbound_megolm_session_create_from_storage, account.get(),
        detail::c_text(room_id), detail::c_text(session_id));
  }

  /// Takes over a session of libolm: matrixe2ee_outbound_megolm_session_from_libolm_pickle().
  static OutboundMegolmSession from_libolm_pickle(const Account &account,
                                                  const std::string &room_id,
                                                  const std::string &pickle, ByteView pickle_key) {
    return detail::object<OutboundMegolmSession>(
        matrixe2ee_outbound_megolm_session_from_libolm_pickle, account.get(),
        detail::c_text(room_id), detail::c_text(pickle), pickle_key.data(), pickle_key.size());
  }

  /// The session's ID: matrixe2ee_outbound_megolm_session_session_id().
  std::string session_id() const {
    return detail::text(matrixe2ee_outbound_megolm_session_session_id, get());
  }

  /// The index of the next message: matrixe2ee_outbound_megolm_session_message_index().
  std::uint32_t message_index() const {
    return detail::result<std::uint32_t>(matrixe2ee_outbound_megolm_session_message_index, get());
  }

  /// Which devices still need the room key, and with what content:
  /// matrixe2ee_outbound_megolm_session_get_session_key_for_sending().
  std::string get_session_key_for_sending(const std::string &recipients) const {
    return detail::text(matrixe2ee_outbound_megolm_session_get_session_key_for_sending, get(),
                        detail::c_text(recipients));
  }

  /// Reports to which devices the key has been sent:
  /// matrixe2ee_outbound_megolm_session_mark_as_sent().
  void mark_as_sent(const std::string &devices) const {
    detail::call(matrixe2ee_outbound_megolm_session_mark_as_sent, get(), detail::c_text(devices));
  }

  /// Encrypts an event for the room: matrixe2ee_outbound_megolm_session_encrypt().
  std::string encrypt(const std::string &event_type, const std::string &content) const {
    return detail::text(matrixe2ee_outbound_megolm_session_encrypt, get(),
                        detail::c_text(event_type), detail::c_text(content));
  }

  /// Ends the use of the session: matrixe2ee_outbound_megolm_session_invalidate().
  void invalidate() const { detail::call(matrixe2ee_outbound_megolm_session_invalidate, get()); }

  /// Erases the session: matrixe2ee_outbound_megolm_session_erase().
  void erase() const { detail::call(matrixe2ee_outbound_megolm_session_erase, get()); }
};

}  // namespace matrixe2ee

#endif
