#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devices/console/console_window.h"
#include "machine/machine.h"
#include "testing/fake_hypervisor.h"
#include "testing/fake_vhost.h"
#include "testing/faulty_backend.h"
#include "testing/memory_nic.h"
#include "tests/fuzz/machine/guest.h"
#include "tests/fuzz/machine/hostile_back_end.h"
#include "tests/fuzz/machine/input.h"

namespace bellhop::fuzz {

/// What stands around one machine: its files, sockets and peers. The machine goes first.
class World {
 public:
  /// The machine that the input asks for.
  explicit World(Input& input);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// Null if the host refused it.
  [[nodiscard]] Machine* machine() const noexcept { return machine_.get(); }
  [[nodiscard]] FakeVm& vm() const noexcept { return *hypervisor_.vm(); }
  [[nodiscard]] TransportKind transport() const noexcept { return config_.transport; }
  /// In the order of their places on the bus. The first is a disk that works whatever happens to
  /// the others.
  [[nodiscard]] const std::vector<Kind>& devices() const noexcept { return devices_; }

  /// Something happens outside of the machine.
  void happen(Input& input);
  /// The host is in order again, and peers take what they are sent.
  void calm();
  void destroy_machine() { machine_.reset(); }

 private:
  void configure(Input& input);
  Result<std::vector<PreparedDevice>> add_devices(const SlotWiring& wiring);
  void connect(const std::string& path, std::string_view greeting);
  void frames(Input& input);

  MachineConfig config_;
  std::vector<Kind> devices_;
  unsigned more_ = 0;  ///< bits: devices that no option makes
  FakeHypervisor hypervisor_;
  std::optional<testing::FakeVhost> vhost_net_;
  std::optional<testing::FakeVhost> vhost_vsock_;
  std::shared_ptr<ConsoleWindow> window_ = std::make_shared<ConsoleWindow>();
  std::shared_ptr<testing::MemoryNic> nic_;
  std::shared_ptr<testing::MemoryNic> vhost_nic_;
  std::shared_ptr<FaultyBackend> faulty_;
  UniqueFd stream_;  ///< the far end of a NIC's stream
  HostileBackEnd back_end_;
  std::vector<UniqueFd> peers_;
  UniqueFd listener_;  ///< for connections of the guest's
  std::unique_ptr<Machine> machine_;
};

}  // namespace bellhop::fuzz
