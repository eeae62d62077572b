#include "vmm/device_slots.h"

namespace bellhop {

Result<std::unique_ptr<DeviceSlots>> make_mmio_slots(const SlotWiring&) {
  return fail("--transport mmio: not part of this build");
}

}  // namespace bellhop
