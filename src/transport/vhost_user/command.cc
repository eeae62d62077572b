#include <fmt/format.h>

#include <cstring>

#include "transport/vhost_user/command.h"

namespace bellhop::vhost_user {

namespace {

/// What is wrong with a message is told with its name by who asked for it to be taken apart.
class Decoder {
 public:
  Decoder(Message& message, unsigned rings) noexcept : message_(message), rings_(rings) {}

  template <class Question>
  Result<Command> question() const {
    if (message_.header.size != 0) return wrong_size();
    return Question{};
  }

  /// One number of 64 bits, which is the value's only member.
  template <class Told>
  Result<Command> number() const {
    std::uint64_t value = 0;
    if (!message_.read(value)) return wrong_size();
    return Told{value};
  }

  /// A ring, and a number that belongs to it.
  Result<VringState> state() const {
    VringState state;
    if (!message_.read(state)) return wrong_size();
    if (auto there = check_ring(state.index); !there) return forward(there);
    return state;
  }

  Result<Command> mem_table() const {
    const auto bytes = message_.bytes();
    MemoryTable table;
    constexpr std::size_t kHead = offsetof(MemoryTable, regions);
    if (bytes.size() < kHead || bytes.size() > sizeof table) return wrong_size();
    std::memcpy(&table, bytes.data(), bytes.size());
    if (table.count > kMaxRegions || bytes.size() < kHead + table.count * sizeof(MemoryRegion)) {
      return fail(fmt::format("{} regions in {} bytes", table.count, bytes.size()));
    }
    if (auto right = check_fds(table.count); !right) return forward(right);
    SetMemTable set;
    set.memory.reserve(table.count);
    for (std::size_t i = 0; i < table.count; ++i) {
      set.memory.push_back({table.regions[i], std::move(message_.fds[i])});
    }
    return set;
  }

  Result<Command> add_mem_reg() const {
    SingleRegion one;
    if (!message_.read(one)) return wrong_size();
    if (auto right = check_fds(1); !right) return forward(right);
    return AddMemReg{{one.region, std::move(message_.fds[0])}};
  }

  /// Some front ends send the region's descriptor once more.
  Result<Command> rem_mem_reg() const {
    SingleRegion one;
    if (!message_.read(one)) return wrong_size();
    return RemMemReg{one.region};
  }

  Result<Command> vring_kick() const {
    const auto at = state();
    if (!at) return forward(at);
    if (at->num != 0) return fail(fmt::format("its number is {}, and means nothing", at->num));
    return VringKick{at->index};
  }

  Result<Command> vring_addr() const {
    VringAddresses at;
    if (!message_.read(at)) return wrong_size();
    if (auto there = check_ring(at.index); !there) return forward(there);
    return SetVringAddr{at.index, at};
  }

  Result<Command> vring_event(VringEvent which) const {
    std::uint64_t value = 0;
    if (!message_.read(value)) return wrong_size();
    if ((value & ~(kVringIndexMask | kVringNoFd)) != 0) {
      return fail(fmt::format("its value is {:#x}", value));
    }
    const auto ring = static_cast<unsigned>(value & kVringIndexMask);
    if (auto there = check_ring(ring); !there) return forward(there);
    const bool comes = (value & kVringNoFd) == 0;
    if (auto right = check_fds(comes ? 1 : 0); !right) return forward(right);
    return SetVringEvent{which, ring, comes ? std::move(message_.fds[0]) : UniqueFd()};
  }

  Result<Command> config(bool set) const {
    const auto bytes = message_.bytes();
    ConfigHead head;
    if (bytes.size() < sizeof head) return wrong_size();
    std::memcpy(&head, bytes.data(), sizeof head);
    const auto data = bytes.subspan(sizeof head);
    if (head.size > kMaxConfig || head.offset > kMaxConfig - head.size) {
      return fail(fmt::format("{} bytes at {} of the configuration, which has {}", head.size,
                              head.offset, kMaxConfig));
    }
    // A question brings the room for its answer.
    if (data.size() != head.size) return wrong_size();
    if (!set) return GetConfig{head.offset, head.size};
    return SetConfig{head.offset, {data.begin(), data.end()}};
  }

  Result<InflightDescription> inflight() const {
    const auto bytes = message_.bytes();
    if (bytes.size() != kInflightDescriptionBytes && bytes.size() != sizeof(InflightDescription)) {
      return wrong_size();
    }
    InflightDescription description;
    std::memcpy(&description, bytes.data(), bytes.size());
    return description;
  }
  Result<Command> get_inflight() const {
    const auto wanted = inflight();
    if (!wanted) return forward(wanted);
    return GetInflightFd{*wanted, message_.bytes().size()};
  }
  Result<Command> set_inflight() const {
    const auto region = inflight();
    if (!region) return forward(region);
    if (auto right = check_fds(1); !right) return forward(right);
    return SetInflightFd{*region, std::move(message_.fds[0])};
  }
  Result<Command> log_base() const {
    LogDescription log;
    if (!message_.read(log)) return wrong_size();
    if (auto right = check_fds(1); !right) return forward(right);
    return SetLogBase{log, std::move(message_.fds[0])};
  }
  Result<Command> log_fd() const {
    if (auto right = check_fds(1); !right) return forward(right);
    return SetLogFd{std::move(message_.fds[0])};
  }
  Result<Command> device_state() const {
    StateTransferStart start;
    if (!message_.read(start)) return wrong_size();
    if (start.direction > kStateLoad || start.phase != kStateWhileStopped) {
      return fail(fmt::format("direction {} in phase {}", start.direction, start.phase));
    }
    if (auto right = check_fds(1); !right) return forward(right);
    return SetDeviceStateFd{start};
  }
  Result<Command> backend_req() const {
    if (auto right = check_fds(1); !right) return forward(right);
    return SetBackendReqFd{std::move(message_.fds[0])};
  }

 private:
  [[nodiscard]] tl::unexpected<Error> wrong_size() const {
    return fail(fmt::format("it has {} bytes", message_.header.size));
  }
  [[nodiscard]] Status check_ring(std::uint32_t ring) const {
    if (ring < rings_) return {};
    return fail(fmt::format("there is no ring {}, but {}", ring, rings_));
  }
  [[nodiscard]] Status check_fds(std::size_t right) const {
    if (message_.fds.size() == right) return {};
    return fail(fmt::format("it comes with {} descriptors, not {}", message_.fds.size(), right));
  }

  Message& message_;
  unsigned rings_;
};

}  // namespace

Result<Command> decode(Message& message, unsigned rings) {
  const Decoder decoder(message, rings);
  const auto with_state = [&](auto make) -> Result<Command> {
    const auto state = decoder.state();
    if (!state) return forward(state);
    return make(*state);
  };
  switch (message.request()) {
    case Request::kGetFeatures:
      return decoder.question<GetFeatures>();
    case Request::kGetProtocolFeatures:
      return decoder.question<GetProtocolFeatures>();
    case Request::kGetQueueNum:
      return decoder.question<GetQueueNum>();
    case Request::kGetMaxMemSlots:
      return decoder.question<GetMaxMemSlots>();
    case Request::kGetStatus:
      return decoder.question<GetStatus>();
    case Request::kSetOwner:
      return decoder.question<SetOwner>();
    case Request::kResetOwner:
      return decoder.question<ResetOwner>();
    case Request::kResetDevice:
      return decoder.question<ResetDevice>();
    case Request::kSetFeatures:
      return decoder.number<SetFeatures>();
    case Request::kSetProtocolFeatures:
      return decoder.number<SetProtocolFeatures>();
    case Request::kSetStatus:
      return decoder.number<SetStatus>();
    case Request::kSetMemTable:
      return decoder.mem_table();
    case Request::kAddMemReg:
      return decoder.add_mem_reg();
    case Request::kRemMemReg:
      return decoder.rem_mem_reg();
    case Request::kSetVringNum:
      return with_state([](const VringState& at) { return SetVringNum{at.index, at.num}; });
    case Request::kSetVringBase:
      return with_state([](const VringState& at) { return SetVringBase{at.index, at.num}; });
    case Request::kGetVringBase:
      return with_state([](const VringState& at) { return GetVringBase{at.index}; });
    case Request::kSetVringEnable:
      return with_state([](const VringState& at) { return SetVringEnable{at.index, at.num != 0}; });
    case Request::kVringKick:
      return decoder.vring_kick();
    case Request::kSetVringAddr:
      return decoder.vring_addr();
    case Request::kSetVringKick:
      return decoder.vring_event(VringEvent::kKick);
    case Request::kSetVringCall:
      return decoder.vring_event(VringEvent::kCall);
    case Request::kSetVringErr:
      return decoder.vring_event(VringEvent::kErr);
    case Request::kGetConfig:
      return decoder.config(false);
    case Request::kSetConfig:
      return decoder.config(true);
    case Request::kGetInflightFd:
      return decoder.get_inflight();
    case Request::kSetInflightFd:
      return decoder.set_inflight();
    case Request::kSetBackendReqFd:
      return decoder.backend_req();
    case Request::kSetDeviceStateFd:
      return decoder.device_state();
    case Request::kCheckDeviceState:
      return decoder.question<CheckDeviceState>();
    case Request::kSetLogBase:
      return decoder.log_base();
    case Request::kSetLogFd:
      return decoder.log_fd();
    default:
      return fail("it is not served");
  }
}

}  // namespace bellhop::vhost_user
