// One device: its store and its account, what it says to the homeserver, and how it reads and writes
// in the room. A call of the library that fails although it may not fail throws a matrixe2ee::Error.
#ifndef DEVICE_HPP
#define DEVICE_HPP

#include "homeserver.hpp"

#include <array>
#include <iostream>
#include <matrixe2ee.hpp>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

struct Device {
  std::string name, user_id, device_id, path;
  std::array<std::uint8_t, 32> store_key;  // a real program keeps it in the system's key store
  matrixe2ee::Store store{};
  matrixe2ee::Account account{};
};

/// Opens the store and the account in it; the first time, both are made.
void open_device(Device &device);

void close_device(Device &device);

/// Uploads what the account has to upload, if anything.
void upload_keys(Homeserver &server, const Device &device);

/// The devices of all who are in the room: {user: {device: device keys}}.
nlohmann::json query_devices(Homeserver &server);

/// Claims a one-time key of a device: {key_id: key}.
std::string claim_key(Homeserver &server, const std::string &user_id,
                      const std::string &device_id);

/// The channel to a device: the stored one, or a new one with a key claimed for it.
matrixe2ee::OlmChannel channel_to(Homeserver &server, const Device &from,
                                  const nlohmann::json &device_keys);

/// The session that encrypts what this device sends: the stored one, or a new one.
matrixe2ee::OutboundMegolmSession room_session(const Device &device);

/// Sends the room key to each device that lacks it, over its channel. (A real program makes a new
/// session when this throws SessionExpired.)
void share_room_key(Homeserver &server, const Device &device,
                    const matrixe2ee::OutboundMegolmSession &session);

/// Sends words to the room; gives the event's ID.
std::string say(Homeserver &server, const Device &device, const std::string &words);

/// Decrypts a to-device event. If it is a room key, it is stored before anything else is done.
void receive_to_device(const Device &device, const nlohmann::json &event);

/// The session that decrypts this event.
matrixe2ee::InboundMegolmSession session_of(const Device &device, const nlohmann::json &event);

/// Takes an answer to /sync; gives what was read: (sender, words).
std::vector<std::pair<std::string, std::string>> receive(Homeserver &server, const Device &device);

// Checks: what may not fail throws, what has to fail stands in refused().

template <typename Expected, typename Call>
void refused(Call call) {
  try {
    call();
  } catch (const Expected &error) {
    std::cout << "   refused: " << error.name() << " (" << error.code() << "), \"" << error.what()
              << "\"\n";
    return;
  }
  throw std::logic_error("nothing comes out");
}

inline void check(bool holds, const std::string &what) {
  if (!holds) throw std::logic_error(what);
}

/// Takes an event that the library has to refuse.
template <typename Expected>
void refuse(const Device &device, const nlohmann::json &event) {
  const matrixe2ee::InboundMegolmSession session = session_of(device, event);
  refused<Expected>([&] { session.decrypt(event.dump()); });
}

#endif
