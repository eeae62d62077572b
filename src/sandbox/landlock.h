#pragma once

#include <cstdint>
#include <span>

#include "base/host_needs.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop::sandbox {

/// What the host's kernel has of Landlock.
struct LandlockVersion {
  int abi = 0;    ///< of its interface; 0: none
  int error = 0;  ///< why there is none, an errno: ENOSYS not built in, EOPNOTSUPP switched off
  unsigned errata = 0;  ///< what is mended in it, as landlock(7) numbers it
};
LandlockVersion landlock_version() noexcept;

/// Which files a thread may reach by path: those that are allowed, and no others, whoever owns
/// them. Files that are open already stay what they are. Of what the kernel's version knows, all is
/// refused that nobody allows: to run programs, TCP, abstract Unix sockets and signals of other
/// processes among it.
class LandlockRules {
 public:
  /// Whether the process may signal others, such as a program that it has started.
  enum class Signals : std::uint8_t { kRefused, kAllowed };
  /// Without any rule. `version` may be made lower than the host's. Errors: there is no Landlock;
  /// no descriptor left.
  static Result<LandlockRules> create(LandlockVersion version, Signals signals);

  /// What a use of the path needs once all of the start is done: for a socket that is made, that it
  /// may be removed from its folder. Errors: a path that cannot be opened, such as none; nothing is
  /// allowed then.
  Status allow(const HostPath& path);
  /// To list a folder.
  Status allow_listing(const char* folder);

  /// Restricts the calling thread, and those that it starts, for good: more rules cannot be added
  /// to it. no_new_privs is set. Errors: 16 rule sets are on top of one another already.
  [[nodiscard]] Status restrict_this_thread() const;

 private:
  LandlockRules(UniqueFd set, std::uint64_t handled) : set_(std::move(set)), handled_(handled) {}
  Status add(const char* path, std::uint64_t access);

  UniqueFd set_;
  std::uint64_t handled_;
};

}  // namespace bellhop::sandbox
