#include "machine/thread_placement.h"

#include <fmt/format.h>

#include <algorithm>

namespace bellhop {

std::string inherited_placement(std::span<const ThreadPlacement> threads, std::size_t host_cpus) {
  const auto inherits = [host_cpus](const ThreadPlacement& thread) {
    return !thread.given && thread.cpus.size() < host_cpus;
  };
  if (std::ranges::none_of(threads, inherits)) return {};
  std::string text;
  for (const ThreadPlacement& thread : threads) {
    text += fmt::format("{}{} on {}{}", text.empty() ? "" : ", ", thread.name,
                        format_cpu_list(thread.cpus), inherits(thread) ? " (inherited)" : "");
  }
  return fmt::format("Bellhop was started with fewer CPUs than the {} of this host: {}", host_cpus,
                     text);
}

}  // namespace bellhop
