#include "device.hpp"

using matrixe2ee::Account, matrixe2ee::InboundMegolmSession, matrixe2ee::OlmChannel;
using matrixe2ee::NotFound, matrixe2ee::OutboundMegolmSession, matrixe2ee::Store;
using nlohmann::json;

static const std::string MEGOLM = "m.megolm.v1.aes-sha2";

static std::string string_in(const json &object, const std::string &name) {
  return object.at(name).get<std::string>();
}

// What comes from the server or from another device may be any JSON: at() and get() throw if it is not
// what is asked for, and the library refuses what does not fit. One bad event is left out; the others
// are read.

/// Whether it could be done. If not, says what is left out because of it.
template <typename Call>
static bool attempt(const Device &device, const std::string &what, Call call) {
  std::string problem;
  try {
    call();
    return true;
  } catch (const matrixe2ee::Error &error) {
    problem = std::string(error.name()) + ", \"" + error.what() + "\"";
  } catch (const json::exception &error) {
    problem = error.what();
  }
  std::cout << "   " << device.name << " leaves out " << what << ": " << problem << "\n";
  return false;
}

/// What stands under these names, each in the object before; null if nothing does.
static json part(json value, const std::vector<std::string> &names) {
  for (const std::string &name : names)
    value = value.is_object() ? value.value(name, json()) : json();
  return value;
}

/// The items of a list; of anything else, none.
static json items(const json &value) { return value.is_array() ? value : json::array(); }

/// The fields of an object; of anything else, none.
static json fields(const json &value) { return value.is_object() ? value : json::object(); }

void open_device(Device &device) {
  device.store = Store::open_sqlite(device.path, device.store_key);
  device.account = Account::open(device.store, device.user_id, device.device_id);
}

void close_device(Device &device) {
  device.store.shut_down();
  device.account.reset();
  device.store.reset();
}

void upload_keys(Homeserver &server, const Device &device) {
  const std::optional<std::string> body = device.account.keys_upload_request();
  if (!body) return;
  const std::string answer = server.keys_upload(device.user_id, device.device_id, *body);
  // If the answer is none, the next sync uploads them again.
  if (!attempt(device, "the answer to an upload",
               [&] { device.account.receive_keys_upload_response(200, answer); }))
    return;
  const json request = json::parse(*body);
  std::cout << "   " << device.name << " uploads "
            << (request.contains("device_keys") ? "the keys of the device, and " : "")
            << "one-time keys: " << request.value("one_time_keys", json::object()).size() << "\n";
}

/// Who is in the room: {user: value}, with the same value for each.
static json members(Homeserver &server, const json &value) {
  const json answer = json::parse(server.joined_members());
  json found = json::object();
  const json joined = fields(part(answer, {"joined"}));
  for (const auto &[user_id, ignored] : joined.items()) found[user_id] = value;
  return found;
}

json query_devices(Homeserver &server) {
  const json body = {{"device_keys", members(server, json::array())}};
  const json answer = json::parse(server.keys_query(body.dump()));
  return fields(part(answer, {"device_keys"}));
}

std::string claim_key(Homeserver &server, const std::string &user_id,
                      const std::string &device_id) {
  const json devices = {{user_id, {device_id}}};
  const std::string request = matrixe2ee::keys_claim_request(devices.dump(), 10000);
  const std::string answer = server.keys_claim(request);
  const json claimed = json::parse(matrixe2ee::read_keys_claim_response(request, answer));
  return claimed.at("one_time_keys").at(user_id).at(device_id).dump();
}

OlmChannel channel_to(Homeserver &server, const Device &from, const json &device_keys) {
  const std::string user_id = string_in(device_keys, "user_id");
  const std::string device_id = string_in(device_keys, "device_id");
  const std::string identity_key = string_in(device_keys.at("keys"), "curve25519:" + device_id);
  const std::string signed_keys = device_keys.dump();

  try {
    OlmChannel channel = OlmChannel::create_from_storage(from.account, user_id, identity_key);
    channel.set_partner_device_keys(signed_keys);
    return channel;
  } catch (const NotFound &) {
    const std::string key = claim_key(server, user_id, device_id);
    OlmChannel channel = OlmChannel::create_outbound_channel(from.account, signed_keys, key);
    std::cout << "   " << from.name << " claims a one-time key of " << device_id
              << " and opens a channel\n";
    return channel;
  }
}

OutboundMegolmSession room_session(const Device &device) {
  try {
    return OutboundMegolmSession::create_from_storage(device.account, ROOM);
  } catch (const NotFound &) {
    OutboundMegolmSession session = OutboundMegolmSession::create(device.account, ROOM);
    std::cout << "   " << device.name << " makes a session for the room\n";
    // The other half, so that the device can read what it has sent itself.
    InboundMegolmSession::from_outbound_session(session);
    return session;
  }
}

void share_room_key(Homeserver &server, const Device &device,
                    const OutboundMegolmSession &session) {
  const json recipients = {{"encryption", {{"algorithm", MEGOLM}}},
                           {"history_visibility", "shared"},
                           {"members", members(server, "join")},
                           {"device_keys", query_devices(server)}};
  const json list = json::parse(session.get_session_key_for_sending(recipients.dump()));
  for (const json &item : list) {
    const json &keys = item.at("device");
    const std::string user_id = string_in(keys, "user_id");
    // Absent if nothing that is listed under the user can be read.
    const std::string device_id = keys.value("device_id", "any device");
    if (!item.contains("content")) {
      std::cout << "   " << device.name << " sends no room key to " << device_id << " of " << user_id
                << ": " << part(item, {"error", "detail"}) << "\n";
      continue;
    }
    std::string room_key = item.at("content").dump();
    std::string encrypted;
    if (!attempt(device, device_id, [&] {
          encrypted = channel_to(server, device, keys).encrypt("m.room_key", room_key);
        }))
      continue;
    const json body = {{"messages", {{user_id, {{device_id, json::parse(encrypted)}}}}}};
    server.send_to_device(device.user_id, "m.room.encrypted", body.dump());
    session.mark_as_sent(json::array({keys}).dump());
    std::cout << "   " << device.name << " sends the room key to " << device_id << "\n";
    matrixe2ee::wipe(room_key);
  }
}

std::string say(Homeserver &server, const Device &device, const std::string &words) {
  const OutboundMegolmSession session = room_session(device);
  share_room_key(server, device, session);
  const json content = {{"msgtype", "m.text"}, {"body", words}};
  const std::string encrypted = session.encrypt("m.room.message", content.dump());
  const json answer = json::parse(server.send(device.user_id, "m.room.encrypted", encrypted));
  const std::string event_id = string_in(answer, "event_id");
  std::cout << "   " << device.name << " says in " << event_id << ": " << words << "\n";
  return event_id;
}

/// The to-device event that a message holds, over the stored channel or a new one.
static std::string decrypt_to_device(const Device &device, const std::string &sender,
                                     const std::string &sender_key, const std::string &encrypted) {
  OlmChannel channel;
  try {
    channel = OlmChannel::create_from_storage(device.account, sender, sender_key);
  } catch (const NotFound &) {
    channel = OlmChannel::create_from_encrypted_message(device.account, sender, sender_key,
                                                        encrypted);
    return channel.first_event();
  }
  return channel.decrypt(encrypted);
}

void receive_to_device(const Device &device, const json &event) {
  const json &content = event.at("content");
  const std::string sender = string_in(event, "sender");
  const std::string sender_key = string_in(content, "sender_key");
  std::string text = decrypt_to_device(device, sender, sender_key, content.dump());
  const json plain = json::parse(text);
  if (string_in(plain, "type") == "m.room_key") {
    std::string room_key = plain.at("content").dump();
    InboundMegolmSession::from_room_key(device.account, sender, sender_key, room_key);
    std::cout << "   " << device.name << " receives a room key from " << sender << "\n";
    matrixe2ee::wipe(room_key);
  }
  matrixe2ee::wipe(text);
}

InboundMegolmSession session_of(const Device &device, const json &event) {
  const std::string session_id = string_in(event.at("content"), "session_id");
  return InboundMegolmSession::from_storage(device.account, ROOM, session_id,
                                            string_in(event, "sender"));
}

std::vector<std::pair<std::string, std::string>> receive(Homeserver &server,
                                                         const Device &device) {
  const json answer = json::parse(server.sync(device.user_id, device.device_id));
  std::vector<std::pair<std::string, std::string>> read;
  for (const json &event : items(part(answer, {"to_device", "events"})))
    attempt(device, "a to-device event", [&] { receive_to_device(device, event); });
  for (json event : items(part(answer, {"rooms", "join", ROOM, "timeline", "events"}))) {
    attempt(device, "an event", [&] {
      // A /sync answer leaves the room out of its events.
      event["room_id"] = ROOM;
      const InboundMegolmSession session = session_of(device, event);
      const json plain = json::parse(session.decrypt(event.dump()));
      const std::string words = string_in(plain.at("content"), "body");
      const std::string sender = string_in(event, "sender");
      std::cout << "   " << device.name << " reads from " << sender << ": " << words << "\n";
      read.emplace_back(sender, words);
    });
  }
  // How many keys the server still has, so that the account tops them up.
  attempt(device, "the counts of keys", [&] {
    const std::string counts = answer.value("device_one_time_keys_count", json::object()).dump();
    const json unused = part(answer, {"device_unused_fallback_key_types"});
    if (unused.is_null())
      device.account.receive_key_counts(counts);
    else
      device.account.receive_key_counts(counts, unused.dump());
  });
  upload_keys(server, device);
  return read;
}
