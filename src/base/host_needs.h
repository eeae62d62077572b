#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bellhop {

/// What is done with a path of the host's.
enum class HostUse : std::uint8_t {
  kRead,        ///< a file that is read, at any time: a kernel at each reset
  kMedium,      ///< a file or a block device that is read and written
  kOutput,      ///< a file that is made or opened at the start, and written
  kListens,     ///< a socket that is made at the start, and removed at the end
  kConnects,    ///< another program's socket: again, too, once that one has started anew
  kDevice,      ///< a device, or a folder of some, that is opened at the start
  kReadBelow,   ///< what a user grants to be read: a file, or a folder with all that is in it
  kWriteBelow,  ///< the same to be read and written
  kFillBelow,   ///< the same to be written and not read
};

struct HostPath {
  std::string path;
  HostUse use = HostUse::kRead;
};

/// What a machine or a server needs of the host, as its configuration has it: for whoever takes all
/// the rest away (sandbox/landlock.h, sandbox/jail.h).
struct HostNeeds {
  std::vector<HostPath> paths;
  std::vector<int> descriptors;  ///< passed to the process, by their numbers
  bool network = false;          ///< the host's interfaces
  bool programs = false;         ///< another one is started at the beginning (passt)

  void add(std::string path, HostUse use) { paths.push_back({std::move(path), use}); }
};

}  // namespace bellhop
