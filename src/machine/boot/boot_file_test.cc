#include "machine/boot/boot_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>

#include "machine/boot/kernel_boot.h"
#include "testing/elf_builder.h"
#include "testing/test_memory.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;
using testing::must;

class BootFileTest : public ::testing::Test {
 protected:
  ~BootFileTest() override { ::unlink(path_.c_str()); }
  void write(std::string_view text, std::uint64_t at = 0) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    if (!file) file.open(path_, std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(text.data(), static_cast<std::streamsize>(text.size()));
  }

  std::string path_ = ::testing::TempDir() + "boot_file_" + std::to_string(::getpid());
};

TEST_F(BootFileTest, ReadsWhatIsWithin) {
  write("0123456789");
  const BootFile file = must(BootFile::open("--kernel", path_, 10, "ten"));
  EXPECT_EQ(file.size(), 10U);
  std::array<char, 4> part{};
  ASSERT_TRUE(file.load(6, part));
  EXPECT_EQ(std::string_view(part.data(), part.size()), "6789");
  EXPECT_FALSE(file.load(7, part));
  EXPECT_FALSE(file.load(~std::uint64_t{0}, part));
  EXPECT_TRUE(file.read(10, {}));
}

TEST_F(BootFileTest, TellsWhatIsWrong) {
  write("0123456789");
  EXPECT_THAT(BootFile::open("--kernel", path_, 9, "nine bytes").error().message,
              HasSubstr("more than nine bytes"));
  EXPECT_THAT(BootFile::open("--initrd", "/proc", 9, "").error().message,
              HasSubstr("--initrd: /proc is not a file"));
  EXPECT_FALSE(BootFile::open("--initrd", "/nonexistent", 9, "").has_value());
}

// Row 35: another process makes the file shorter while it is read.
TEST_F(BootFileTest, Row35AFileThatShrinks) {
  write("0123456789");
  const BootFile file = must(BootFile::open("--kernel", path_, 10, "ten"));
  std::filesystem::resize_file(path_, 5);
  std::array<char, 4> part{};
  EXPECT_TRUE(file.load(0, part));
  EXPECT_FALSE(file.load(4, part));
  EXPECT_FALSE(file.load(6, part));

  const auto kernel = ElfBuilder::tiny_kernel();
  const GuestMemory memory = testing::make_memory();
  KernelBoot boot;
  boot.initrd = "initrd";
  const auto loaded = load_kernel_image(memory, boot, BytesInMemory(kernel), file);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_THAT(loaded.error().message, HasSubstr("--initrd: initrd cannot be read to its end"));
}

TEST_F(BootFileTest, LinuxIsKnownByItsBannerWhereverThatLies) {
  constexpr std::uint64_t kEdge = 1U << 20U;
  write("x", 3 * kEdge);
  EXPECT_FALSE(is_linux_kernel(path_));
  for (std::uint64_t at = kEdge - 40; at < kEdge + 4; ++at) {
    ::unlink(path_.c_str());
    write("x", 3 * kEdge);
    write("Linux version ", at);
    ASSERT_TRUE(is_linux_kernel(path_)) << at;
  }
  EXPECT_FALSE(is_linux_kernel("/nonexistent"));
}

}  // namespace
}  // namespace bellhop
