#include "control/api/api_v1.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "control/api/metrics_text.h"

namespace bellhop::control {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kBase = "/api/v1/";
constexpr std::string_view kScrape = "/metrics";

/// What a body says, field by field.
class Body {
 public:
  explicit Body(const std::string& text)
      : json_(text.empty() ? Json::object() : Json::parse(text, nullptr, false)) {
    if (json_.is_discarded()) {
      refuse("the body is no JSON");
    } else if (!json_.is_object()) {
      refuse("the body must be a JSON object");
    }
  }

  std::optional<std::uint64_t> number(const char* name) {
    const Json* const value = find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_number_unsigned()) return value->get<std::uint64_t>();
    refuse(fmt::format("{} must be a number of 0 or more", name));
    return std::nullopt;
  }
  std::optional<std::string> text(const char* name) {
    const Json* const value = find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) return value->get<std::string>();
    refuse(fmt::format("{} must be a text", name));
    return std::nullopt;
  }
  template <class T>
  T needed(const char* name, std::optional<T> value) {
    if (!value && ok()) refuse(fmt::format("{} is missing", name));
    return std::move(value).value_or(T());
  }
  void refuse(std::string fault) {
    if (fault_.empty()) fault_ = std::move(fault);
  }
  [[nodiscard]] bool ok() const noexcept { return fault_.empty(); }
  [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

  /// Fields that nobody has asked for, fit for a line of the log.
  [[nodiscard]] std::vector<std::string> ignored() const {
    constexpr std::size_t kNames = 8;
    constexpr std::size_t kLongest = 40;
    std::vector<std::string> names;
    if (!ok()) return names;
    for (const auto& [name, value] : json_.items()) {
      if (std::ranges::find(known_, name) != known_.end()) continue;
      names.push_back(Json(name.substr(0, kLongest))
                          .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
      if (names.size() == kNames) break;
    }
    return names;
  }

 private:
  const Json* find(const char* name) {
    known_.emplace_back(name);
    if (!ok()) return nullptr;
    const auto found = json_.find(name);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  Json json_;
  std::string fault_;
  std::vector<std::string> known_;
};

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
    {"vm.boot", "PUT", plain<Boot>},
    {"vm.pause", "PUT", plain<Pause>},
    {"vm.resume", "PUT", plain<Resume>},
    {"vm.power-button", "PUT", plain<PressPowerButton>},
    {"vm.reboot", "PUT", plain<Reboot>},
    {"vm.shutdown", "PUT", plain<PowerOff>},
    {"vmm.shutdown", "PUT", plain<EndProcess>},
    {"vm.resize", "PUT", read_resize},
    {"vm.resize-disk", "PUT", read_resize_disk},
};

/// What the interface has besides, and this program has not.
constexpr std::string_view kNotYet[] = {
    "vm.create",
    "vm.delete",
    "vm.add-device",
    "vm.add-user-device",
    "vm.add-disk",
    "vm.add-fs",
    "vm.add-pmem",
    "vm.add-net",
    "vm.add-vsock",
    "vm.add-vdpa",
    "vm.remove-device",
    "vm.resize-zone",
    "vm.snapshot",
    "vm.restore",
    "vm.send-migration",
    "vm.receive-migration",
    "vm.coredump",
    "vmm.nmi",
    "vm.nmi",
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

ApiRequest read_request(const HttpRequest& request) {
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
  return {std::move(command), body.ignored()};
}

HttpResponse write_answer(const Command& command, const Result<Answer>& answer,
                          std::string_view version) {
  if (!answer) return error_response(status_of(answer.error().code), answer.error().message);
  if (std::holds_alternative<Ping>(command)) return {.status = 200, .body = ping_json(version)};
  if (const auto* info = std::get_if<MachineInfo>(&*answer)) {
    return {.status = 200, .body = info_json(*info)};
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
