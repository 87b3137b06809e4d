// What each object does, seen from C++. What the calls do in full is tested in Rust and C.
#include "story.hpp"

#include <cstdlib>
#include <type_traits>

using namespace matrixe2ee;

static std::string new_folder() {
  const char *base = std::getenv("TMPDIR");
  std::string folder = std::string(base ? base : "/tmp") + "/matrixe2ee-XXXXXX";
  CHECK(mkdtemp(folder.data()) != nullptr);
  return folder;
}

static void free_functions() {
  CHECK(version() == "0.2.0" && abi_version() == MATRIXE2EE_ABI_VERSION);
  CHECK(status_name(306) == "REPLAY" && status_name(9999) == "UNKNOWN");
  CHECK(canonical_json(R"({"b": 1, "a": "é"})") == R"({"a":"é","b":1})");
  CHECK(member(keys_claim_request(R"({"@b:b.org":["B"]})"), "timeout").empty());

  const Person alice("@alice:example.org", "ALICE");
  const std::string object = alice.account.sign_json(R"({"a":1})");
  const std::string key = alice.account.fingerprint_key();
  verify_signed_json(object, alice.user_id, "ed25519:ALICE", key);
  std::string altered = object;
  altered.replace(altered.find("\"a\":1"), 5, "\"a\":2");
  FAILS(BadSignature, verify_signed_json(altered, alice.user_id, "ed25519:ALICE", key));

  CHECK(ByteView().data() != nullptr && ByteView(Bytes()).empty() && ByteView(KEY).size() == 32);
  CHECK(ByteView(std::string("ab")).bytes() == Bytes({'a', 'b'}));

  std::string secret = "words";
  std::array<std::uint8_t, 3> bytes = {1, 2, 3};
  wipe(secret);
  wipe(bytes);
  CHECK(secret == std::string(5, '\0') && bytes[0] + bytes[1] + bytes[2] == 0);
}

// Keys come from any container of bytes; what was written is there when the file is opened again.
static void a_store_in_a_file_opens_with_its_key() {
  const std::string folder = new_folder(), path = folder + "/store.sqlite";
  const std::uint8_t array[32] = {7, 1, 2, 3};
  const std::string text(32, 'k');
  const Bytes vector(32, 9);
  std::string identity_key;
  {
    const Store store = Store::open_sqlite(path, KEY);
    FAILS(NotFound, Account::open_existing(store, "@a:a.org", "A"));
    identity_key = Account::open(store, "@a:a.org", "A").identity_key();
    FAILS(StoreInUse, Store::open_sqlite(path, KEY));
  }
  {
    const Store store = Store::open_sqlite(path, array);
    CHECK(Account::open(store, "@a:a.org", "A").identity_key() == identity_key);
    store.rekey(text);
    store.shut_down();
    FAILS(StoreClosed, Account::open(store, "@a:a.org", "A"));
  }
  FAILS(WrongKey, Store::open_sqlite(path, KEY));
  Store::open_sqlite(path, text).rekey(vector);
  Store::open_sqlite(path, vector).rekey_with_passphrase("a passphrase");
  const Store store = Store::open_sqlite_with_passphrase(path, "a passphrase");
  CHECK(Account::open_existing(store, "@a:a.org", "A").identity_key() == identity_key);
  FAILS(NotFound, Account::open_existing(store, "@a:a.org", "a"));
  CHECK(store.problems() == "[]");
  store.salvage(path + "-copy", KEY);
  FAILS(AlreadyExists, store.salvage(path + "-copy", KEY));
  store.shut_down();
  {
    const Store copy = Store::open_sqlite(path + "-copy", KEY);
    CHECK(Account::open(copy, "@a:a.org", "A").identity_key() == identity_key);
    copy.shut_down();
  }
  for (const char *end : {"", "-lock", "-copy", "-copy-lock"}) CHECK(std::remove((path + end).c_str()) == 0);
  CHECK(std::remove(folder.c_str()) == 0);
}

static void an_account_uploads_its_keys() {
  const Person bob("@bob:example.org", "BOB");
  const Account &account = bob.account;
  CHECK(account.user_id() == "@bob:example.org" && account.device_id() == "BOB");
  CHECK(string_in(account.device_keys(), "keys", "curve25519:BOB") == account.identity_key());
  CHECK(string_in(account.device_keys(), "keys", "ed25519:BOB") == account.fingerprint_key());
  account.receive_key_counts("{}", "[]");
  CHECK(account.keys_upload_request() == account.keys_upload_request());
  account.receive_keys_upload_response(200,
                                       R"({"one_time_key_counts":{"signed_curve25519":50}})");
  CHECK(account.keys_upload_request() == std::nullopt);
  account.receive_key_counts(R"({"signed_curve25519":20})");
  CHECK(account.keys_upload_request().has_value());
  CHECK(account.list_sessions() == "[]" && account.list_channels() == "[]");
  const Account again = Account::open(bob.store, bob.user_id, bob.device_id);
  account.erase();
  FAILS(NotFound, again.user_id());
}

static void a_channel_goes_both_ways() {
  const Person alice("@alice:example.org", "ALICE"), bob("@bob:example.org", "BOB");
  const OlmChannel to_bob = channel_to(alice, bob);
  const std::string first = to_bob.encrypt("m.dummy", R"({"n":1})");
  const OlmChannel from_alice = OlmChannel::create_from_encrypted_message(
      bob.account, alice.user_id, alice.account.identity_key(), first, alice.device_id,
      alice.account.fingerprint_key());
  CHECK(member(from_alice.first_event(), "content") == R"({"n":1})");
  CHECK(string_in(from_alice.partner(), "fingerprint") == "device_keys");
  from_alice.set_partner_device_keys(alice.account.device_keys());
  CHECK(member(to_bob.decrypt(from_alice.encrypt("m.dummy", R"({"n":2})")), "content") ==
        R"({"n":2})");
  CHECK(to_bob.session_count() == 1 && !to_bob.should_create_new_session());
  bob.account.receive_key_counts("{}");
  to_bob.add_outbound_olm_session(claim_key(bob));
  CHECK(to_bob.session_count() == 2);
  CHECK(string_in(element(alice.account.encrypt_for_devices(
                              R"([{"user_id":")" + bob.user_id + R"(","identity_key":")" +
                              bob.account.identity_key() + R"(","type":"m.dummy","content":{}}])"),
                          0),
                  "content", "algorithm") == "m.olm.v1.curve25519-aes-sha2");
  const OlmChannel again = OlmChannel::create_from_storage(bob.account, alice.user_id,
                                                           alice.account.identity_key());
  again.erase();
  FAILS(NotFound, from_alice.partner());
}

static void a_room_is_read_by_who_has_the_key() {
  const Person alice("@alice:example.org", "ALICE"), bob("@bob:example.org", "BOB");
  const OlmChannel to_bob = channel_to(alice, bob);
  const OutboundMegolmSession session = OutboundMegolmSession::create(alice.account, ROOM);
  const InboundMegolmSession own = InboundMegolmSession::from_outbound_session(session);
  const std::string item =
      element(session.get_session_key_for_sending(recipients(alice, bob)), 0);
  const std::string event_for_bob = to_bob.encrypt("m.room_key", member(item, "content"));
  session.mark_as_sent("[" + member(item, "device") + "]");
  CHECK(session.get_session_key_for_sending(recipients(alice, bob)) == "[]");

  const OlmChannel from_alice = channel_from(bob, alice, event_for_bob);
  const InboundMegolmSession received = InboundMegolmSession::from_room_key(
      bob.account, alice.user_id, alice.account.identity_key(),
      member(from_alice.first_event(), "content"));
  CHECK(received.session_id() == session.session_id() && received.authenticated());
  CHECK(received.sender_key() == alice.account.identity_key());
  CHECK(received.first_known_index() == 0 && session.message_index() == 0);

  const std::string one = say(alice, session, "$1", "one"), two = say(alice, session, "$2", "two");
  CHECK(session.message_index() == 2);
  CHECK(words_of(received.decrypt(one)) == "one" && words_of(own.decrypt(one)) == "one");
  const std::string both = "[" + one + "," + two + "]";
  CHECK(words_of(member(element(received.decrypt_many(both), 1), "event")) == "two");
  CHECK(words_of(member(element(bob.account.decrypt_room_events(both), 0), "event")) == "one");
  CHECK(string_in(element(bob.account.list_sessions(ROOM), 0), "session_id") ==
        session.session_id());
  CHECK(bob.account.list_sessions("!other:example.org") == "[]");
  CHECK(bob.account.list_sessions(std::nullopt, session.session_id(), 10) == "[]");
  FAILS(InvalidField, bob.account.list_sessions(std::nullopt, std::nullopt, 0));
  const std::string channels = bob.account.list_channels(std::nullopt, 1);
  CHECK(string_in(element(channels, 0), "user_id") == "@alice:example.org");
  CHECK(bob.account.list_channels(string_in(element(channels, 0), "identity_key")) == "[]");

  const Person laptop("@bob:example.org", "LAPTOP");
  const InboundMegolmSession exported =
      InboundMegolmSession::from_export(laptop.account, received.export_at(1));
  CHECK(exported.first_known_index() == 1 && !exported.authenticated());
  CHECK(words_of(exported.decrypt(two)) == "two");
  CHECK(string_in(exported.decrypt(two), "matrixe2ee", "owner") == "unknown");
  InboundMegolmSession::from_export(laptop.account, received.export_at(1), alice.user_id);
  CHECK(string_in(exported.decrypt(two), "matrixe2ee", "owner") == "known");
  CHECK(string_in(received.decrypt(two), "matrixe2ee", "sender_fingerprint") == "learned");
  const std::string report = laptop.account.import_sessions("[" + received.export_at(1) + ",{}]");
  CHECK(member(report, "known") == "1");
  CHECK(member(element(member(report, "failed"), 0), "index") == "1");
  const UnknownIndex early = FAILS(UnknownIndex, exported.decrypt(one));
  CHECK(early.first_known() == 1 && early.got() == 0);
  CHECK(member(received.export_at(), "session_key") != member(received.export_at(1), "session_key"));

  const InboundMegolmSession stored = InboundMegolmSession::from_storage(
      bob.account, ROOM, session.session_id(), alice.user_id);
  FAILS(NotFound, InboundMegolmSession::from_storage(bob.account, ROOM, session.session_id(),
                                                     bob.user_id));
  stored.erase();
  FAILS(NotFound, received.session_id());

  CHECK(OutboundMegolmSession::create_from_storage(alice.account, ROOM).session_id() ==
        session.session_id());
  session.invalidate();
  CHECK(FAILS(SessionExpired, session.encrypt("m.dummy", "{}")).reason() == "invalidated");
  const OutboundMegolmSession next =
      OutboundMegolmSession::create(alice.account, ROOM, R"({"reserve_ahead":1})");
  OutboundMegolmSession::create_from_storage(alice.account, ROOM, session.session_id()).erase();
  FAILS(NotFound, session.message_index());
  CHECK(next.message_index() == 0);
}

// Handles move; what is empty is an error and nothing worse; C functions take them.
static void objects_move_and_do_not_copy() {
  static_assert(!std::is_copy_constructible_v<Store> && !std::is_copy_assignable_v<Account>);
  static_assert(std::is_nothrow_move_constructible_v<OlmChannel>);
  static_assert(std::is_nothrow_move_assignable_v<InboundMegolmSession>);
  static_assert(sizeof(OutboundMegolmSession) == sizeof(void *));

  Person alice("@alice:example.org", "ALICE");
  const std::string key = alice.account.identity_key();
  Account moved = std::move(alice.account);
  CHECK(!alice.account && moved && moved.identity_key() == key);
  FAILS(NullPointer, alice.account.identity_key());
  Account other = Account::open(alice.store, "@alice:example.org", "OTHER");
  matrixe2ee_account *const replaced = other.get();
  other = std::move(moved);
  CHECK(other.identity_key() == key && !moved);
  char *none = nullptr;
  CHECK(matrixe2ee_account_user_id(replaced, &none, nullptr) == MATRIXE2EE_STATUS_STALE_HANDLE);
  Account &same = other;
  other = std::move(same);
  CHECK(other.identity_key() == key);

  matrixe2ee_account *const given_away = other.release();
  CHECK(!other);
  Account taken_over(given_away);
  CHECK(taken_over.identity_key() == key);
  taken_over.reset();
  FAILS(StaleHandle, Account(given_away).identity_key());

  // What was opened on a store goes on without the store's own handle.
  alice.account = Account::open(alice.store, alice.user_id, alice.device_id);
  alice.store.reset();
  CHECK(alice.account.identity_key() == key);
  FAILS(NullPointer, Account::open(alice.store, alice.user_id, alice.device_id));
}

int main() {
  free_functions();
  a_store_in_a_file_opens_with_its_key();
  an_account_uploads_its_keys();
  a_channel_goes_both_ways();
  a_room_is_read_by_who_has_the_key();
  objects_move_and_do_not_copy();
}
