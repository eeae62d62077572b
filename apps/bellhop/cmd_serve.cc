#include <fmt/format.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/bellhop/command_needs.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/device_arguments.h"
#include "apps/bellhop/log_format.h"
#include "apps/bellhop/run_stats.h"
#include "apps/bellhop/scalar_option.h"
#include "apps/bellhop/signal_waiter.h"
#include "base/descriptor_limit.h"
#include "base/file_roles.h"
#include "base/log.h"
#include "base/output_files.h"
#include "base/poll.h"
#include "memory/fault_guard.h"
#include "sandbox/sandbox.h"
#include "serve/served_devices.h"

namespace bellhop {

namespace {

constexpr const char* kExamples = R"(Examples:
  bellhop serve blk --socket /run/vm/disk.sock --disk path=debian.img
  bellhop serve net --socket /run/vm/net.sock --net tap=tap0
  bellhop serve rng --fd 3 --rng
  bellhop serve --config devices.toml

A file for --config has the devices of a file for `bellhop run --config`, each with one key more:
listen, the path of its socket, or fd:N for one that was passed and listens already; and in-band,
as --in-band is.

docs/serve.md has the other side's options: QEMU, Cloud Hypervisor, Firecracker.
)";

constexpr const char* kLastWords = R"(
Kicks come as eventfds: notify is ioeventfd, poll or adaptive. One front end is served at a time; the next one
waits until all that the one before had in flight is done. SIGINT and SIGTERM end it when that is so.

Exit status: 0 done, 1 failed, 2 used wrongly, 128+N ended by signal N.)";

constexpr mode_t kDefaultMode = 0600;
constexpr int kFirstPassedFd = 3;  // sd_listen_fds(3)

struct ServeArguments {
  DeviceArguments given;
  std::optional<OptionText> stats;
  std::optional<OptionText> seccomp;
  std::optional<OptionText> landlock;
  std::optional<OptionText> log_format;
  std::string socket;
  std::string fd;
  std::string mode;
  std::string config;
  bool in_band = false;
};

/// A device of a kind that is served, and where.
struct Served {
  MachineConfig config;
  std::vector<ServedSocket> sockets;
  std::optional<OptionText> stats;
};

Result<mode_t> parse_mode(const std::string& text) {
  if (text.empty()) return kDefaultMode;
  unsigned mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc() || end != text.data() + text.size() || mode > 0777) {
    return fail(fmt::format("--socket-mode: '{}' is no mode; it must be one such as 0660", text));
  }
  return static_cast<mode_t>(mode);
}

/// The one socket that a service manager has passed, if it is for us and there is one only.
std::optional<std::string> passed_socket() {
  const char* const pid = ::getenv("LISTEN_PID");
  const char* const count = ::getenv("LISTEN_FDS");
  if (pid == nullptr || count == nullptr || std::to_string(::getpid()) != pid) return std::nullopt;
  if (std::string_view(count) != "1") return std::nullopt;
  return fmt::format("fd:{}", kFirstPassedFd);
}

/// Where the command line has the socket of its one device.
Result<ServedSocket> find_socket(const ServeArguments& arguments) {
  if (!arguments.socket.empty() && !arguments.fd.empty()) {
    return fail("--fd: there is --socket already; a device has one of them");
  }
  const bool in_band = arguments.in_band;
  if (!arguments.socket.empty()) return ServedSocket{arguments.socket, "--socket", in_band};
  if (!arguments.fd.empty()) return ServedSocket{"fd:" + arguments.fd, "--fd", in_band};
  if (const auto passed = passed_socket()) return ServedSocket{*passed, "LISTEN_FDS", in_band};
  return fail("--socket is missing: where the front end connects, --socket PATH or --fd N");
}

/// `listen` and `in-band` of a file's device, which no device itself knows: taken out of `list`.
Result<std::optional<ServedSocket>> take_socket(std::string_view option, PropertyList& list) {
  PropertyList rest;
  PropertyList own;
  rest.set_place(list.place());
  for (const Property& property : list.items()) {
    const bool listen = property.key == "listen" && property.value;
    (listen || property.key == "in-band" ? own : rest).set(property);
  }
  list = std::move(rest);
  bool in_band = false;
  PropertyReader reader(fmt::format("--{}", option), own);
  reader.know("listen");
  reader.flag("in-band", in_band);
  if (auto read = reader.finish(); !read) return forward(read);
  const Property* const listen = own.find("listen");
  if (listen == nullptr) return std::optional<ServedSocket>();
  return ServedSocket{*listen->value, named_at(listen->place, fmt::format("--{}: listen", option)),
                      in_band};
}

/// The sockets of a kind's devices. Several options of some kinds are one device, which has one.
Status collect_sockets(const DeviceKind& kind, std::vector<std::optional<ServedSocket>> found,
                       std::span<const PropertyList> lists, std::size_t devices,
                       std::vector<ServedSocket>& sockets) {
  if (devices == 1 && found.size() > 1) {
    std::erase(found, std::nullopt);
    found.resize(std::max<std::size_t>(found.size(), 1));
    if (found.size() > 1) {
      return fail(fmt::format("{}: it is one device, which has one socket", found[1]->option));
    }
  }
  for (std::size_t i = 0; i < devices; ++i) {
    if (!found[i]) {
      return fail(named_at(
          lists[i].place(),
          fmt::format("--{}: listen is missing: the path of its socket", kind.option.name)));
    }
    sockets.push_back(std::move(*found[i]));
  }
  return {};
}

/// What a file asks for.
Result<Served> read_file(const ServeArguments& arguments, FileRoles roles) {
  auto options = read_options_file(arguments.config);
  if (!options) return forward(options);
  Served served;
  for (const ScalarOption& one : scalar_options()) {
    const auto& value = (*options).*one.value;
    if (!value || one.name == "--stats" || one.name == "--seccomp" || one.name == "--landlock" ||
        one.name == "--log-format") {
      continue;
    }
    return fail(named_at(value->place,
                         fmt::format("{}: belongs to a machine; devices are served", one.name)));
  }
  if (auto taken = take_device_arguments(arguments.given, *options); !taken) return forward(taken);
  std::vector<std::vector<std::optional<ServedSocket>>> found;
  for (const DeviceKind& kind : device_kinds()) {
    auto& of_kind = found.emplace_back();
    for (PropertyList& list : (*options).*kind.list) {
      if (kind.option.served_as.empty()) {
        return fail(named_at(
            list.place(), fmt::format("--{}: cannot be served to another VMM", kind.option.name)));
      }
      auto socket = take_socket(kind.option.name, list);
      if (!socket) return forward(socket);
      of_kind.push_back(std::move(*socket));
    }
  }
  if (arguments.seccomp) options->seccomp = arguments.seccomp;
  if (arguments.landlock) options->landlock = arguments.landlock;
  if (!arguments.log_format) {
    if (auto begun = begin_log(options->log_format); !begun) return forward(begun);
  }
  auto config = make_device_config(*options, std::move(roles));
  if (!config) return forward(config);
  served.config = std::move(*config);
  const std::vector<std::size_t> counts = count_devices(served.config);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const DeviceKind& kind = device_kinds()[i];
    if (auto done = collect_sockets(kind, std::move(found[i]), (*options).*kind.list, counts[i],
                                    served.sockets);
        !done) {
      return forward(done);
    }
  }
  if (served.sockets.empty()) return fail("--config: it has no device");
  served.stats = arguments.stats ? arguments.stats : options->stats;
  return served;
}

/// What the command line asks for: one device of `kind`.
Result<Served> read_command_line(const ServeArguments& arguments, std::size_t kind,
                                 FileRoles roles) {
  const DeviceOption& option = device_kinds()[kind].option;
  auto socket = find_socket(arguments);
  if (!socket) return forward(socket);
  MachineOptions options;
  if (auto taken = take_device_arguments(arguments.given, options); !taken) return forward(taken);
  if (arguments.given.devices[kind].empty()) {
    return fail(fmt::format("--{} is missing: what is served, --{} {}", option.name, option.name,
                            option.value));
  }
  options.seccomp = arguments.seccomp;
  options.landlock = arguments.landlock;
  auto config = make_device_config(options, std::move(roles));
  if (!config) return forward(config);
  if (count_devices(*config)[kind] != 1) {
    return fail(fmt::format(
        "--{} is given twice; a socket has one device (--config serves several)", option.name));
  }
  return Served{std::move(*config), {std::move(*socket)}, arguments.stats};
}

Result<FileRoles> find_roles(const ServeArguments& arguments) {
  FileRoles roles;
  Status added = roles.add("standard output", STDOUT_FILENO, FileUse::kPrinted);
  if (added) added = roles.add("standard error", STDERR_FILENO, FileUse::kPrinted);
  if (added && !arguments.config.empty()) {
    added = roles.add("--config", arguments.config, FileUse::kRead);
  }
  if (added && arguments.stats && arguments.stats->text != "-") {
    added = roles.add("--stats", arguments.stats->text, FileUse::kOutput);
  }
  if (!added) return forward(added);
  return roles;
}

HostNeeds needs_of(const Served& served) {
  HostNeeds needs = host_needs(served.config);
  for (const ServedSocket& socket : served.sockets) add_socket_needs(socket.at, "fd:", needs);
  if (served.stats && served.stats->text != "-") {
    needs.add(served.stats->text, HostUse::kOutput);
  }
  return needs;
}

int serve_until_signal(const Served& served, mode_t mode, const HostNeeds& needs) {
  descriptor_limit::raise();
  SignalWaiter::block_signals();  // before any other thread is there to take them
  RunStats stats;
  if (served.stats) {
    if (auto able = stats.open(served.stats->text); !able) {
      return report({named_at(served.stats->place, able.error().message), able.error().code});
    }
  }
  // Before the threads that it confines, and gone after them.
  auto sandbox = Sandbox::create(
      {.mode = served.config.seccomp, .landlock = served.config.landlock, .needs = needs});
  if (!sandbox) return report(sandbox.error(), kFailed);
  if (auto caught = FaultGuard::install(); !caught) return report(caught.error(), kFailed);
  auto end = EventFd::create();
  if (!end) return report(end.error(), kFailed);
  auto again = EventFd::create();
  if (!again) return report(again.error(), kFailed);
  OutputFiles outputs;
  DeviceHost host;
  host.outputs = &outputs;
  auto devices = ServedDevices::create(served.config, served.sockets, mode, host);
  if (!devices) return report(devices.error());
  if (auto begun = outputs.begin(); !begun) return report(begun.error(), kFailed);
  stats.set_threads({}, (*devices)->iothread_tids());
  auto signals = SignalWaiter::start(
      {.stop = [&end] { end->signal(); }, .hung_up = [&again] { again->signal(); }});
  if (!signals) return report(signals.error(), kFailed);
  if (auto confined = (*sandbox)->confine_main(); !confined) {
    return report(confined.error(), kFailed);
  }
  std::array wanted{pollfd{end->get(), POLLIN, 0}, pollfd{again->get(), POLLIN, 0}};
  while (wanted[0].revents == 0) {
    wait_ready(wanted, -1);
    if (wanted[1].revents == 0) continue;
    (void)again->consume();
    if (auto looked = (*devices)->look_again(); !looked) log::warn("{}", looked.error().message);
  }
  (*devices)->stop();
  const Status written = stats.write((*devices)->counters());
  devices->reset();
  const int signal = (*signals)->finish();
  if (!written) return report(written.error(), kFailed);
  return signal == 0 ? kDone : kSignalBase + signal;
}

int serve(const ServeArguments& arguments, std::optional<std::size_t> kind,
          const EnterJail& enter) {
  if (auto begun = begin_log(arguments.log_format); !begun) return report(begun.error());
  const auto mode = parse_mode(arguments.mode);
  if (!mode) return report(mode.error());
  auto roles = find_roles(arguments);
  if (!roles) return report(roles.error());
  const auto served = kind ? read_command_line(arguments, *kind, std::move(*roles))
                           : read_file(arguments, std::move(*roles));
  if (!served) return report(served.error());
  const HostNeeds needs = needs_of(*served);
  const auto ended = run_in_jail(enter, needs);
  return ended ? *ended : serve_until_signal(*served, *mode, needs);
}

}  // namespace

void add_serve_command(CLI::App& app, int& exit_status, EnterJail enter) {
  CLI::App* const command =
      app.add_subcommand("serve", "Serve devices to another VMM's guest: a vhost-user back end");
  command->require_subcommand(0, 1);
  auto arguments = std::make_shared<ServeArguments>();
  const auto chosen = std::make_shared<std::optional<std::size_t>>();
  const auto text = [](CLI::App& to, const char* name, auto& value, const char* help,
                       const char* type) { add_scalar(to, name, value, help, type); };
  const auto common = [&](CLI::App& to) {
    text(to, "--socket-mode", arguments->mode,
         "Who may connect: the mode of a socket's file (0600)", "MODE");
    text(to, "--stats", arguments->stats,
         "Write the devices' counters as JSON at the end (-: standard error)", "FILE");
    text(to, "--seccomp", arguments->seccomp,
         "What becomes of a thread that makes a system call it has no use for (kill)",
         "kill|errno|log|off");
    add_landlock_options(to, arguments->given, arguments->landlock);
    text(to, "--log-format", arguments->log_format, kLogFormatHelp, kLogFormats);
    add_iothread_option(to, arguments->given);
  };
  common(*command);
  text(*command, "--config", arguments->config, "Devices from a TOML file, each with its socket",
       "FILE");
  command->footer(std::string(kExamples) + std::string(kIothreadHelp) + kLastWords);
  for (std::size_t i = 0; i < device_kinds().size(); ++i) {
    const DeviceOption& option = device_kinds()[i].option;
    if (option.served_as.empty()) continue;
    CLI::App* const one = command->add_subcommand(std::string(option.served_as),
                                                  fmt::format("What --{} asks for", option.name));
    text(*one, "--socket", arguments->socket, "Where the front end connects", "PATH");
    text(*one, "--fd", arguments->fd, "The same, a socket that was passed and listens", "N");
    one->add_flag("--in-band", arguments->in_band,
                  "Offer kicks and calls as messages, for front ends that simulate time");
    add_device_option(*one, arguments->given, i);
    common(*one);
    one->footer(device_help(i) + "\n" + std::string(kIothreadHelp) + kLastWords);
    one->callback([chosen, i] { *chosen = i; });
  }
  command->callback([arguments, chosen, enter = std::move(enter), &exit_status] {
    if (!*chosen && arguments->config.empty()) {
      exit_status = report({"serve: a device is missing: blk, net, ... or --config (see --help)"},
                           kUsedWrongly);
    } else if (*chosen && !arguments->config.empty()) {
      exit_status = report({"--config: the device is named by the command line"}, kUsedWrongly);
    } else {
      exit_status = serve(*arguments, *chosen, enter);
    }
  });
}

}  // namespace bellhop
