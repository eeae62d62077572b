#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vhost_user/channel.h"
#include "vhost_user/messages.h"

// What a vhost-user front end asks of its back end, message by message: frames become these values,
// whose sizes, counts and descriptors are right. Their contents are not believed yet.
namespace bellhop::vhost_user {

/// A part of the front end's memory, and the file that holds it.
struct GivenMemory {
  MemoryRegion region;
  UniqueFd file;
};

// The questions, named for what is asked.
struct GetFeatures {};
struct GetProtocolFeatures {};
struct GetQueueNum {};
struct GetMaxMemSlots {};
struct GetStatus {};
struct GetVringBase {
  unsigned ring = 0;
};
struct GetConfig {
  std::uint32_t offset = 0;
  std::uint32_t size = 0;
};
struct GetInflightFd {
  InflightDescription wanted;  ///< queues, and entries of each
  std::size_t bytes = 0;       ///< of the message: its answer has as many
};

struct CheckDeviceState {};

/// Told, and answered: where its state is to be had, or put.
struct SetDeviceStateFd {
  StateTransferStart start;
};
/// Told, and answered all the same: the log before it is not touched any more.
struct SetLogBase {
  LogDescription log;
  UniqueFd file;
};

// What is told.
struct SetOwner {};
struct ResetOwner {};
struct ResetDevice {};
struct SetFeatures {
  std::uint64_t features = 0;
};
struct SetProtocolFeatures {
  std::uint64_t features = 0;
};
struct SetStatus {
  std::uint64_t status = 0;
};
struct SetMemTable {
  std::vector<GivenMemory> memory;
};
struct AddMemReg {
  GivenMemory memory;
};
struct RemMemReg {
  MemoryRegion region;
};
struct SetVringNum {
  unsigned ring = 0;
  std::uint32_t num = 0;
};
struct SetVringBase {
  unsigned ring = 0;
  std::uint32_t base = 0;
};
struct SetVringEnable {
  unsigned ring = 0;
  bool enable = false;
};
struct VringKick {
  unsigned ring = 0;
};
struct SetVringAddr {
  unsigned ring = 0;
  VringAddresses at;
};
enum class VringEvent : std::uint8_t { kKick, kCall, kErr };
struct SetVringEvent {
  VringEvent which = VringEvent::kKick;
  unsigned ring = 0;
  UniqueFd event;  ///< not valid: there is none
};
struct SetConfig {
  std::uint32_t offset = 0;
  std::vector<std::byte> data;
};
struct SetInflightFd {
  InflightDescription region;
  UniqueFd file;
};
struct SetBackendReqFd {
  UniqueFd socket;
};
struct SetLogFd {
  UniqueFd event;
};

using Command =
    std::variant<GetFeatures, GetProtocolFeatures, GetQueueNum, GetMaxMemSlots, GetStatus,
                 GetVringBase, GetConfig, GetInflightFd, SetOwner, ResetOwner, ResetDevice,
                 SetFeatures, SetProtocolFeatures, SetStatus, SetMemTable, AddMemReg, RemMemReg,
                 SetVringNum, SetVringBase, SetVringEnable, VringKick, SetVringAddr, SetVringEvent,
                 SetConfig, SetInflightFd, SetBackendReqFd, SetLogBase, SetLogFd, SetDeviceStateFd,
                 CheckDeviceState>;

/// Takes a message apart, its descriptors too; those that it has no use for are closed. Errors (the
/// peer's fault): a message that is not served or of the wrong size, too few or too many
/// descriptors, a ring that is not one of `rings`.
Result<Command> decode(Message& message, unsigned rings);

}  // namespace bellhop::vhost_user
