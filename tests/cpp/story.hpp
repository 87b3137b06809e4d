// Alice and Bob: accounts, keys on an imaginary server, a channel and a room.
#ifndef STORY_HPP
#define STORY_HPP

#include "test.hpp"

inline const std::string ROOM = "!room:example.org";

struct Person {
  std::string user_id, device_id;
  matrixe2ee::Store store;
  matrixe2ee::Account account;

  Person(std::string user, std::string device, matrixe2ee::Store opened)
      : user_id(std::move(user)),
        device_id(std::move(device)),
        store(std::move(opened)),
        account(matrixe2ee::Account::open(store, user_id, device_id)) {}

  Person(std::string user, std::string device)
      : Person(std::move(user), std::move(device), matrixe2ee::Store::in_memory(KEY)) {}
};

// Uploads what the account wants to upload, and claims one of its keys: {key_id: key}.
inline std::string claim_key(const Person &owner) {
  const std::string body = owner.account.keys_upload_request().value();
  owner.account.receive_keys_upload_response(
      200, R"({"one_time_key_counts":{"signed_curve25519":50}})");
  const std::string keys = member(body, "one_time_keys");
  const std::string first = "{" + keys.substr(1, end_of_value(keys, 1) - 1) + "}";
  const std::string request = matrixe2ee::keys_claim_request(
      "{\"" + owner.user_id + "\":[\"" + owner.device_id + "\"]}", 10000);
  CHECK(member(request, "timeout") == "10000");
  const std::string answer = matrixe2ee::read_keys_claim_response(
      request, R"({"one_time_keys":{")" + owner.user_id + "\":{\"" + owner.device_id +
                   "\":" + first + "}}}");
  const std::string key = member(answer, "one_time_keys", owner.user_id, owner.device_id);
  CHECK(key == first);
  return key;
}

inline matrixe2ee::OlmChannel channel_to(const Person &from, const Person &to) {
  return matrixe2ee::OlmChannel::create_outbound_channel(from.account, to.account.device_keys(),
                                                         claim_key(to));
}

// The other end of a channel, from its first message.
inline matrixe2ee::OlmChannel channel_from(const Person &to, const Person &from,
                                           const std::string &content) {
  return matrixe2ee::OlmChannel::create_from_encrypted_message(
      to.account, from.user_id, from.account.identity_key(), content);
}

// The argument of get_session_key_for_sending for a room of these two.
inline std::string recipients(const Person &one, const Person &other) {
  return R"({"encryption":{"algorithm":"m.megolm.v1.aes-sha2"},"members":{")" + one.user_id +
         R"(":"join",")" + other.user_id + R"(":"join"},"device_keys":{")" + one.user_id +
         "\":{\"" + one.device_id + "\":" + one.account.device_keys() + "},\"" + other.user_id +
         "\":{\"" + other.device_id + "\":" + other.account.device_keys() + "}}}";
}

// A room event around the content that a session encrypted.
inline std::string event(const std::string &sender, const std::string &event_id,
                         const std::string &content) {
  return R"({"type":"m.room.encrypted","event_id":")" + event_id + R"(","sender":")" + sender +
         R"(","room_id":")" + ROOM + R"(","origin_server_ts":1700000000000,"content":)" + content +
         "}";
}

inline std::string say(const Person &sender, const matrixe2ee::OutboundMegolmSession &session,
                       const std::string &event_id, const std::string &words) {
  return event(sender.user_id, event_id,
               session.encrypt("m.room.message", R"({"msgtype":"m.text","body":")" + words + "\"}"));
}

inline std::string words_of(const std::string &plain) { return string_in(plain, "content", "body"); }

#endif
