#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "transport/mmio/virtio_mmio_device.h"

namespace bellhop {

/// An SSDT with a device "LNRO0005" for each place: how kernels find virtio-mmio devices by ACPI.
/// Composed here, since their number is known only when the machine is made.
std::vector<std::byte> make_virtio_mmio_ssdt(std::span<const VirtioMmioDevice::Place> places);

}  // namespace bellhop
