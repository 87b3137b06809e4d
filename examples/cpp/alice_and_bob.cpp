// Alice and Bob talk in an encrypted room, each with one device on one SQLite file. What a device
// does is in device.cpp; the homeserver is a stand-in inside this program (homeserver.cpp).
// examples/c, examples/rust and the others hold the same program, line by line.
//
//     g++ -std=c++17 *.cpp $(pkg-config --cflags --libs matrixe2ee nlohmann_json)
//
// The program checks each answer, and ends with 1 if anything is not as it should be.
#include "device.hpp"

#include <cstdlib>
#include <filesystem>
#include <random>

using matrixe2ee::Account, matrixe2ee::OlmChannel, matrixe2ee::Store;
using nlohmann::json;

static void step(const std::string &what) {
  static int number;
  std::cout << "\n" << ++number << ". " << what << "\n";
}

static const json NO_MESSAGES = json::parse(R"([
  {},
  {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": null, "ciphertext": {}},
  {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "AAAA", "ciphertext": [1]},
  {"algorithm": "m.megolm.v1.aes-sha2", "session_id": 5, "ciphertext": null},
  {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "AAAA", "ciphertext": "AAAA"}
])");

/// What receive() gives for words of this device.
static std::pair<std::string, std::string> said(const Device &device, const std::string &words) {
  return {device.user_id, words};
}

static void was_read(const std::vector<std::pair<std::string, std::string>> &read,
                     const std::vector<std::pair<std::string, std::string>> &expected) {
  check(read == expected, "what was read is what was said");
}

static Device new_device(const std::filesystem::path &folder, const std::string &name,
                         const std::string &user_id, const std::string &device_id) {
  Device device{name, user_id, device_id, (folder / (name + ".sqlite")).string(), {}};
  std::random_device random;  // the system's random bytes, for the key of the store
  for (std::uint8_t &byte : device.store_key) byte = static_cast<std::uint8_t>(random());
  return device;
}

static void story(const std::filesystem::path &folder) {
  StandIn server;
  Device alice = new_device(folder, "Alice", "@alice:example.org", "ALICEPHONE");
  Device bob = new_device(folder, "Bob", "@bob:example.org", "BOBPHONE");

  step("Both make an account and upload its public keys");
  open_device(alice);
  open_device(bob);
  upload_keys(server, alice);
  upload_keys(server, bob);

  step("Alice writes to the room; Bob reads");
  say(server, alice, "Hello Bob!");
  const std::string second = say(server, alice, "Can you read this?");
  was_read(receive(server, bob), {said(alice, "Hello Bob!"), said(alice, "Can you read this?")});

  step("Both programs end, and start again from their files");
  close_device(alice);
  close_device(bob);
  open_device(alice);
  open_device(bob);

  step("Bob answers in a session of his own; Alice goes on in hers");
  say(server, bob, "Yes, every word.");
  const std::string fourth = say(server, alice, "Even after a restart.");
  was_read(receive(server, alice),
           {said(alice, "Hello Bob!"), said(alice, "Can you read this?"),
            said(bob, "Yes, every word."), said(alice, "Even after a restart.")});
  was_read(receive(server, bob),
           {said(bob, "Yes, every word."), said(alice, "Even after a restart.")});

  step("Somebody changes one letter of a ciphertext");
  json tampered = json::parse(server.event(fourth));
  std::string ciphertext = tampered["content"]["ciphertext"];
  ciphertext[20] = ciphertext[20] == 'A' ? 'B' : 'A';
  tampered["content"]["ciphertext"] = ciphertext;
  refuse<matrixe2ee::UnableToDecrypt>(bob, tampered);

  step("The server delivers an old message again, as a new event");
  json replayed = json::parse(server.event(second));
  replayed["event_id"] = "$another";
  refuse<matrixe2ee::Replay>(bob, replayed);

  step("The server delivers to Bob's laptop what was meant for his phone");
  Device laptop = new_device(folder, "Bob's laptop", bob.user_id, "BOBLAPTOP");
  laptop.store = Store::in_memory(laptop.store_key);
  laptop.account = Account::open(laptop.store, laptop.user_id, laptop.device_id);
  const json devices = query_devices(server);
  const OlmChannel channel =
      channel_to(server, alice, devices.at(bob.user_id).at(bob.device_id));
  const std::string for_phone = channel.encrypt("m.dummy", "{}");
  const std::string alice_key = alice.account.identity_key();
  refused<matrixe2ee::NotEncryptedForUs>([&] {
    OlmChannel::create_from_encrypted_message(laptop.account, alice.user_id, alice_key, for_phone);
  });
  close_device(laptop);

  step("A stranger sends what is no message; Bob's program goes on");
  for (const json &content : NO_MESSAGES) {
    const json body = {{"messages", {{bob.user_id, {{bob.device_id, content}}}}}};
    server.send_to_device("@mallory:example.org", "m.room.encrypted", body.dump());
    server.send("@mallory:example.org", "m.room.encrypted", content.dump());
  }
  say(server, alice, "Still there?");
  was_read(receive(server, bob), {said(alice, "Still there?")});

  std::cout << "\nAll is as it should be.\n";
  close_device(alice);
  close_device(bob);
  for (Device *device : {&alice, &bob, &laptop}) matrixe2ee::wipe(device->store_key);
}

int main() {
  std::string folder = std::filesystem::temp_directory_path() / "alice_and_bob_XXXXXX";
  int status = 0;
  try {
    check(matrixe2ee::abi_version() == MATRIXE2EE_ABI_VERSION, "header and library fit");
    std::cout << "matrixe2ee " << matrixe2ee::version() << ", from C++\n";
    check(mkdtemp(folder.data()) != nullptr, "a folder for the stores");
    story(folder);
  } catch (const std::exception &error) {
    std::cout << "FAILED: " << error.what() << "\n";
    status = 1;
  }
  std::filesystem::remove_all(folder);
  return status;
}
