#include "hypervisor/kvm/kvm_system.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "hypervisor/hypervisor.h"
#include "hypervisor/kvm/kvm_abi.h"
#include "hypervisor/kvm/kvm_vm.h"

namespace bellhop {
namespace {

#define BELLHOP_CAPABILITY(name, required) \
  KvmCapability { KVM_CAP_##name, "KVM_CAP_" #name, required }
constexpr std::array kCapabilities{
    BELLHOP_CAPABILITY(IRQCHIP, true),
    BELLHOP_CAPABILITY(USER_MEMORY, true),
    BELLHOP_CAPABILITY(SET_TSS_ADDR, true),
    BELLHOP_CAPABILITY(EXT_CPUID, true),
    BELLHOP_CAPABILITY(MP_STATE, true),
    BELLHOP_CAPABILITY(PIT2, true),
    BELLHOP_CAPABILITY(IRQ_ROUTING, true),
    BELLHOP_CAPABILITY(IRQFD, true),
    BELLHOP_CAPABILITY(IOEVENTFD, true),
    BELLHOP_CAPABILITY(SIGNAL_MSI, true),
    BELLHOP_CAPABILITY(IMMEDIATE_EXIT, true),
    BELLHOP_CAPABILITY(IOEVENTFD_ANY_LENGTH, false),
    BELLHOP_CAPABILITY(SET_IDENTITY_MAP_ADDR, false),
    BELLHOP_CAPABILITY(TSC_DEADLINE_TIMER, false),
    BELLHOP_CAPABILITY(HALT_POLL, false),
    BELLHOP_CAPABILITY(X2APIC_API, false),
    BELLHOP_CAPABILITY(SPLIT_IRQCHIP, false),
};
#undef BELLHOP_CAPABILITY

std::string owner_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  const passwd* user = ::getpwuid(status.st_uid);
  const group* owner = ::getgrgid(status.st_gid);
  const bool group_may = (status.st_mode & (S_IRGRP | S_IWGRP)) == (S_IRGRP | S_IWGRP);
  const std::string group_name = owner != nullptr ? owner->gr_name : std::to_string(status.st_gid);
  return fmt::format(
      " (it belongs to user {}, group {}, mode {:04o}: {}run as root)",
      user != nullptr ? user->pw_name : std::to_string(status.st_uid), group_name,
      status.st_mode & 07777U,
      group_may ? fmt::format("usermod -aG {} YOU, as root, lets you in once you log in again; or ",
                              group_name)
                : "");
}

Status open_error(const std::string& path, int code) {
  switch (code) {
    case ENOENT:
      return fail(path +
                      " is missing: this host has no KVM, its module is not loaded, or the "
                      "container was not given the device",
                  code);
    case ENODEV:
    case ENXIO:
      return fail(path + " is there, but no KVM module answers it: load kvm-intel or kvm-amd",
                  code);
    case EACCES:
    case EPERM:
      return fail("no rights to open " + path + owner_of(path), code);
    default:
      return fail_errno("cannot open " + path, code);
  }
}

Result<std::vector<kvm_cpuid_entry2>> read_supported_cpuid(int fd) {
  for (std::uint32_t room = 128; room <= 4096; room *= 2) {
    std::vector<kvm_cpuid_entry2> entries(room);
    std::vector<std::byte> list = make_kvm_list(std::span<const kvm_cpuid_entry2>(entries));
    if (::ioctl(fd, kvm_request::kGetSupportedCpuid, list.data()) == 0) {
      KvmListHeader header;
      std::memcpy(&header, list.data(), sizeof header);
      entries.resize(std::min(header.count, room));
      std::memcpy(entries.data(), list.data() + sizeof header,
                  entries.size() * sizeof(kvm_cpuid_entry2));
      return entries;
    }
    if (errno != E2BIG) break;
  }
  return fail_errno("KVM_GET_SUPPORTED_CPUID");
}

class KvmHypervisor final : public Hypervisor {
 public:
  explicit KvmHypervisor(std::shared_ptr<const KvmSystem> system) : system_(std::move(system)) {}

  Result<std::unique_ptr<Vm>> create_vm() override {
    auto vm = KvmVm::create(system_);
    if (!vm) return forward(vm);
    return std::unique_ptr<Vm>(std::move(*vm));
  }
  [[nodiscard]] unsigned max_vcpus() const noexcept override { return system_->max_vcpus(); }

 private:
  std::shared_ptr<const KvmSystem> system_;
};

}  // namespace

std::span<const KvmCapability> kvm_capabilities() noexcept { return kCapabilities; }

Result<std::shared_ptr<const KvmSystem>> KvmSystem::open(const std::string& path) {
  std::shared_ptr<KvmSystem> system(new KvmSystem);
  system->fd_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!system->fd_.valid()) return forward(open_error(path, errno));
  system->api_version_ = ::ioctl(system->fd(), KVM_GET_API_VERSION, 0);
  if (system->api_version_ < 0) {
    return fail(path + " does not answer as KVM: " + std::strerror(errno), errno);
  }
  if (system->api_version_ != KVM_API_VERSION) {
    return fail(fmt::format("{} speaks API version {}, Bellhop needs {}", path,
                            system->api_version_, KVM_API_VERSION));
  }
  std::string missing;
  for (const KvmCapability& capability : kCapabilities) {
    if (capability.required && system->check(capability.number) <= 0) {
      missing += std::string(missing.empty() ? "" : ", ") + capability.name;
    }
  }
  if (!missing.empty()) return fail(path + " lacks " + missing);

  const int run_size = ::ioctl(system->fd(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size < static_cast<int>(sizeof(kvm_run))) return fail_errno("KVM_GET_VCPU_MMAP_SIZE");
  system->run_size_ = static_cast<std::size_t>(run_size);
  const int vcpus = system->check(KVM_CAP_MAX_VCPUS);
  // KVM's documentation: without the capability, four.
  system->max_vcpus_ = vcpus > 0 ? static_cast<unsigned>(vcpus) : 4;
  system->max_routes_ = static_cast<unsigned>(system->check(KVM_CAP_IRQ_ROUTING));

  auto cpuid = read_supported_cpuid(system->fd());
  if (!cpuid) return forward(cpuid);
  system->supported_cpuid_ = std::move(*cpuid);
  return std::shared_ptr<const KvmSystem>(std::move(system));
}

int KvmSystem::check(long capability) const noexcept {
  return ::ioctl(fd(), KVM_CHECK_EXTENSION, capability);
}

Result<std::unique_ptr<Hypervisor>> open_kvm() {
  auto system = KvmSystem::open();
  if (!system) return forward(system);
  return std::unique_ptr<Hypervisor>(std::make_unique<KvmHypervisor>(std::move(*system)));
}

}  // namespace bellhop
