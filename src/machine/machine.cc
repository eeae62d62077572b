#include "machine/machine.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <utility>

#include "base/cpu_meter.h"
#include "base/log.h"
#include "event/io_thread.h"
#include "machine/acpi/acpi_tables.h"
#include "machine/boot/kernel_boot.h"
#include "machine/boot/memory_layout.h"
#include "machine/device_slots.h"
#include "machine/machine_devices.h"
#include "machine/platform/platform.h"
#include "machine/vcpu_thread.h"
#include "machine/vm_binder.h"
#include "memory/guest_memory.h"

namespace bellhop {

/// Members are destroyed from the last to the first: vCPU threads before devices, devices before
/// I/O threads, everything before the VM and its memory.
class Machine::Impl {
 public:
  Impl(const MachineConfig& config, MachineHooks hooks)
      : config_(config), hooks_(std::move(hooks)) {}

  Status build(Hypervisor& hypervisor);
  Status start();
  MachineEnd wait();
  [[nodiscard]] bool ended() const noexcept;
  void end(MachineEnd end);
  void pause();
  void resume();
  void power_off();
  Status reset();
  std::vector<std::string> remove_let_go();
  [[nodiscard]] MachineCounters counters() const;
  [[nodiscard]] std::vector<ThreadPlacement> placement() const;

  Platform& platform() { return *platform_; }
  MachineDevices& devices() { return *devices_; }
  std::vector<std::unique_ptr<VcpuThread>>& vcpus() { return vcpus_; }
  std::vector<std::unique_ptr<IoThread>>& iothreads() { return iothreads_; }

 private:
  Status make_memory();
  Status make_iothreads();
  Status make_platform();
  Status make_devices();
  void halt_vcpus();
  Status make_vcpus(Hypervisor& hypervisor);
  Status load_guest();
  void vcpu_ended(VcpuExit::Reason reason, std::string text);

  MachineConfig config_;
  MachineHooks hooks_;
  std::unique_ptr<Vm> vm_;
  std::optional<GuestMemory> memory_;
  std::vector<std::unique_ptr<IoThread>> iothreads_;
  Bus ports_{"I/O ports", 0xffff};
  Bus mmio_{"memory"};
  std::unique_ptr<VmBinder> binder_;
  std::unique_ptr<Platform> platform_;
  std::unique_ptr<MachineDevices> devices_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
  bool running_ = false;  // vCPUs were last asked to run, and not to pause

  mutable std::mutex mutex_;
  std::condition_variable ended_changed_;
  std::optional<MachineEnd> end_;
};

Status Machine::Impl::build(Hypervisor& hypervisor) {
  auto vm = hypervisor.create_vm();
  if (!vm) return forward(vm);
  vm_ = std::move(*vm);
  if (config_.halt_poll) {
    if (auto set = vm_->set_halt_poll(*config_.halt_poll); !set) {
      return fail(fmt::format("{}: {} (auto leaves it to the host)",
                              config_.places.named("--halt-poll"), set.error().message),
                  set.error().code);
    }
  }
  binder_ = std::make_unique<VmBinder>(*vm_, config_.max_ioeventfds, config_.reserved_ioeventfds);
  if (auto made = make_memory(); !made) return made;
  if (auto made = make_iothreads(); !made) return made;
  if (auto made = make_platform(); !made) return made;
  if (auto made = make_devices(); !made) return made;
  if (auto made = make_vcpus(hypervisor); !made) return made;
  const long host_cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  const std::string inherited =
      inherited_placement(placement(), static_cast<std::size_t>(std::max(host_cpus, 1L)));
  if (!inherited.empty()) log::info("{}", inherited);
  if (hooks_.request_times) {
    const auto ahead = vcpus_.front()->vcpu().time_stamp_offset();
    devices_->trace_requests(ahead ? std::optional(*ahead) : std::nullopt);
  }
  return load_guest();
}

// Nothing of the address map lies in the host's own pages.
static_assert(kRamHole.holds({kHostPagesBegin, kHostPagesEnd - kHostPagesBegin}) &&
              kLapic.end() <= kHostPagesBegin);

Status Machine::Impl::make_memory() {
  auto layout = ram_layout(config_.memory);
  if (!layout) return forward(layout);
  auto memory = GuestMemory::create(*layout, config_.backing);
  if (!memory) {
    return fail(fmt::format("{}: {}", config_.places.named("--memory"), memory.error().message),
                memory.error().code);
  }
  memory_ = std::move(*memory);
  return vm_->map_memory(*memory_);
}

Status Machine::Impl::make_iothreads() {
  if (config_.iothreads.empty()) config_.iothreads.emplace_back();
  auto threads = start_iothreads(config_.iothreads);
  if (!threads) return forward(threads);
  iothreads_ = std::move(*threads);
  return {};
}

Status Machine::Impl::make_platform() {
  platform_ = std::make_unique<Platform>(Platform::Wiring{
      .serial_output = hooks_.serial_output,
      .set_line = [this](unsigned gsi, bool level) { (void)vm_->set_irq_line(gsi, level); },
      .end = [this](MachineEnd end) { this->end(std::move(end)); },
      .marker =
          [this](std::uint32_t value) {
            if (hooks_.marker) hooks_.marker(value, counters());
            if (hooks_.request_times) hooks_.request_times(value, devices_->take_request_times());
          },
      .let_go = hooks_.let_go});
  return platform_->connect(ports_);
}

Status Machine::Impl::make_devices() {
  auto made = MachineDevices::create(config_, hooks_.host, hooks_.more_devices,
                                     {*memory_, iothreads_, *binder_, ports_, mmio_,
                                      platform_->reset_control(), platform_->hotplug()});
  if (!made) return forward(made);
  devices_ = std::move(*made);
  return {};
}

Status Machine::Impl::make_vcpus(Hypervisor& hypervisor) {
  if (config_.cpus == 0 || config_.cpus > hypervisor.max_vcpus()) {
    return fail(fmt::format("{}: this host allows 1 to {}, not {}", config_.places.named("--cpus"),
                            hypervisor.max_vcpus(), config_.cpus));
  }
  for (unsigned i = 0; i < config_.cpus; ++i) {
    auto vcpu = vm_->create_vcpu(i, config_.cpus);
    if (!vcpu) return forward(vcpu);
    vcpus_.push_back(std::make_unique<VcpuThread>(
        std::move(*vcpu), i,
        i < config_.vcpu_affinity.size() ? config_.vcpu_affinity[i] : CpuList{},
        VcpuThread::Wiring{.ports = &ports_,
                           .memory = &mmio_,
                           .ended = [this](VcpuExit::Reason reason, std::string text) {
                             vcpu_ended(reason, std::move(text));
                           }}));
  }
  for (auto& vcpu : vcpus_) {
    if (auto started = vcpu->start(); !started) {
      return fail(fmt::format("{}: {}", config_.places.named("--cpus"), started.error().message),
                  started.error().code);
    }
    if (const Status& pinned = vcpu->pinned(); !pinned) {
      return fail(
          fmt::format("{}: {}", config_.places.named("--vcpu-affinity"), pinned.error().message),
          pinned.error().code);
    }
  }
  return {};
}

Status Machine::Impl::load_guest() {
  const std::string extra = devices_->slots().cmdline();
  AcpiDescription acpi{.cpus = config_.cpus, .ecam = {}, .virtio_mmio = {}};
  devices_->slots().describe(acpi);
  const auto rsdp = write_acpi_tables(*memory_, acpi);
  if (!rsdp) return forward(rsdp);
  auto registers = load_kernel(*memory_, {.kernel = config_.kernel,
                                          .initrd = config_.initrd,
                                          .cmdline = config_.cmdline + extra,
                                          .kernel_option = config_.places.named("--kernel"),
                                          .initrd_option = config_.places.named("--initrd"),
                                          .cmdline_option = config_.places.named("--cmdline"),
                                          .rsdp = *rsdp,
                                          .reserved = devices_->slots().reserved()});
  if (!registers) return forward(registers);
  return vcpus_.front()->vcpu().set_boot_registers(*registers);
}

Status Machine::Impl::start() {
  running_ = true;
  for (auto& vcpu : vcpus_) vcpu->resume();
  return {};
}

MachineEnd Machine::Impl::wait() {
  std::unique_lock<std::mutex> hold(mutex_);
  ended_changed_.wait(hold, [this] { return end_.has_value(); });
  MachineEnd end = *end_;
  hold.unlock();
  pause();
  return end;
}

bool Machine::Impl::ended() const noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  return end_.has_value();
}

void Machine::Impl::end(MachineEnd end) {
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    // The first reason counts, but who stops the machine does not want it reset.
    if (!end_ || end.kind == MachineEnd::Kind::kStopped) end_ = std::move(end);
  }
  for (auto& vcpu : vcpus_) vcpu->request_pause();
  ended_changed_.notify_all();
  if (hooks_.ended) hooks_.ended();
}

void Machine::Impl::vcpu_ended(VcpuExit::Reason reason, std::string text) {
  MachineEnd::Kind kind = MachineEnd::Kind::kInternalError;
  if (reason == VcpuExit::Reason::kRefused) kind = MachineEnd::Kind::kHostRefused;
  if (reason == VcpuExit::Reason::kShutdown) kind = MachineEnd::Kind::kTripleFault;
  if (reason == VcpuExit::Reason::kSystemEvent) kind = MachineEnd::Kind::kReset;
  end({.kind = kind, .code = 0, .text = std::move(text)});
}

void Machine::Impl::halt_vcpus() {
  running_ = false;
  for (auto& vcpu : vcpus_) vcpu->request_pause();
  for (auto& vcpu : vcpus_) vcpu->wait_paused();
}

void Machine::Impl::pause() {
  halt_vcpus();
  devices_->slots().pause();
}

void Machine::Impl::resume() {
  if (ended()) return;
  devices_->slots().resume();
  (void)start();
}

void Machine::Impl::power_off() {
  devices_->slots().reset();
  memory_->clear();
  platform_->reset();
}

Status Machine::Impl::reset() {
  power_off();
  devices_->take_away(devices_->slots().let_go());  // before a guest finds it
  if (auto done = vm_->reset(); !done) return done;
  for (auto& vcpu : vcpus_) {
    if (auto done = vcpu->vcpu().reset(); !done) return done;
  }
  if (auto loaded = load_guest(); !loaded) return loaded;
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (end_ && end_->kind == MachineEnd::Kind::kStopped) return {};
    end_.reset();
  }
  return start();
}

std::vector<std::string> Machine::Impl::remove_let_go() {
  if (auto ids = devices_->slots().let_go(); !ids.empty()) {
    // An access on its way to a device must not find it gone.
    const bool running = running_;
    if (running) halt_vcpus();
    devices_->take_away(std::move(ids));
    if (running && !ended()) (void)start();
  }
  return devices_->take_gone();
}

MachineCounters Machine::Impl::counters() const {
  MachineCounters sum = devices_->counters();
  for (const auto& vcpu : vcpus_) sum.userspace_exits += vcpu->exits();
  for (const auto& thread : iothreads_) sum.system_calls += thread->loop().system_calls();
  return sum;
}

std::vector<ThreadPlacement> Machine::Impl::placement() const {
  std::vector<ThreadPlacement> threads;
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    threads.push_back({fmt::format("vcpu{}", i), vcpus_[i]->cpus(), vcpus_[i]->cpus_given()});
  }
  for (const auto& thread : iothreads_) {
    threads.push_back({thread->config().name, thread->cpus(), !thread->config().cpus.empty()});
  }
  return threads;
}

Machine::Machine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Machine::~Machine() {
  // vCPUs first: nobody rings or writes registers while the devices go. All stand still before the
  // first of them goes, since each that ends asks the others to pause.
  impl_->pause();
  impl_->vcpus().clear();
}

Result<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config,
                                                 Hypervisor& hypervisor, MachineHooks hooks) {
  auto impl = std::make_unique<Impl>(config, std::move(hooks));
  if (auto built = impl->build(hypervisor); !built) return forward(built);
  return std::unique_ptr<Machine>(new Machine(std::move(impl)));
}

Status Machine::start() { return impl_->start(); }
MachineEnd Machine::wait() { return impl_->wait(); }
bool Machine::ended() const noexcept { return impl_->ended(); }
void Machine::stop() noexcept { impl_->end({}); }
void Machine::pause() { impl_->pause(); }
void Machine::resume() { impl_->resume(); }
void Machine::power_off() { impl_->power_off(); }
Status Machine::reset() { return impl_->reset(); }
Status Machine::resize_device(std::string_view id, std::uint64_t bytes) {
  return impl_->devices().resize(id, bytes);
}
Status Machine::set_rates(std::string_view id, const Rates& rates) {
  return impl_->devices().set_rates(id, rates);
}
Status Machine::set_notify(std::string_view id, std::optional<unsigned> queue, NotifyWish wish) {
  return impl_->devices().set_notify(id, queue, wish);
}
Result<std::string> Machine::add_device(const MachineConfig& device) {
  return impl_->devices().add(device);
}
Status Machine::ask_for_device(std::string_view id) { return impl_->devices().slots().ask_for(id); }
Status Machine::remove_device(std::string_view id) { return impl_->devices().remove(id); }
std::vector<std::string> Machine::remove_let_go() { return impl_->remove_let_go(); }
void Machine::serial_has_room() noexcept { impl_->platform().serial().output_has_room(); }
std::size_t Machine::serial_input(std::span<const std::byte> bytes) noexcept {
  return impl_->platform().serial().input(bytes);
}
ButtonPress Machine::press_power_button() noexcept {
  if (ended()) return ButtonPress::kNoDriver;
  return impl_->platform().power().press_power_button();
}
MachineCounters Machine::counters() const { return impl_->counters(); }
std::vector<QueueTimes> Machine::take_request_times() {
  return impl_->devices().take_request_times();
}
std::string Machine::host_end(std::string_view id) const { return impl_->devices().host_end(id); }

std::vector<ThreadStats> Machine::threads() const {
  std::vector<ThreadStats> threads;
  const auto add = [&threads](std::string name, int tid, bool is_vcpu) {
    if (tid == 0) return;  // not started yet
    if (const auto cpu = cpu_time_of(tid)) threads.push_back({std::move(name), tid, is_vcpu, *cpu});
  };
  for (std::size_t i = 0; i < impl_->vcpus().size(); ++i) {
    add(fmt::format("vcpu{}", i), impl_->vcpus()[i]->tid(), true);
  }
  for (const auto& thread : impl_->iothreads()) {
    add(thread->config().name, thread->tid(), false);
  }
  return threads;
}

Status Machine::pin_thread(std::string_view name, const CpuList& cpus) {
  std::string names;
  const auto is_named = [&](const std::string& one) {
    names += (names.empty() ? "" : ", ") + one;
    return one == name;
  };
  for (std::size_t i = 0; i < impl_->vcpus().size(); ++i) {
    if (is_named(fmt::format("vcpu{}", i))) return impl_->vcpus()[i]->set_cpus(cpus);
  }
  for (const auto& thread : impl_->iothreads()) {
    if (is_named(thread->config().name)) return thread->set_cpus(cpus);
  }
  return fail(fmt::format("there is no thread '{}'; there are {}", name, names), ENOENT);
}

std::vector<ThreadPlacement> Machine::placement() const { return impl_->placement(); }

std::vector<int> Machine::vcpu_tids() const {
  std::vector<int> tids;
  for (const auto& vcpu : impl_->vcpus()) tids.push_back(vcpu->tid());
  return tids;
}

std::vector<int> Machine::iothread_tids() const {
  std::vector<int> tids;
  for (const auto& thread : impl_->iothreads()) tids.push_back(thread->tid());
  return tids;
}

}  // namespace bellhop
