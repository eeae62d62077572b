#include "apps/bellhop/run_parts.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <utility>

#include "apps/bellhop/commands.h"
#include "base/log.h"
#include "base/poll.h"
#include "control/api/api_socket.h"
#include "machine/boot/kernel_boot.h"
#include "probe/floors.h"

namespace bellhop {

int status_of(const MachineEnd& end) {
  switch (end.kind) {
    case MachineEnd::Kind::kExitPort:
      return end.code == 0 ? kDone : kFailed;
    case MachineEnd::Kind::kPowerOff:
    case MachineEnd::Kind::kStopped:
      return kDone;
    case MachineEnd::Kind::kReset:
      return kGuestReset;
    case MachineEnd::Kind::kTripleFault:
      return report({"the guest ended by a triple fault", 0}, kGuestTripleFault);
    case MachineEnd::Kind::kPanic:
      return report({"the guest's kernel panicked", 0}, kGuestPanicked);
    case MachineEnd::Kind::kHostRefused:
      return report({end.text, 0}, kFailed);
    case MachineEnd::Kind::kInternalError:
      // Registers for a person to read: more than one line here.
      log::tell(log::Level::kError, "the hypervisor gave up on the guest\n" + end.text);
      return kGuestInternalError;
  }
  return kFailed;
}

Status check_host(Hypervisor& hypervisor, const MachineConfig& config, bool interpreted_allowed) {
  // Smaller than any Linux, such as the bench guest: nothing needs to be measured.
  constexpr std::uintmax_t kSmall = 1U << 20U;
  std::error_code none;
  if (interpreted_allowed || std::filesystem::file_size(config.kernel, none) < kSmall) return {};
  const auto reason = why_no_linux(hypervisor);
  if (!reason || !is_linux_kernel(config.kernel)) return {};
  return fail(fmt::format("{}: {} is a Linux kernel, and {} (--allow-interpreted-kvm tries)",
                          config.places.named("--kernel"), config.kernel, *reason));
}

void tell_if_read(const std::string& line) {
  std::array fds{pollfd{STDERR_FILENO, POLLOUT, 0}};
  if (wait_ready(fds, 0) > 0) report({line}, kDone);
}

ButtonPress press_for_stop(control::MachineControl& control) {
  control.submit(control::Resume{}, [](const Result<control::Answer>& /*done*/) {});
  return control.press_power_button();
}

int report_at(std::string_view place, const Error& error) {
  return report({named_at(place, error.message), error.code});
}

Result<std::unique_ptr<control::EventMonitor>> open_events(const MachineOptions& options,
                                                           OutputFiles& outputs) {
  if (!options.event_monitor) return nullptr;
  auto monitor = control::EventMonitor::open(options.event_monitor->text, outputs);
  if (monitor) return monitor;
  return fail(named_at(options.event_monitor->place, monitor.error().message),
              monitor.error().code);
}

Result<std::optional<UnixListener>> open_api(const MachineOptions& options) {
  if (!options.api_socket) return std::nullopt;
  auto listener = control::open_api_socket(options.api_socket->text);
  if (listener) return std::optional(std::move(*listener));
  return fail(named_at(options.api_socket->place, "--api-socket: " + listener.error().message),
              listener.error().code);
}

}  // namespace bellhop
