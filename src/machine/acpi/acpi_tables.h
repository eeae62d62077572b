#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "machine/address_map.h"
#include "memory/guest_memory.h"
#include "transport/mmio/virtio_mmio_device.h"

namespace bellhop {

/// MADT entries of one byte name the APICs; 255 is "all of them".
inline constexpr unsigned kMaxAcpiCpus = 255;

struct AcpiDescription {
  unsigned cpus = 1;
  /// The configuration window of PCI bus 0; none on a machine without PCI.
  std::optional<AddressRange> ecam;
  std::vector<VirtioMmioDevice::Place> virtio_mmio;
};

/// Writes RSDP, XSDT, FADT, FACS, MADT, DSDT; with PCI, MCFG and
/// an SSDT; with virtio-mmio devices an SSDT of theirs (ACPI 6.5, chapter 5)
/// into kAcpiArea. Returns the address of the RSDP. Errors: no RAM there, too many CPUs.
Result<GuestAddress> write_acpi_tables(const GuestMemory& memory,
                                       const AcpiDescription& description);

}  // namespace bellhop
