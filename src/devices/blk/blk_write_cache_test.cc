#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "devices/blk/blk_device.h"
#include "testing/memory_backend.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/ring.h"

namespace bellhop {
namespace {

using namespace virtio;

// A server behind a vhost-user front end may go, and another comes, while the driver stays: what it
// has switched off would be on again, and nobody would tell it.
TEST(BlkWriteCache, IsTheDriversToSwitchWhereThatIsOffered) {
  const std::uint64_t wce = feature_mask(kBlkFeatureConfigWce);
  struct Case {
    std::optional<bool> option;
    bool offered;
    bool offered_behind_a_front_end;
  };
  for (const Case& one :
       {Case{{}, true, false}, Case{true, true, true}, Case{false, false, false}}) {
    BlkDevice disk(std::make_shared<MemoryBackend>(1 << 20), {.config_wce = one.option});
    const DeviceTraits& traits = disk.traits();
    EXPECT_EQ((traits.features & wce) != 0, one.offered);
    EXPECT_EQ((traits.features & ~traits.front_end_features & wce) != 0,
              one.offered_behind_a_front_end);
    const std::byte off{0};
    disk.write_config(offsetof(BlkConfig, writeback), {&off, 1});
    BlkConfig config{};
    disk.read_config(0, std::as_writable_bytes(std::span(&config, 1)));
    EXPECT_EQ(config.writeback, one.offered ? 0U : 1U) << "what is not offered is not done";
  }
}

}  // namespace
}  // namespace bellhop
