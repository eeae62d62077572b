#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/file_roles.h"
#include "base/host_needs.h"
#include "base/property_list.h"
#include "base/result.h"
#include "block/block_backend.h"

namespace bellhop {

enum class Aio {
  kAuto,  ///< the best that this host has
  kIoUring,
  kNative,
  kThreads,
};
/// As aio= takes it.
const char* to_string(Aio aio) noexcept;
enum class Cache {
  kNone,       ///< O_DIRECT
  kWriteback,  ///< the host's page cache; a flush is fdatasync
};

/// Whether other programs are kept from an image, and we from theirs; as QEMU has it.
enum class Locking {
  kAuto,  ///< a file system without locks is accepted with a warning
  kOn,    ///< it is refused
  kOff,   ///< others may do what they like
};

/// `path=FILE`: a raw image or a block device.
struct RawFileSource {
  std::string path;
  bool read_only = false;
  Cache cache = Cache::kWriteback;
  Aio aio = Aio::kAuto;
  Locking locking = Locking::kAuto;
  std::uint32_t block_size = 0;  ///< bytes of a logical block for the guest; 0: the host's
  bool surely_raw = false;       ///< even if it begins as an image of another format does

  static constexpr std::string_view kChoice = "path=FILE";
  static constexpr std::string_view kKeys[] = {"path", "readonly", "format",    "cache",
                                               "aio",  "locking",  "block-size"};
  static constexpr std::string_view kHelp = R"(
  path=FILE                a raw image or block device; FILE alone does if it comes first
    readonly[=on|off]
    format=raw             even if it begins as an image of qcow2, VMDK, VDI, VHD or VHDX does
    cache=none|writeback   none: past the host's page cache (O_DIRECT)
    aio=io_uring|native|threads   without it: the first of them that this host has
    block-size=512|4096    of a logical block; without it, as the host has it
    locking=auto|on|off    against other programs, QEMU too; auto: where the file system can)";
  static unsigned chosen(PropertyReader& reader) { return reader.has("path") ? 1 : 0; }
  static RawFileSource parse(PropertyReader& reader);
  /// Whether the host lets us have it, without opening it, and whether no other option has it.
  /// `option` begins the error.
  [[nodiscard]] Status check(std::string_view option, FileRoles& roles) const;
  void add_needs(HostNeeds& needs) const {
    needs.add(path, read_only ? HostUse::kRead : HostUse::kMedium);
  }
  /// See open_raw_file().
  [[nodiscard]] Result<std::unique_ptr<BlockBackend>> open() const;
};

/// `null=SIZE`: keeps nothing, for measuring the engine. Completes everything at once, or no sooner
/// than `latency` after its submission.
struct NullSource {
  std::uint64_t bytes = 0;  ///< a multiple of 512
  std::chrono::nanoseconds latency{0};

  static constexpr std::string_view kChoice = "null=SIZE";
  static constexpr std::string_view kKeys[] = {"null", "latency"};
  static constexpr std::string_view kHelp = R"(
  null=SIZE                or a medium that keeps nothing
    latency=TIME           and answers each request that long after it came (0))";
  static unsigned chosen(PropertyReader& reader) { return reader.has("null") ? 1 : 0; }
  static NullSource parse(PropertyReader& reader);
  [[nodiscard]] Status check(std::string_view /*option*/, FileRoles& /*roles*/) const { return {}; }
  void add_needs(HostNeeds& /*needs*/) const {}
  [[nodiscard]] Result<std::unique_ptr<BlockBackend>> open() const;
};

}  // namespace bellhop
