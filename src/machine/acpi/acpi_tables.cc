#include "machine/acpi/acpi_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "machine/acpi/acpi_table.h"
#include "machine/acpi/virtio_mmio_ssdt.h"
#include "machine/platform/acpi_pm.h"
#include "machine/platform/reset_control.h"

namespace bellhop {
namespace {

#include "dsdt.hex"
#include "pci.hex"

// 5.2.9. The fixed hardware is PM1 with the power button, and the timer.
std::vector<std::byte> make_fadt(std::uint64_t facs, std::uint64_t dsdt) {
  constexpr std::uint16_t kLegacyDevices = 1U << 0U;
  constexpr std::uint16_t kNoVga = 1U << 2U;
  constexpr std::uint16_t kNoAspm = 1U << 4U;
  constexpr std::uint32_t kWbinvd = 1U << 0U;
  constexpr std::uint32_t kProcC1 = 1U << 2U;
  constexpr std::uint32_t kNoSleepButton = 1U << 5U;
  constexpr std::uint32_t kNoFixedRtc = 1U << 6U;
  constexpr std::uint32_t kTimer32 = 1U << 8U;
  constexpr std::uint32_t kResetRegister = 1U << 10U;

  constexpr auto kEvent = static_cast<std::uint32_t>(kAcpiPmPorts.address + AcpiPm::kEventOffset);
  constexpr auto kControl =
      static_cast<std::uint32_t>(kAcpiPmPorts.address + AcpiPm::kControlOffset);
  constexpr auto kTimer = static_cast<std::uint32_t>(kAcpiPmPorts.address + AcpiPm::kTimerOffset);
  constexpr auto kGpe = static_cast<std::uint32_t>(kAcpiPmPorts.address + AcpiPm::kGpeOffset);

  AcpiTable t("FACP", 6);
  t.put(static_cast<std::uint32_t>(facs));
  t.put(static_cast<std::uint32_t>(dsdt));
  t.put<std::uint8_t>(0);
  t.put<std::uint8_t>(0);  // preferred profile: unspecified
  t.put(static_cast<std::uint16_t>(AcpiPm::kSci));
  t.zeroes(4 + 4);  // no SMI: the machine is in ACPI mode from the start
  t.put(kEvent);
  t.put<std::uint32_t>(0);
  t.put(kControl);
  t.put<std::uint32_t>(0);
  t.put<std::uint32_t>(0);  // PM2
  t.put(kTimer);
  t.put(kGpe);
  t.put<std::uint32_t>(0);
  t.put<std::uint8_t>(4);        // bytes of the event block
  t.put<std::uint8_t>(2);        // of the control block
  t.put<std::uint8_t>(0);        // of PM2
  t.put<std::uint8_t>(4);        // of the timer
  t.put<std::uint8_t>(4);        // of the GPE block
  t.zeroes(3);                   // a second GPE block, _CST
  t.put<std::uint16_t>(0xffff);  // C2 and C3: not there
  t.put<std::uint16_t>(0xffff);
  t.zeroes(4 + 2);            // cache flushing, duty cycle
  t.zeroes(2);                // RTC alarms
  t.put<std::uint8_t>(0x32);  // RTC century
  t.put<std::uint16_t>(kLegacyDevices | kNoVga | kNoAspm);
  t.put<std::uint8_t>(0);
  t.put<std::uint32_t>(kWbinvd | kProcC1 | kNoSleepButton | kNoFixedRtc | kTimer32 |
                       kResetRegister);
  t.port(kResetControlPorts.address, 8);
  t.put<std::uint8_t>(ResetControl::kSystemReset | ResetControl::kResetCpu);
  t.put<std::uint16_t>(0);
  t.put<std::uint8_t>(5);   // minor revision
  t.put<std::uint64_t>(0);  // FACS and DSDT by their 32-bit fields
  t.put(dsdt);
  t.port(kEvent, 32);
  t.zeroes(12);
  t.port(kControl, 16);
  t.zeroes(12 + 12);
  t.port(kTimer, 32);
  t.port(kGpe, 32);
  t.zeroes(12);
  t.zeroes(12 + 12);  // sleep registers of machines without this hardware
  t.zeroes(8);
  return std::move(t).finish();
}

// 5.2.12: local APICs, the I/O APIC, and the two pins that differ from a PC's ISA.
std::vector<std::byte> make_madt(unsigned cpus) {
  constexpr std::uint16_t kActiveHighLevel = 0xd;
  AcpiTable t("APIC", 5);
  t.put(static_cast<std::uint32_t>(kLapic.address));
  t.put<std::uint32_t>(1);  // there are two 8259 as well
  for (unsigned i = 0; i < cpus; ++i) {
    t.put<std::uint8_t>(0);
    t.put<std::uint8_t>(8);
    t.put(static_cast<std::uint8_t>(i));
    t.put(static_cast<std::uint8_t>(i));
    t.put<std::uint32_t>(1);
  }
  t.put<std::uint8_t>(1);
  t.put<std::uint8_t>(12);
  t.put<std::uint16_t>(0);  // its id
  t.put(static_cast<std::uint32_t>(kIoapic.address));
  t.put<std::uint32_t>(0);
  struct Override {
    std::uint8_t irq;
    std::uint32_t gsi;
    std::uint16_t flags;
  };
  for (const Override& pin :
       {Override{0, 2, 0}, Override{AcpiPm::kSci, AcpiPm::kSci, kActiveHighLevel}}) {
    t.put<std::uint8_t>(2);
    t.put<std::uint8_t>(10);
    t.put<std::uint8_t>(0);
    t.put(pin.irq);
    t.put(pin.gsi);
    t.put(pin.flags);
  }
  t.put<std::uint8_t>(4);  // NMI at LINT1 of all
  t.put<std::uint8_t>(6);
  t.put<std::uint8_t>(0xff);
  t.put<std::uint16_t>(0);
  t.put<std::uint8_t>(1);
  return std::move(t).finish();
}

// PCI firmware specification 3.3, 4.1.2.
std::vector<std::byte> make_mcfg(const AddressRange& ecam) {
  constexpr std::uint64_t kBusBytes = std::uint64_t{1} << 20U;
  AcpiTable t("MCFG", 1);
  t.zeroes(8);
  t.put(ecam.address);
  t.put<std::uint16_t>(0);
  t.put<std::uint8_t>(0);
  t.put(static_cast<std::uint8_t>(ecam.size / kBusBytes - 1));
  t.zeroes(4);
  return std::move(t).finish();
}

// 5.2.10: the kernel's and the firmware's common structure, of which a machine without sleep needs
// nothing.
std::vector<std::byte> make_facs() {
  std::vector<std::byte> facs(64);
  std::memcpy(facs.data(), "FACS", 4);
  facs[4] = std::byte{64};
  facs[32] = std::byte{2};
  return facs;
}

std::vector<std::byte> make_xsdt(std::span<const std::uint64_t> tables) {
  AcpiTable t("XSDT", 1);
  for (const std::uint64_t address : tables) t.put(address);
  return std::move(t).finish();
}

std::vector<std::byte> make_rsdp(std::uint64_t xsdt) {
  constexpr std::size_t kBytes = 36;
  constexpr std::size_t kFirstPart = 20;
  constexpr std::size_t kExtendedChecksum = 32;
  std::vector<std::byte> rsdp(kBytes);
  std::memcpy(rsdp.data(), "RSD PTR ", 8);
  std::memcpy(rsdp.data() + 9, "BELHOP", 6);
  rsdp[15] = std::byte{2};
  rsdp[20] = std::byte{kBytes};
  std::memcpy(rsdp.data() + 24, &xsdt, sizeof xsdt);
  AcpiTable::set_checksum(rsdp, 8, kFirstPart);
  AcpiTable::set_checksum(rsdp, kExtendedChecksum, kBytes);
  return rsdp;
}

/// Fills the area from its start, each table on a cache line of its own as the FACS must be.
class Area {
 public:
  explicit Area(const GuestMemory& memory) : memory_(memory) {}

  std::uint64_t put(std::span<const std::byte> table) {
    const std::uint64_t address = next_;
    const std::uint64_t end = kAcpiArea.address + kAcpiArea.size;
    if (table.size() > end - address || !memory_.write(GuestAddress(address), table)) {
      full_ = true;
      return 0;
    }
    next_ = std::min((address + table.size() + 63) / 64 * 64, end);
    return address;
  }
  [[nodiscard]] bool full() const { return full_; }

 private:
  const GuestMemory& memory_;
  std::uint64_t next_ = kAcpiArea.address;
  bool full_ = false;
};

}  // namespace

Result<GuestAddress> write_acpi_tables(const GuestMemory& memory,
                                       const AcpiDescription& description) {
  if (description.cpus > kMaxAcpiCpus) {
    return fail(fmt::format("{} CPUs: ACPI's tables are made for {} at most", description.cpus,
                            kMaxAcpiCpus));
  }
  Area area(memory);
  // The root pointer comes first, when the others' addresses are not known yet: twice.
  const std::uint64_t rsdp = area.put(make_rsdp(0));
  const std::uint64_t facs = area.put(make_facs());
  const std::uint64_t dsdt = area.put(std::as_bytes(std::span(dsdt_aml_code)));
  std::vector<std::uint64_t> tables{area.put(make_fadt(facs, dsdt)),
                                    area.put(make_madt(description.cpus))};
  if (description.ecam) {
    tables.push_back(area.put(make_mcfg(*description.ecam)));
    tables.push_back(area.put(std::as_bytes(std::span(pci_aml_code))));
  }
  if (!description.virtio_mmio.empty()) {
    tables.push_back(area.put(make_virtio_mmio_ssdt(description.virtio_mmio)));
  }
  const std::uint64_t xsdt = area.put(make_xsdt(tables));
  if (area.full() || !memory.write(GuestAddress(rsdp), make_rsdp(xsdt))) {
    return fail("ACPI's tables do not fit into the guest's RAM");
  }
  return GuestAddress(rsdp);
}

}  // namespace bellhop
