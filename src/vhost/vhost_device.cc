#include "vhost/vhost_device.h"

#include <fmt/format.h>

#include <bit>
#include <cstddef>
#include <cstring>
#include <vector>

#include "vhost/vhost_abi.h"

namespace bellhop {

namespace {

std::uint64_t address_of(const std::byte* pointer) noexcept {
  return std::bit_cast<std::uint64_t>(pointer);
}

}  // namespace

Result<std::unique_ptr<VhostDevice>> VhostDevice::create(std::unique_ptr<VhostHandle> handle,
                                                         std::string name, std::uint64_t needed) {
  std::unique_ptr<VhostDevice> device(new VhostDevice(std::move(handle), std::move(name)));
  if (auto owned = device->control(VHOST_SET_OWNER, "an owner", nullptr); !owned) {
    return forward(owned);
  }
  if (auto got = device->control(VHOST_GET_FEATURES, "to tell its features", &device->features_);
      !got) {
    return forward(got);
  }
  if (const std::uint64_t missing = needed & ~device->features_; missing != 0) {
    return fail(fmt::format("{} of this kernel lacks features {:#x}", device->name_, missing));
  }
  return device;
}

Status VhostDevice::control(unsigned long request, const char* what, void* argument) {
  const int result = handle_->control(request, argument);
  if (result >= 0) return {};
  return fail_errno(fmt::format("{} refuses {}", name_, what), -result);
}

Status VhostDevice::set_features(std::uint64_t features) {
  std::uint64_t known = features & features_;
  return control(VHOST_SET_FEATURES, "the features", &known);
}

/// Guest memory never changes once it is made: the kernel is told once.
Status VhostDevice::set_memory(const GuestMemory& memory) {
  if (memory_ == &memory) return {};
  const auto regions = memory.regions();
  std::vector<std::byte> bytes(sizeof(vhost_memory) + regions.size() * sizeof(vhost_memory_region));
  const auto count = static_cast<std::uint32_t>(regions.size());
  std::memcpy(bytes.data() + offsetof(vhost_memory, nregions), &count, sizeof count);
  std::size_t at = sizeof(vhost_memory);
  for (const GuestMemory::Region& region : regions) {
    const vhost_memory_region entry{.guest_phys_addr = region.base.value(),
                                    .memory_size = region.size,
                                    .userspace_addr = address_of(region.host),
                                    .flags_padding = 0};
    std::memcpy(bytes.data() + at, &entry, sizeof entry);
    at += sizeof entry;
  }
  auto set = control(VHOST_SET_MEM_TABLE, "the memory map", bytes.data());
  if (set) memory_ = &memory;
  return set;
}

Status VhostDevice::set_event(unsigned long request, const char* what, unsigned ring,
                              const EventFd* event) {
  vhost_vring_file file{};
  file.index = ring;
  file.fd = event != nullptr ? event->get() : VHOST_FILE_UNBIND;
  return control(request, what, &file);
}

Status VhostDevice::set_up(unsigned ring, const OffloadedRing& handed) {
  if (auto set = set_memory(*handed.memory); !set) return set;
  vhost_vring_state state{};
  state.index = ring;
  state.num = handed.size;
  if (auto set = control(VHOST_SET_VRING_NUM, "the size of a ring", &state); !set) return set;
  state.num = handed.base;
  if (auto set = control(VHOST_SET_VRING_BASE, "the place in a ring", &state); !set) return set;
  vhost_vring_addr addresses{};
  addresses.index = ring;
  addresses.desc_user_addr = address_of(handed.desc);
  addresses.avail_user_addr = address_of(handed.avail);
  addresses.used_user_addr = address_of(handed.used);
  if (auto set = control(VHOST_SET_VRING_ADDR, "the addresses of a ring", &addresses); !set) {
    return set;
  }
  if (auto set = set_event(VHOST_SET_VRING_ERR, "an event for faults", ring, handed.fault); !set) {
    return set;
  }
  if (auto set = set_call(ring, handed.call); !set) return set;
  // Last: the kernel looks at it from now on.
  return set_event(VHOST_SET_VRING_KICK, "an event for kicks", ring, handed.kick);
}

Status VhostDevice::set_call(unsigned ring, const EventFd* call) {
  return set_event(VHOST_SET_VRING_CALL, "an event for interrupts", ring, call);
}

Result<std::uint32_t> VhostDevice::take_down(unsigned ring) {
  // What it refuses of these it has not got.
  (void)set_event(VHOST_SET_VRING_KICK, "no kicks", ring, nullptr);
  (void)set_call(ring, nullptr);
  (void)set_event(VHOST_SET_VRING_ERR, "no faults", ring, nullptr);
  vhost_vring_state state{};
  state.index = ring;
  if (auto got = control(VHOST_GET_VRING_BASE, "to tell the place in a ring", &state); !got) {
    return forward(got);
  }
  return static_cast<std::uint16_t>(state.num);
}

}  // namespace bellhop
