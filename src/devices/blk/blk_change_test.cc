// A disk whose queue changes between the ways of notification under load, on every engine.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <map>
#include <random>
#include <vector>

#include "block/block_fixture.h"
#include "devices/blk/disk_config.h"
#include "testing/bytes.h"
#include "testing/device_fixture.h"
#include "testing/mode_changer.h"
#include "virtio/abi/blk.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::DeviceFixture;

constexpr std::uint32_t kBlock = 4096;
constexpr std::uint64_t kBlocks = 256;
constexpr unsigned kDepth = 16;

struct Engine {
  Aio aio;
  Cache cache;
};

class BlkChangeTest : public ::testing::TestWithParam<Engine> {
 protected:
  explicit BlkChangeTest(NotifyMode mode = NotifyMode::kAdaptive)
      : file_("/var/tmp", kBlocks * kBlock), mode_(mode) {}

  void serve() {
    DiskConfig config;
    config.id = "disk0";
    config.notify = mode_;
    RawFileSource source;
    source.path = file_.path();
    source.aio = GetParam().aio;
    source.cache = GetParam().cache;
    config.source = source;
    auto made = make_device(config, {});
    if (!made) GTEST_SKIP() << made.error().message;
    fixture_.serve(std::move(*made));
    fixture_.start();
  }

  static GuestAddress data(unsigned slot) {
    return GuestAddress(DeviceFixture::kBuffers + std::uint64_t{slot} * kBlock);
  }
  static GuestAddress header(unsigned slot) {
    return GuestAddress(DeviceFixture::kBuffers + 0x40000 + std::uint64_t{slot} * 64);
  }
  static GuestAddress status(unsigned slot) { return GuestAddress(header(slot).value() + 32); }

  /// One request in each slot, all at once; whether all came back, and well.
  bool batch(std::uint32_t type, const std::array<std::uint64_t, kDepth>& blocks) {
    for (unsigned slot = 0; slot < kDepth; ++slot) {
      const BlkRequestHeader request{
          .type = type, .reserved = 0, .sector = blocks[slot] * (kBlock / kBlkSectorBytes)};
      const std::byte untouched{0xee};
      if (!fixture_.memory.write(header(slot), std::as_bytes(std::span(&request, 1))) ||
          !fixture_.memory.write(status(slot), {&untouched, 1}) ||
          !fixture_.driver(0).add({{header(slot), sizeof request, false},
                                   {data(slot), kBlock, type == kBlkTypeIn},
                                   {status(slot), 1, true}})) {
        return false;
      }
    }
    fixture_.offer(0);
    for (unsigned i = 0; i < kDepth; ++i) {
      if (!fixture_.wait_used(0)) return false;
    }
    for (unsigned slot = 0; slot < kDepth; ++slot) {
      std::byte answer{};
      if (!fixture_.memory.read(status(slot), {&answer, 1}) || answer != std::byte{kBlkStatusOk}) {
        return false;
      }
    }
    return true;
  }

  void check_while_it_changes();

  ScratchFile file_;
  const NotifyMode mode_;
  DeviceFixture fixture_{mode_};
};

void BlkChangeTest::check_while_it_changes() {
  const testing::ModeChanger changer(fixture_.host->life());
  std::mt19937 random(1);
  std::map<std::uint64_t, std::byte> written;
  bool good = true;
  for (unsigned round = 0; good && (round < 100 || changer.changes() < 50); ++round) {
    std::array<std::uint64_t, kDepth> blocks{};
    for (unsigned slot = 0; slot < kDepth; ++slot) {
      blocks[slot] = (random() % (kBlocks / kDepth)) * kDepth + slot;  // no two alike
      const std::byte value{static_cast<std::uint8_t>(random())};
      written[blocks[slot]] = value;
      const std::vector<std::byte> bytes(kBlock, value);
      ASSERT_TRUE(fixture_.memory.write(data(slot), bytes));
    }
    good = batch(kBlkTypeOut, blocks);
    for (unsigned slot = 0; slot < kDepth; ++slot) {
      auto block = written.begin();
      std::advance(block, random() % written.size());
      blocks[slot] = block->first;
    }
    good = good && batch(kBlkTypeIn, blocks);
    for (unsigned slot = 0; good && slot < kDepth; ++slot) {
      std::vector<std::byte> bytes(kBlock);
      ASSERT_TRUE(fixture_.memory.read(data(slot), bytes));
      EXPECT_TRUE(testing::all_bytes(bytes, written[blocks[slot]])) << "block " << blocks[slot];
    }
  }
  EXPECT_TRUE(good);
  EXPECT_EQ(fixture_.host->life().guest_faults(), 0U);
}

TEST_P(BlkChangeTest, EveryBlockIsThereWhateverChanges) {
  serve();
  if (!IsSkipped()) check_while_it_changes();
}

/// One that is not adaptive: the back end is opened anew where a vCPU is to use it as well.
class BlkSetNotifyTest : public BlkChangeTest {
 protected:
  BlkSetNotifyTest() : BlkChangeTest(NotifyMode::kIoEventFd) {}
  /// Of the process.
  static std::ptrdiff_t descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  }
};

TEST_P(BlkSetNotifyTest, EveryBlockIsThereWhateverIsSet) {
  serve();
  if (!IsSkipped()) check_while_it_changes();
}

TEST_P(BlkSetNotifyTest, ChangesLeaveNothingBehind) {
  serve();
  if (IsSkipped()) return;
  const auto set = [&](NotifyMode mode) {
    return fixture_.host->life().set_notify(0, {.mode = mode}, std::chrono::seconds(10));
  };
  ASSERT_TRUE(set(NotifyMode::kSync));
  ASSERT_TRUE(set(NotifyMode::kIoEventFd));
  const std::ptrdiff_t before = descriptors();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(set(NotifyMode::kSync));
    ASSERT_TRUE(set(NotifyMode::kAdaptive));
    ASSERT_TRUE(set(NotifyMode::kIoEventFd));
    if (i % 10 == 0) fixture_.restart();
  }
  EXPECT_EQ(descriptors(), before);
}

std::vector<Engine> engines() {
  return {{Aio::kIoUring, Cache::kWriteback},
          {Aio::kIoUring, Cache::kNone},
          {Aio::kNative, Cache::kNone},
          {Aio::kThreads, Cache::kWriteback}};
}
std::string engine_name(const ::testing::TestParamInfo<Engine>& one) {
  return name_of(one.param.aio, one.param.cache);
}
INSTANTIATE_TEST_SUITE_P(Engines, BlkChangeTest, ::testing::ValuesIn(engines()), engine_name);
INSTANTIATE_TEST_SUITE_P(Engines, BlkSetNotifyTest, ::testing::ValuesIn(engines()), engine_name);

}  // namespace
}  // namespace bellhop
