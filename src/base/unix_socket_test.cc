#include "base/unix_socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>

namespace bellhop {
namespace {

using ::testing::HasSubstr;

class UnixListenerTest : public ::testing::Test {
 protected:
  UnixListenerTest() {
    folder = (std::filesystem::temp_directory_path() / "unix-socket-XXXXXX").string();
    EXPECT_NE(::mkdtemp(folder.data()), nullptr);
    path = folder + "/s";
  }
  ~UnixListenerTest() override { std::filesystem::remove_all(folder); }

  static std::string fault(const std::string& where) {
    const auto made = UnixListener::listen(where);
    return made ? "" : made.error().message;
  }

  std::string folder;
  std::string path;
};

TEST_F(UnixListenerTest, TakesClients) {
  const auto listener = UnixListener::listen(path);
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  EXPECT_FALSE(listener->accept().valid()) << "nobody yet";
  const UniqueFd client = make_unix_socket();
  EXPECT_EQ(connect_unix(client.get(), path), 0);
  const UniqueFd server = listener->accept();
  ASSERT_TRUE(server.valid());
  EXPECT_EQ(::send(server.get(), "x", 1, 0), 1);
  char byte = 0;
  EXPECT_EQ(::recv(client.get(), &byte, 1, 0), 1);
  const UniqueFd other = make_unix_socket();
  EXPECT_EQ(connect_unix(other.get(), path + "/none"), ENOTDIR);
  EXPECT_EQ(connect_unix(other.get(), std::string(kMaxUnixPath + 1, 'x')), ENAMETOOLONG);
}

TEST_F(UnixListenerTest, ItsFileIsMadeWithAMode) {
  const auto listener = UnixListener::listen(path, 0600);
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  struct stat info {};
  ASSERT_EQ(::lstat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(UnixListenerTest, OneThatWasPassedIsTaken) {
  auto made = UnixListener::listen(path);
  ASSERT_TRUE(made.has_value()) << made.error().message;
  {
    const auto taken = UnixListener::adopt(UniqueFd(::dup(made->fd())));
    ASSERT_TRUE(taken.has_value()) << taken.error().message;
    const UniqueFd client = make_unix_socket();
    EXPECT_EQ(connect_unix(client.get(), path), 0);
    EXPECT_TRUE(taken->accept().valid());
  }
  EXPECT_EQ(::access(path.c_str(), F_OK), 0) << "not its file";
  const UniqueFd quiet = make_unix_socket();
  for (const int fd : {quiet.get(), ::open("/dev/null", O_RDWR | O_CLOEXEC)}) {
    EXPECT_FALSE(UnixListener::adopt(UniqueFd(::dup(fd))).has_value()) << fd;
  }
}

TEST_F(UnixListenerTest, RemovesItsFileAndNoOther) {
  {
    auto first = UnixListener::listen(path);
    ASSERT_TRUE(first.has_value());
    const UnixListener moved = std::move(*first);
    EXPECT_TRUE(std::filesystem::exists(path));
    EXPECT_THAT(fault(path), HasSubstr("is in use by another program"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  std::optional<UnixListener> first = UnixListener::listen(path).value();
  std::filesystem::remove(path);
  const auto second = UnixListener::listen(path);
  ASSERT_TRUE(second.has_value());
  first.reset();
  EXPECT_TRUE(std::filesystem::exists(path)) << "that one is not ours";
}

TEST_F(UnixListenerTest, TakesThePlaceOfOneWhoseProgramDied) {
  {
    const UniqueFd dead = make_unix_socket();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(path));
  EXPECT_TRUE(UnixListener::listen(path).has_value());
}

TEST_F(UnixListenerTest, SaysWhatIsWrong) {
  std::filesystem::create_directory(path);
  EXPECT_THAT(fault(path), HasSubstr("is there already, and is no socket"));
  EXPECT_THAT(fault(folder + "/absent/s"), HasSubstr("cannot be made: No such file"));
  EXPECT_THAT(fault(std::string(kMaxUnixPath + 1, 'x')), HasSubstr("1 to 107 characters"));
  EXPECT_THAT(fault(""), HasSubstr("1 to 107 characters"));
  EXPECT_THAT(fault(std::string("a\0b", 3)), HasSubstr("1 to 107 characters"));
}

}  // namespace
}  // namespace bellhop
