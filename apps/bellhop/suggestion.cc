#include "apps/bellhop/suggestion.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>
#include <vector>

#include "base/nearest.h"

namespace bellhop {

namespace {

struct Peers {
  std::string_view name;  ///< without its dashes
  std::string_view ours;
};

/// Well-known options of other VMMs, most of QEMU's, and what does the same in `run`.
constexpr Peers kPeers[] = {
    {"m", "--memory SIZE sets the memory"},
    {"mem", "--memory SIZE sets the memory"},
    {"ram", "--memory SIZE sets the memory"},
    {"smp", "--cpus N sets the number of vCPUs"},
    {"vcpus", "--cpus N sets the number of vCPUs"},
    {"cpu", "a guest has the host's processor; --cpus N sets the number of vCPUs"},
    {"drive", "--disk FILE adds a disk"},
    {"blockdev", "--disk FILE adds a disk"},
    {"hda", "--disk FILE adds a disk"},
    {"hdb", "--disk FILE adds a disk"},
    {"cdrom", "--disk FILE,readonly adds a disk that is only read"},
    {"device", "--disk, --net, --fs, --vsock, --rng, --console and --balloon add devices"},
    {"nic", "--net tap=NAME or --net user adds a NIC"},
    {"netdev", "--net tap=NAME or --net user adds a NIC"},
    {"virtfs", "--fs tag=NAME,socket=PATH shares a folder"},
    {"fsdev", "--fs tag=NAME,socket=PATH shares a folder"},
    {"chardev", "--serial and --console say where output goes"},
    {"append", "--cmdline TEXT is the kernel's command line"},
    {"initramfs", "--initrd FILE is the initial RAM disk"},
    {"config-file", "--config FILE reads options from a file"},
    {"readconfig", "--config FILE reads options from a file"},
    {"no-reboot", "--on-reset exit is the default"},
    {"nographic", "the serial port is the terminal without it"},
    {"display", "a machine has no display; its serial port is the terminal"},
    {"vga", "a machine has no display; its serial port is the terminal"},
    {"enable-kvm", "KVM is always used"},
    {"accel", "KVM is always used"},
    {"bios", "a kernel is started directly, without firmware: --kernel FILE"},
    {"pflash", "a kernel is started directly, without firmware: --kernel FILE"},
    {"firmware", "a kernel is started directly, without firmware: --kernel FILE"},
    {"machine", "there is one type of machine; --transport says how it shows its devices"},
    {"M", "there is one type of machine; --transport says how it shows its devices"},
    {"daemonize", "a service manager runs machines in the background"},
};

/// The command that the line has come to, and how it is called: "bench blk".
const CLI::App& command_of(const CLI::App& app, std::string& name) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().back();
    name += (name.empty() ? "" : " ") + command->get_name();
  }
  return *command;
}

std::string meant(std::string_view name) { return name.empty() ? "" : fmt::format(": {}?", name); }

}  // namespace

std::optional<std::string> explain_unknown(const CLI::App& app) {
  const std::vector<std::string> unknown = app.remaining(true);
  if (unknown.empty()) return std::nullopt;
  const std::string word = unknown.front().substr(0, unknown.front().find('='));
  std::string name;
  const CLI::App& command = command_of(app, name);
  const std::string help = fmt::format("(see bellhop {}{}--help)", name, name.empty() ? "" : " ");

  std::vector<std::string> names;  // of all that could stand there
  if (!word.starts_with('-')) {
    for (const CLI::App* one :
         command.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); })) {
      names.push_back(one->get_name());
    }
    if (names.empty()) return fmt::format("{}: '{}' is too much {}", name, word, help);
    const std::vector<std::string_view> known(names.begin(), names.end());
    return fmt::format("{}{}'{}' is no command{} {}", name, name.empty() ? "" : ": ", word,
                       meant(nearest(word, known)), help);
  }

  for (const CLI::Option* one : command.get_options()) {
    if (one->get_group().empty()) continue;
    for (const std::string& longer : one->get_lnames()) names.push_back("--" + longer);
  }
  const std::vector<std::string_view> known(names.begin(), names.end());
  const std::string_view bare =
      std::string_view(word).substr(std::min(word.find_first_not_of('-'), word.size()));
  const std::string dashes = fmt::format("--{}", bare);
  const auto peer = std::ranges::find(kPeers, bare, &Peers::name);
  const std::string prefix =
      fmt::format("{}{}{} is no option", name, name.empty() ? "" : ": ", word);
  if (std::ranges::find(known, dashes) != known.end()) {
    return fmt::format("{}: {}? {}", prefix, dashes, help);
  }
  if (name == "run" && peer != std::end(kPeers)) {
    return fmt::format("{}: {} {}", prefix, peer->ours, help);
  }
  return fmt::format("{}{} {}", prefix, meant(nearest(dashes, known)), help);
}

}  // namespace bellhop
