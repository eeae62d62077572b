#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// Files that get what a machine prints, each made anew. A start that fails must cost nobody what
/// the last run has left there: they are opened at once, and emptied by begin(), when all that the
/// machine needs is there. Without begin(), those that open() has made go again.
class OutputFiles {
 public:
  OutputFiles() = default;
  ~OutputFiles();
  OutputFiles(const OutputFiles&) = delete;
  OutputFiles& operator=(const OutputFiles&) = delete;

  /// Appends, so that whoever cuts the file off meanwhile (a log that is rotated by copying it)
  /// gets the next byte at its beginning. Neither open() nor a write to it waits. Errors: it cannot
  /// be written, another program has locked it, a FIFO that nobody reads; `option` begins them.
  Result<UniqueFd> open(std::string_view option, const std::string& path);
  /// Empties all of them. Errors: the host refuses it.
  Status begin();

 private:
  struct File {
    std::string option;
    std::string path;
    UniqueFd fd;
    bool made = false;
  };
  std::vector<File> files_;
};

}  // namespace bellhop
