// What the C++ programs share: checks, and reading a value out of JSON.
#ifndef TEST_HPP
#define TEST_HPP

#include <matrixe2ee.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

// Ends the program with a message unless the condition holds.
#define CHECK(condition) \
  ((condition) ? void() : ended(__FILE__, __LINE__, "not true: " #condition))

[[noreturn]] inline void ended(const char *file, int line, const std::string &why) {
  std::fprintf(stderr, "%s:%d: %s\n", file, line, why.c_str());
  std::exit(1);
}

// The error of this type that the call has to throw. It agrees with itself.
template <typename Expected, typename Call>
Expected error_of(const char *file, int line, Call call) {
  try {
    call();
  } catch (const Expected &error) {
    const std::string start = "{\"code\":" + std::to_string(error.code()) + ",\"name\":\"" +
                              error.name() + "\",\"detail\":\"";
    if (error.json().compare(0, start.size(), start) != 0) ended(file, line, error.json());
    if (error.what() != error.detail() || error.detail().empty()) ended(file, line, error.what());
    if (error.name() != matrixe2ee::status_name(error.code())) ended(file, line, error.name());
    return error;
  } catch (const matrixe2ee::Error &error) {
    ended(file, line, "another error: " + error.json());
  }
  ended(file, line, "no error");
}

#define FAILS(Expected, call) \
  error_of<matrixe2ee::Expected>(__FILE__, __LINE__, [&] { (void)(call); })

// JSON without spaces, as the library writes it.

inline std::size_t end_of_value(std::string_view json, std::size_t at) {
  int depth = 0;
  for (; at < json.size(); ++at) {
    if (json[at] == '"') {
      while (json.at(++at) != '"') at += json[at] == '\\' ? 1U : 0U;
    } else if (json[at] == '{' || json[at] == '[') {
      ++depth;
    } else if (json[at] == '}' || json[at] == ']') {
      if (--depth < 0) return at;
    } else if (json[at] == ',' && depth == 0) {
      return at;
    }
  }
  return at;
}

// A member of an object, as JSON; empty if there is none.
inline std::string member(std::string_view json, std::string_view name) {
  for (std::size_t at = 1; at < json.size() && json[at] == '"';) {
    const std::size_t start = at + 1, quote = json.find('"', start);
    const std::size_t end = end_of_value(json, quote + 2);
    if (json.substr(start, quote - start) == name) {
      return std::string(json.substr(quote + 2, end - quote - 2));
    }
    at = end + 1;
  }
  return {};
}

template <typename... Names>
std::string member(std::string_view json, std::string_view name, Names... more) {
  return member(member(json, name), more...);
}

inline std::string without_quotes(const std::string &json) {
  CHECK(json.size() >= 2 && json.front() == '"');
  return json.substr(1, json.size() - 2);
}

// The same for a string without escapes, without its quotes.
template <typename... Names>
std::string string_in(std::string_view json, Names... names) {
  return without_quotes(member(json, names...));
}

// An element of a list; empty if it is shorter.
inline std::string element(std::string_view json, std::size_t index) {
  for (std::size_t at = 1; at + 1 < json.size();) {
    const std::size_t end = end_of_value(json, at);
    if (index-- == 0) return std::string(json.substr(at, end - at));
    at = end + 1;
  }
  return {};
}

inline constexpr std::array<std::uint8_t, 32> KEY = {7, 1, 2, 3};

#endif
