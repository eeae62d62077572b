// `bellhop ps`, and `bellhop top` without a socket, beside machines that run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "testing/eventually.h"
#include "tests/integration/cli_fixture.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class PsTest : public CliMachineTest {
 protected:
  void TearDown() override {
    for (const pid_t pid : pids_) {
      ::kill(pid, SIGKILL);
      (void)finish(pid);
    }
  }
  pid_t begin(const std::vector<std::string>& words) {
    pids_.push_back(start(words));
    return pids_.back();
  }
  /// Of the process; null: it is not there. Other tests' and users' machines may be.
  static Json listed(const Json& all, pid_t pid) {
    for (const Json& one : all) {
      if (one.at("pid") == pid) return one;
    }
    return nullptr;
  }
  /// The processes that were begun go on writing to the files of the fixture.
  std::string told(const std::string& arguments) {
    const std::string out = (folder_ / "told").string();
    const std::string command =
        std::string(BELLHOP_EXECUTABLE) + " " + arguments + " >'" + out + "' 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0) << arguments;
    return contents(out);
  }

  std::vector<pid_t> pids_;
};

TEST_F(PsTest, AServerIsListedWithItsSocket) {
  const std::string path = (folder_ / "rng.sock").string();
  const pid_t pid = begin({"serve", "rng", "--socket", path, "--rng"});
  ASSERT_TRUE(testing::eventually([&] { return std::filesystem::exists(path); }));
  const Json one = listed(Json::parse(told("ps --json")), pid);
  ASSERT_TRUE(one.is_object());
  EXPECT_EQ(one.at("command"), "serve");
  EXPECT_EQ(one.at("what"), "rng");
  EXPECT_EQ(one.at("sockets"), Json{path});
  EXPECT_THAT(told("ps"), HasSubstr("rng " + path));
}

#ifdef BELLHOP_BENCH_GUEST

TEST_F(PsTest, MachinesAreListedWithWhatTheirApisTell) {
  const std::string api = (folder_ / "a.sock").string();
  const std::vector<std::string> words = {
      "run", "--kernel",  BELLHOP_BENCH_GUEST,         "--memory",
      "64M", "--cmdline", "workload=idle seconds=1000"};
  const pid_t silent = begin(words);
  std::vector<std::string> more = words;
  more.insert(more.end(), {"--api-socket", api, "--cpus", "2", "--rng", "--console",
                           "socket=" + (folder_ / "c.sock").string()});
  const pid_t asked = begin(more);
  Json all;
  ASSERT_TRUE(testing::eventually([&] {
    all = Json::parse(told("ps --json"));
    const Json one = listed(all, asked);
    return one.is_object() && one.at("state") == "Running" && listed(all, silent).is_object();
  }));
  const Json one = listed(all, asked);
  EXPECT_EQ(one.at("vcpus"), 2);
  EXPECT_EQ(one.at("memory"), 64 << 20);
  EXPECT_EQ(one.at("api_socket"), api);
  EXPECT_EQ(one.at("what"), BELLHOP_BENCH_GUEST);
  EXPECT_EQ(one.at("devices"), (Json{{"rng", 1}}));
  EXPECT_TRUE(listed(all, silent).at("state").is_null());
  EXPECT_TRUE(listed(all, silent).at("api_socket").is_null());
  EXPECT_THAT(told("top --count 1 --interval 50ms"), HasSubstr(api + ": Running, 64M of memory"));

  // One that hangs holds nobody up, and has a line all the same.
  ::kill(asked, SIGSTOP);
  EXPECT_THAT(told("ps"), HasSubstr("no answer"));
  EXPECT_TRUE(listed(Json::parse(told("ps --json")), asked).at("state").is_null());
  ::kill(asked, SIGCONT);
  ASSERT_TRUE(testing::eventually(
      [&] { return listed(Json::parse(told("ps --json")), asked).at("state") == "Running"; }));
}

#endif

}  // namespace
}  // namespace bellhop
