// Options of the devices that need no file and no network: rng, console, balloon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include "vmm/options/machine_options.h"

namespace bellhop {
namespace {

using testing::HasSubstr;

class DeviceOptionsTest : public testing::Test {
 protected:
  DeviceOptionsTest() {
    char name[] = "/tmp/bellhop-options-XXXXXX";
    kernel_ = name;
    const int fd = ::mkstemp(kernel_.data());
    if (fd >= 0) ::close(fd);
    options_.kernel = kernel_;
  }
  ~DeviceOptionsTest() override { ::unlink(kernel_.c_str()); }

  static PropertyList list(const std::string& text, std::string_view bare_key = {}) {
    if (text.empty()) return {};
    auto parsed = PropertyList::parse(text, bare_key);
    EXPECT_TRUE(parsed.has_value()) << text;
    return parsed.value_or(PropertyList());
  }
  std::string fault() {
    const auto config = make_machine_config(options_);
    return config ? "" : config.error().message;
  }
  MachineConfig good() {
    auto config = make_machine_config(options_);
    EXPECT_TRUE(config.has_value()) << config.error().message;
    return config.value_or(MachineConfig());
  }

  std::string kernel_;
  MachineOptions options_;
};

TEST_F(DeviceOptionsTest, Rng) {
  options_.rngs = {list(""), list("src=/dev/hwrng,max-bytes=1K,period=500,notify=sync,id=dice")};
  const MachineConfig config = good();
  ASSERT_EQ(config.rngs.size(), 2U);
  EXPECT_EQ(config.rngs[0].id, "rng0");
  EXPECT_EQ(config.rngs[0].source, "/dev/urandom");
  EXPECT_EQ(config.rngs[0].max_bytes, 0U);
  EXPECT_EQ(config.rngs[0].notify, NotifyMode::kIoEventFd);
  EXPECT_EQ(config.rngs[0].iothread, config.iothreads[0].name);
  EXPECT_EQ(config.rngs[1].id, "dice");
  EXPECT_EQ(config.rngs[1].source, "/dev/hwrng");
  EXPECT_EQ(config.rngs[1].max_bytes, 1024U);
  EXPECT_EQ(config.rngs[1].period, std::chrono::milliseconds(500));
  EXPECT_EQ(config.rngs[1].notify, NotifyMode::kSync);
}

TEST_F(DeviceOptionsTest, SaysWhatIsWrongWithAnRng) {
  const auto fault_of = [&](const std::string& text) {
    options_.rngs = {list(text)};
    return fault();
  };
  EXPECT_THAT(fault_of("src="), HasSubstr("--rng: src"));
  EXPECT_THAT(fault_of("max-bytes=0"), HasSubstr("--rng: max-bytes=0"));
  EXPECT_THAT(fault_of("max-bytes=1,period=0"), HasSubstr("--rng: period=0"));
  EXPECT_THAT(fault_of("period=10"), HasSubstr("needs max-bytes"));
  EXPECT_THAT(fault_of("source=x"), HasSubstr("unknown key 'source'"));
  EXPECT_THAT(fault_of("notify=poll"), HasSubstr("sync or ioeventfd"));
  EXPECT_THAT(fault_of("iothread=none"), HasSubstr("--rng: iothread=none"));
  options_.rngs = {list("id=a")};
  options_.disks = {list("null=1G,id=a")};
  EXPECT_THAT(fault(), HasSubstr("id=a is given to two devices"));
}

TEST_F(DeviceOptionsTest, RngInAFile) {
  const auto options = parse_options_text("[[rng]]\n[[rng]]\nsrc = \"/dev/hwrng\"\n", "f");
  ASSERT_TRUE(options.has_value()) << options.error().message;
  ASSERT_EQ(options->rngs.size(), 2U);
  EXPECT_TRUE(options->rngs[0].items().empty());
  EXPECT_EQ(parse_rng(options->rngs[1])->source, "/dev/hwrng");
}

}  // namespace
}  // namespace bellhop
