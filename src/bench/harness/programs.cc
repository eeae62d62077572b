#include "bench/harness/programs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string_view>

#include "bench/harness/child.h"

namespace bellhop::bench {

namespace {

constexpr std::chrono::seconds kProgramPatience{10};

/// `says` is what its version follows, `kind` what it is.
Result<Qemu> find_by_version(const std::string& program, std::string_view says,
                             std::string_view kind) {
  errno = ENOENT;
  Qemu qemu{find_program(program), ""};
  if (qemu.path.empty()) {
    return fail(fmt::format("{} is no program that can be run ({})", program,
                            std::generic_category().message(errno)),
                errno);
  }
  auto child = Child::spawn({qemu.path, "--version"}, {});
  if (!child) return forward(child);
  const auto deadline = Child::Clock::now() + kProgramPatience;
  const auto line = child->read_line(deadline, EventFd{});
  const std::string said = line && *line ? **line : "";
  if (said.starts_with(says)) {
    qemu.version = said.substr(says.size());
    qemu.version.resize(std::min(qemu.version.find(' '), qemu.version.size()));
    return qemu;
  }
  child->wait(line ? deadline : Child::Clock::now());
  const std::string complaint = said.empty() ? child->last_complaint() : said;
  return fail(fmt::format("{} is no {}: asked for its --version it says {}", program, kind,
                          complaint.empty() ? "nothing" : "'" + complaint + "'"));
}

}  // namespace

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    return ::access(name.c_str(), X_OK) == 0 ? name : "";
  }
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string place = (std::filesystem::path(folder) / name).string();
    if (::access(place.c_str(), X_OK) == 0) return place;
  }
  return "";
}

Result<Qemu> find_qemu(const std::string& program) {
  return find_by_version(program, "QEMU emulator version ", "QEMU");
}

Result<Qemu> find_storage_daemon(const std::string& program) {
  auto found = find_by_version(program, "qemu-storage-daemon version ", "qemu-storage-daemon");
  if (found) found->daemon = true;
  return found;
}

bool Programs::has(Vmm vmm) const {
  return !vmm.is_qemu() || (vmm.number < qemus.size() && !qemus[vmm.number].version.empty());
}

std::string Programs::version(Vmm vmm) const {
  if (vmm == Vmm::kSocket) return "";
  if (!vmm.is_qemu()) return bellhop_version;
  return vmm.number < qemus.size() ? qemus[vmm.number].version : "";
}

bool Programs::is_best(Vmm vmm) const {
  return vmm.is_qemu() && vmm.number < qemus.size() && qemus[vmm.number].best;
}

std::string Programs::numbered(Vmm vmm) const {
  const Qemu& qemu = qemus[vmm.number];
  return fmt::format("{} {}{}", qemu.daemon ? "qemu-storage-daemon" : "QEMU", qemu.version,
                     qemu.best ? " at its best" : "");
}

std::string Programs::name(Vmm vmm) const {
  if (vmm == Vmm::kSocket) return "The back end";
  if (!vmm.is_qemu()) return "Bellhop";
  const char* const best = is_best(vmm) ? " at its best" : "";
  if (!has(vmm)) return std::string("QEMU") + best;
  return fmt::format("{} ({})", numbered(vmm), qemus[vmm.number].path);
}

std::string Programs::label(Vmm vmm) const {
  if (vmm == Vmm::kInprocess) return "Bellhop in process";
  const bool best = is_best(vmm);
  const auto same = std::ranges::count_if(
      qemus, [&](const Qemu& qemu) { return qemu.version == version(vmm) && qemu.best == best; });
  if (!vmm.is_qemu() || !has(vmm) || same != 1) return name(vmm);
  return numbered(vmm);
}

nlohmann::ordered_json vmm_fields(const Programs& programs, Vmm vmm) {
  using Json = nlohmann::ordered_json;
  return {{"vmm", to_string(vmm.kind)},
          {"vmm_version", programs.version(vmm)},
          {"vmm_path", vmm.is_qemu() && programs.has(vmm) ? Json(programs.qemus[vmm.number].path)
                                                          : Json(nullptr)},
          {"vmm_best", vmm.is_qemu() ? Json(programs.is_best(vmm)) : Json(nullptr)}};
}

}  // namespace bellhop::bench
