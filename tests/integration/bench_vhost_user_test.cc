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
  static std::vector<std::string> joined(std::vector<std::string> command,
                                         const std::vector<std::string>& more) {
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }
  static std::vector<std::string> bench(const std::vector<std::string>& more) {
    return joined(
        {"bench", "vhost-user", "--warmup", "0.05", "--repeat", "1", "--placement", "free"}, more);
  }
  /// With the back end on an image in `medium_`.
  std::vector<std::string> started(const std::vector<std::string>& more) {
    return bench(joined({"--medium", medium_, "--image-size", "16M", "--aio", "threads"}, more));
  }
  /// The runs of one that succeeds, in short.
  json runs(const std::vector<std::string>& command) {
    const std::string path = (folder_ / "results.json").string();
    const Outcome outcome = bellhop(joined(command, {"--json", path, "--seconds", "0.1"}));
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    return json::parse(contents(path), nullptr, false).value("runs", json::array());
  }
  /// A back end that runs already; returns its socket.
  std::string serve(const std::string& disk) {
    std::string socket = (folder_ / "disk.sock").string();
    server_ = start({"serve", "blk", "--socket", socket, "--disk", disk});
    EXPECT_TRUE(testing::eventually([&] { return std::filesystem::exists(socket); }));
    return socket;
  }

  pid_t server_ = -1;
  std::string medium_ = folder_.string();
};

TEST_F(BenchVhostUserTest, MeasuresTheServerThatItStarts) {
  const json all = runs(started({"--depth", "1,8", "--notify", "ioeventfd,poll"}));
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
  const json all = runs(started({"--depth", "4", "--workload", "randread,randwrite"}));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0]["backend"], "null");
  EXPECT_EQ(all[0]["verified"], false);
}

TEST_F(BenchVhostUserTest, MeasuresEachKindOfRing) {
  const json all = runs(started({"--depth", "8", "--workload", "randwrite", "--ring",
                                 "split,packed,split-in-order,packed-in-order"}));
  ASSERT_EQ(all.size(), 4U);
  const char* const kinds[] = {"split", "packed", "split-in-order", "packed-in-order"};
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i]["ring"], kinds[i]);
    EXPECT_EQ(all[i]["verified"], true);
    EXPECT_GT(all[i]["operations"], 0);
  }
}

TEST_F(BenchVhostUserTest, RingsThatABackEndHasNotAreNamed) {
  const std::string socket = serve("path=" + make_file("others.img", 8 << 20));
  for (const char* const ring : {"packed", "split-in-order"}) {
    const Outcome outcome = bellhop(bench({"--socket", socket, "--overwrite", "1M", "--workload",
                                           "randread", "--depth", "1", "--ring", ring}));
    EXPECT_EQ(outcome.status, 1);
    EXPECT_THAT(outcome.out + outcome.err,
                HasSubstr("--ring " + std::string(ring) + ": this back end does not offer such"));
  }
}

TEST_F(BenchVhostUserTest, MeasuresQemusStorageDaemonBesideIt) {
  if (::system("command -v qemu-storage-daemon > /dev/null") != 0) {
    GTEST_SKIP() << "no qemu-storage-daemon here: install qemu-system-common";
  }
  const std::string path = (folder_ / "results.json").string();
  const Outcome outcome =
      bellhop(started({"--depth", "8", "--workload", "randread", "--peer", "qemu-storage-daemon",
                       "--ring", "split,packed", "--json", path, "--seconds", "0.1"}));
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("qemu-storage-daemon offers split rings alone"));
  const json all = json::parse(contents(path), nullptr, false).value("runs", json::array());
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[2]["vmm"], "qemu");
  EXPECT_EQ(all[2]["ring"], "split");
  EXPECT_GT(all[2]["operations"], 0);
}

TEST_F(BenchVhostUserTest, MeasuresABackEndThatRunsAlready) {
  const std::string disk = make_file("others.img", 8 << 20);
  const std::string socket = serve(disk);
  const json all = runs(bench({"--socket", socket, "--overwrite", "1M", "--depth", "4"}));
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

TEST_F(BenchVhostUserTest, ABackEndThatDiesGivesNoFigureAndNoWait) {
  const std::string socket = serve("path=" + make_file("others.img", 8 << 20));
  const pid_t bench_pid = ::fork();
  if (bench_pid == 0) {
    std::vector<std::string> words = bench({"--socket", socket, "--overwrite", "1M", "--depth", "4",
                                            "--workload", "randread", "--seconds", "100"});
    std::vector<char*> argv = {const_cast<char*>(BELLHOP_EXECUTABLE)};
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::dup2(::open((folder_ / "said").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), 1);
    ::dup2(1, 2);
    ::execv(argv[0], argv.data());
    ::_exit(126);
  }
  EXPECT_TRUE(says("said", "[1/1]"));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ::kill(server_, SIGKILL);
  ::waitpid(server_, nullptr, 0);
  server_ = -1;
  const auto killed = std::chrono::steady_clock::now();
  int status = 0;
  ::waitpid(bench_pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
  EXPECT_THAT(contents(folder_ / "said"), HasSubstr("the device has gone with requests in flight"));
  EXPECT_LT(std::chrono::steady_clock::now() - killed, std::chrono::seconds(9))
      << "it is not waited for as one that is silent";
}

TEST_F(BenchVhostUserTest, CtrlCEndsADriverThatIsBusy) {
  medium_ = "null";
  const pid_t pid = start(started({"--depth", "32", "--workload", "randread", "--seconds", "100"}));
  EXPECT_TRUE(says("err", "[1/1]"));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ::kill(pid, SIGINT);
  EXPECT_EQ(finish(pid).status, 128 + SIGINT);
}

TEST_F(BenchVhostUserTest, SaysWhatIsWrong) {
  expect_refused(bench({"--socket", "/none"}), "--overwrite 1G");
  expect_refused(bench({"--overwrite", "1M"}), "--overwrite is of the disk at a --socket");
  for (const auto& [option, value] : {std::pair{"--peer", "qemu-storage-daemon"},
                                      {"--notify", "poll"},
                                      {"--medium", "."},
                                      {"--image-size", "16M"},
                                      {"--aio", "threads"},
                                      {"--cache", "none"}}) {
    expect_refused(bench({"--socket", "/none", "--overwrite", "1M", option, value}),
                   std::string(option) + " is of back ends that are started here");
  }
  expect_refused(bench({"--peer", "qemu"}), "--peer: 'qemu' is unknown");
  expect_refused(bench({"--peer", "qemu-storage-daemon=/bin/true"}), "is no qemu-storage-daemon");
  expect_refused(bench({"--notify", "sync"}), "known are ioeventfd, poll");
  expect_refused(bench({"--ring", "round"}), "known are split, packed, split-in-order");
  const std::vector<std::string> short_run = {"bench", "vhost-user", "--seconds",
                                              "0.1",   "--repeat",   "1"};
  expect_refused(joined(short_run, {"--placement", "overcommit"}), "overcommit is of vCPUs");
  const Outcome nobody = bellhop(bench({"--socket", "/none", "--overwrite", "1M"}));
  EXPECT_EQ(nobody.status, 1);
  EXPECT_THAT(nobody.out + nobody.err, HasSubstr("--socket /none: cannot connect"));
  const std::string socket = serve("path=" + make_file("ro.img", 8 << 20) + ",readonly");
  const Outcome read_only = bellhop(bench({"--socket", socket, "--overwrite", "1M"}));
  EXPECT_EQ(read_only.status, 1);
  EXPECT_THAT(read_only.out + read_only.err, HasSubstr("the disk is read-only"));
}

}  // namespace
}  // namespace bellhop
