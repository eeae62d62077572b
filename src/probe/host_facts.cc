#include "probe/host_facts.h"

#include <sys/utsname.h>

#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/cpu_list.h"

namespace bellhop {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The value of the first line of /proc/cpuinfo that begins with `key`.
std::string cpu_info(std::string_view key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with(key) && colon != std::string::npos) return line.substr(colon + 2);
  }
  return {};
}

bool exists(const std::string& path) { return std::ifstream(path).good(); }

bool is_on(const std::string& parameter) {
  const std::string value = first_line(parameter);
  return value == "Y" || value == "1";
}

}  // namespace

std::string describe_kvm_modules() {
  const std::string modules = "/sys/module/";
  std::string text;
  if (exists(modules + "kvm_intel/parameters/ept")) {
    text = is_on(modules + "kvm_intel/parameters/ept") ? "VMX with EPT" : "VMX, paging-based";
  } else if (exists(modules + "kvm_amd/parameters/npt")) {
    text = is_on(modules + "kvm_amd/parameters/npt") ? "SVM with NPT" : "SVM, paging-based";
  } else {
    text = "paging-based, without VMX or SVM";
  }
  const std::string flags = " " + cpu_info("flags") + " ";
  if (flags.find(" hypervisor ") != std::string::npos) text += ", inside a virtual machine";
  return text;
}

HostFacts read_host_facts(std::string_view version) {
  HostFacts facts;
  facts.cpus = static_cast<unsigned>(allowed_cpus().size());
  facts.cpu_model = cpu_info("model name");
  if (facts.cpu_model.empty()) facts.cpu_model = "unknown";
  utsname name{};
  if (::uname(&name) == 0) facts.kernel = name.release;
  facts.kvm = describe_kvm_modules();
  const std::string poll = first_line("/sys/module/kvm/parameters/halt_poll_ns");
  std::uint64_t nanoseconds = 0;
  if (std::from_chars(poll.data(), poll.data() + poll.size(), nanoseconds).ec == std::errc()) {
    facts.halt_poll_ns = nanoseconds;
  }
  facts.governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  if (facts.governor.empty()) facts.governor = "unknown";
  facts.bellhop = version;
  return facts;
}

nlohmann::ordered_json to_json(const HostFacts& facts) {
  nlohmann::ordered_json json;
  json["cpus"] = facts.cpus;
  json["cpu_model"] = facts.cpu_model;
  json["kernel"] = facts.kernel;
  json["kvm"] = facts.kvm;
  json["halt_poll_ns"] = facts.halt_poll_ns ? nlohmann::ordered_json(*facts.halt_poll_ns)
                                            : nlohmann::ordered_json(nullptr);
  json["governor"] = facts.governor;
  json["bellhop"] = facts.bellhop;
  return json;
}

}  // namespace bellhop
