/// \file
/// How matrixe2ee.hpp calls matrixe2ee.h.
#ifndef MATRIXE2EE_CALL_HPP
#define MATRIXE2EE_CALL_HPP

#include <matrixe2ee.h>
#include <matrixe2ee/callbacks.hpp>
#include <matrixe2ee/errors.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace matrixe2ee {

/// A text that may be left out.
using OptionalText = std::optional<std::string>;

/// A handle that belongs to one object, and is released with it. One that was moved from is empty;
/// calls on it throw NullPointer.
template <typename CHandle, void (*free_handle)(CHandle *)>
class Handle {
 public:
  /// The handle's type in matrixe2ee.h.
  using c_type = CHandle;

  /// Takes over a handle of matrixe2ee.h.
  explicit Handle(CHandle *handle = nullptr) noexcept : handle_(handle) {}

  Handle(Handle &&other) noexcept : handle_(other.release()) {}

  Handle &operator=(Handle &&other) noexcept {
    reset(other.release());
    return *this;
  }

  ~Handle() { reset(); }

  /// The handle, for functions of matrixe2ee.h; it stays here.
  CHandle *get() const noexcept { return handle_; }

  /// Gives the handle away: somebody else has to free it.
  CHandle *release() noexcept { return std::exchange(handle_, nullptr); }

  /// Frees the handle. What is stored stays.
  void reset(CHandle *handle = nullptr) noexcept { free_handle(std::exchange(handle_, handle)); }

  /// Whether there is a handle.
  explicit operator bool() const noexcept { return handle_ != nullptr; }

 private:
  CHandle *handle_;
};

/// \cond
namespace detail {

[[noreturn]] inline void fail(matrixe2ee_error *error, std::exception_ptr cause) {
  const std::unique_ptr<matrixe2ee_error, void (*)(matrixe2ee_error *)> owner(
      error, matrixe2ee_error_free);
  const matrixe2ee_status code = matrixe2ee_error_code(error);
  const bool by_callback =
      code == MATRIXE2EE_STATUS_STORE_IO || code == MATRIXE2EE_STATUS_CLOCK_FAILED;
  raise(std::make_shared<const ErrorParts>(
      ErrorParts{code, matrixe2ee_error_message(error), matrixe2ee_error_json(error),
                 by_callback ? std::move(cause) : nullptr}));
}

/// Calls a function of matrixe2ee.h, with all its arguments but the last.
template <typename Function, typename... Arguments>
void call(Function function, Arguments... arguments) {
  thrown() = nullptr;
  matrixe2ee_error *error = nullptr;
  const matrixe2ee_status status = function(arguments..., &error);
  std::exception_ptr cause = std::exchange(thrown(), nullptr);
  if (status != MATRIXE2EE_STATUS_OK) fail(error, std::move(cause));
}

/// The same for a function whose last argument but one takes the result.
template <typename Result, typename Function, typename... Arguments>
Result result(Function function, Arguments... arguments) {
  Result out{};
  call(function, arguments..., &out);
  return out;
}

/// The same for a function that makes an object.
template <typename Object, typename Function, typename... Arguments>
Object object(Function function, Arguments... arguments) {
  return Object(result<typename Object::c_type *>(function, arguments...));
}

/// The same for a text that may be NULL.
template <typename Function, typename... Arguments>
OptionalText text_or_none(Function function, Arguments... arguments) {
  const std::unique_ptr<char, void (*)(char *)> out(result<char *>(function, arguments...),
                                                    matrixe2ee_string_free);
  return out ? OptionalText(out.get()) : std::nullopt;
}

template <typename Function, typename... Arguments>
std::string text(Function function, Arguments... arguments) {
  return text_or_none(function, arguments...).value();
}

/// A text as C takes it. The part before a NUL would mean something else than the whole.
inline const char *c_text(const std::string &text) {
  if (text.find('\0') == std::string::npos) return text.c_str();
  const char *detail = "a text has a NUL inside";
  throw InvalidField(std::make_shared<const ErrorParts>(ErrorParts{
      MATRIXE2EE_STATUS_INVALID_FIELD, detail,
      std::string("{\"code\":101,\"name\":\"INVALID_FIELD\",\"detail\":\"") + detail +
          "\",\"field\":\"text\"}",
      nullptr}));
}

inline const char *c_text(const OptionalText &text) {
  return text ? c_text(*text) : nullptr;
}

inline std::int64_t c_number(std::optional<std::uint32_t> number) {
  return number ? static_cast<std::int64_t>(*number) : -1;
}

}  // namespace detail
/// \endcond

}  // namespace matrixe2ee

#endif
