#include "testing/fake_hypervisor.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

namespace bellhop {
namespace {

constexpr unsigned kFirstMsiGsi = 24;

EventFd duplicate(const EventFd& event) {
  return EventFd(UniqueFd(::fcntl(event.get(), F_DUPFD_CLOEXEC, 0)));
}

// KVM's rule for two ioeventfds of one VM that would both take some write.
bool collide(const IoEventMatch& a, const IoEventMatch& b) {
  if (a.space != b.space || a.address != b.address) return false;
  if (a.length == 0 || b.length == 0) return true;
  if (a.length != b.length) return false;
  return !a.datamatch || !b.datamatch || *a.datamatch == *b.datamatch;
}

bool takes(const IoEventMatch& match, IoSpace space, std::uint64_t address, std::uint64_t value,
           std::size_t length) {
  if (match.space != space || match.address != address) return false;
  if (match.length == 0) return true;
  return match.length == length && (!match.datamatch || *match.datamatch == value);
}

Status check(const IoEventMatch& match) {
  switch (match.length) {
    case 0:
      if (match.datamatch) return fail("an ioeventfd of length 0 with datamatch", EINVAL);
      break;
    case 1:
    case 2:
    case 4:
    case 8:
      break;
    default:
      return fail(fmt::format("an ioeventfd of length {}", match.length), EINVAL);
  }
  if (match.address + match.length < match.address) return fail("an ioeventfd that wraps", EINVAL);
  return {};
}

}  // namespace

Status FakeVcpu::set_boot_registers(const BootRegisters& registers) {
  const std::lock_guard lock(mutex_);
  registers_ = registers;
  return {};
}

Status FakeVcpu::reset() {
  const std::lock_guard lock(mutex_);
  ++resets_;
  return {};
}

Result<VcpuExit> FakeVcpu::run() noexcept {
  std::unique_lock lock(mutex_);
  if (in_user_space_) {
    in_user_space_ = false;
    ++finished_;
    if (const auto answer = answers_.find(finished_); answer != answers_.end()) {
      answer->second = current_.data;
    }
    changed_.notify_all();
  }
  changed_.wait(lock, [this] { return kicked_ || !script_.empty(); });
  VcpuExit exit;
  if (std::exchange(kicked_, false)) {
    exit.reason = VcpuExit::Reason::kInterrupted;
    return exit;
  }
  current_ = std::move(script_.front());
  script_.pop_front();
  in_user_space_ = true;
  ++exits_;
  exit.reason = current_.reason;
  exit.address = current_.address;
  exit.data = current_.data;
  exit.detail = current_.detail;
  return exit;
}

void FakeVcpu::kick() noexcept {
  const std::lock_guard lock(mutex_);
  kicked_ = true;
  ++kicks_;
  changed_.notify_all();
}

std::uint64_t FakeVcpu::exits() const noexcept {
  const std::lock_guard lock(mutex_);
  return exits_;
}

std::string FakeVcpu::dump() { return fmt::format("fake vCPU {}\n", index_); }

void FakeVcpu::push_exit(ScriptedExit exit) {
  const std::lock_guard lock(mutex_);
  script_.push_back(std::move(exit));
  ++pushed_;
  changed_.notify_all();
}

std::vector<std::byte> FakeVcpu::perform(ScriptedExit exit) {
  std::unique_lock lock(mutex_);
  script_.push_back(std::move(exit));
  const std::uint64_t number = ++pushed_;
  answers_[number];
  changed_.notify_all();
  changed_.wait(lock, [&] { return finished_ >= number; });
  return std::move(answers_.extract(number).mapped());
}

std::optional<std::vector<std::byte>> FakeVcpu::perform_unless(ScriptedExit exit,
                                                               const std::function<bool()>& ended) {
  std::unique_lock lock(mutex_);
  std::uint64_t kicks = kicks_;
  lock.unlock();
  if (ended()) return std::nullopt;
  lock.lock();
  script_.push_back(std::move(exit));
  const std::uint64_t number = ++pushed_;
  answers_[number];
  changed_.notify_all();
  while (true) {
    // A machine that is paused already ends without a kick: looked for now and then.
    changed_.wait_for(lock, std::chrono::milliseconds(10),
                      [&] { return finished_ >= number || kicks_ != kicks; });
    if (finished_ >= number) return std::move(answers_.extract(number).mapped());
    kicks = kicks_;
    lock.unlock();
    const bool over = ended();
    lock.lock();
    if (finished_ >= number || !over) continue;
    answers_.erase(number);
    if (!script_.empty()) {
      script_.pop_back();
      --pushed_;
    }
    return std::nullopt;
  }
}

BootRegisters FakeVcpu::boot_registers() const {
  const std::lock_guard lock(mutex_);
  return registers_;
}

unsigned FakeVcpu::resets() const {
  const std::lock_guard lock(mutex_);
  return resets_;
}

Status FakeVm::map_memory(const GuestMemory& memory) {
  const std::lock_guard lock(mutex_);
  memory_ = &memory;
  slots_.clear();
  for (const auto& region : memory.regions()) slots_.push_back({region.base.value(), region.size});
  return {};
}

Result<std::unique_ptr<Vcpu>> FakeVm::create_vcpu(unsigned index, unsigned /*count*/) {
  const std::lock_guard lock(mutex_);
  if (vcpus_.contains(index)) return fail(fmt::format("vCPU {} is there already", index), EEXIST);
  auto vcpu = std::make_unique<FakeVcpu>(index);
  vcpus_[index] = vcpu.get();
  return std::unique_ptr<Vcpu>(std::move(vcpu));
}

Status FakeVm::attach_ioeventfd(const EventFd& event, const IoEventMatch& match) {
  if (auto status = check(match); !status) return status;
  const std::lock_guard lock(mutex_);
  for (const AttachedEvent& other : ioeventfds_) {
    if (collide(other.what.match, match)) return fail("an ioeventfd like it is there", EEXIST);
  }
  if (ioeventfds_.size() >= max_ioeventfds_) {
    return fail("the host allows no more ioeventfds", ENOSPC);
  }
  if (refuses()) return fail("the host refuses an ioeventfd", ENOMEM);
  EventFd copy = duplicate(event);
  if (!copy.valid()) return fail_errno("an ioeventfd needs an eventfd");
  ioeventfds_.push_back({{match, event.get()}, std::move(copy)});
  return {};
}

Status FakeVm::detach_ioeventfd(const EventFd& event, const IoEventMatch& match) {
  const std::lock_guard lock(mutex_);
  const auto removed = std::erase_if(ioeventfds_, [&](const AttachedEvent& other) {
    return other.what.fd == event.get() && other.what.match == match;
  });
  if (removed == 0) return fail("no such ioeventfd", ENOENT);
  return {};
}

Result<unsigned> FakeVm::allocate_msi_route() {
  const std::lock_guard lock(mutex_);
  if (refuses()) return fail("the host has no more routes", ENOSPC);
  unsigned gsi = kFirstMsiGsi;
  while (routes_.contains(gsi)) ++gsi;
  routes_[gsi] = std::nullopt;
  return gsi;
}

Status FakeVm::set_msi_route(unsigned gsi, const MsiMessage& message) {
  const std::lock_guard lock(mutex_);
  const auto route = routes_.find(gsi);
  if (route == routes_.end()) return fail(fmt::format("GSI {} is not an MSI route", gsi), EINVAL);
  if (refuses()) return fail("the host refuses a route", ENOMEM);
  // What was signalled before the change went out with the old message.
  deliver_locked();
  route->second = message;
  return {};
}

void FakeVm::free_msi_route(unsigned gsi) {
  const std::lock_guard lock(mutex_);
  deliver_locked();
  routes_.erase(gsi);
}

Status FakeVm::attach_irqfd(const EventFd& event, unsigned gsi) {
  const std::lock_guard lock(mutex_);
  for (const AttachedIrq& other : irqfds_) {
    if (other.what.fd == event.get()) return fail("the eventfd is an irqfd already", EBUSY);
  }
  if (refuses()) return fail("the host refuses an irqfd", ENOMEM);
  EventFd copy = duplicate(event);
  if (!copy.valid()) return fail_errno("an irqfd needs an eventfd");
  irqfds_.push_back({{gsi, event.get()}, std::move(copy)});
  return {};
}

Status FakeVm::detach_irqfd(const EventFd& event, unsigned gsi) {
  const std::lock_guard lock(mutex_);
  deliver_locked();
  // KVM answers 0 whether or not there was one.
  std::erase_if(irqfds_, [&](const AttachedIrq& other) {
    return other.what.fd == event.get() && other.what.gsi == gsi;
  });
  return {};
}

Status FakeVm::signal_msi(const MsiMessage& message) {
  const std::lock_guard lock(mutex_);
  delivered_.push_back(message);
  return {};
}

Status FakeVm::set_irq_line(unsigned gsi, bool level) {
  const std::lock_guard lock(mutex_);
  lines_[gsi] = level;
  return {};
}

Status FakeVm::set_halt_poll(std::chrono::nanoseconds most) {
  const std::lock_guard lock(mutex_);
  halt_poll_ = most;
  return {};
}

std::optional<std::chrono::nanoseconds> FakeVm::halt_poll() const {
  const std::lock_guard lock(mutex_);
  return halt_poll_;
}

Status FakeVm::reset() {
  const std::lock_guard lock(mutex_);
  lines_.clear();
  ++resets_;
  return {};
}

void FakeVm::set_max_ioeventfds(std::size_t count) {
  const std::lock_guard lock(mutex_);
  max_ioeventfds_ = count;
}

void FakeVm::refuse_next(unsigned skip, unsigned count) {
  const std::lock_guard lock(mutex_);
  refuse_after_ = skip;
  refusals_ = count;
}

bool FakeVm::refuses() {
  if (refusals_ == 0) return false;
  if (refuse_after_ > 0) {
    --refuse_after_;
    return false;
  }
  --refusals_;
  return true;
}

bool FakeVm::guest_write(IoSpace space, std::uint64_t address, std::span<const std::byte> data) {
  std::uint64_t value = 0;
  if (data.size() > sizeof value) return false;
  std::memcpy(&value, data.data(), data.size());
  return guest_write(space, address, value, data.size());
}

bool FakeVm::guest_write(IoSpace space, std::uint64_t address, std::uint64_t value,
                         std::size_t length) {
  const std::lock_guard lock(mutex_);
  for (const AttachedEvent& attached : ioeventfds_) {
    if (takes(attached.what.match, space, address, value, length)) {
      attached.event.signal();
      return true;
    }
  }
  return false;
}

std::size_t FakeVm::deliver_locked() {
  std::size_t count = 0;
  for (const AttachedIrq& attached : irqfds_) {
    if (attached.event.consume() == 0) continue;
    const auto route = routes_.find(attached.what.gsi);
    if (route == routes_.end() || !route->second) continue;  // leads nowhere, as in KVM
    delivered_.push_back(*route->second);
    ++count;
  }
  return count;
}

std::size_t FakeVm::deliver_interrupts() {
  const std::lock_guard lock(mutex_);
  return deliver_locked();
}

std::vector<MsiMessage> FakeVm::delivered() {
  const std::lock_guard lock(mutex_);
  deliver_locked();
  return delivered_;
}

std::size_t FakeVm::delivered_count(const MsiMessage& message) {
  const std::lock_guard lock(mutex_);
  deliver_locked();
  return static_cast<std::size_t>(std::ranges::count(delivered_, message));
}

void FakeVm::clear_delivered() {
  const std::lock_guard lock(mutex_);
  deliver_locked();
  delivered_.clear();
}

std::vector<FakeVm::IoEvent> FakeVm::ioeventfds() const {
  const std::lock_guard lock(mutex_);
  std::vector<IoEvent> result;
  result.reserve(ioeventfds_.size());
  for (const AttachedEvent& attached : ioeventfds_) result.push_back(attached.what);
  return result;
}

std::vector<FakeVm::Irqfd> FakeVm::irqfds() const {
  const std::lock_guard lock(mutex_);
  std::vector<Irqfd> result;
  result.reserve(irqfds_.size());
  for (const AttachedIrq& attached : irqfds_) result.push_back(attached.what);
  return result;
}

std::vector<FakeVm::Slot> FakeVm::slots() const {
  const std::lock_guard lock(mutex_);
  return slots_;
}

const GuestMemory* FakeVm::memory() const {
  const std::lock_guard lock(mutex_);
  return memory_;
}

std::size_t FakeVm::routes() const {
  const std::lock_guard lock(mutex_);
  return routes_.size();
}

std::optional<bool> FakeVm::irq_line(unsigned gsi) const {
  const std::lock_guard lock(mutex_);
  const auto line = lines_.find(gsi);
  return line == lines_.end() ? std::nullopt : std::optional(line->second);
}

FakeVcpu* FakeVm::vcpu(unsigned index) const {
  const std::lock_guard lock(mutex_);
  const auto vcpu = vcpus_.find(index);
  return vcpu == vcpus_.end() ? nullptr : vcpu->second;
}

unsigned FakeVm::resets() const {
  const std::lock_guard lock(mutex_);
  return resets_;
}

Result<std::unique_ptr<Vm>> FakeHypervisor::create_vm() {
  auto vm = std::make_unique<FakeVm>();
  vm->set_max_ioeventfds(max_ioeventfds_);
  vm_ = vm.get();
  return std::unique_ptr<Vm>(std::move(vm));
}

}  // namespace bellhop
