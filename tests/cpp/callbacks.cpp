// Stores and clocks that are written in C++: they keep the rules, their exceptions become errors,
// and they end when the library lets go of them.
#include "story.hpp"

#include <store_contract.h>

#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <typeinfo>

using namespace matrixe2ee;

// What outlives the backends that are opened on it.
struct Place {
  std::mutex mutex;
  std::map<std::string, std::map<Bytes, Bytes>, std::less<>> collections;
  std::function<void(const char *what)> before = [](const char *) {};
  int open = 0, ended = 0;
};

class MapStore : public StoreBackend {
 public:
  explicit MapStore(Place &place) : place_(place) { ++place_.open; }
  ~MapStore() override { ++place_.ended; }

  std::optional<Bytes> get(std::string_view collection, ByteView key) override {
    const std::lock_guard<std::mutex> lock(place_.mutex);
    place_.before("get");
    const auto records = place_.collections.find(collection);
    if (records == place_.collections.end()) return std::nullopt;
    const auto found = records->second.find(key.bytes());
    if (found == records->second.end()) return std::nullopt;
    return found->second;
  }

  std::vector<StoreEntry> scan(std::string_view collection, std::optional<ByteView> after_key,
                               std::uint32_t limit) override {
    const std::lock_guard<std::mutex> lock(place_.mutex);
    place_.before("scan");
    const auto &records = place_.collections[std::string(collection)];
    std::vector<StoreEntry> found;
    auto at = after_key ? records.upper_bound(after_key->bytes()) : records.begin();
    for (; at != records.end() && found.size() < limit; ++at) {
      found.push_back({at->first, at->second});
    }
    return found;
  }

  void commit(const std::vector<StoreChange> &changes) override {
    const std::lock_guard<std::mutex> lock(place_.mutex);
    place_.before("commit");
    auto changed = place_.collections;
    for (const StoreChange &change : changes) {
      auto &records = changed[std::string(change.collection)];
      if (change.value) records[change.key.bytes()] = change.value->bytes();
      else records.erase(change.key.bytes());
    }
    place_.collections = std::move(changed);
  }

 private:
  Place &place_;
};

static matrixe2ee_store_backend open_in(void *place) {
  return to_c(std::make_unique<MapStore>(*static_cast<Place *>(place)));
}

static void a_store_in_cpp_keeps_the_contract() {
  Place place;
  CHECK(store_contract(open_in, &place) == 0);
  CHECK(place.open == place.ended && place.open > 10);
}

static void a_store_that_forgets_deletions_breaks_it() {
  class Forgetful : public MapStore {
   public:
    using MapStore::MapStore;
    void commit(const std::vector<StoreChange> &changes) override {
      std::vector<StoreChange> kept;
      for (const StoreChange &change : changes) {
        if (change.value) kept.push_back(change);
      }
      MapStore::commit(kept);
    }
  };
  const auto open = [](void *place) {
    return to_c(std::make_unique<Forgetful>(*static_cast<Place *>(place)));
  };
  Place place;
  std::fprintf(stderr, "five rules are broken on purpose:\n");
  CHECK(store_contract(open, &place) == 5);
}

static void the_library_keeps_everything_in_it() {
  Place place;
  std::string key, said;
  {
    const Person alice("@alice:example.org", "ALICE",
                       Store::foreign(std::make_unique<MapStore>(place), KEY));
    key = alice.account.identity_key();
    const OutboundMegolmSession session = OutboundMegolmSession::create(alice.account, ROOM);
    InboundMegolmSession::from_outbound_session(session);
    said = say(alice, session, "$1", "words");
    CHECK(place.open == 1 && place.ended == 0);
  }
  CHECK(place.ended == 1);
  const Person alice("@alice:example.org", "ALICE",
                     Store::foreign(std::make_shared<MapStore>(place), KEY));
  CHECK(alice.account.identity_key() == key);
  CHECK(words_of(member(element(alice.account.decrypt_room_events("[" + said + "]"), 0),
                        "event")) == "words");
  alice.store.shut_down();
  CHECK(place.open == 2 && place.ended == 2);
  FAILS(WrongKey, Store::foreign(std::make_unique<MapStore>(place), Bytes(32, 1)));
  FAILS(InvalidLength, Store::foreign(std::make_unique<MapStore>(place), Bytes(31, 1)));
  FAILS(NullPointer, Store::foreign(nullptr, KEY));
  CHECK(place.open == 4 && place.ended == 4);
}

struct DatabaseIsGone : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Whatever is thrown, and from wherever: the call fails, and says what it was.
static void an_exception_inside_a_store_is_the_cause_of_an_error() {
  for (const char *where : {"get", "scan", "commit"}) {
    Place place;
    {
      const Person alice("@alice:example.org", "ALICE",
                         Store::foreign(std::make_unique<MapStore>(place), KEY));
    }
    const Store store = Store::foreign(std::make_unique<MapStore>(place), KEY);
    // The account is read, all records are looked at, a session is written.
    const auto all = [&] {
      const Account account = Account::open(store, "@alice:example.org", "ALICE");
      store.problems();
      OutboundMegolmSession::create(account, ROOM);
    };
    place.before = [&](const char *what) {
      if (std::strcmp(what, where) == 0) throw DatabaseIsGone("no route");
    };
    const StoreIo error = FAILS(StoreIo, all());
    CHECK(error.cause() != nullptr);
    try {
      std::rethrow_exception(error.cause());
    } catch (const DatabaseIsGone &gone) {
      CHECK(gone.what() == std::string("no route"));
    }
    place.before = [&](const char *) { throw 7; };
    try {
      std::rethrow_exception(FAILS(StoreIo, all()).cause());
    } catch (int number) {
      CHECK(number == 7);
    }
    place.before = [](const char *) {};
    all();
    CHECK(!FAILS(NotFound, OutboundMegolmSession::create_from_storage(
                               Account::open(store, "@alice:example.org", "ALICE"), "!none"))
               .cause());
  }
}

static void a_store_may_not_call_back() {
  Place place;
  const Person alice("@alice:example.org", "ALICE",
                     Store::foreign(std::make_unique<MapStore>(place), KEY));
  int refused = 0;
  place.before = [&](const char *) {
    FAILS(Busy, alice.account.identity_key());
    ++refused;
  };
  OutboundMegolmSession::create(alice.account, ROOM);
  CHECK(refused > 0);
  place.before = [&](const char *) { alice.account.identity_key(); };
  try {
    std::rethrow_exception(FAILS(StoreIo, Account::open(alice.store, "@b:b.org", "B")).cause());
  } catch (const Busy &busy) {
    CHECK(busy.code() == MATRIXE2EE_STATUS_BUSY);
  }
  place.before = [](const char *) {};
}

// A store whose records are not what they were.
static void a_store_that_lies_is_noticed() {
  Place place;
  {
    const Person alice("@alice:example.org", "ALICE",
                       Store::foreign(std::make_unique<MapStore>(place), KEY));
  }
  for (auto &[name, records] : place.collections) {
    for (auto &[key, value] : records) {
      if (name.find("account") != std::string::npos) value.back() ^= 1;
    }
  }
  FAILS(Corrupt, Person("@alice:example.org", "ALICE",
                        Store::foreign(std::make_unique<MapStore>(place), KEY)));
}

struct Watch {
  std::int64_t now = 1700000000000;
  int ended = 0;
};

class TestClock : public Clock {
 public:
  explicit TestClock(Watch &watch) : watch_(watch) {}
  ~TestClock() override { ++watch_.ended; }
  std::int64_t now_ms() override {
    if (watch_.now == 0) throw std::logic_error("stopped");
    return watch_.now;
  }

 private:
  Watch &watch_;
};

static void a_clock_in_cpp_is_asked_and_may_fail() {
  Watch watch, other;
  {
    const Person alice("@alice:example.org", "ALICE"), bob("@bob:example.org", "BOB");
    alice.store.set_clock(std::make_unique<TestClock>(watch));
    const OutboundMegolmSession session = OutboundMegolmSession::create(alice.account, ROOM);
    session.get_session_key_for_sending(recipients(alice, bob));
    session.encrypt("m.dummy", "{}");
    watch.now = 0;
    const ClockFailed error = FAILS(ClockFailed, session.encrypt("m.dummy", "{}"));
    try {
      std::rethrow_exception(error.cause());
    } catch (const std::logic_error &stopped) {
      CHECK(stopped.what() == std::string("stopped"));
    }
    watch.now = -1;
    CHECK(!FAILS(ClockFailed, session.encrypt("m.dummy", "{}")).cause());
    watch.now = 1700000000000 + 8LL * 24 * 3600 * 1000;
    CHECK(FAILS(SessionExpired, session.encrypt("m.dummy", "{}")).reason() == "time");
    FAILS(NullPointer, alice.store.set_clock(nullptr));
    CHECK(watch.ended == 0);
    alice.store.set_clock(std::make_shared<TestClock>(other));
    CHECK(watch.ended == 1 && other.ended == 0);
    alice.store.shut_down();
    FAILS(StoreClosed, alice.store.set_clock(std::make_unique<TestClock>(watch)));
    CHECK(watch.ended == 2);
  }
  CHECK(other.ended == 1);
}

// A store's exception when nobody can be told, in a destructor, is not taken for the cause of a
// later failure.
static void an_exception_while_a_handle_is_freed_goes_nowhere() {
  Place place;
  Watch watch;
  const Person alice("@alice:example.org", "ALICE",
                     Store::foreign(std::make_unique<MapStore>(place), KEY));
  alice.store.set_clock(std::make_unique<TestClock>(watch));
  int thrown = 0;
  {
    const OutboundMegolmSession session = OutboundMegolmSession::create(alice.account, ROOM);
    session.encrypt("m.dummy", "{}");
    watch.now = -1;
    place.before = [&](const char *) {
      ++thrown;
      throw DatabaseIsGone("no route");
    };
  }
  place.before = [](const char *) {};
  CHECK(thrown > 0);
  CHECK(!FAILS(ClockFailed, OutboundMegolmSession::create(alice.account, ROOM)).cause());
}

int main() {
  a_store_in_cpp_keeps_the_contract();
  a_store_that_forgets_deletions_breaks_it();
  the_library_keeps_everything_in_it();
  an_exception_inside_a_store_is_the_cause_of_an_error();
  an_exception_while_a_handle_is_freed_goes_nowhere();
  a_store_may_not_call_back();
  a_store_that_lies_is_noticed();
  a_clock_in_cpp_is_asked_and_may_fail();
}
