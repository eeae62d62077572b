#include "apps/bellhop/ps_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/printable.h"
#include "base/shallow_json.h"
#include "base/text_columns.h"
#include "base/units.h"

namespace bellhop {

namespace {

using PsJson = nlohmann::ordered_json;

/// Kinds of devices as vm.info names them, and as people do.
struct ListedKind {
  const char* field;
  const char* one;
  const char* many;
};
constexpr ListedKind kListedKinds[] = {
    {"disks", "disk", "disks"},         {"net", "NIC", "NICs"},
    {"fs", "share", "shares"},          {"vsock", "vsock", "vsocks"},
    {"balloon", "balloon", "balloons"}, {"rng", "rng", "rngs"}};

/// What vm.info says at `path`; null where it is not there, or of another type than asked for.
PsJson value_at(const PsJson& info, const char* path, PsJson::value_t type) {
  const PsJson::json_pointer at(path);
  if (!info.is_structured() || !info.contains(at)) return nullptr;
  const PsJson& value = info.at(at);
  return value.type() == type ? value : PsJson(nullptr);
}

std::size_t count_of(const PsJson& info, const char* field) {
  const PsJson::json_pointer at(fmt::format("/config/{}", field));
  if (!info.is_structured() || !info.contains(at)) return 0;
  const PsJson& devices = info.at(at);
  return devices.is_array() ? devices.size() : devices.is_object() ? 1 : 0;
}

PsJson describe(const ListedProcess& one) {
  const auto& [found, body] = one;
  PsJson info = parse_shallow_json<PsJson>(body);
  if (info.is_discarded()) info = nullptr;
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? PsJson(nullptr) : PsJson(text);
  };
  PsJson json;
  json["pid"] = found.pid;
  json["command"] = found.serves ? "serve" : "run";
  json["uptime_s"] = found.uptime ? PsJson(found.uptime->count()) : PsJson(nullptr);
  json["what"] = text_or_null(found.what);
  if (found.serves) {
    json["sockets"] = found.sockets;
    return json;
  }
  json["api_socket"] = text_or_null(found.api_socket);
  json["state"] = value_at(info, "/state", PsJson::value_t::string);
  json["vcpus"] = value_at(info, "/config/cpus/boot_vcpus", PsJson::value_t::number_unsigned);
  json["memory"] = value_at(info, "/memory_actual_size", PsJson::value_t::number_unsigned);
  const PsJson kernel = value_at(info, "/config/payload/kernel", PsJson::value_t::string);
  if (!kernel.is_null()) json["what"] = kernel;
  json["devices"] = nullptr;
  if (info.is_null()) return json;
  json["devices"] = PsJson::object();
  for (const ListedKind& kind : kListedKinds) {
    if (const auto count = count_of(info, kind.field)) json["devices"][kind.field] = count;
  }
  return json;
}

std::string spelled(std::chrono::seconds time) {
  const auto seconds = time.count();
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{}h{:02}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}d{:02}h", seconds / 86400, seconds / 3600 % 24);
}

std::string text_or_dash(const PsJson& value) {
  return value.is_null() ? "-" : printable(value.get<std::string>());
}

/// "vmlinuz, 2 disks, 1 NIC".
std::string what_it_is(const PsJson& json) {
  std::string text = text_or_dash(json["what"]);
  text.erase(0, text.rfind('/') + 1);  // npos + 1 is 0
  if (!json["devices"].is_object()) return text;
  for (const ListedKind& kind : kListedKinds) {
    if (!json["devices"].contains(kind.field)) continue;
    const auto count = json["devices"][kind.field].get<std::size_t>();
    text += fmt::format(", {} {}", count, count == 1 ? kind.one : kind.many);
  }
  return text;
}

constexpr std::size_t kPsColumns = 7;
using PsRow = std::array<std::string, kPsColumns>;

PsRow row_of(const ListedProcess& one) {
  const PsJson json = describe(one);
  const auto& found = one.found;
  const std::string uptime = found.uptime ? spelled(*found.uptime) : "-";
  const std::string pid = std::to_string(found.pid);
  if (found.serves) {
    std::string sockets;
    for (const std::string& path : found.sockets) sockets += " " + printable(path);
    return {pid, "Serving", "-", "-", uptime, "-", text_or_dash(json["what"]) + sockets};
  }
  std::string state = text_or_dash(json["state"]);
  if (json["state"].is_null() && !found.api_socket.empty()) state = "no answer";
  return {pid,
          state,
          json["vcpus"].is_null() ? "-" : json["vcpus"].dump(),
          json["memory"].is_null() ? "-" : format_size(json["memory"].get<std::uint64_t>()),
          uptime,
          text_or_dash(json["api_socket"]),
          what_it_is(json)};
}

}  // namespace

std::string ps_text(std::span<const ListedProcess> all) {
  std::vector<PsRow> rows = {{"PID", "STATE", "VCPUS", "MEMORY", "UPTIME", "API SOCKET", "WHAT"}};
  for (const ListedProcess& one : all) rows.push_back(row_of(one));
  std::array<std::size_t, kPsColumns> widths{};
  for (const PsRow& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], columns_of(row[i]));
  }
  std::string text;
  for (const PsRow& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      const bool number = i == 0 || (i >= 2 && i <= 4);  // to the right
      const std::string room(widths[i] - columns_of(row[i]), ' ');
      text += (number ? room + row[i] : row[i] + room) + "  ";
    }
    text += row.back() + "\n";
  }
  return text;
}

std::string ps_json(std::span<const ListedProcess> all) {
  PsJson list = PsJson::array();
  for (const ListedProcess& one : all) list.push_back(describe(one));
  return list.dump(2, ' ', false, PsJson::error_handler_t::replace) + "\n";
}

}  // namespace bellhop
