#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace bellhop {

/// Whether a program that was started as `program` is to take the command line of Cloud Hypervisor:
/// clients of its API (libvirt, Kata) start it by that name.
bool is_ch_name(std::string_view program);

/// What --version prints then, in the form that such clients read: the version of the interface
/// that is spoken, not ours.
inline constexpr std::string_view kChVersion = "cloud-hypervisor v38.0.0";

/// What a command line of Cloud Hypervisor asks for, as one of `bellhop`.
struct ChArguments {
  std::vector<std::string> words;  ///< "run", ...
  std::string log_file;            ///< where standard error goes; empty: where it is
};
/// `given` without the program's name. Errors: an option or a key that means nothing here.
Result<ChArguments> read_ch_arguments(std::span<const std::string> given);

}  // namespace bellhop
