#include "machine/boot/bzimage_loader.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "machine/boot/memory_layout.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kCodeAt = 5 * 512;

/// A bzImage of four setup sectors and `code` bytes of 0xcc, as Linux' build makes them.
class Image {
 public:
  explicit Image(std::size_t code = 4096) : bytes_(kCodeAt + code, std::byte{0xcc}) {
    std::fill_n(bytes_.begin(), kCodeAt, std::byte{0});
    set<std::uint8_t>(0x1f1, 4);
    set<std::uint16_t>(0x1fe, 0xaa55);
    set<std::uint32_t>(0x1f4, static_cast<std::uint32_t>(code / 16));
    set<std::uint8_t>(0x201, 0x6a);
    set<std::uint32_t>(0x202, 0x53726448);
    set<std::uint16_t>(0x206, 0x020f);
    set<std::uint8_t>(0x211, 1);
    set<std::uint32_t>(0x22c, 0x7fff'ffff);
    set<std::uint32_t>(0x230, 0x20'0000);
    set<std::uint8_t>(0x234, 1);
    set<std::uint16_t>(0x236, 1);
    set<std::uint32_t>(0x238, 2047);
    set<std::uint64_t>(0x258, 0x100'0000);
    set<std::uint32_t>(0x260, 0x10'0000);
  }
  template <class T>
  Image& set(std::size_t offset, T value) {
    std::memcpy(bytes_.data() + offset, &value, sizeof value);
    return *this;
  }
  std::vector<std::byte> bytes_;
};

class BzImageTest : public ::testing::Test {
 protected:
  BzImageTest() : memory_(std::move(*GuestMemory::create(*ram_layout(std::uint64_t{64} << 20U)))) {
    boot_.kernel = "vmlinuz";
    boot_.initrd = "initrd";
    boot_.cmdline = "console=ttyS0";
    boot_.rsdp = GuestAddress(0xe0000);
    boot_.reserved = {{0xd000'0000, 0x10'0000}};
  }
  template <class T>
  T at(std::uint64_t address) {
    T value{};
    EXPECT_TRUE(memory_.read(GuestAddress(address), std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  std::string error(const Image& image, std::span<const std::byte> initrd = {}) {
    const auto loaded = load_kernel_image(memory_, boot_, image.bytes_, initrd);
    return loaded ? "" : loaded.error().message;
  }

  GuestMemory memory_;
  KernelBoot boot_;
};

TEST_F(BzImageTest, StartsAtThe64BitEntryWithBootParameters) {
  const std::vector<std::byte> initrd(10000, std::byte{0x77});
  const auto registers = load_kernel_image(memory_, boot_, Image().bytes_, initrd);
  ASSERT_TRUE(registers) << registers.error().message;
  EXPECT_EQ(registers->mode, BootRegisters::Mode::kLong64);
  EXPECT_EQ(registers->rip, 0x100'0200U);
  EXPECT_EQ(registers->code_selector, 0x10);
  EXPECT_EQ(registers->data_selector, 0x18);
  EXPECT_EQ(at<std::uint8_t>(0x100'0000 + 4095), 0xcc);

  const std::uint64_t params = registers->rsi;
  EXPECT_EQ(at<std::uint32_t>(params + 0x202), 0x53726448U);
  EXPECT_EQ(at<std::uint8_t>(params + 0x210), 0xff);
  EXPECT_EQ(at<std::uint64_t>(params + 0x70), 0xe0000U);
  const auto cmdline = at<std::array<char, 14>>(at<std::uint32_t>(params + 0x228));
  EXPECT_STREQ(cmdline.data(), "console=ttyS0");

  const auto initrd_at = at<std::uint32_t>(params + 0x218);
  EXPECT_EQ(at<std::uint32_t>(params + 0x21c), initrd.size());
  EXPECT_EQ(initrd_at % 4096, 0U);
  EXPECT_GE(initrd_at, 0x110'0000U);  // behind all that the kernel needs before it has the map
  EXPECT_EQ(at<std::uint8_t>(initrd_at + 9999), 0x77);
}

TEST_F(BzImageTest, TellsTheMemoryMap) {
  const auto registers = load_kernel_image(memory_, boot_, Image().bytes_, {});
  ASSERT_TRUE(registers);
  const std::uint64_t params = registers->rsi;
  ASSERT_EQ(at<std::uint8_t>(params + 0x1e8), 4);
  const auto entry = [&](unsigned i) {
    const std::uint64_t base = params + 0x2d0 + i * 20;
    return std::array{at<std::uint64_t>(base), at<std::uint64_t>(base + 8),
                      std::uint64_t{at<std::uint32_t>(base + 16)}};
  };
  EXPECT_EQ(entry(0), (std::array<std::uint64_t, 3>{0, 0xa0000, 1}));
  EXPECT_EQ(entry(1), (std::array<std::uint64_t, 3>{0xa0000, 0x60000, 2}));
  EXPECT_EQ(entry(2), (std::array<std::uint64_t, 3>{0x10'0000, 0x3f0'0000, 1}));
  EXPECT_EQ(entry(3), (std::array<std::uint64_t, 3>{0xd000'0000, 0x10'0000, 2}));
}

TEST_F(BzImageTest, PageTablesMapFourGiBAsTheyAre) {
  const auto registers = load_kernel_image(memory_, boot_, Image().bytes_, {});
  ASSERT_TRUE(registers);
  for (const std::uint64_t address :
       {std::uint64_t{0}, registers->rip, std::uint64_t{0xfee0'0000}}) {
    const auto pml4 = at<std::uint64_t>(registers->cr3);
    const auto pdpt = at<std::uint64_t>((pml4 & ~0xfffULL) + 8 * (address >> 30U));
    const auto pd = at<std::uint64_t>((pdpt & ~0xfffULL) + 8 * ((address >> 21U) & 511U));
    EXPECT_EQ(pd & ~0xfffULL, address & ~0x1f'ffffULL);
    EXPECT_EQ(pd & 0x83U, 0x83U);
  }
}

TEST_F(BzImageTest, IsPutLowIfItPrefersNoPlace) {
  const auto moved =
      load_kernel_image(memory_, boot_, Image().set<std::uint64_t>(0x258, 0).bytes_, {});
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_EQ(moved->rip, 0x20'0200U);
}

TEST_F(BzImageTest, Row35DamagedFilesAreRefusedByName) {
  EXPECT_THAT(error(Image().set<std::uint16_t>(0x236, 0)),
              HasSubstr("--kernel: vmlinuz has no 64-bit entry"));
  EXPECT_THAT(error(Image().set<std::uint16_t>(0x206, 0x0204)), HasSubstr("boot protocol 2.04"));
  EXPECT_THAT(error(Image().set<std::uint8_t>(0x1f1, 200)), HasSubstr("there is no code in it"));
  Image cut;
  cut.bytes_.resize(0x220);
  EXPECT_THAT(error(cut), HasSubstr("setup header is not all there"));
  EXPECT_THAT(error(Image().set<std::uint32_t>(0x260, 0x7fff'ffff)),
              HasSubstr("more than the guest's RAM of 64M"));
  EXPECT_THAT(error(Image().set<std::uint8_t>(0x234, 0).set<std::uint64_t>(0x258, 1ULL << 63U)),
              HasSubstr("more than the guest's RAM"));
  EXPECT_THAT(
      error(Image().set<std::uint64_t>(0x258, 16U << 20U).set<std::uint32_t>(0x260, 52U << 20U)),
      HasSubstr("wants 52M at 0x1000000: more than the guest's RAM of 64M"))
      << "below 16 MiB it would fit, and then move itself there";
  EXPECT_THAT(error(Image().set<std::uint32_t>(0x1f4, 4096 / 16 + 1)),
              HasSubstr("vmlinuz is cut short: 4096 of its 4112 bytes of code are there"));
  EXPECT_THAT(error(Image().set<std::uint8_t>(0x201, 0x264 - 0x202 - 1)),
              HasSubstr("its setup header ends at 0x263"));
  EXPECT_THAT(error(Image().set<std::uint8_t>(0x211, 0)), HasSubstr("is a zImage"));
  for (const std::uint32_t alignment : {0U, 0x30'0000U}) {
    EXPECT_THAT(error(Image().set(0x230, alignment)), HasSubstr("wants to lie at a multiple of"));
  }
  const std::vector<std::byte> initrd(std::size_t{60} << 20U);
  EXPECT_THAT(error(Image(), initrd),
              HasSubstr("--initrd: initrd has 60M: with the kernel it does"));
}

TEST_F(BzImageTest, TheCommandLineStaysWithinTheKernelsOwnLimit) {
  for (const std::uint32_t limit : {0U, 255U, 2047U}) {
    const Image image = Image().set(0x238, limit);
    boot_.cmdline = std::string(limit, 'a');
    EXPECT_EQ(error(image), "");
    boot_.cmdline += 'a';
    const std::string told = error(image);
    EXPECT_THAT(told,
                HasSubstr(fmt::format("--cmdline: the command line has {} bytes", limit + 1)));
    EXPECT_THAT(told, HasSubstr(fmt::format("take{} {}", limit == 2047 ? "" : "s", limit)));
  }
  boot_.cmdline = std::string(4000, 'a');
  EXPECT_THAT(error(Image().set<std::uint32_t>(0x238, 4095)), HasSubstr("kernels take 2047"));
}

TEST_F(BzImageTest, IsPutWhereItWouldMoveItself) {
  const auto at = [this](const Image& image) {
    const auto loaded = load_kernel_image(memory_, boot_, image.bytes_, {});
    return loaded ? loaded->rip - 0x200 : 0;
  };
  EXPECT_EQ(at(Image().set<std::uint64_t>(0x258, 0x110'0000)), 0x120'0000U);
  EXPECT_EQ(at(Image().set<std::uint64_t>(0x258, 0x110'0000).set<std::uint8_t>(0x234, 0)),
            0x110'0000U)
      << "one that cannot move runs where it is";
  EXPECT_EQ(at(Image().set<std::uint32_t>(0x230, 0x1000)), 0x100'0000U);
  EXPECT_THAT(error(Image().set<std::uint64_t>(0x258, ~0ULL)), HasSubstr("more than the guest's"));
}

TEST_F(BzImageTest, LiesInWhatThePageTablesMap) {
  memory_ = std::move(*GuestMemory::create(*ram_layout((std::uint64_t{3} << 30U) + (64U << 20U))));
  EXPECT_THAT(error(Image().set<std::uint64_t>(0x258, std::uint64_t{1} << 32U)),
              HasSubstr("wants 1M at 0x100000000"));
}

TEST_F(BzImageTest, InitrdStaysBelowTheKernelsLimit) {
  const auto registers =
      load_kernel_image(memory_, boot_, Image().set<std::uint32_t>(0x22c, 0x1ff'ffff).bytes_,
                        std::vector<std::byte>(100));
  ASSERT_TRUE(registers);
  EXPECT_EQ(at<std::uint32_t>(registers->rsi + 0x218), 0x1ff'f000U);
  EXPECT_THAT(error(Image().set<std::uint32_t>(0x22c, 0x111'ffff),
                    std::vector<std::byte>(std::size_t{1} << 20U)),
              HasSubstr("does not fit below 0x1120000, where kernel vmlinuz wants it"));
}

}  // namespace
}  // namespace bellhop
