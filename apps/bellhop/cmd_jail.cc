#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/bellhop/command_line.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/help_format.h"
#include "apps/bellhop/scalar_option.h"
#include "base/units.h"
#include "sandbox/jail.h"

namespace bellhop {

namespace {

constexpr const char* kExamples = R"(Examples:
  bellhop jail --strict -- run --kernel vmlinuz --disk debian.img --landlock on
  bellhop jail --id web --uid 5001 --gid 5001 --cgroup memory.max=1200M --cgroup pids.max=100 \
      -- run --config web.toml
  bellhop jail -- serve blk --socket /run/vm/disk.sock --disk debian.img

Inside are the files that the command names, at the paths that they have, /dev/kvm, the devices that
its NICs need, its own /proc, and nothing else. Folders of sockets are there as a whole.

What this host does not give is told by one line each, and refused with --strict.
)";

constexpr const char* kLastWords = R"(
Exit status: the command's, 128+N if signal N ended it; 1 the jail could not be made, 2 used
wrongly.)";

constexpr std::size_t kMaxId = 64;

struct JailArguments {
  std::string id;
  std::string uid;
  std::string gid;
  std::string netns;
  std::string parent_cgroup;
  std::vector<std::string> cgroup;
  std::vector<std::string> limits;
  bool strict = false;
  std::vector<std::string> command;
};

Result<std::optional<unsigned>> read_user(std::string_view option, const std::string& text) {
  if (text.empty()) return std::optional<unsigned>();
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // The last one means "as it is" to the kernel.
  if (error == std::errc() && end == text.data() + text.size() && value != ~0U) {
    return std::optional(value);
  }
  return fail(fmt::format("{}: '{}' is wrong; it must be a number such as 5001", option, text));
}

/// "KEY=VALUE"
Result<std::pair<std::string, std::string>> cut(std::string_view option, const std::string& text) {
  const auto equals = text.find('=');
  if (equals != std::string::npos && equals != 0 && equals + 1 != text.size()) {
    return std::pair(text.substr(0, equals), text.substr(equals + 1));
  }
  return fail(fmt::format("{}: '{}' is wrong; it must be KEY=VALUE", option, text));
}

Status read_limits(const JailArguments& arguments, JailSettings& settings) {
  for (const std::string& text : arguments.limits) {
    const auto parts = cut("--resource-limit", text);
    if (!parts) return forward(parts);
    const auto resource = resource_of(parts->first);
    if (!resource) {
      return fail(
          fmt::format("--resource-limit: '{}' is unknown; it must be one of fsize, no-file, "
                      "memlock, nproc, as, "
                      "core",
                      parts->first));
    }
    const auto value = parse_size(parts->second);
    if (!value) return fail(fmt::format("--resource-limit: {}", value.error().message));
    settings.limits.push_back({*resource, *value});
  }
  return {};
}

Status read_network(const std::string& text, JailSettings& settings) {
  using Network = JailSettings::Network;
  if (text.empty() || text == "auto") return {};
  if (text == "none") {
    settings.network = Network::kNone;
  } else if (text == "keep") {
    settings.network = Network::kKeep;
  } else if (text.find('/') != std::string::npos) {
    settings.network = Network::kJoin;
    settings.netns = text;
  } else {
    return fail(fmt::format(
        "--netns: '{}' is unknown; it must be auto, none, keep or the path of a namespace", text));
  }
  return {};
}

Result<JailSettings> read_settings(const JailArguments& arguments) {
  JailSettings settings;
  settings.strict = arguments.strict;
  settings.id = arguments.id.empty() ? fmt::format("bellhop-{}", ::getpid()) : arguments.id;
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  };
  if (settings.id.size() > kMaxId || !std::ranges::all_of(settings.id, good)) {
    return fail(fmt::format("--id: '{}' is wrong; it must be up to {} letters, digits and hyphens",
                            settings.id, kMaxId));
  }
  const auto uid = read_user("--uid", arguments.uid);
  if (!uid) return forward(uid);
  const auto gid = read_user("--gid", arguments.gid);
  if (!gid) return forward(gid);
  settings.uid = *uid;
  settings.gid = *gid;
  if (settings.uid && !settings.gid) settings.gid = settings.uid;  // not root's
  for (const std::string& text : arguments.cgroup) {
    const auto parts = cut("--cgroup", text);
    if (!parts) return forward(parts);
    settings.cgroup.push_back({parts->first, parts->second});
  }
  settings.parent_cgroup = arguments.parent_cgroup;
  if (settings.parent_cgroup.find("..") != std::string::npos) {
    return fail("--parent-cgroup: must be a path below the root of all cgroups");
  }
  if (!settings.parent_cgroup.empty() && settings.cgroup.empty()) {
    return fail("--parent-cgroup: goes with --cgroup");
  }
  if (auto read = read_limits(arguments, settings); !read) return forward(read);
  if (auto read = read_network(arguments.netns, settings); !read) return forward(read);
  return settings;
}

int run_jailed(const JailArguments& arguments) {
  const auto settings = read_settings(arguments);
  if (!settings) return report(settings.error(), kUsedWrongly);
  const std::size_t words = arguments.command.size();
  const EnterJail enter = [&settings, words](const HostNeeds& needs) {
    auto entered = enter_jail(*settings, needs);
    if (entered && !*entered) {
      show_last_words(words);
      clear_environment();
    }
    return entered;
  };
  CLI::App app("What runs in a jail");
  app.name("bellhop");
  app.formatter(std::make_shared<HelpFormat>());
  app.require_subcommand(0, 1);
  int exit_status = kDone;
  add_run_command(app, exit_status, enter);
  add_serve_command(app, exit_status, enter);
  if (const auto ended = parse_command_line(app, arguments.command)) return *ended;
  if (!app.get_subcommands().empty()) return exit_status;
  return report({"jail: a command is missing: bellhop jail ... -- run ..., or serve (see --help)"},
                kUsedWrongly);
}

}  // namespace

std::optional<int> run_in_jail(const EnterJail& enter, const HostNeeds& needs) {
  if (!enter) return std::nullopt;
  const auto ended = enter(needs);
  if (!ended) return report(ended.error(), kFailed);
  return *ended;
}

void add_jail_command(CLI::App& app, int& exit_status) {
  CLI::App* const jail =
      app.add_subcommand("jail", "Run a machine or a server that sees its own files alone");
  auto arguments = std::make_shared<JailArguments>();
  const auto text = [jail](const char* name, auto& value, const char* help, const char* type) {
    add_scalar(*jail, name, value, help, type);
  };
  const auto list = [jail](const char* name, auto& values, const char* help, const char* type) {
    jail->add_option(name, values, help)->allow_extra_args(false)->type_name(type);
  };
  text("--id", arguments->id, "Its name: of the cgroup, and of the host inside (bellhop-PID)",
       "NAME");
  text("--uid", arguments->uid, "Become this user: for root", "N");
  text("--gid", arguments->gid, "... and of this group alone (as --uid)", "N");
  text("--netns", arguments->netns,
       "Network: none, the one there is, or a namespace; auto (default): none, if no NIC needs it",
       "auto|none|keep|PATH");
  list("--cgroup", arguments->cgroup,
       "A limit: a file of a cgroup of its own, such as memory.max=1G; may be given again",
       "FILE=VALUE");
  text("--parent-cgroup", arguments->parent_cgroup,
       "Where that is made, below the root of all (in the caller's own)", "PATH");
  list("--resource-limit", arguments->limits,
       "A limit: fsize, no-file, memlock, nproc, as; may be given again", "RESOURCE=N");
  jail->add_flag("--strict", arguments->strict, "Do not start without a protection");
  jail->add_option("command", arguments->command, "run or serve with their options, behind --")
      ->type_name("");
  jail->footer(std::string(kExamples) + kLastWords);
  jail->callback([arguments, &exit_status] { exit_status = run_jailed(*arguments); });
}

}  // namespace bellhop
