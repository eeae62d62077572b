#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string_view>
#include <vector>

#include "machine/machine.h"
#include "testing/fake_hypervisor.h"
#include "testing/register_driver.h"
#include "tests/fuzz/machine/input.h"

namespace bellhop::fuzz {

enum class Kind : std::uint8_t { kBlk, kNet, kRng, kVsock, kConsole, kBalloon, kFs };

/// Ends the program: an invariant does not hold.
[[noreturn]] void broken(std::string_view what);

/// The guest's RAM by its descriptor, so that the thread sanitizer does not take a hostile guest's
/// writes for a race of ours.
class GuestRam {
 public:
  static constexpr std::uint64_t kBytes = std::uint64_t{8} << 20;
  static constexpr std::uint64_t kRings = 0x200000;
  static constexpr std::uint64_t kBuffers = 0x500000;
  static constexpr std::uint64_t kBufferBytes = 0x100000;
  /// No descriptor that is meant well leads here but those of the last checks.
  static constexpr std::uint64_t kPrivate = 0x780000;

  explicit GuestRam(const GuestMemory& memory) : fd_(memory.regions().front().fd) {}
  void write(std::uint64_t address, std::span<const std::byte> bytes) const;
  void read(std::uint64_t address, std::span<std::byte> bytes) const;
  template <class T>
  void put(std::uint64_t address, const T& value) const {
    write(address, std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  [[nodiscard]] T get(std::uint64_t address) const {
    T value{};
    read(address, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

 private:
  int fd_;
};

/// What the two vCPUs and the thread that owns the machine share.
struct Shared {
  Machine& machine;
  FakeVm& vm;
  GuestRam ram;
  TransportKind transport;
  std::vector<Kind> devices;
  /// Held alone while the vCPUs stand still: the guest then neither writes RAM nor kicks.
  std::shared_mutex running;
};

/// The accesses of one vCPU: they exit on its thread.
class VcpuPort final : public testing::GuestPort {
 public:
  VcpuPort(Shared& shared, unsigned vcpu)
      : GuestPort(shared.vm), shared_(shared), vcpu_(*shared.vm.vcpu(vcpu)) {}

  /// An exit without data.
  void leave(VcpuExit::Reason reason, std::uint64_t detail);
  /// The machine has ended: nothing is carried out.
  [[nodiscard]] bool over() const noexcept { return over_; }
  void begin_anew() noexcept { over_ = false; }

 protected:
  void exit(VcpuExit::Reason reason, std::uint64_t address,
            std::span<std::byte> data) const override;

 private:
  Shared& shared_;
  FakeVcpu& vcpu_;
  mutable bool over_ = false;
};

/// A guest's program on one vCPU. What it does comes from an input.
class Guest {
 public:
  Guest(Shared& shared, unsigned vcpu);

  static constexpr unsigned kOps = 24;
  /// Carries out one operation.
  void step(unsigned op, Input& input);

  /// Resets all devices and puts their BARs back.
  void calm();
  void reset(unsigned device) { targets_[device].driver->set_status(0); }
  /// Resets the device, brings it up, and has it do a request whose outcome is known. Nothing if it
  /// does, else what is wrong.
  std::string_view check(unsigned device, std::chrono::seconds patience);

  [[nodiscard]] VcpuPort& port() noexcept { return port_; }

 private:
  static constexpr unsigned kMaxQueues = 8;

  struct Target {
    Kind kind = Kind::kBlk;
    unsigned number = 0;  ///< on the bus
    std::unique_ptr<testing::RegisterDriver> driver;
    testing::PciRegisterDriver* pci = nullptr;
    bool probed = false;
    std::uint64_t ports = 0;  ///< of the legacy registers; 0: none
    std::uint64_t features = 0;
  };
  struct Layout {
    std::uint64_t desc = 0;
    std::uint64_t avail = 0;
    std::uint64_t used = 0;
    std::uint16_t size = 0;
  };
  struct Piece {
    std::uint64_t address = 0;
    std::uint32_t length = 0;
    bool device_writes = false;
  };

  static Layout layout(std::uint64_t at, std::uint16_t size);
  [[nodiscard]] std::uint64_t ring_at(unsigned device, unsigned queue) const;
  Target& target(Input& input);
  Target& movable(Input& input);
  void probe(Target& target);

  void bring_up(Input& input);
  void legacy_bring_up(Input& input);
  void reset_queue(Input& input);
  void request(Input& input);
  std::vector<Piece> pieces(Kind kind, unsigned queue, Input& input);
  void publish(const Layout& ring, std::span<const Piece> pieces, Input& input);
  void access_register(bool store, Input& input);
  void access_config(bool by_ports, Input& input);
  void access_port(Input& input);
  void msix(Input& input);
  void scribble(Input& input);
  void ring_indices(Input& input);
  void kicks(Input& input);
  std::uint64_t value(Input& input);

  bool chain_done(testing::RegisterDriver& driver, const Layout& ring, std::uint16_t nth,
                  std::span<const Piece> pieces, std::chrono::seconds patience);

  Shared& shared_;
  VcpuPort port_;
  std::vector<Target> targets_;
  /// Of the rings that this vCPU brought up last.
  std::vector<std::array<std::uint16_t, kMaxQueues>> sizes_;
  std::uint32_t buffers_used_ = 0;
};

}  // namespace bellhop::fuzz
