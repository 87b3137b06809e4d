// A device of libolm's moves in, one by one and all at once; the fixture is from libolm.
#include "story.hpp"

#include <fstream>
#include <iterator>

using namespace matrixe2ee;

static std::string fixture() {
  std::ifstream file("tests/fixtures/libolm_sessions.json");
  CHECK(file.is_open());
  const std::istreambuf_iterator<char> begin(file), end;
  return canonical_json(std::string(begin, end));
}

struct Device {
  std::string all = fixture(), us = member(all, "us"), them = member(all, "them");
  std::string pickle_key = string_in(all, "pickle_key");
  std::string user_id = string_in(them, "user_id"), their_key = string_in(them, "identity_key");
  Store store = Store::in_memory(KEY);
  Account account = Account::from_libolm_pickle(
      store, string_in(us, "user_id"), string_in(us, "device_id"), string_in(us, "account"),
      pickle_key);

  std::string event_of(int index) const {
    return event(user_id, "$" + std::to_string(index),
                 element(member(all, "events"), static_cast<std::size_t>(index)));
  }
};

static void sessions_move_in_one_by_one() {
  const Device device;
  CHECK(device.account.identity_key() == string_in(device.us, "identity_key"));
  FAILS(AlreadyExists, Account::from_libolm_pickle(device.store, device.account.user_id(),
                                                   device.account.device_id(),
                                                   string_in(device.us, "account"),
                                                   device.pickle_key));
  const OlmChannel channel =
      OlmChannel::from_libolm_pickles(device.account, device.user_id, device.their_key,
                                      member(device.us, "sessions"), device.pickle_key);
  CHECK(channel.session_count() == 3);

  const InboundMegolmSession inbound = InboundMegolmSession::from_libolm_pickle(
      device.account, ROOM, device.their_key, string_in(device.us, "inbound"), device.pickle_key);
  CHECK(member(inbound.decrypt(device.event_of(5)), "matrixe2ee", "owner") == "\"unknown\"");
  const InboundMegolmSession owned = InboundMegolmSession::from_libolm_pickle(
      device.account, ROOM, device.their_key, string_in(device.us, "inbound"), device.pickle_key,
      device.user_id);
  CHECK(member(owned.decrypt(device.event_of(5)), "matrixe2ee", "owner") == "\"known\"");

  const OutboundMegolmSession outbound = OutboundMegolmSession::from_libolm_pickle(
      device.account, ROOM, string_in(device.us, "outbound"), device.pickle_key);
  CHECK(outbound.message_index() > 0);
}

static void sessions_move_in_all_at_once() {
  const Device device;
  const std::string list = R"([{"kind":"outbound_megolm","room_id":")" + ROOM + R"(","pickle":")" +
                           string_in(device.us, "outbound") + R"("},{"kind":"nothing"}])";
  const std::string report = device.account.import_libolm_sessions(list, device.pickle_key);
  CHECK(member(report, "imported") == "1");
  CHECK(member(element(member(report, "failed"), 0), "index") == "1");
}

static void a_wrong_pickle_key_is_an_error() {
  const Device device;
  const std::string pickle = string_in(device.us, "outbound");
  FAILS(WrongKey, OutboundMegolmSession::from_libolm_pickle(device.account, ROOM, pickle,
                                                            std::string("another key")));
  // libolm knows keys without a byte: this is one, and not a missing argument.
  FAILS(WrongKey, OutboundMegolmSession::from_libolm_pickle(device.account, ROOM, pickle, Bytes()));
  FAILS(WrongKey, OutboundMegolmSession::from_libolm_pickle(device.account, ROOM, pickle, {}));
  FAILS(InvalidLength, Account::from_vodozemac_pickle(device.store, "@v:v.org", "V", pickle,
                                                      Bytes(31)));
  FAILS(InvalidLength,
        OlmChannel::from_vodozemac_pickles(device.account, device.user_id, device.their_key,
                                           "[\"\"]", Bytes(33)));
  FAILS(InvalidField, OlmChannel::from_vodozemac_pickles(device.account, device.user_id,
                                                         device.their_key, "[]", Bytes(32)));
}

int main() {
  sessions_move_in_one_by_one();
  sessions_move_in_all_at_once();
  a_wrong_pickle_key_is_an_error();
}
