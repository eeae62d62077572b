#include "apps/bellhop/command_needs.h"

#include <charconv>
#include <string>

#include "apps/bellhop/serial_output.h"
#include "control/event_monitor.h"

namespace bellhop {

namespace {

/// What is no number is told by whoever reads the option.
void add_descriptor(std::string_view number, HostNeeds& needs) {
  int fd = -1;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), fd);
  if (error == std::errc()) needs.descriptors.push_back(fd);
}

void add_output(const std::string& path, HostNeeds& needs) {
  if (!path.empty() && path != "-") needs.add(path, HostUse::kOutput);
}

}  // namespace

void add_socket_needs(std::string_view place, std::string_view prefix, HostNeeds& needs) {
  if (place.starts_with(prefix)) {
    add_descriptor(place.substr(prefix.size()), needs);
  } else {
    needs.add(std::string(place), HostUse::kListens);
  }
}

void add_command_needs(const MachineOptions& options, HostNeeds& needs) {
  if (options.api_socket) add_socket_needs(options.api_socket->text, "fd=", needs);
  if (options.event_monitor) {
    const auto place = control::EventPlace::read(options.event_monitor->text);
    if (place.passed) {
      add_descriptor(place.name, needs);
    } else {
      add_output(place.name, needs);
    }
  }
  if (options.serial) add_output(SerialOutput::file_of(options.serial->text), needs);
  if (options.serial && options.serial->text == SerialOutput::kPty) {
    needs.add("/dev/ptmx", HostUse::kDevice);
    needs.add("/dev/pts", HostUse::kDevice);
  }
  if (options.stats) add_output(options.stats->text, needs);
  if (options.explain) add_output(options.explain->text, needs);
}

}  // namespace bellhop
