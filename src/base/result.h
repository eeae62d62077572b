#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>
#include <tl/expected.hpp>
#include <utility>

namespace bellhop {

/// A fault of the host or of what the user asked for: one line for a person, with the path or the
/// option in it, and the errno behind it (0 where there is none).
struct Error {
  std::string message;
  int code = 0;
};

/// Error::code of what its user has ended. No system call gives it, where EINTR may come from any.
inline constexpr int kEndedByUser = ECANCELED;

/// Value or Error. Has std::expected's member names, and is to become an alias of it.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

/// `return fail("...")` from a function that returns a Result.
[[nodiscard]] inline tl::unexpected<Error> fail(std::string message, int code = 0) {
  return tl::unexpected<Error>(Error{std::move(message), code});
}

/// `return fail_errno("cannot open FILE")`: appends the text of `code`, errno by default.
[[nodiscard]] inline tl::unexpected<Error> fail_errno(std::string_view what, int code = errno) {
  return fail(std::string(what) + ": " + std::generic_category().message(code), code);
}

/// Passes an Error on, optionally with a prefix.
template <class T>
[[nodiscard]] tl::unexpected<Error> forward(const Result<T>& failed) {
  return tl::unexpected<Error>(failed.error());
}

}  // namespace bellhop
