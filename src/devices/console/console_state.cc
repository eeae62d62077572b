#include "devices/console/console_state.h"

#include <fmt/format.h>

#include <cstring>

namespace bellhop {

namespace {

// In the host's byte order: hosts that a guest moves between have the same.
constexpr std::uint32_t kMagic = 0x31534342;  // "BCS1"; another layout has another number

struct Head {
  std::uint32_t magic = kMagic;
  std::uint32_t ports = 0;
};
static_assert(sizeof(Head) == 8);

struct PortBytes {
  std::uint8_t flags = 0;
  std::uint8_t pending = 0;
  std::uint16_t reserved = 0;
};
static_assert(sizeof(PortBytes) == 4);

constexpr std::uint8_t kGuestOpen = 1;
constexpr std::uint8_t kAdded = 2;
constexpr std::uint8_t kToldOpen = 4;

}  // namespace

std::vector<std::byte> write_console_state(std::span<const ConsolePortState> ports) {
  std::vector<std::byte> bytes(sizeof(Head) + ports.size() * sizeof(PortBytes));
  const Head head{.magic = kMagic, .ports = static_cast<std::uint32_t>(ports.size())};
  std::memcpy(bytes.data(), &head, sizeof head);
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const ConsolePortState& port = ports[i];
    PortBytes one{.flags = 0, .pending = port.pending, .reserved = 0};
    if (port.guest_open) one.flags |= kGuestOpen;
    if (port.added) one.flags |= kAdded;
    if (port.told_open) one.flags |= kToldOpen;
    std::memcpy(bytes.data() + sizeof head + i * sizeof one, &one, sizeof one);
  }
  return bytes;
}

Result<std::vector<ConsolePortState>> read_console_state(std::span<const std::byte> bytes,
                                                         std::size_t ports) {
  Head head;
  if (bytes.size() < sizeof head) return fail(fmt::format("a state of {} bytes", bytes.size()));
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.magic != kMagic) return fail("the state is not a console's");
  if (head.ports != ports) {
    return fail(fmt::format("the state has {} ports, the console {}", head.ports, ports));
  }
  if (bytes.size() != sizeof head + ports * sizeof(PortBytes)) {
    return fail(fmt::format("a state of {} bytes for {} ports", bytes.size(), ports));
  }
  std::vector<ConsolePortState> read(ports);
  for (std::size_t i = 0; i < ports; ++i) {
    PortBytes one;
    std::memcpy(&one, bytes.data() + sizeof head + i * sizeof one, sizeof one);
    if ((one.flags & ~(kGuestOpen | kAdded | kToldOpen)) != 0 || one.reserved != 0) {
      return fail(fmt::format("the state of port {} has what is not known", i));
    }
    read[i] = {.guest_open = (one.flags & kGuestOpen) != 0,
               .added = (one.flags & kAdded) != 0,
               .told_open = (one.flags & kToldOpen) != 0,
               .pending = one.pending};
  }
  return read;
}

}  // namespace bellhop
