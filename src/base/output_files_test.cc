#include "base/output_files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/file_lock.h"

namespace bellhop {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class OutputFilesTest : public ::testing::Test {
 protected:
  OutputFilesTest() {
    char name[] = "/tmp/bellhop-output-XXXXXX";
    folder_ = ::mkdtemp(name);
    std::ofstream(path("old")) << "of the last run";
  }
  ~OutputFilesTest() override { fs::remove_all(folder_); }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  [[nodiscard]] std::string contents(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path(name)).rdbuf();
    return text.str();
  }
  static void write(const UniqueFd& fd, std::string_view text) {
    EXPECT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  std::string folder_;
};

TEST_F(OutputFilesTest, IsEmptiedWhenTheMachineBegins) {
  OutputFiles outputs;
  const auto fd = outputs.open("--serial", path("old"));
  ASSERT_TRUE(fd);
  EXPECT_EQ(contents("old"), "of the last run");
  ASSERT_TRUE(outputs.begin());
  EXPECT_EQ(contents("old"), "");
  write(*fd, "new");
  EXPECT_EQ(contents("old"), "new");
  fs::resize_file(path("old"), 0);
  write(*fd, "rotated");
  EXPECT_EQ(contents("old"), "rotated");
}

TEST_F(OutputFilesTest, AStartThatFailsLeavesAllAsItWas) {
  {
    OutputFiles outputs;
    ASSERT_TRUE(outputs.open("--serial", path("old")));
    ASSERT_TRUE(outputs.open("--console", path("new")));
    EXPECT_FALSE(outputs.open("--console", folder_));
  }
  EXPECT_EQ(contents("old"), "of the last run");
  EXPECT_FALSE(fs::exists(path("new")));
}

TEST_F(OutputFilesTest, WhatHasBegunStays) {
  fs::create_symlink("target", path("link"));
  {
    OutputFiles outputs;
    ASSERT_TRUE(outputs.open("--console", path("new")));
    ASSERT_TRUE(outputs.open("--console", path("link")));
    ASSERT_TRUE(outputs.begin());
  }
  EXPECT_TRUE(fs::exists(path("new")));
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_TRUE(fs::exists(path("target")));
}

TEST_F(OutputFilesTest, ALockedFileBelongsToAnotherProgram) {
  const UniqueFd other(::open(path("old").c_str(), O_RDWR | O_CLOEXEC));
  const auto lock = FileLock::take(other.get(), path("old"), LockKind::kShared, LockNeed::kMust);
  ASSERT_TRUE(lock);
  OutputFiles outputs;
  EXPECT_THAT(outputs.open("--serial", path("old")).error().message,
              HasSubstr("--serial: " + path("old") + " is in use by"));
  ASSERT_TRUE(outputs.begin());
  EXPECT_EQ(contents("old"), "of the last run");
}

TEST_F(OutputFilesTest, NamesTheOptionAndTheFile) {
  OutputFiles outputs;
  EXPECT_THAT(outputs.open("--serial", "/nonexistent/x").error().message,
              HasSubstr("--serial: cannot write /nonexistent/x"));
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(outputs.open("--serial", path("fifo")).error().message,
              HasSubstr("nobody reads it yet"));
  EXPECT_TRUE(outputs.open("--serial", "/dev/null"));
  EXPECT_TRUE(outputs.begin());
}

}  // namespace
}  // namespace bellhop
