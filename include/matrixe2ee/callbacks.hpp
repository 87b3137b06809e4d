/// \file
/// Bytes, and the two classes that a program may write itself: a store and a clock.
#ifndef MATRIXE2EE_CALLBACKS_HPP
#define MATRIXE2EE_CALLBACKS_HPP

#include <matrixe2ee.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace matrixe2ee {

/// Bytes of the program's own.
using Bytes = std::vector<std::uint8_t>;

/// Bytes that are somewhere else, and live as long as what they are in: a std::array or a
/// std::vector of bytes, a std::string, an array. (C++20 has std::span for it.)
class ByteView {
 public:
  constexpr ByteView() noexcept = default;

  ByteView(const void *data, std::size_t size) noexcept
      : data_(static_cast<const std::uint8_t *>(data)), size_(size) {}

  /// All of a container whose elements have the size of a byte.
  template <typename Container,
            typename Pointer = decltype(std::declval<const Container &>().data()),
            typename = std::enable_if_t<sizeof(std::remove_pointer_t<Pointer>) == 1>>
  ByteView(const Container &container) noexcept : ByteView(container.data(), container.size()) {}

  template <std::size_t count>
  ByteView(const std::uint8_t (&array)[count]) noexcept : ByteView(array, count) {}

  /// Never null, not even for no bytes.
  const std::uint8_t *data() const noexcept { return data_ ? data_ : &none; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  const std::uint8_t *begin() const noexcept { return data(); }
  const std::uint8_t *end() const noexcept { return data() + size_; }

  /// A copy.
  Bytes bytes() const { return Bytes(begin(), end()); }

 private:
  static constexpr std::uint8_t none = 0;
  const std::uint8_t *data_ = nullptr;
  std::size_t size_ = 0;
};

/// A record that a StoreBackend has found.
struct StoreEntry {
  Bytes key;    ///< The record's key.
  Bytes value;  ///< The record's value.
};

/// One change of a commit. What is in it lives until commit returns.
struct StoreChange {
  std::string_view collection;    ///< The name of the collection.
  ByteView key;                   ///< The record's key.
  std::optional<ByteView> value;  ///< Its new value; none deletes the record, if there is one.
};

/// A place for records, for Store::foreign(): a database, a server, a file of the program's own.
///
/// A record is a value under a key in a collection. Names of collections have 1 to 32 lower-case
/// letters and underscores; keys have 1 to 255 bytes, values at least one. Both are hashed or
/// encrypted before they get here: a backend needs no cryptography and sees no secret.
///
/// The functions run on the thread of the call that needs them, on several threads at once. Calls
/// of this library from inside them throw Busy. If one throws, the call that needed it fails with
/// StoreIo, whose cause() is what was thrown.
///
/// Only one store may be open on the same records at a time: the backend has to see to that.
/// tests/c/store_contract.h tries all these rules on to_c() of a backend.
class StoreBackend {
 public:
  /// Runs once, when the library will not use the backend again.
  virtual ~StoreBackend() = default;

  /// The value of the record with this key, as the last commit left it; none if there is none.
  virtual std::optional<Bytes> get(std::string_view collection, ByteView key) = 0;

  /// The first records of a collection whose keys are greater than after_key (of all keys, if there
  /// is none), in the order of their keys, and at most limit of them. Keys are compared as Bytes
  /// are: byte by byte, and a key comes before every longer key that begins with it.
  virtual std::vector<StoreEntry> scan(std::string_view collection,
                                       std::optional<ByteView> after_key, std::uint32_t limit) = 0;

  /// Makes all changes, in their order, or none of them, even if the process dies meanwhile. On
  /// return they are on disk, and seen by every later call on any thread.
  virtual void commit(const std::vector<StoreChange> &changes) = 0;
};

/// A clock of the program's own, for Store::set_clock().
class Clock {
 public:
  /// Runs once, when the library will not use the clock again.
  virtual ~Clock() = default;

  /// The current Unix time in milliseconds, perhaps asked for on several threads at once. A
  /// negative number or an exception means failure: the call that asked throws ClockFailed.
  virtual std::int64_t now_ms() = 0;
};

/// \cond
namespace detail {

/// What a callback threw during the call that this thread is in.
inline std::exception_ptr &thrown() noexcept {
  static thread_local std::exception_ptr exception;
  return exception;
}

/// Runs a callback; gives what it returns, or this number if it throws.
template <typename Number, typename Callback>
Number caught(Number otherwise, Callback callback) noexcept {
  try {
    return callback();
  } catch (...) {
    thrown() = std::current_exception();
    return otherwise;
  }
}

template <typename Object>
Object &object_in(void *userdata) {
  return **static_cast<std::shared_ptr<Object> *>(userdata);
}

template <typename Object>
void destroy(void *userdata) {
  delete static_cast<std::shared_ptr<Object> *>(userdata);
}

inline std::int32_t get(void *userdata, const char *collection, const std::uint8_t *key,
                        std::size_t key_len, matrixe2ee_emit emit, void *sink) {
  return caught<std::int32_t>(1, [&] {
    const std::optional<Bytes> value =
        object_in<StoreBackend>(userdata).get(collection, ByteView(key, key_len));
    return value ? emit(sink, key, key_len, ByteView(*value).data(), value->size()) : 0;
  });
}

inline std::int32_t scan(void *userdata, const char *collection, const std::uint8_t *after_key,
                         std::size_t after_key_len, std::uint32_t limit, matrixe2ee_emit emit,
                         void *sink) {
  return caught<std::int32_t>(1, [&] {
    std::optional<ByteView> after;
    if (after_key) after.emplace(after_key, after_key_len);
    std::int32_t status = 0;
    const std::vector<StoreEntry> found =
        object_in<StoreBackend>(userdata).scan(collection, after, limit);
    for (const StoreEntry &entry : found) {
      if (status != 0) break;
      status = emit(sink, ByteView(entry.key).data(), entry.key.size(),
                    ByteView(entry.value).data(), entry.value.size());
    }
    return status;
  });
}

inline std::int32_t commit(void *userdata, const matrixe2ee_store_change *changes,
                           std::size_t count) {
  return caught<std::int32_t>(1, [&] {
    std::vector<StoreChange> list(count);
    for (std::size_t i = 0; i < count; ++i) {
      list[i].collection = changes[i].collection;
      list[i].key = ByteView(changes[i].key, changes[i].key_len);
      if (changes[i].value) list[i].value.emplace(changes[i].value, changes[i].value_len);
    }
    object_in<StoreBackend>(userdata).commit(list);
    return 0;
  });
}

inline std::int64_t now_ms(void *userdata) {
  return caught<std::int64_t>(-1, [&] { return object_in<Clock>(userdata).now_ms(); });
}

}  // namespace detail
/// \endcond

/// The backend as matrixe2ee_store_foreign() of matrixe2ee.h takes it. Whoever has the table calls
/// its destroy once.
inline matrixe2ee_store_backend to_c(std::shared_ptr<StoreBackend> backend) {
  return {sizeof(matrixe2ee_store_backend),
          new std::shared_ptr<StoreBackend>(std::move(backend)),
          detail::destroy<StoreBackend>,
          detail::get,
          detail::scan,
          detail::commit};
}

/// The clock as matrixe2ee_store_set_clock() of matrixe2ee.h takes it. Whoever has the table calls
/// its destroy once.
inline matrixe2ee_clock to_c(std::shared_ptr<Clock> clock) {
  return {sizeof(matrixe2ee_clock), new std::shared_ptr<Clock>(std::move(clock)),
          detail::destroy<Clock>, detail::now_ms};
}

}  // namespace matrixe2ee

#endif
