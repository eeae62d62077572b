// What holds for every device, whatever it does: what a driver writes into the configuration space
// is gone after a reset; what it does wrong fills no log.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log_limiter.h"
#include "devices/balloon/balloon_device.h"
#include "devices/blk/blk_device.h"
#include "devices/console/console_device.h"
#include "devices/net/net_device.h"
#include "devices/rng/rng_device.h"
#include "devices/vsock/vsock_device.h"
#include "testing/device_fixture.h"
#include "testing/memory_backend.h"
#include "testing/memory_nic.h"

namespace bellhop {
namespace {

using testing::DeviceFixture;
using testing::must;
using Bytes = std::vector<std::byte>;

struct Maker {
  const char* name;
  std::function<std::unique_ptr<VirtioDevice>(const GuestMemory&)> make;
};

class EveryDeviceTest : public ::testing::TestWithParam<Maker> {
 protected:
  EveryDeviceTest() { fixture.serve(GetParam().make(fixture.memory)); }

  [[nodiscard]] Bytes space() const {
    Bytes bytes(fixture.device->traits().config_bytes);
    fixture.device->read_config(0, bytes);
    return bytes;
  }
  /// Every field there may be, by every width, aligned or not.
  void write_everywhere(std::byte value) {
    const std::size_t size = fixture.device->traits().config_bytes;
    for (const std::size_t width : {8U, 4U, 2U, 1U}) {
      const Bytes data(width, value);
      for (std::size_t at = 0; at + width <= size; ++at) {
        fixture.device->write_config(static_cast<std::uint32_t>(at), data);
      }
    }
  }

  DeviceFixture fixture{NotifyMode::kIoEventFd};
};

TEST_P(EveryDeviceTest, NothingThatADriverHasWrittenIsLeft) {
  const Bytes at_first = space();
  for (const int value : {0x00, 0x01, 0x5a, 0xff}) {
    // Before it is ready, and afterwards.
    write_everywhere(std::byte{static_cast<std::uint8_t>(value)});
    fixture.device->reset();
    EXPECT_EQ(space(), at_first) << value << " written before DRIVER_OK";
    fixture.restart();
    write_everywhere(std::byte{static_cast<std::uint8_t>(value)});
    fixture.stop();
    EXPECT_EQ(space(), at_first) << value << " written after DRIVER_OK";
  }
}

TEST_P(EveryDeviceTest, AHostileDriverCausesFewLines) {
  constexpr int kLives = 1000;
  ::testing::internal::CaptureStderr();
  DeviceLife& life = fixture.host->life();
  std::vector<QueueConfig> impossible(life.queue_count());
  for (QueueConfig& queue : impossible) {
    queue = {.size = 3, .ready = true, .desc = GuestAddress(8), .driver = {}, .device = {}};
  }
  for (int i = 0; i < kLives; ++i) {
    EXPECT_FALSE(fixture.host->start(fixture.device->traits().features, impossible));
    life.notify(0);
    life.notify(1000);
    life.set_queue_interrupt(1000, nullptr);
    life.change_queue(1000, [](QueueConfig&) {});
    life.write_config(100'000, Bytes(4));
    write_everywhere(std::byte{0xff});
    fixture.stop();
  }
  EXPECT_GE(life.guest_faults(), 6U * kLives);
  fixture.destroy();
  const std::string all = ::testing::internal::GetCapturedStderr();
  // Those of the device's life, and of whatever else it has that writes lines.
  EXPECT_LE(std::ranges::count(all, '\n'), 2 * (log::Limiter::kBurst + 1)) << all;
  const std::string last = all.substr(all.rfind('\n', all.size() - 2) + 1);
  EXPECT_NE(last.find("more lines were left out since)"), std::string::npos) << last;
}

std::unique_ptr<VirtioDevice> make_disk(bool writeback) {
  BlkOptions options;
  options.writeback = writeback;
  options.queue_size = DeviceFixture::kSize;
  return std::make_unique<BlkDevice>(std::make_shared<MemoryBackend>(1 << 20), options);
}

std::vector<Maker> makers() {
  return {
      {"disk", [](const GuestMemory&) { return make_disk(true); }},
      {"disk_writethrough", [](const GuestMemory&) { return make_disk(false); }},
      {"net",
       [](const GuestMemory&) {
         return std::make_unique<NetDevice>(std::make_shared<testing::MemoryNic>(2),
                                            NetOptions{.mtu = 1400});
       }},
      {"rng",
       [](const GuestMemory&) {
         return std::make_unique<RngDevice>(UniqueFd(::open("/dev/urandom", O_RDONLY | O_CLOEXEC)),
                                            RngConfig{});
       }},
      {"console",
       [](const GuestMemory&) {
         std::vector<ConsolePortOptions> ports;
         ports.push_back({.name = {}, .backend = make_null_console()});
         ports.push_back({.name = "org.example.port", .backend = make_null_console()});
         return std::make_unique<ConsoleDevice>(std::move(ports), ConsoleOptions{});
       }},
      {"vsock",
       [](const GuestMemory&) {
         const std::string path = "/tmp/bellhop-reset-" + std::to_string(::getpid()) + ".sock";
         return std::make_unique<VsockDevice>(must(VsockSocket::listen(path)),
                                              VsockOptions{.id = "vsock0", .cid = 3});
       }},
      {"balloon",
       [](const GuestMemory& memory) {
         return std::make_unique<BalloonDevice>(
             memory, BalloonOptions{.size = 1 << 20,
                                    .deflate_on_oom = true,
                                    .free_page_reporting = true,
                                    .stats_interval = std::chrono::seconds(1)});
       }},
  };
}

INSTANTIATE_TEST_SUITE_P(Devices, EveryDeviceTest, ::testing::ValuesIn(makers()),
                         [](const auto& which) { return std::string(which.param.name); });

}  // namespace
}  // namespace bellhop
