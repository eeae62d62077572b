// Clients that come and go at a console's socket without end keep no thread.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "devices/console/console_device.h"
#include "testing/device_fixture.h"
#include "testing/turn_watch.h"
#include "virtio/abi/console.h"

namespace bellhop {
namespace {

using testing::DeviceFixture;
using testing::eventually;
using testing::must;

class ConsoleFloodTest : public ::testing::TestWithParam<bool> {
 protected:
  ConsoleFloodTest()
      : fixture(NotifyMode::kIoEventFd, testing::make_memory(),
                {.name = "io0", .cpus = {}, .prefer_epoll = GetParam()}) {
    std::string name = (std::filesystem::temp_directory_path() / "consoleXXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
    std::vector<ConsolePortOptions> ports;
    ports.push_back({.name = {}, .backend = must(make_socket_console(folder + "/s"))});
    ConsoleOptions options;
    options.queue_size = DeviceFixture::kSize;
    fixture.serve(std::make_unique<ConsoleDevice>(std::move(ports), options));
  }
  ~ConsoleFloodTest() override {
    fixture.destroy();
    std::filesystem::remove_all(folder);
  }
  [[nodiscard]] UniqueFd connect() const {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder + "/s";
    std::memcpy(address.sun_path, path.data(), path.size());
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    return socket;
  }

  DeviceFixture fixture;
  std::string folder;
};

TEST_P(ConsoleFloodTest, ClientsThatComeAndGoAreTakenInTurns) {
  constexpr std::uint64_t kClients = 300;
  // All have been at the door, and have left again.
  for (std::uint64_t i = 0; i < kClients; ++i) (void)connect();
  auto& counters = static_cast<ConsoleDevice*>(fixture.device)->counters();
  testing::TurnWatch bystander(*fixture.thread, [&] { return counters.connects.get(); });
  fixture.start(0);
  ASSERT_TRUE(eventually([&] { return counters.connects.get() >= kClients; }));
  // A message takes two rounds of the loop at most.
  EXPECT_LE(bystander.most(), 2U);
  const UniqueFd client = connect();
  ASSERT_TRUE(eventually([&] { return counters.connects.get() > kClients; }));
  const std::string text = "hello";
  ASSERT_TRUE(
      fixture.memory.write(GuestAddress(DeviceFixture::kBuffers), std::as_bytes(std::span(text))));
  fixture.give(virtio::kConsoleTransmitQueue, {{GuestAddress(DeviceFixture::kBuffers), 5, false}});
  ASSERT_TRUE(fixture.wait_used(virtio::kConsoleTransmitQueue));
  std::string heard(5, '\0');
  ASSERT_EQ(::recv(client.get(), heard.data(), heard.size(), MSG_WAITALL), 5);
  EXPECT_EQ(heard, text);
}

INSTANTIATE_TEST_SUITE_P(Loops, ConsoleFloodTest, ::testing::Bool(),
                         [](const auto& which) { return which.param ? "epoll" : "io_uring"; });

}  // namespace
}  // namespace bellhop
