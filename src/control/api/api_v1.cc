#include "control/api/api_v1.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "control/api/api_body.h"
#include "control/api/api_create.h"
#include "control/api/api_devices.h"
#include "control/api/metrics_text.h"

namespace bellhop::control {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kBase = "/api/v1/";
constexpr std::string_view kScrape = "/metrics";

Command read_resize(Body& body) {
  Resize command;
  command.vcpus = body.number("desired_vcpus");
  command.memory_bytes = body.number("desired_ram");
  command.balloon_bytes = body.number("desired_balloon");
  if (!command.vcpus && !command.memory_bytes && !command.balloon_bytes) {
    body.refuse("desired_balloon is missing");
  }
  return command;
}

Command read_resize_disk(Body& body) {
  ResizeDisk command;
  command.id = body.needed("id", body.text("id"));
  command.bytes = body.needed("desired_size", body.number("desired_size"));
  return command;
}

Command read_pin(Body& body) {
  PinThread command;
  command.name = body.needed("thread", body.text("thread"));
  command.cpus = body.needed("cpus", body.text("cpus"));
  return command;
}

Command read_set_rates(Body& body) {
  SetRates command;
  command.id = body.needed("id", body.text("id"));
  auto properties = PropertyList::parse(body.needed("options", body.text("options")), "");
  if (!properties) {
    body.refuse("options: " + properties.error().message);
  } else {
    command.properties = std::move(*properties);
  }
  return command;
}

/// One of the names that `all` have; nothing if the field is not there.
template <class T, std::size_t kSize>
std::optional<T> read_word(Body& body, const char* field, const T (&all)[kSize]) {
  const auto word = body.text(field);
  if (!word) return std::nullopt;
  std::string names;
  for (const T one : all) {
    if (*word == to_string(one)) return one;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", to_string(one));
  }
  body.refuse(fmt::format("{} must be one of {}", field, names));
  return std::nullopt;
}

Command read_set_notify(Body& body) {
  SetNotify command;
  command.id = body.needed("id", body.text("id"));
  command.wish.mode = body.needed("mode", read_word(body, "mode", kNotifyModes));
  command.optimize_given = false;
  if (const auto optimize = read_word(body, "optimize", kObjectives)) {
    command.wish.optimize = *optimize;
    command.optimize_given = true;
    if (command.wish.mode != NotifyMode::kAdaptive) {
      body.refuse("optimize says what the mode adaptive is to look at");
    }
  }
  if (const auto queue = body.number("queue")) {
    if (*queue > UINT16_MAX) body.refuse("queue must be 65535 at most");
    command.queue = static_cast<unsigned>(*queue);
  }
  return command;
}

struct Endpoint {
  std::string_view name;
  std::string_view method;
  Command (*read)(Body& body);
};

template <class T>
Command plain(Body& /*body*/) {
  return T{};
}

constexpr Endpoint kEndpoints[] = {
    {"vmm.ping", "GET", plain<Ping>},
    {"vm.info", "GET", plain<GetInfo>},
    {"vm.counters", "GET", plain<GetCounters>},
    {"vm.metrics", "GET", plain<GetMetrics>},
    {kScrape, "GET",
     [](Body&) -> Command { return GetMetrics{.format = GetMetrics::Format::kPrometheus}; }},
    {"vm.create", "PUT", read_create},
    {"vm.delete", "PUT", plain<DeleteMachine>},
    {"vm.boot", "PUT", plain<Boot>},
    {"vm.pause", "PUT", plain<Pause>},
    {"vm.resume", "PUT", plain<Resume>},
    {"vm.power-button", "PUT", plain<PressPowerButton>},
    {"vm.reboot", "PUT", plain<Reboot>},
    {"vm.shutdown", "PUT", plain<PowerOff>},
    {"vmm.shutdown", "PUT", plain<EndProcess>},
    {"vm.resize", "PUT", read_resize},
    {"vm.resize-disk", "PUT", read_resize_disk},
    {"vm.set-rates", "PUT", read_set_rates},
    {"vm.set-notify", "PUT", read_set_notify},
    {"vm.pin", "PUT", read_pin},
    {"vm.add-disk", "PUT", read_add_disk},
    {"vm.add-net", "PUT", read_add_net},
    {"vm.add-fs", "PUT", read_add_fs},
    {"vm.add-vsock", "PUT", read_add_vsock},
    {"vm.add", "PUT", read_add},
    {"vm.remove-device", "PUT", read_remove_device},
};

/// What the interface has besides, and this program has not.
constexpr std::string_view kNotYet[] = {
    "vm.add-device",        "vm.add-user-device", "vm.add-pmem", "vm.add-vdpa",
    "vm.resize-zone",       "vm.snapshot",        "vm.restore",  "vm.send-migration",
    "vm.receive-migration", "vm.coredump",        "vmm.nmi",     "vm.nmi",
};

/// "vm.info" of "/api/v1/vm.info", or of "http://localhost/api/v1/vm.info"; kScrape as it stands.
/// Empty: it is elsewhere.
std::string_view name_of(std::string_view target) {
  constexpr std::string_view kScheme = "http://";
  if (target.starts_with(kScheme)) {
    target.remove_prefix(std::min(target.find('/', kScheme.size()), target.size()));
  }
  if (target == kScrape) return target;
  if (!target.starts_with(kBase)) return {};
  return target.substr(kBase.size());
}

unsigned status_of(int code) {
  switch (code) {
    case EINVAL:
      return 400;
    case ENOENT:
      return 404;
    case EBUSY:
      return 409;
    case ENOTSUP:
      return 501;
    case ESHUTDOWN:
      return 503;
    default:
      return 500;
  }
}

std::string ping_json(std::string_view version) {
  nlohmann::ordered_json json;
  json["build_version"] = version;
  json["version"] = version;
  json["pid"] = ::getpid();
  json["features"] = Json::array();
  return json.dump();
}

}  // namespace

ApiRequest read_request(const HttpRequest& request, std::vector<UniqueFd> fds) {
  const std::string_view name = name_of(request.target);
  const auto endpoint = std::ranges::find(kEndpoints, name, &Endpoint::name);
  if (endpoint == std::end(kEndpoints)) {
    if (std::ranges::find(kNotYet, name) != std::end(kNotYet)) {
      return {error_response(501, fmt::format("{}: not supported by this program", name)), {}};
    }
    constexpr std::size_t kLongest = 100;
    return {error_response(404, fmt::format("there is no {}", request.target.substr(0, kLongest))),
            {}};
  }
  if (request.method != endpoint->method) {
    HttpResponse refused =
        error_response(405, fmt::format("{} is asked for by {}", name, endpoint->method));
    refused.allow = endpoint->method;
    return {std::move(refused), {}};
  }
  Body body(request.body);
  Command command = body.ok() ? endpoint->read(body) : Command();
  if (!body.ok()) {
    return {error_response(400, fmt::format("{}: {}", name, body.fault())), {}};
  }
  if (auto* const device = std::get_if<AddDevice>(&command)) {
    for (UniqueFd& fd : fds) {
      device->fds.push_back(std::make_shared<UniqueFd>(std::move(fd)));
    }
  }
  return {std::move(command), body.ignored()};
}

HttpResponse write_answer(const Command& command, const Result<Answer>& answer,
                          std::string_view version) {
  if (!answer) return error_response(status_of(answer.error().code), answer.error().message);
  if (std::holds_alternative<Ping>(command)) return {.status = 200, .body = ping_json(version)};
  if (const auto* info = std::get_if<MachineInfo>(&*answer)) {
    return {.status = 200, .body = info_json(*info)};
  }
  if (const auto* added = std::get_if<AddedDevice>(&*answer)) {
    return {.status = 200, .body = Json{{"id", added->id}, {"bdf", added->bdf}}.dump()};
  }
  if (const auto* counters = std::get_if<MachineCounters>(&*answer)) {
    return {.status = 200, .body = counters_json(*counters)};
  }
  if (const auto* metrics = std::get_if<MachineMetrics>(&*answer)) {
    if (std::get<GetMetrics>(command).format == GetMetrics::Format::kJson) {
      return {.status = 200, .body = metrics_json(*metrics)};
    }
    return {.status = 200, .body = metrics_text(*metrics, version), .type = kMetricsTextType};
  }
  return {};
}

}  // namespace bellhop::control
