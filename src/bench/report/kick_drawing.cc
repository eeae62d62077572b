#include "bench/report/kick_drawing.h"

#include <fmt/format.h>

#include <optional>

#include "bench/report/table.h"

namespace bellhop::bench {

namespace {

constexpr double kDrawingWidth = 480;

std::optional<double> number_in(const nlohmann::ordered_json& json, const char* name) {
  if (!json.is_object()) return std::nullopt;
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

/// A box of what runs, and in which words.
std::string box(double x, double y, double width, const char* kind, const std::string& words) {
  return fmt::format(
      "<rect x=\"{0:.0f}\" y=\"{1:.0f}\" width=\"{2:.0f}\" height=\"28\" rx=\"4\" class=\"{3}\"/>\n"
      "<text x=\"{4:.0f}\" y=\"{5:.0f}\" class=\"inbox\">{6}</text>\n",
      x, y, width, kind, x + width / 2, y + 18, escape_html(words));
}

std::string words(double x, double y, const char* kind, const std::string& text) {
  return fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" class=\"{}\">{}</text>\n", x, y, kind,
                     escape_html(text));
}

std::string arrow(double x1, double y1, double x2, double y2) {
  return fmt::format(
      "<line x1=\"{:.0f}\" y1=\"{:.0f}\" x2=\"{:.0f}\" y2=\"{:.0f}\" class=\"arrow\" "
      "marker-end=\"url(#head)\"/>\n",
      x1, y1, x2, y2);
}

}  // namespace

std::string draw_kicks(const nlohmann::ordered_json& floors) {
  const auto exit = number_in(floors, "userspace_exit_us");
  const auto event = number_in(floors, "ioeventfd_kick_us");
  const auto wake = number_in(floors, "wake_other_core_us");
  if (!exit || !event) return "";
  std::string svg = fmt::format(
      "<svg class=\"chart\" viewBox=\"0 0 {:.0f} 300\" role=\"img\" aria-label=\"The two ways of a "
      "kick\">\n<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" "
      "markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" "
      "class=\"fill\"/></marker></defs>\n",
      kDrawingWidth);
  svg += words(8, 20, "label strong", "sync: the kick exits to the VMM");
  svg += words(8, 52, "label", "vCPU");
  svg += box(64, 34, 76, "guest", "guest");
  svg += box(150, 34, 236, "vmm", "exit, the device's work, back");
  svg += box(396, 34, 76, "guest", "guest");
  svg += arrow(150, 76, 386, 76);
  svg += words(150, 94, "value", fmt::format("{:.1f} µs and the work: the guest waits", *exit));

  svg += words(8, 140, "label strong", "ioeventfd: KVM wakes an I/O thread");
  svg += words(8, 172, "label", "vCPU");
  svg += box(64, 154, 76, "guest", "guest");
  svg += box(150, 154, 50, "vmm", "KVM");
  svg += box(210, 154, 262, "guest", "guest goes on");
  svg += words(8, 236, "label", "I/O");
  svg += words(8, 252, "label", "thread");
  svg += arrow(186, 184, 236, 222);
  svg += box(240, 220, 232, "vmm", "the device's work");
  svg += words(64, 204, "value", fmt::format("{:.1f} µs", *event));
  if (wake) {
    svg += words(64, 276, "value",
                 fmt::format("{:.1f} µs until the thread runs on another core", *wake));
  }
  return svg + "</svg>\n";
}

}  // namespace bellhop::bench
