#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// An extension of the KVM API and what Bellhop takes it for.
struct KvmCapability {
  long number;
  const char* name;
  bool required;
};

/// Every extension that Bellhop asks about, the required ones first.
std::span<const KvmCapability> kvm_capabilities() noexcept;

/// /dev/kvm and what it told about itself. Immutable, shared by the VMs made from it.
class KvmSystem {
 public:
  /// Errors say which: the device is missing, no rights (and whose it is), not KVM, an API version
  /// other than 12, required capabilities missing (all of them by name).
  static Result<std::shared_ptr<const KvmSystem>> open(const std::string& path = "/dev/kvm");

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] int api_version() const noexcept { return api_version_; }
  /// Bytes of the structure that a vCPU shares with the kernel.
  [[nodiscard]] std::size_t run_size() const noexcept { return run_size_; }
  [[nodiscard]] unsigned max_vcpus() const noexcept { return max_vcpus_; }
  [[nodiscard]] unsigned max_routes() const noexcept { return max_routes_; }
  /// KVM_CHECK_EXTENSION: 0 if missing, else 1 or a number that the extension defines.
  [[nodiscard]] int check(long capability) const noexcept;
  [[nodiscard]] std::span<const kvm_cpuid_entry2> supported_cpuid() const noexcept {
    return supported_cpuid_;
  }

 private:
  KvmSystem() = default;

  UniqueFd fd_;
  int api_version_ = 0;
  std::size_t run_size_ = 0;
  unsigned max_vcpus_ = 0;
  unsigned max_routes_ = 0;
  std::vector<kvm_cpuid_entry2> supported_cpuid_;
};

}  // namespace bellhop
