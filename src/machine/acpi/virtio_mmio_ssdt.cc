#include "machine/acpi/virtio_mmio_ssdt.h"

#include <fmt/format.h>

#include <string>

#include "machine/acpi/acpi_table.h"

namespace bellhop {
namespace {

// AML's encoding (ACPI 6.5, chapter 20).
constexpr std::uint8_t kNameOp = 0x08;
constexpr std::uint8_t kByteOp = 0x0a;
constexpr std::uint8_t kStringOp = 0x0d;
constexpr std::uint8_t kScopeOp = 0x10;
constexpr std::uint8_t kBufferOp = 0x11;
constexpr std::uint16_t kDeviceOp = 0x825b;
// Resource descriptors (6.4).
constexpr std::uint8_t kMemory32Fixed = 0x86;
constexpr std::uint8_t kExtendedInterrupt = 0x89;
constexpr std::uint16_t kEndTag = 0x0079;
constexpr std::uint8_t kReadWrite = 1;
constexpr std::uint8_t kConsumerEdge = 0x03;  // active high, exclusive

constexpr std::uint8_t kResourceBytes = 12 + 9 + 2;
constexpr std::uint8_t kBufferBytes = 1 + 2 + kResourceBytes;  // its length, its size, the rest
constexpr std::uint8_t kDeviceBytes = 1 + 4 + (5 + 10) + (5 + 2) + (5 + 1 + kBufferBytes);
static_assert(kDeviceBytes < 64, "a length of one byte");

void name(AcpiTable& t, const char* four) {
  t.put(kNameOp);
  t.text(four, 4);
}

void put_device(AcpiTable& t, unsigned index, const VirtioMmioDevice::Place& place) {
  t.put(kDeviceOp);
  t.put(kDeviceBytes);
  t.text(fmt::format("VM{:02X}", index), 4);
  name(t, "_HID");
  t.put(kStringOp);
  t.text("LNRO0005", 8);
  t.put<std::uint8_t>(0);
  name(t, "_UID");
  t.put(kByteOp);
  t.put(static_cast<std::uint8_t>(index));
  name(t, "_CRS");
  t.put(kBufferOp);
  t.put(kBufferBytes);
  t.put(kByteOp);
  t.put(kResourceBytes);
  t.put(kMemory32Fixed);
  t.put<std::uint16_t>(9);
  t.put(kReadWrite);
  t.put(static_cast<std::uint32_t>(place.base));
  t.put(static_cast<std::uint32_t>(virtio::kMmioWindowBytes));
  t.put(kExtendedInterrupt);
  t.put<std::uint16_t>(6);
  t.put(kConsumerEdge);
  t.put<std::uint8_t>(1);
  t.put(static_cast<std::uint32_t>(place.gsi));
  t.put(kEndTag);
}

}  // namespace

std::vector<std::byte> make_virtio_mmio_ssdt(std::span<const VirtioMmioDevice::Place> places) {
  AcpiTable t("SSDT", 2);
  const std::size_t bytes = 2 + 5 + places.size() * (2 + kDeviceBytes);
  t.put(kScopeOp);
  // A length of two bytes: four bits, then eight.
  t.put(static_cast<std::uint8_t>(0x40U | (bytes & 0xfU)));
  t.put(static_cast<std::uint8_t>(bytes >> 4U));
  t.text("\\_SB_", 5);
  for (std::size_t i = 0; i < places.size(); ++i) {
    put_device(t, static_cast<unsigned>(i), places[i]);
  }
  return std::move(t).finish();
}

}  // namespace bellhop
