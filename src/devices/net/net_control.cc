#include "devices/net/net_control.h"

#include <algorithm>
#include <array>
#include <optional>

namespace bellhop {

using namespace virtio;

namespace {

/// One of the two tables of MAC_TABLE_SET: what there is room for, and how many were given.
struct AddressTable {
  std::array<MacAddress, RxFilter::kMaxAddresses> list{};
  std::size_t given = 0;

  [[nodiscard]] std::span<const MacAddress> addresses() const noexcept {
    return std::span(list).first(std::min(given, list.size()));
  }
};

}  // namespace

class NetControl::Data {
 public:
  Data(const BufferRun& request, std::size_t bytes) noexcept : request_(request), bytes_(bytes) {}

  [[nodiscard]] std::size_t size() const noexcept { return bytes_ - sizeof(NetControlHeader); }
  void copy_out(std::size_t offset, std::span<std::byte> to) const noexcept {
    request_.copy_out(sizeof(NetControlHeader) + offset, to);
  }
  /// The value that is all of the data.
  template <class T>
  [[nodiscard]] std::optional<T> only() const noexcept {
    if (size() != sizeof(T)) return std::nullopt;
    T value{};
    copy_out(0, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  /// The table at `offset`, which moves behind it; nothing if it ends before its end.
  [[nodiscard]] std::optional<AddressTable> table(std::size_t& offset) const noexcept {
    std::uint32_t given = 0;
    if (size() < offset || size() - offset < sizeof given) return std::nullopt;
    copy_out(offset, std::as_writable_bytes(std::span(&given, 1)));
    offset += sizeof given;
    if ((size() - offset) / kNetMacBytes < given) return std::nullopt;
    AddressTable table;
    table.given = given;
    for (std::size_t i = 0; i < std::min<std::size_t>(given, table.list.size()); ++i) {
      std::array<std::byte, kNetMacBytes> mac{};
      copy_out(offset + i * kNetMacBytes, mac);
      table.list[i] = load_mac(mac.data());
    }
    offset += std::size_t{given} * kNetMacBytes;
    return table;
  }

 private:
  const BufferRun& request_;
  std::size_t bytes_;
};

bool NetControl::execute(const BufferRun& request, std::size_t bytes) noexcept {
  NetControlHeader header{};
  if (bytes < sizeof header) return false;
  request.copy_out(0, std::as_writable_bytes(std::span(&header, 1)));
  const Data data(request, bytes);
  switch (header.command_class) {
    case kNetControlRx:
      return set_receive_mode(header.command, data);
    case kNetControlMac:
      return set_addresses(header.command, data);
    case kNetControlVlan:
      return set_vlan(header.command, data);
    case kNetControlAnnounce:
      if (header.command != kNetControlAnnounceAck || data.size() != 0 ||
          !device_.negotiated(kNetFeatureGuestAnnounce)) {
        return false;
      }
      device_.announced();
      return true;
    case kNetControlMq: {
      const auto pairs = data.only<std::uint16_t>();
      return header.command == kNetControlMqPairsSet && pairs && device_.use_pairs(*pairs);
    }
    case kNetControlGuestOffloads: {
      const auto offloads = data.only<std::uint64_t>();
      return header.command == kNetControlGuestOffloadsSet && offloads &&
             device_.negotiated(kNetFeatureCtrlGuestOffloads) &&
             device_.set_guest_offloads(*offloads);
    }
    default:
      return false;
  }
}

bool NetControl::set_receive_mode(std::uint8_t command, const Data& data) noexcept {
  using Mode = RxFilter::Mode;
  struct Known {
    std::uint8_t command;
    Mode mode;
    unsigned feature;
  };
  constexpr Known kKnown[] = {
      {kNetControlRxPromisc, Mode::kPromiscuous, kNetFeatureCtrlRx},
      {kNetControlRxAllMulti, Mode::kAllMulticast, kNetFeatureCtrlRx},
      {kNetControlRxAllUni, Mode::kAllUnicast, kNetFeatureCtrlRxExtra},
      {kNetControlRxNoMulti, Mode::kNoMulticast, kNetFeatureCtrlRxExtra},
      {kNetControlRxNoUni, Mode::kNoUnicast, kNetFeatureCtrlRxExtra},
      {kNetControlRxNoBroadcast, Mode::kNoBroadcast, kNetFeatureCtrlRxExtra},
  };
  const auto* const known = std::ranges::find(kKnown, command, &Known::command);
  const auto on = data.only<std::uint8_t>();
  if (known == std::end(kKnown) || !device_.negotiated(known->feature) || !on) return false;
  device_.filter_.set_mode(known->mode, *on != 0);
  return true;
}

bool NetControl::set_addresses(std::uint8_t command, const Data& data) noexcept {
  if (command == kNetControlMacTableSet) return set_tables(data);
  const auto mac = data.only<std::array<std::byte, kNetMacBytes>>();
  if (command != kNetControlMacAddrSet || !mac || !device_.negotiated(kNetFeatureCtrlMacAddr)) {
    return false;
  }
  device_.filter_.set_own(load_mac(mac->data()));
  return true;
}

bool NetControl::set_tables(const Data& data) noexcept {
  if (!device_.negotiated(kNetFeatureCtrlRx)) return false;
  std::size_t offset = 0;
  const auto unicast = data.table(offset);
  if (!unicast) return false;
  const auto multicast = data.table(offset);
  if (!multicast || offset != data.size()) return false;
  device_.filter_.set_unicast(unicast->addresses(), unicast->given);
  device_.filter_.set_multicast(multicast->addresses(), multicast->given);
  return true;
}

bool NetControl::set_vlan(std::uint8_t command, const Data& data) noexcept {
  constexpr std::uint16_t kVlanIds = 4096;
  const auto id = data.only<std::uint16_t>();
  if (!id || *id >= kVlanIds || !device_.negotiated(kNetFeatureCtrlVlan)) return false;
  if (command != kNetControlVlanAdd && command != kNetControlVlanDel) return false;
  device_.filter_.set_vlan(*id, command == kNetControlVlanAdd);
  return true;
}

}  // namespace bellhop
