/// \file
/// matrixe2ee::Store
#ifndef MATRIXE2EE_STORE_HPP
#define MATRIXE2EE_STORE_HPP

#include <matrixe2ee.h>
#include <matrixe2ee/call.hpp>
#include <matrixe2ee/callbacks.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace matrixe2ee {

/// Where accounts, channels and sessions are kept, encrypted. A store may hold several accounts.
class Store : public Handle<matrixe2ee_store, matrixe2ee_store_free> {
 public:
  using Handle::Handle;

  /// A store in memory only, with a key of 32 bytes: matrixe2ee_store_in_memory().
  static Store in_memory(ByteView key) {
    return detail::object<Store>(matrixe2ee_store_in_memory, key.data(), key.size());
  }

  /// The store in an SQLite file, which is made if need be: matrixe2ee_store_open_sqlite().
  static Store open_sqlite(const std::string &path, ByteView key) {
    return detail::object<Store>(matrixe2ee_store_open_sqlite, detail::c_text(path), key.data(),
                                 key.size());
  }

  /// The same with what a person types: matrixe2ee_store_open_sqlite_with_passphrase().
  static Store open_sqlite_with_passphrase(const std::string &path, std::string_view passphrase) {
    const ByteView bytes(passphrase);
    return detail::object<Store>(matrixe2ee_store_open_sqlite_with_passphrase, detail::c_text(path),
                                 bytes.data(), bytes.size());
  }

  /// A store of the program's own (a std::unique_ptr will do, too): matrixe2ee_store_foreign().
  static Store foreign(std::shared_ptr<StoreBackend> backend, ByteView key) {
    if (!backend) {
      return detail::object<Store>(matrixe2ee_store_foreign, nullptr, key.data(), key.size());
    }
    const matrixe2ee_store_backend table = to_c(std::move(backend));
    return detail::object<Store>(matrixe2ee_store_foreign, &table, key.data(), key.size());
  }

  /// Another key opens the store from now on: matrixe2ee_store_rekey().
  void rekey(ByteView new_key) const {
    detail::call(matrixe2ee_store_rekey, get(), new_key.data(), new_key.size());
  }

  /// A passphrase opens the store from now on: matrixe2ee_store_rekey_with_passphrase().
  void rekey_with_passphrase(std::string_view passphrase) const {
    const ByteView bytes(passphrase);
    detail::call(matrixe2ee_store_rekey_with_passphrase, get(), bytes.data(), bytes.size());
  }

  /// What is damaged, missing or too much in the store: matrixe2ee_store_problems().
  std::string problems() const { return detail::text(matrixe2ee_store_problems, get()); }

  /// Copies what is good into a new SQLite file: matrixe2ee_store_salvage().
  void salvage(const std::string &path, ByteView key) const {
    detail::call(matrixe2ee_store_salvage, get(), detail::c_text(path), key.data(), key.size());
  }

  /// Another clock than the system's (a std::unique_ptr will do, too):
  /// matrixe2ee_store_set_clock().
  void set_clock(std::shared_ptr<Clock> clock) const {
    if (!clock) return detail::call(matrixe2ee_store_set_clock, get(), nullptr);
    const matrixe2ee_clock table = to_c(std::move(clock));
    detail::call(matrixe2ee_store_set_clock, get(), &table);
  }

  /// Closes the store for everything that was opened on it: matrixe2ee_store_shut_down().
  void shut_down() const { detail::call(matrixe2ee_store_shut_down, get()); }
};

}  // namespace matrixe2ee

#endif
