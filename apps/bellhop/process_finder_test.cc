#include "apps/bellhop/process_finder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>

#include "base/unix_socket.h"

namespace bellhop {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// A /proc of files of ours; the sockets are real.
class ProcessFinderTest : public ::testing::Test {
 protected:
  ProcessFinderTest()
      : folder_(fs::path(::testing::TempDir()) / fmt::format("bellhop-ps-{}", ::getpid())),
        proc_(folder_ / "proc") {
    fs::create_directories(proc_);
    write(proc_ / "uptime", "1000.25 900.00\n");
  }
  ~ProcessFinderTest() override { fs::remove_all(folder_); }

  static void write(const fs::path& file, const std::string& text) { std::ofstream(file) << text; }

  fs::path add(int pid, const std::string& program, const std::vector<std::string>& words) {
    fs::path process = proc_ / std::to_string(pid);
    fs::create_directories(process / "fd");
    fs::create_directories(process / "net");
    fs::create_symlink(program, process / "exe");
    fs::create_symlink("/", process / "root");
    fs::create_symlink(folder_, process / "cwd");
    std::string cmdline;
    for (const std::string& word : words) cmdline += word + '\0';
    write(process / "cmdline", cmdline);
    // Began 940 s after the host did.
    write(process / "stat",
          fmt::format("{} (a) (b c) S 1 1 1 0 -1 4 5 6 7 8 9 10 11 12 20 0 3 0 {} 77 88\n", pid,
                      940 * ::sysconf(_SC_CLK_TCK)));
    write(process / "net/unix", "Num       RefCount Protocol Flags    Type St Inode Path\n");
    return process;
  }
  /// A socket that listens at `path` of the process' own; it is at descriptor 7.
  void add_socket(const fs::path& process, const std::string& path, int inode,
                  const char* flags = "00010000", int fd = 7) {
    const std::string real = path.starts_with('/') ? path : (folder_ / path).string();
    auto made = UnixListener::listen(real);
    ASSERT_TRUE(made) << made.error().message;
    sockets_.push_back(std::move(*made));
    std::ofstream(process / "net/unix", std::ios::app) << fmt::format(
        "0000000000000000: 00000002 00000000 {} 0001 01 {:5} {}\n", flags, inode, path);
    fs::create_symlink(fmt::format("socket:[{}]", inode), process / "fd" / std::to_string(fd));
  }
  [[nodiscard]] std::vector<FoundProcess> find(std::optional<uid_t> user = {}) const {
    auto found = find_processes(proc_, user);
    EXPECT_TRUE(found);
    return found ? *found : std::vector<FoundProcess>();
  }

  fs::path folder_;
  fs::path proc_;
  std::vector<UnixListener> sockets_;
};

TEST_F(ProcessFinderTest, FindsMachinesAndServersOfTheProgram) {
  add(30, "/usr/bin/bellhop", {"bellhop", "run", "--kernel", "/boot/vmlinuz"});
  add(4, "/usr/bin/bellhop (deleted)", {"/proc/self/exe", "run", "--config=web.toml"});
  add(5, "/usr/bin/bellhop", {"bellhop", "serve", "blk", "--socket", "s"});
  add(6, "/usr/bin/bellhop", {"bellhop", "serve", "--config", "all.toml"});
  const auto found = find();
  ASSERT_THAT(found, SizeIs(4));
  EXPECT_EQ(found[0].pid, 4);
  EXPECT_EQ(found[0].what, "web.toml");
  EXPECT_FALSE(found[0].serves);
  EXPECT_EQ(found[1].what, "blk");
  EXPECT_TRUE(found[1].serves);
  EXPECT_EQ(found[2].what, "all.toml");
  EXPECT_EQ(found[3].what, "/boot/vmlinuz");
  EXPECT_EQ(found[3].uptime, std::chrono::seconds(60));
  EXPECT_EQ(found[3].api_socket, "");
}

TEST_F(ProcessFinderTest, OneThatGoesByAnotherNameIsShown) {
  const fs::path process =
      add(3, "/usr/bin/bellhop", {"/usr/bin/cloud-hypervisor", "--api-socket", "a.sock", "-v"});
  add_socket(process, "a.sock", 77);
  add(4, "/usr/bin/bellhop", {"cloud-hypervisor", "--version"});
  const auto found = find();
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].pid, 3);
  EXPECT_EQ(found[0].api_socket, (folder_ / "a.sock").string());
}

TEST_F(ProcessFinderTest, OthersAreNotShown) {
  add(3, "/usr/bin/bellhops", {"bellhop", "run"});
  add(4, "/usr/bin/sh", {"bellhop", "run"});
  add(5, "/usr/bin/bellhop", {"bellhop", "ps"});
  add(6, "/usr/bin/bellhop", {"bellhop"});
  add(7, "/usr/bin/bellhop", {});
  fs::create_directories(proc_ / "8");  // gone meanwhile, or not ours to look at
  fs::create_directories(proc_ / "bellhop");
  EXPECT_THAT(find(), IsEmpty());
  add(9, "/usr/bin/bellhop", {"bellhop", "run"});
  EXPECT_THAT(find(::geteuid()), SizeIs(1));
  EXPECT_THAT(find(::geteuid() + 1), IsEmpty());
  EXPECT_FALSE(find_processes(proc_ / "none", {}));
}

TEST_F(ProcessFinderTest, AProcessOfWhichNothingIsKnownIsShown) {
  const fs::path process = add(9, "/usr/bin/bellhop", {"bellhop", "run"});
  write(process / "stat", "9 (bellhop S 1");
  fs::remove_all(process / "net");
  fs::remove_all(process / "fd");
  const auto found = find();
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].uptime, std::nullopt);
  EXPECT_EQ(found[0].what, "");
}

TEST_F(ProcessFinderTest, TheApiIsTheSocketThatTheOptionNames) {
  const std::string path = (folder_ / "api.sock").string();
  const fs::path process =
      add(9, "/bin/bellhop", {"bellhop", "run", "--api-socket", path, "--console", "socket=c"});
  add_socket(process, (folder_ / "a-console").string(), 10, "00010000", 6);
  add_socket(process, path, 11);
  EXPECT_EQ(find()[0].api_socket, path);
  EXPECT_EQ(find()[0].api_way, (process / "root").string() + path);
  // Somebody else's by now.
  fs::remove(process / "fd/7");
  EXPECT_EQ(find()[0].api_socket, "");
}

TEST_F(ProcessFinderTest, ASocketThatDoesNotListenIsNone) {
  const fs::path process = add(9, "/bin/bellhop", {"bellhop", "run", "--api-socket=api.sock"});
  add_socket(process, "api.sock", 11, "00000000");
  EXPECT_EQ(find()[0].api_socket, "");
}

TEST_F(ProcessFinderTest, ARelativePathIsMeantFromTheProcessesFolder) {
  const fs::path process = add(9, "/bin/bellhop", {"bellhop", "run", "--api-socket=a b.sock"});
  add_socket(process, "a b.sock", 11);
  EXPECT_EQ(find()[0].api_socket, (folder_ / "a b.sock").string());
  EXPECT_EQ(find()[0].api_way, (process / "cwd/a b.sock").string());
}

TEST_F(ProcessFinderTest, AFileNamesItFromItsOwnFolder) {
  fs::create_directories(folder_ / "etc");
  write(folder_ / "etc/m.toml", "kernel = \"k\"\napi-socket = \"../api.sock\"\n");
  const std::string path = (folder_ / "api.sock").string();
  const fs::path process = add(9, "/bin/bellhop", {"bellhop", "run", "--config", "etc/m.toml"});
  add_socket(process, path, 11);
  EXPECT_EQ(find()[0].api_socket, path);
  write(folder_ / "etc/m.toml", "api-socket = ");
  EXPECT_EQ(find()[0].api_socket, "");
}

TEST_F(ProcessFinderTest, APassedSocketIsFoundByItsNumber) {
  const fs::path process = add(9, "/bin/bellhop", {"bellhop", "run", "--api-socket", "fd=7"});
  add_socket(process, (folder_ / "passed.sock").string(), 11);
  EXPECT_EQ(find()[0].api_socket, (folder_ / "passed.sock").string());
}

TEST_F(ProcessFinderTest, AServersSocketsAreAllOfThem) {
  const fs::path process = add(9, "/bin/bellhop", {"bellhop", "serve", "--config", "d.toml"});
  add_socket(process, "b.sock", 11);
  add_socket(process, "a.sock", 12, "00010000", 8);
  EXPECT_THAT(find()[0].sockets,
              ElementsAre((folder_ / "a.sock").string(), (folder_ / "b.sock").string()));
  EXPECT_EQ(find()[0].api_socket, "");
}

}  // namespace
}  // namespace bellhop
