#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "bench/harness/machine_cell.h"

namespace bellhop::bench {

/// A QEMU to be measured.
struct Qemu {
  std::string path;
  std::string version;  ///< "8.2.1"; empty where it is not installed
  bool best = false;    ///< with the options that suit it best, not its defaults
  bool daemon = false;  ///< its storage daemon: a vhost-user back end
};

/// Looks for a program as a shell would, and asks it for its version. Errors: it is not there,
/// cannot be run, or is no QEMU; the text begins with the program.
Result<Qemu> find_qemu(const std::string& program);
/// The same of a qemu-storage-daemon.
Result<Qemu> find_storage_daemon(const std::string& program);

/// The path of a program, where a shell would find it; empty if nowhere.
std::string find_program(const std::string& name);

/// What was measured in the cells of a report.
struct Programs {
  std::string bellhop_version;
  std::vector<Qemu> qemus;  ///< by Vmm::number

  [[nodiscard]] bool has(Vmm vmm) const;
  [[nodiscard]] std::string version(Vmm vmm) const;
  [[nodiscard]] bool is_best(Vmm vmm) const;
  /// "Bellhop", "QEMU 8.2.1 at its best (/usr/bin/qemu-system-x86_64)".
  [[nodiscard]] std::string name(Vmm vmm) const;
  /// "Bellhop", "QEMU 8.2.1"; with the path where two have one version.
  [[nodiscard]] std::string label(Vmm vmm) const;

 private:
  /// "QEMU 8.2.1 at its best", of one that is there.
  [[nodiscard]] std::string numbered(Vmm vmm) const;
};

/// The fields that say whose machine a run was: "vmm", "vmm_version", "vmm_path",
/// "vmm_best".
nlohmann::ordered_json vmm_fields(const Programs& programs, Vmm vmm);

}  // namespace bellhop::bench
