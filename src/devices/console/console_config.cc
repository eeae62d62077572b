#include "devices/console/console_config.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "devices/console/console_device.h"

namespace bellhop {

namespace {

Result<std::unique_ptr<ConsoleBackend>> make_file(const std::string& path, OutputFiles* outputs) {
  if (outputs != nullptr) return make_file_console(path, *outputs);
  // Nobody will say when the machine begins.
  OutputFiles at_once;
  auto console = make_file_console(path, at_once);
  if (console) {
    if (auto begun = at_once.begin(); !begun) return forward(begun);
  }
  return console;
}

Result<std::unique_ptr<ConsoleBackend>> make_backend(const ConsolePortConfig& port,
                                                     const DeviceHost& host) {
  switch (port.end) {
    case ConsolePortConfig::End::kStdio:
      return make_stdio_console(host.standard_input, STDOUT_FILENO);
    case ConsolePortConfig::End::kFile:
      return make_file(port.path, host.outputs);
    case ConsolePortConfig::End::kSocket:
      return make_socket_console(port.path);
    case ConsolePortConfig::End::kPty:
      return make_pty_console();
    case ConsolePortConfig::End::kNull:
      break;
  }
  return make_null_console();
}

}  // namespace

Result<std::unique_ptr<VirtioDevice>> make_device(const ConsoleConfig& config,
                                                  const DeviceHost& host) {
  std::vector<ConsolePortOptions> ports;
  for (const ConsolePortConfig& port : config.ports) {
    auto backend = make_backend(port, host);
    if (!backend) {
      return fail(named_at(port.place, backend.error().message), backend.error().code);
    }
    if (port.end == ConsolePortConfig::End::kPty) {
      // log: at start
      log::info("{}: port {}{}{} is at {}", config.id, ports.size(), port.name.empty() ? "" : ", ",
                port.name, (*backend)->place());
    }
    if (port.end == ConsolePortConfig::End::kStdio && host.window) {
      winsize size{};
      if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        host.window->set_size(size.ws_col, size.ws_row);
      }
    }
    ports.push_back({.name = port.name, .backend = std::move(*backend)});
  }
  return std::make_unique<ConsoleDevice>(std::move(ports),
                                         ConsoleOptions{.id = config.id, .window = host.window});
}

}  // namespace bellhop
