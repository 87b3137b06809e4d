// Failures arrive as exceptions of their own, with their fields, and can be kept and thrown again.
#include "story.hpp"

#include <exception>
#include <memory>
#include <sys/wait.h>
#include <type_traits>
#include <typeinfo>
#include <unistd.h>

using namespace matrixe2ee;

static void each_kind_of_failure_has_a_type_and_its_fields() {
  const Person alice("@alice:example.org", "ALICE"), bob("@bob:example.org", "BOB");
  const Person laptop("@bob:example.org", "LAPTOP");
  const Account &account = alice.account;

  FAILS(InvalidUtf8, canonical_json("\"\xff\""));
  FAILS(InvalidLength, Store::in_memory(Bytes(31)));
  FAILS(InvalidLength, Store::in_memory({}));
  FAILS(InvalidJson, canonical_json("{\"a\":1,\"a\":2}"));
  CHECK(FAILS(InvalidField, Account::open(alice.store, "alice", "A")).field() == "user_id");
  FAILS(InvalidKey, verify_signed_json("{}", "@a:a.org", "ed25519:A", "short"));
  const OutboundMegolmSession session = OutboundMegolmSession::create(account, ROOM);
  const std::string large = "{\"body\":\"" + std::string(70000, 'x') + "\"}";
  CHECK(FAILS(TooLarge, session.encrypt("m.room.message", large)).limit() == 65536);

  const OlmChannel channel = channel_to(alice, bob);
  const std::string key = account.identity_key();
  const std::string first = channel.encrypt("m.dummy", "{}");
  FAILS(NotEncryptedForUs,
        OlmChannel::create_from_encrypted_message(laptop.account, alice.user_id, key, first));
  FAILS(NotFound, OlmChannel::create_from_storage(bob.account, alice.user_id, key));
  const OlmChannel from_alice = channel_from(bob, alice, first);
  FAILS(AlreadyExists, channel_from(bob, alice, first));
  std::string altered = first;
  char &letter = altered[altered.find("\"body\":\"") + 150];
  letter = letter == 'A' ? 'B' : 'A';
  CHECK(!FAILS(UnableToDecrypt, from_alice.decrypt(altered)).reason().empty());
  CHECK(FAILS(UnknownAlgorithm, from_alice.decrypt(
                  R"({"algorithm":"a \"b\"\\\n\u0001\té","sender_key":"k","ciphertext":{}})"))
            .algorithm() == "a \"b\"\\\n\x01\té");

  CHECK(FAILS(RoomNotEncrypted, session.get_session_key_for_sending(
                                    R"({"members":{},"device_keys":{}})")).code() == 301);
  const InboundMegolmSession own = InboundMegolmSession::from_outbound_session(session);
  const std::string said = say(alice, session, "$first", "words");
  own.decrypt(said);
  std::string again = said, by_bob = said, elsewhere = said;
  const Replay replay = FAILS(Replay, own.decrypt(again.replace(again.find("$first"), 6, "$other")));
  CHECK(replay.message_index() == 0 && replay.event_id() == "$first");
  CHECK(replay.code() == MATRIXE2EE_STATUS_REPLAY && replay.name() == "REPLAY" && !replay.cause());
  FAILS(WrongSender, own.decrypt(by_bob.replace(by_bob.find("@alice"), 6, "@carol")));
  FAILS(WrongRoom, own.decrypt(elsewhere.replace(elsewhere.find("!room"), 5, "!none")));
}

// A text that C would cut off at its NUL is refused, wherever it goes in.
static void a_nul_inside_a_text_is_refused() {
  const Person alice("@alice:example.org", "ALICE");
  const std::string id("@alice:example.org\0.evil", 24);
  CHECK(FAILS(InvalidField, Account::open(alice.store, id, "ALICE")).field() == "text");
  FAILS(InvalidField, alice.account.list_sessions(id));
  FAILS(InvalidField, canonical_json(std::string("{}\0", 3)));
}

// Fields are found by their names, not by what looks like them in another field.
static void fields_are_not_taken_for_each_other() {
  const std::string json =
      R"({"code":202,"name":"X","detail":"\"reason\":\"no\",\\","event_id":"reason","reason":"yes","n":7})";
  CHECK(detail::string_in(json, "reason") == "yes");
  CHECK(detail::string_in(json, "event_id") == "reason");
  CHECK(detail::number_in<std::uint32_t>(json, "n") == 7);
  CHECK(detail::string_in(json, "missing").empty() && detail::string_in("{\"a\":\"", "a").empty());
  CHECK(detail::string_in(R"({"detail":"one \" mark","field":"key"})", "field") == "key");
  CHECK(detail::number_in<int>(json, "missing") == 0 && detail::string_in("{\"a\\", "a").empty());
}

// The one error with fields that takes a store from the future.
static void a_newer_format_says_which() {
  const auto parts = std::make_shared<const detail::ErrorParts>(detail::ErrorParts{
      MATRIXE2EE_STATUS_NEWER_FORMAT, "newer",
      R"({"code":505,"name":"NEWER_FORMAT","detail":"newer","found":12,"supported":3})", nullptr});
  const NewerFormat error = error_of<NewerFormat>(__FILE__, __LINE__, [&] { detail::raise(parts); });
  CHECK(error.found() == 12 && error.supported() == 3);
}

// A compiler says if a number of the header has no type; one of a later version is a plain Error.
static void a_number_of_a_later_version_is_an_error_too() {
  const auto parts = std::make_shared<const detail::ErrorParts>(
      detail::ErrorParts{static_cast<matrixe2ee_status>(999), "new", "{\"code\":999}", nullptr});
  try {
    detail::raise(parts);
  } catch (const Error &error) {
    CHECK(typeid(error) == typeid(Error) && error.code() == 999 && error.name() == "UNKNOWN");
    return;
  }
  CHECK(false);
}

static void an_error_can_be_kept() {
  static_assert(std::is_nothrow_copy_constructible_v<Replay>);
  std::exception_ptr kept;
  try {
    canonical_json("x");
  } catch (...) {
    kept = std::current_exception();
  }
  try {
    std::rethrow_exception(kept);
  } catch (const std::runtime_error &error) {
    CHECK(std::strlen(error.what()) > 5);
    const InvalidJson copy = dynamic_cast<const InvalidJson &>(error);
    CHECK(copy.what() == std::string(error.what()) && copy.code() == 100);
  }
}

static void a_forked_child_is_told() {
  const Person alice("@alice:example.org", "ALICE");
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    FAILS(Forked, alice.account.identity_key());
    _exit(0);
  }
  int status = 1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main() {
  each_kind_of_failure_has_a_type_and_its_fields();
  a_nul_inside_a_text_is_refused();
  fields_are_not_taken_for_each_other();
  a_newer_format_says_which();
  a_number_of_a_later_version_is_an_error_too();
  an_error_can_be_kept();
  a_forked_child_is_told();
}
