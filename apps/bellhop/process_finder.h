#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace bellhop {

/// A process of this program that runs a machine or serves devices, as /proc shows it. Its texts
/// are whatever its user gave it.
struct FoundProcess {
  pid_t pid = 0;
  bool serves = false;  ///< `bellhop serve`; otherwise `bellhop run`
  std::string what;  ///< of its command line: what it serves, or the kernel or file; may be empty
  std::optional<std::chrono::seconds> uptime;
  std::string api_socket;  ///< where it listens for ctl; empty: nowhere that has a path
  std::string api_way;     ///< by which this process reaches it, in whatever root it lives
  std::vector<std::string> sockets;  ///< of `serves`: where its front ends connect
};

/// Those of one user, or of all. Nothing is asked of them, so none of them can hold this up. What
/// ends meanwhile, or may not be looked at, is left out. Errors: `proc` cannot be read.
///
/// The API's socket is the one that the command line or its file names, if the process listens at
/// it: its other sockets are none that may be spoken to (a console's takes what it gets for keys).
Result<std::vector<FoundProcess>> find_processes(const std::filesystem::path& proc,
                                                 std::optional<uid_t> user);

/// Those that `bellhop ps` shows: this user's; root's are everybody's.
Result<std::vector<FoundProcess>> find_my_processes();

}  // namespace bellhop
