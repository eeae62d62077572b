#include "hypervisor/kvm/kvm_vm.h"

#include <fmt/format.h>

#include "hypervisor/kvm/kvm_abi.h"
#include "hypervisor/kvm/kvm_cpuid.h"
#include "hypervisor/kvm/kvm_vcpu.h"

namespace bellhop {
namespace {

// One page, then three.
constexpr std::uint64_t kIdentityMapAddress = kHostPagesBegin;
constexpr unsigned long kTssAddress = kHostPagesBegin + 0x1000;
static_assert(kTssAddress + 0x3000 == kHostPagesEnd);

std::string describe(const IoEventMatch& match) {
  return fmt::format("{} {:#x}, length {}{}", match.space == IoSpace::kPio ? "port" : "address",
                     match.address, match.length,
                     match.datamatch ? fmt::format(", value {:#x}", *match.datamatch) : "");
}

}  // namespace

KvmVm::KvmVm(std::shared_ptr<const KvmSystem> system)
    : system_(std::move(system)), routes_(system_->max_routes()) {}

Result<std::unique_ptr<KvmVm>> KvmVm::create(std::shared_ptr<const KvmSystem> system) {
  std::unique_ptr<KvmVm> vm(new KvmVm(std::move(system)));
  int fd = -1;
  // Making a VM is interrupted by any signal that arrives meanwhile.
  do {
    fd = ::ioctl(vm->system_->fd(), KVM_CREATE_VM, 0);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return fail_errno("KVM_CREATE_VM");
  vm->fd_ = UniqueFd(fd);
  if (auto status = vm->set_up_chips(); !status) return forward(status);
  return vm;
}

Status KvmVm::set_up_chips() {
  std::uint64_t identity_map = kIdentityMapAddress;
  if (system_->check(KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0 &&
      ::ioctl(fd_.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0) {
    return fail_errno("KVM_SET_IDENTITY_MAP_ADDR");
  }
  if (::ioctl(fd_.get(), KVM_SET_TSS_ADDR, kTssAddress) < 0) {
    return fail_errno("KVM_SET_TSS_ADDR");
  }
  if (::ioctl(fd_.get(), KVM_CREATE_IRQCHIP, 0) < 0) return fail_errno("KVM_CREATE_IRQCHIP");
  kvm_pit_config pit{};
  pit.flags = KVM_PIT_SPEAKER_DUMMY;
  if (::ioctl(fd_.get(), KVM_CREATE_PIT2, &pit) < 0) return fail_errno("KVM_CREATE_PIT2");

  for (std::uint32_t chip = 0; chip < chips_at_power_on_.size(); ++chip) {
    chips_at_power_on_[chip].chip_id = chip;
    if (::ioctl(fd_.get(), KVM_GET_IRQCHIP, &chips_at_power_on_[chip]) < 0) {
      return fail_errno("KVM_GET_IRQCHIP");
    }
  }
  if (::ioctl(fd_.get(), KVM_GET_PIT2, &pit_at_power_on_) < 0) return fail_errno("KVM_GET_PIT2");
  return {};
}

Status KvmVm::set_halt_poll(std::chrono::nanoseconds most) {
  if (system_->check(KVM_CAP_HALT_POLL) <= 0) {
    return fail("this host's KVM has no KVM_CAP_HALT_POLL (Linux 5.10)", ENOTSUP);
  }
  kvm_enable_cap request{};
  request.cap = KVM_CAP_HALT_POLL;
  request.args[0] = static_cast<std::uint64_t>(most.count());
  if (::ioctl(fd_.get(), KVM_ENABLE_CAP, &request) < 0) return fail_errno("KVM_CAP_HALT_POLL");
  return {};
}

Status KvmVm::reset() {
  for (kvm_irqchip& chip : chips_at_power_on_) {
    if (::ioctl(fd_.get(), KVM_SET_IRQCHIP, &chip) < 0) return fail_errno("KVM_SET_IRQCHIP");
  }
  if (::ioctl(fd_.get(), KVM_SET_PIT2, &pit_at_power_on_) < 0) return fail_errno("KVM_SET_PIT2");
  return {};
}

Status KvmVm::map_memory(const GuestMemory& memory) {
  std::uint32_t slot = 0;
  for (const GuestMemory::Region& region : memory.regions()) {
    kvm_userspace_memory_region area{};
    area.slot = slot++;
    area.guest_phys_addr = region.base.value();
    area.memory_size = region.size;
    area.userspace_addr = reinterpret_cast<std::uintptr_t>(region.host);
    if (::ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &area) < 0) {
      const int code = errno;
      return fail_errno(fmt::format("cannot map {} bytes of guest RAM at {:#x}", region.size,
                                    region.base.value()),
                        code);
    }
  }
  memory_ = &memory;
  return {};
}

Result<std::unique_ptr<Vcpu>> KvmVm::create_vcpu(unsigned index, unsigned count) {
  const auto cpuid = make_vcpu_cpuid(system_->supported_cpuid(), index, count,
                                     system_->check(KVM_CAP_TSC_DEADLINE_TIMER) > 0);
  const int fd = ::ioctl(fd_.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(index));
  if (fd < 0) return fail_errno(fmt::format("cannot create vCPU {}", index));
  auto vcpu = KvmVcpu::create(UniqueFd(fd), system_->run_size(), index, cpuid, memory_);
  if (!vcpu) return forward(vcpu);
  return std::unique_ptr<Vcpu>(std::move(*vcpu));
}

Status KvmVm::update_ioeventfd(const EventFd& event, const IoEventMatch& match,
                               std::uint32_t flags) {
  kvm_ioeventfd request{};
  request.addr = match.address;
  request.len = match.length;
  request.fd = event.get();
  request.flags = flags;
  if (match.space == IoSpace::kPio) request.flags |= KVM_IOEVENTFD_FLAG_PIO;
  if (match.datamatch) {
    request.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
    request.datamatch = *match.datamatch;
  }
  if (::ioctl(fd_.get(), KVM_IOEVENTFD, &request) < 0) {
    const int code = errno;
    const bool attach = (flags & KVM_IOEVENTFD_FLAG_DEASSIGN) == 0;
    if (attach && code == ENOSPC) {
      return fail("the host allows no more ioeventfds (" + describe(match) + ")", code);
    }
    return fail_errno(
        fmt::format("cannot {} an ioeventfd ({})", attach ? "attach" : "detach", describe(match)),
        code);
  }
  return {};
}

Status KvmVm::attach_ioeventfd(const EventFd& event, const IoEventMatch& match) {
  return update_ioeventfd(event, match, 0);
}

Status KvmVm::detach_ioeventfd(const EventFd& event, const IoEventMatch& match) {
  return update_ioeventfd(event, match, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

Result<unsigned> KvmVm::allocate_msi_route() {
  const std::lock_guard lock(mutex_);
  return routes_.allocate();
}

Status KvmVm::set_msi_route(unsigned gsi, const MsiMessage& message) {
  const std::lock_guard lock(mutex_);
  // The kernel waits for a grace period at each change, and guests set the same message often.
  return routes_.set(gsi, message, [this](std::span<const std::byte> table) -> Status {
    if (::ioctl(fd_.get(), kvm_request::kSetGsiRouting, table.data()) == 0) return {};
    return fail_errno("KVM_SET_GSI_ROUTING");
  });
}

void KvmVm::free_msi_route(unsigned gsi) {
  const std::lock_guard lock(mutex_);
  // The entry stays in the kernel's table until the next change. Nothing signals it any more.
  routes_.free(gsi);
}

Status KvmVm::attach_irqfd(const EventFd& event, unsigned gsi) {
  kvm_irqfd request{};
  request.fd = static_cast<std::uint32_t>(event.get());
  request.gsi = gsi;
  if (::ioctl(fd_.get(), KVM_IRQFD, &request) < 0) {
    return fail_errno(fmt::format("cannot attach an irqfd to GSI {}", gsi));
  }
  return {};
}

Status KvmVm::detach_irqfd(const EventFd& event, unsigned gsi) {
  kvm_irqfd request{};
  request.fd = static_cast<std::uint32_t>(event.get());
  request.gsi = gsi;
  request.flags = KVM_IRQFD_FLAG_DEASSIGN;
  if (::ioctl(fd_.get(), KVM_IRQFD, &request) < 0) {
    return fail_errno(fmt::format("cannot detach an irqfd from GSI {}", gsi));
  }
  return {};
}

Status KvmVm::signal_msi(const MsiMessage& message) {
  kvm_msi msi{};
  msi.address_lo = static_cast<std::uint32_t>(message.address);
  msi.address_hi = static_cast<std::uint32_t>(message.address >> 32U);
  msi.data = message.data;
  // 0 means that the guest has the interrupt blocked at its LAPIC: as on hardware, that is no
  // error.
  if (::ioctl(fd_.get(), KVM_SIGNAL_MSI, &msi) < 0) return fail_errno("KVM_SIGNAL_MSI");
  return {};
}

Status KvmVm::set_irq_line(unsigned gsi, bool level) {
  kvm_irq_level line{};
  line.irq = gsi;
  line.level = level ? 1 : 0;
  if (::ioctl(fd_.get(), KVM_IRQ_LINE, &line) < 0) {
    return fail_errno(fmt::format("cannot set interrupt pin {}", gsi));
  }
  return {};
}

}  // namespace bellhop
