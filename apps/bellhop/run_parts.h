#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/output_files.h"
#include "base/result.h"
#include "base/unix_socket.h"
#include "config/machine_config.h"
#include "config/machine_options.h"
#include "control/event_monitor.h"
#include "control/machine_control.h"
#include "hypervisor/hypervisor.h"
#include "machine/machine_end.h"
#include "machine/power_button.h"

namespace bellhop {

// What `bellhop run` does with a machine, whether it starts with it or is given one later.

/// The program's exit status; says what the guest did if that was no end of its own choice.
int status_of(const MachineEnd& end);

/// Errors: a stock kernel on a host whose KVM interprets kernels. It would run for half a minute
/// and die; better to say so at once.
Status check_host(Hypervisor& hypervisor, const MachineConfig& config, bool interpreted_allowed);

/// A line for the user, of the thread that waits for signals: that must not wait for who reads
/// standard error.
void tell_if_read(const std::string& line);

/// For a clean stop. A guest that stands still could not switch itself off: it goes on.
ButtonPress press_for_stop(control::MachineControl& control);

/// What --event-monitor asks for; null: nothing. A number that was not passed must not be one of
/// our own: before all else is opened. Errors name the option where it was written.
Result<std::unique_ptr<control::EventMonitor>> open_events(const MachineOptions& options,
                                                           OutputFiles& outputs);
/// The socket of --api-socket, if there is one. Errors as those.
Result<std::optional<UnixListener>> open_api(const MachineOptions& options);

/// What is wrong with an option, where it was written.
int report_at(std::string_view place, const Error& error);

}  // namespace bellhop
