#include "base/pseudo_terminal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>

#include <array>
#include <utility>

namespace bellhop {

Result<PseudoTerminal> PseudoTerminal::open(const std::string& option) {
  UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  std::array<char, 64> name{};
  if (!master.valid() || ::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0 ||
      ::ptsname_r(master.get(), name.data(), name.size()) != 0) {
    return fail_errno(option + ": no pseudo terminal");
  }
  // Opened and closed once: before that the kernel does not tell that nobody is there.
  const UniqueFd other(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios raw{};
  if (!other.valid() || ::tcgetattr(other.get(), &raw) != 0) {
    return fail_errno(option + ": no pseudo terminal");
  }
  ::cfmakeraw(&raw);
  (void)::tcsetattr(other.get(), TCSANOW, &raw);
  return PseudoTerminal{.master = std::move(master), .place = name.data()};
}

}  // namespace bellhop
