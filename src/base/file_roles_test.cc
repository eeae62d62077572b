#include "base/file_roles.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/unique_fd.h"

namespace bellhop {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr FileUse kUses[] = {FileUse::kRead, FileUse::kMedium, FileUse::kOutput, FileUse::kPrinted};

class FileRolesTest : public ::testing::Test {
 protected:
  FileRolesTest() {
    char name[] = "/tmp/bellhop-roles-XXXXXX";
    folder_ = ::mkdtemp(name);
    std::ofstream(path("a")) << "x";
  }
  ~FileRolesTest() override { fs::remove_all(folder_); }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  /// Whether `one` may be used as `first` while `other` is used as `second`.
  static bool together(const std::string& one, FileUse first, const std::string& other,
                       FileUse second) {
    FileRoles roles;
    EXPECT_TRUE(roles.add("--one", one, first));
    return roles.add("--other", other, second).has_value();
  }

  std::string folder_;
};

TEST_F(FileRolesTest, WhatOneWritesNobodyElseHas) {
  for (const FileUse first : kUses) {
    for (const FileUse second : kUses) {
      const bool read = first == FileUse::kRead && second == FileUse::kRead;
      const auto prints = [](FileUse use) {
        return use == FileUse::kOutput || use == FileUse::kPrinted;
      };
      const bool one_log = prints(first) && prints(second) &&
                           (first == FileUse::kPrinted || second == FileUse::kPrinted);
      EXPECT_EQ(together(path("a"), first, path("a"), second), read || one_log)
          << static_cast<int>(first) << " " << static_cast<int>(second);
    }
  }
}

TEST_F(FileRolesTest, NamesBothOptionsAndTheFile) {
  FileRoles roles;
  ASSERT_TRUE(roles.add("--disk disk0", path("a"), FileUse::kMedium));
  const auto refused = roles.add("--console", path("a"), FileUse::kOutput);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message,
              HasSubstr("--console: " + path("a") + " is the file of --disk disk0, too"));
}

TEST_F(FileRolesTest, AFileHasManyNames) {
  std::ofstream(path("b")) << "x";
  fs::create_hard_link(path("a"), path("hard"));
  fs::create_symlink("a", path("soft"));
  for (const char* name : {"hard", "soft", "../" /* and back */}) {
    const std::string other =
        name[0] == '.' ? path("../") + fs::path(folder_).filename().string() + "/a" : path(name);
    EXPECT_FALSE(together(path("a"), FileUse::kMedium, other, FileUse::kOutput)) << other;
  }
  EXPECT_TRUE(together(path("a"), FileUse::kMedium, path("b"), FileUse::kOutput));
}

// It will be there when the first one has made it.
TEST_F(FileRolesTest, AFileThatIsNotThereYet) {
  fs::create_symlink("none", path("link"));
  fs::create_symlink(path("link"), path("second"));
  for (const char* name : {"none", "./none", "link", "second"}) {
    EXPECT_FALSE(together(path("none"), FileUse::kOutput, path(name), FileUse::kOutput)) << name;
    EXPECT_FALSE(together(path(name), FileUse::kOutput, path("none"), FileUse::kOutput)) << name;
  }
  EXPECT_TRUE(together(path("none"), FileUse::kOutput, path("other"), FileUse::kOutput));
  const fs::path before = fs::current_path();
  fs::current_path(folder_);
  EXPECT_FALSE(together(path("none"), FileUse::kOutput, "none", FileUse::kOutput));
  fs::current_path(before);
  fs::create_symlink("loop", path("loop"));
  EXPECT_TRUE(together(path("loop"), FileUse::kOutput, path("loop"), FileUse::kOutput))
      << "no file at all: to open it tells";
}

TEST_F(FileRolesTest, OpenFilesCountAsWell) {
  const UniqueFd fd(::open(path("a").c_str(), O_WRONLY | O_CLOEXEC));
  FileRoles roles;
  ASSERT_TRUE(roles.add("standard output", fd.get(), FileUse::kPrinted));
  EXPECT_THAT(roles.add("--disk disk0", path("a"), FileUse::kMedium).error().message,
              HasSubstr("standard output"));
  EXPECT_TRUE(roles.add("--stats", path("a"), FileUse::kOutput)) << "as by /dev/stdout";
  EXPECT_TRUE(roles.add("closed", 9999, FileUse::kPrinted));
}

TEST_F(FileRolesTest, DevicesAndPipesAreNobodysFile) {
  EXPECT_TRUE(together("/dev/null", FileUse::kOutput, "/dev/null", FileUse::kOutput));
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_TRUE(together(path("fifo"), FileUse::kOutput, path("fifo"), FileUse::kOutput));
}

// Two nodes of one device are the same disk. To look at a node asks for no such device.
TEST_F(FileRolesTest, ABlockDeviceIsKnownByItsNumber) {
  const dev_t number = makedev(7, 250);
  if (::mknod(path("node").c_str(), S_IFBLK | 0600, number) != 0) GTEST_SKIP() << "no nodes here";
  ASSERT_EQ(::mknod(path("twin").c_str(), S_IFBLK | 0600, number), 0);
  ASSERT_EQ(::mknod(path("other").c_str(), S_IFBLK | 0600, makedev(7, 251)), 0);
  EXPECT_FALSE(together(path("node"), FileUse::kMedium, path("twin"), FileUse::kRead));
  EXPECT_TRUE(together(path("node"), FileUse::kRead, path("twin"), FileUse::kRead));
  EXPECT_TRUE(together(path("node"), FileUse::kMedium, path("other"), FileUse::kMedium));
}

}  // namespace
}  // namespace bellhop
