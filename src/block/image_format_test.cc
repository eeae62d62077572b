#include "block/image_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "block/block_fixture.h"
#include "block/raw_file.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

std::string_view format_of(std::string_view bytes, std::size_t offset = 0) {
  std::vector<std::byte> head(512);
  std::memcpy(head.data() + offset, bytes.data(), bytes.size());
  return image_format(head);
}

TEST(ImageFormat, IsToldByTheFirstBytes) {
  EXPECT_EQ(format_of("QFI\xfb"), "qcow2");
  EXPECT_EQ(format_of("KDMV"), "vmdk");
  EXPECT_EQ(format_of("COWD"), "vmdk");
  EXPECT_EQ(format_of("# Disk DescriptorFile"), "vmdk");
  EXPECT_EQ(format_of("\x7f\x10\xda\xbe", 0x40), "vdi");
  EXPECT_EQ(format_of("conectix"), "vpc");
  EXPECT_EQ(format_of("vhdxfile"), "vhdx");
}

TEST(ImageFormat, OtherBytesAreRaw) {
  EXPECT_EQ(format_of(""), "");
  EXPECT_EQ(format_of("QFI\xfc"), "");
  EXPECT_EQ(format_of("QFI\xfb", 1), "");
  EXPECT_EQ(format_of("\x7f\x10\xda\xbe"), "");
  EXPECT_EQ(image_format({}), "");
  const std::string shorter = "vhdxfil";
  EXPECT_EQ(image_format(std::as_bytes(std::span(shorter))), "");
}

TEST(ImageFormat, AnImageOfAnotherFormatIsRefusedUnlessRawIsAskedFor) {
  const ScratchFile file("/var/tmp", 64 << 10);
  {
    const UniqueFd fd(::open(file.path().c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(fd.get(), "QFI\xfb\0\0\0\3", 8, 0), 8);
  }
  RawFileSource source{.path = file.path(), .aio = Aio::kThreads};
  for (const Cache cache : {Cache::kWriteback, Cache::kNone}) {
    for (const bool read_only : {false, true}) {
      source.cache = cache;
      source.read_only = read_only;
      source.surely_raw = false;
      const auto opened = open_raw_file(source);
      ASSERT_FALSE(opened);
      if (opened.error().message.find("O_DIRECT") != std::string::npos) continue;
      EXPECT_THAT(opened.error().message, HasSubstr(file.path() + " is a qcow2 image"));
      EXPECT_THAT(opened.error().message, HasSubstr("qemu-img convert -O raw"));
      EXPECT_EQ(opened.error().code, 0);
      source.surely_raw = true;
      EXPECT_TRUE(open_raw_file(source));
    }
  }
}

}  // namespace
}  // namespace bellhop
