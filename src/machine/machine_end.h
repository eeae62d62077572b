#pragma once

#include <cstdint>
#include <string>

namespace bellhop {

/// Why a machine came to its end.
struct MachineEnd {
  enum class Kind : std::uint8_t {
    kExitPort,       ///< the guest wrote `code` to the debug exit port
    kPowerOff,       ///< the guest switched itself off
    kReset,          ///< the guest asked for a reset
    kTripleFault,    ///< a processor gave up: how some guests ask for a reset
    kPanic,          ///< the guest's kernel told that it has panicked
    kStopped,        ///< stop() was called
    kHostRefused,    ///< the host does not let a vCPU run; `text` says why, in one line
    kInternalError,  ///< the hypervisor gave up on a vCPU; `text` has its registers
  } kind = Kind::kStopped;
  std::uint32_t code = 0;
  std::string text;
};

}  // namespace bellhop
