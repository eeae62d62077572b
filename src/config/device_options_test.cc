// Options of the devices that need no file and no network: rng, console, balloon.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "config/machine_options.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

class DeviceOptionsTest : public ::testing::Test {
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
  EXPECT_THAT(fault_of("notify=off"), HasSubstr("one of ioeventfd, sync, poll, adaptive"));
  EXPECT_THAT(fault_of("notify=adaptive,optimize=cost"),
              HasSubstr("throughput, efficiency, latency"));
  EXPECT_THAT(fault_of("notify=poll,optimize=efficiency"), HasSubstr("notify=adaptive"));
  EXPECT_THAT(fault_of("coalesce=auto"), HasSubstr("off or a time up to 10ms"));
  EXPECT_THAT(fault_of("coalesce=11ms"), HasSubstr("off or a time up to 10ms"));
  EXPECT_THAT(fault_of("notify=sync,coalesce=50us"), HasSubstr("coalesce"));
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
  EXPECT_EQ(RngConfig::parse(options->rngs[1])->source, "/dev/hwrng");
}

TEST_F(DeviceOptionsTest, Consoles) {
  EXPECT_TRUE(good().consoles.empty());
  options_.consoles = {list("stdio"), list("socket=/run/a,name=org.qemu.guest_agent.0,notify=sync"),
                       list("pty"), list("file=/tmp/log,id=con"), list("null")};
  const MachineConfig config = good();
  ASSERT_EQ(config.consoles.size(), 1U) << "one device";
  const ConsoleConfig& console = config.consoles[0];
  EXPECT_EQ(console.id, "con");
  EXPECT_EQ(console.notify, NotifyMode::kSync);
  EXPECT_EQ(console.iothread, config.iothreads[0].name);
  ASSERT_EQ(console.ports.size(), 5U);
  EXPECT_EQ(console.ports[0].end, ConsolePortConfig::End::kStdio);
  EXPECT_EQ(console.ports[1].end, ConsolePortConfig::End::kSocket);
  EXPECT_EQ(console.ports[1].path, "/run/a");
  EXPECT_EQ(console.ports[1].name, "org.qemu.guest_agent.0");
  EXPECT_EQ(console.ports[2].end, ConsolePortConfig::End::kPty);
  EXPECT_EQ(console.ports[3].path, "/tmp/log");
  EXPECT_EQ(console.ports[4].end, ConsolePortConfig::End::kNull);
}

TEST_F(DeviceOptionsTest, AConsolesRingsAreAsAnyOfItsPortsSays) {
  options_.consoles = {list("stdio,packed=on"), list("pty,queue-reset=on,in-order=on")};
  const ConsoleConfig console = good().consoles.at(0);
  EXPECT_TRUE(console.packed);
  EXPECT_TRUE(console.queue_reset);
  EXPECT_TRUE(console.in_order);
  EXPECT_FALSE(console.notification_data);
  options_.consoles = {list("stdio,packed=on"), list("pty,packed=off")};
  EXPECT_THAT(fault(), HasSubstr("must agree"));
}

TEST_F(DeviceOptionsTest, SaysWhatIsWrongWithAConsole) {
  const auto fault_of = [&](std::initializer_list<std::string> texts) {
    options_.consoles.clear();
    for (const std::string& text : texts) options_.consoles.push_back(list(text));
    return fault();
  };
  EXPECT_THAT(fault_of({"name=a"}), HasSubstr("one of stdio, pty, null, file=PATH"));
  EXPECT_THAT(fault_of({"stdio,pty"}), HasSubstr("one of stdio, pty"));
  EXPECT_THAT(fault_of({"file="}), HasSubstr("--console: file needs a value"));
  EXPECT_THAT(fault_of({"tty"}), HasSubstr("unknown key 'tty'"));
  EXPECT_THAT(fault_of({"stdio", "stdio,name=a"}), HasSubstr("stdio can be had by one port only"));
  EXPECT_THAT(fault_of({"pty,name=a", "null,name=a"}), HasSubstr("name=a is given to two"));
  EXPECT_THAT(fault_of({"file=x", "socket=x"}), HasSubstr("x is given to two ports"));
  EXPECT_THAT(fault_of({"null,name=a b"}), HasSubstr("without blanks"));
  EXPECT_THAT(fault_of({"null,name=" + std::string(65, 'a')}), HasSubstr("at most 64 bytes"));
  EXPECT_THAT(fault_of({"null,id=a", "null,id=b"}), HasSubstr("must agree"));
  EXPECT_THAT(fault_of({"null,notify=sync", "null,notify=ioeventfd"}), HasSubstr("must agree"));
  EXPECT_THAT(fault_of({"null,iothread=none"}), HasSubstr("--console: iothread=none"));
  options_.consoles.assign(32, list("null"));
  EXPECT_THAT(fault(), HasSubstr("at most 31 ports"));
}

TEST_F(DeviceOptionsTest, Balloon) {
  options_.balloons = {list("64M,deflate-on-oom,free-page-reporting=on,stats-interval=5", "size")};
  MachineConfig config = good();
  ASSERT_EQ(config.balloons.size(), 1U);
  EXPECT_EQ(config.balloons[0].id, "balloon0");
  EXPECT_EQ(config.balloons[0].size, std::uint64_t{64} << 20);
  EXPECT_TRUE(config.balloons[0].deflate_on_oom);
  EXPECT_TRUE(config.balloons[0].free_page_reporting);
  EXPECT_EQ(config.balloons[0].stats_interval, std::chrono::seconds(5));
  options_.balloons = {list("statistics=on")};
  config = good();
  EXPECT_EQ(config.balloons[0].size, 0U);
  EXPECT_EQ(config.balloons[0].stats_interval, std::chrono::seconds(1));
  options_.balloons = {list("")};
  EXPECT_EQ(good().balloons[0].stats_interval, std::chrono::seconds(0));
}

TEST_F(DeviceOptionsTest, SaysWhatIsWrongWithABalloon) {
  const auto fault_of = [&](const std::string& text) {
    options_.balloons = {list(text)};
    return fault();
  };
  EXPECT_THAT(fault_of("size=1000"), HasSubstr("a multiple of 4K"));
  EXPECT_THAT(fault_of("size=1G"), HasSubstr("more than the machine's memory"));
  EXPECT_THAT(fault_of("stats-interval=0"), HasSubstr("--balloon: stats-interval=0"));
  EXPECT_THAT(fault_of("statistics=off,stats-interval=5"), HasSubstr("needs statistics=on"));
  EXPECT_THAT(fault_of("deflate-on-oom=yes"), HasSubstr("on or off"));
  options_.balloons = {list(""), list("id=b")};
  EXPECT_THAT(fault(), HasSubstr("one at most"));
}

TEST_F(DeviceOptionsTest, ConsolesAndBalloonInAFile) {
  auto options = parse_options_text(
      "console = [\"pty\", { socket = \"/run/s\", name = \"a\" }]\n"
      "[balloon]\nsize = \"1M\"\n",
      "f");
  ASSERT_TRUE(options.has_value()) << options.error().message;
  ASSERT_EQ(options->consoles.size(), 2U);
  EXPECT_EQ(ConsoleConfig::parse(options->consoles)->ports[1].path, "/run/s");
  MachineOptions later;
  later.balloons = {list("deflate-on-oom")};
  options->merge(later);
  ASSERT_EQ(options->balloons.size(), 1U);
  const auto balloon = BalloonSettings::parse(options->balloons[0]);
  EXPECT_EQ(balloon->size, std::uint64_t{1} << 20);
  EXPECT_TRUE(balloon->deflate_on_oom);
}

TEST(DeviceKinds, SayWhatTheyAre) {
  std::set<std::string_view> names;
  for (const DeviceKind& kind : device_kinds()) {
    EXPECT_TRUE(names.insert(kind.option.name).second) << kind.option.name;
    EXPECT_FALSE(kind.option.summary.empty() || kind.option.value.empty()) << kind.option.name;
    EXPECT_THAT(kind.option.keys, ::testing::StartsWith("\n  ")) << kind.option.name;
    const auto file = fmt::format("[[{}]]\n", kind.option.name);
    const auto options = parse_options_text(file, "f");
    ASSERT_TRUE(options.has_value()) << options.error().message;
    EXPECT_EQ((*options.*kind.list).size(), 1U);
  }
}

TEST(DeviceKinds, OfTheCommandLineWinOverThoseOfTheFile) {
  for (const DeviceKind& kind : device_kinds()) {
    SCOPED_TRACE(kind.option.name);
    const auto list = [&](const char* text) { return *PropertyList::parse(text); };
    MachineOptions file;
    (file.*kind.list) = {list("name=a,id=a,iothread=x")};
    MachineOptions given;
    (given.*kind.list) = {list("name=a,id=a,iothread=y")};
    file.merge(given);
    ASSERT_EQ((file.*kind.list).size(), 1U);
    EXPECT_EQ((file.*kind.list)[0].find("iothread")->value, "y");
    (given.*kind.list) = {list("name=b,id=b"), list("name=b,id=b")};
    file.merge(given);
    EXPECT_EQ((file.*kind.list).size(), 3U) << "two of the command line stay two";
  }
}

}  // namespace
}  // namespace bellhop
