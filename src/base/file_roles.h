#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace bellhop {

/// What a command does with a file.
enum class FileUse : std::uint8_t {
  kRead,     ///< a kernel, a configuration, a readonly disk
  kMedium,   ///< a disk that is written: what is in it is the user's
  kOutput,   ///< emptied, then written
  kPrinted,  ///< standard output or error: others may write there as well
};

/// Which file each option of a command means. An option registers its file before anything is
/// opened for writing, so that no file is emptied or written by one option that another one reads
/// or writes. Files are told apart by device and inode, whatever they are called, block devices by
/// their number; one that is not there yet by its folder and name. What is neither a file nor a
/// block device (a FIFO, /dev/null) may have any number of uses.
class FileRoles {
 public:
  /// Errors: another option has the file already, and one of the two writes it. Both are named.
  Status add(std::string_view option, const std::string& path, FileUse use);
  /// The same for an open file. `option` is what it is called.
  Status add(std::string_view option, int fd, FileUse use);
  /// The option's files are free for others again.
  void forget(std::string_view option);

 private:
  struct Identity {
    bool block_device = false;
    dev_t device = 0;
    ino_t inode = 0;   ///< of a file that is not there: of its folder
    std::string name;  ///< of a file that is not there
    bool operator==(const Identity&) const = default;
  };
  struct Role {
    Identity file;
    std::string option;
    FileUse use;
  };
  static bool identify(const std::string& path, Identity& file);
  static bool identify(const struct stat& info, Identity& file);
  Status add(std::string_view option, const std::string& path, Identity file, FileUse use);

  std::vector<Role> roles_;
};

}  // namespace bellhop
