// `bellhop bench vhost-user` as a whole: back ends that it starts itself, those of others, and data
// that is wrong.
#include <signal.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "tests/integration/cli_fixture.h"

namespace bellhop {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class BenchVhostUserTest : public CliTest {
 protected:
  ~BenchVhostUserTest() override {
    if (server_ > 0) {
      ::kill(server_, SIGTERM);
      ::waitpid(server_, nullptr, 0);
    }
  }
  std::vector<std::string> bench(const std::vector<std::string>& more) {
    std::vector<std::string> command = {"bench",       "vhost-user", "--seconds", "0.1",
                                        "--warmup",    "0.05",       "--repeat",  "1",
                                        "--placement", "free",       "--medium",  medium_};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }
  /// The runs of a bench that succeeds.
  json runs(const std::vector<std::string>& more) {
    const std::string path = (folder_ / "results.json").string();
    auto command = bench(more);
    command.insert(command.end(), {"--json", path, "--image-size", "16M", "--aio", "threads"});
    const Outcome outcome = bellhop(command);
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    return json::parse(contents(path), nullptr, false).value("runs", json::array());
  }
  /// A back end of somebody else's; returns its socket.
  std::string serve(const std::string& disk) {
    std::string socket = (folder_ / "disk.sock").string();
    server_ = start({"serve", "blk", "--socket", socket, "--disk", disk});
    for (int i = 0; i < 1000 && !std::filesystem::exists(socket); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return socket;
  }

  pid_t server_ = -1;
  std::string medium_ = folder_.string();
};

TEST_F(BenchVhostUserTest, MeasuresTheServerThatItStarts) {
  const json all = runs({"--depth", "1,8", "--notify", "ioeventfd,poll"});
  ASSERT_EQ(all.size(), 3U * 2 * 2);
  for (const json& run : all) {
    EXPECT_EQ(run["vmm"], "bellhop");
    EXPECT_EQ(run["transport"], "vhost-user");
    EXPECT_EQ(run["guest"], "driver in this process");
    EXPECT_EQ(run["verified"], true);
    EXPECT_GT(run["operations"], 0);
    EXPECT_GT(run["host_cpu_s"], 0.0);
  }
}

TEST_F(BenchVhostUserTest, AMediumThatKeepsNothingIsNotChecked) {
  medium_ = "null";
  const json all = runs({"--depth", "4", "--workload", "randread,randwrite"});
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0]["backend"], "null");
  EXPECT_EQ(all[0]["verified"], false);
}

TEST_F(BenchVhostUserTest, MeasuresQemusStorageDaemonBesideIt) {
  if (::system("command -v qemu-storage-daemon > /dev/null") != 0) {
    GTEST_SKIP() << "no qemu-storage-daemon here: install qemu-system-common";
  }
  const json all =
      runs({"--depth", "8", "--workload", "randread", "--peer", "qemu-storage-daemon"});
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[1]["vmm"], "qemu");
  EXPECT_GT(all[1]["operations"], 0);
}

TEST_F(BenchVhostUserTest, MeasuresSomebodysBackEnd) {
  const std::string disk = make_file("others.img", 8 << 20);
  const std::string socket = serve(disk);
  const json all = runs({"--socket", socket, "--overwrite", "1M", "--depth", "4"});
  ASSERT_EQ(all.size(), 3U);
  for (const json& run : all) {
    EXPECT_EQ(run["vmm"], "socket");
    EXPECT_GT(run["host_cpu_s"], 0.0);
  }
  // What may be overwritten is, and nothing else.
  const std::string bytes = contents(disk);
  EXPECT_NE(bytes.find_first_not_of('\0'), std::string::npos);
  EXPECT_EQ(bytes.find_first_not_of('\0', 1 << 20), std::string::npos);
}

TEST_F(BenchVhostUserTest, WrongDataGivesNoFigure) {
  const std::string socket = serve("null=16M");
  for (const char* workload : {"randread", "randwrite"}) {
    const Outcome outcome = bellhop(
        bench({"--socket", socket, "--overwrite", "1M", "--depth", "4", "--workload", workload}));
    EXPECT_EQ(outcome.status, 1) << workload;
    EXPECT_THAT(outcome.out + outcome.err, HasSubstr("wrong data at")) << workload;
  }
}

TEST_F(BenchVhostUserTest, SaysWhatIsWrong) {
  expect_refused(bench({"--socket", "/none"}), "--overwrite 1G");
  expect_refused(bench({"--overwrite", "1M"}), "--overwrite is of the disk at a --socket");
  expect_refused(bench({"--socket", "/none", "--overwrite", "1M", "--peer", "qemu-storage-daemon"}),
                 "leave out --peer");
  expect_refused(bench({"--peer", "qemu"}), "--peer: 'qemu' is unknown");
  expect_refused(bench({"--peer", "qemu-storage-daemon=/bin/true"}), "is no qemu-storage-daemon");
  expect_refused(bench({"--notify", "sync"}), "known are ioeventfd, poll");
  const Outcome nobody = bellhop(bench({"--socket", "/none", "--overwrite", "1M"}));
  EXPECT_EQ(nobody.status, 1);
  EXPECT_THAT(nobody.out + nobody.err, HasSubstr("/none"));
}

}  // namespace
}  // namespace bellhop
