#include "machine/boot/pvh_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>

#include "machine/boot/elf_image.h"
#include "machine/boot/memory_layout.h"
#include "testing/elf_builder.h"

namespace bellhop {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Width = ElfBuilder::Class;

constexpr std::array<std::uint8_t, 4> kCode{0x90, 0x90, 0xeb, 0xfe};

// Where the program header `index` of a 64-bit file holds a field of `offset`.
std::size_t field64(std::size_t index, std::size_t offset) { return 64 + index * 56 + offset; }

template <class T>
void patch(std::vector<std::byte>& file, std::size_t offset, T value) {
  std::memcpy(file.data() + offset, &value, sizeof value);
}

class PvhLoaderTest : public ::testing::TestWithParam<Width> {
 protected:
  PvhLoaderTest() : memory_(std::move(GuestMemory::create(ram_layout(8U << 20U).value()).value())) {
    boot_.kernel = "KERNEL";
    boot_.initrd = "INITRD";
  }

  template <class T>
  T peek(std::uint64_t address) const {
    T value{};
    EXPECT_TRUE(memory_.read(GuestAddress(address), std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }

  std::string error(const std::vector<std::byte>& kernel, std::span<const std::byte> initrd = {}) {
    const auto result = load_kernel_image(memory_, boot_, kernel, initrd);
    return result ? "no error" : result.error().message;
  }

  GuestMemory memory_;
  KernelBoot boot_;
};

INSTANTIATE_TEST_SUITE_P(Widths, PvhLoaderTest, ::testing::Values(Width::k32, Width::k64));

TEST_P(PvhLoaderTest, LoadsKernelInitrdAndCommandLine) {
  boot_.cmdline = "console=ttyS0 quiet";
  boot_.rsdp = GuestAddress(0xe0000);
  boot_.reserved.push_back({0xe0000000, 0x10000000});
  const std::vector<std::byte> initrd(5000, std::byte{0x42});
  // What a reset finds in the memory behind the file's bytes.
  ASSERT_TRUE(memory_.write(GuestAddress(0x102ffc), std::as_bytes(std::span(kCode))));
  const auto registers =
      load_kernel_image(memory_, boot_, ElfBuilder::tiny_kernel(GetParam()), initrd);
  ASSERT_TRUE(registers) << registers.error().message;
  EXPECT_EQ(registers->rip, 0x100000U);
  EXPECT_EQ(registers->mode, BootRegisters::Mode::kProtected32Flat);
  EXPECT_EQ(peek<std::uint32_t>(0x100000), 0xf4e7d889U);
  EXPECT_EQ(peek<std::uint32_t>(0x102ffc), 0U);

  const std::uint64_t info = registers->rbx;
  EXPECT_GE(info, kPvhInfoBegin);
  EXPECT_LT(info, kPvhInfoEnd);
  EXPECT_EQ(peek<std::uint32_t>(info), 0x336ec578U);
  EXPECT_EQ(peek<std::uint32_t>(info + 4), 1U);
  EXPECT_EQ(peek<std::uint32_t>(info + 12), 1U) << "modules";
  EXPECT_EQ(peek<std::uint64_t>(info + 32), 0xe0000U) << "ACPI root pointer";

  std::array<char, 20> cmdline{};
  ASSERT_TRUE(memory_.read(GuestAddress(peek<std::uint64_t>(info + 24)),
                           std::as_writable_bytes(std::span(cmdline))));
  EXPECT_STREQ(cmdline.data(), "console=ttyS0 quiet");

  const auto module = peek<std::uint64_t>(info + 16);
  const auto where = peek<std::uint64_t>(module);
  EXPECT_EQ(peek<std::uint64_t>(module + 8), initrd.size());
  EXPECT_EQ(where % 4096, 0U);
  EXPECT_EQ(where, (8U << 20U) - 8192);
  EXPECT_EQ(peek<std::uint8_t>(where + 4999), 0x42);

  struct Entry {
    std::uint64_t address, size;
    std::uint32_t type, zero;
    bool operator==(const Entry&) const = default;
  };
  ASSERT_EQ(peek<std::uint32_t>(info + 48), 4U);
  const auto map = peek<std::array<Entry, 4>>(peek<std::uint64_t>(info + 40));
  EXPECT_EQ(map[0], (Entry{0, 0xa0000, 1, 0}));
  EXPECT_EQ(map[1], (Entry{0xa0000, 0x60000, 2, 0}));
  EXPECT_EQ(map[2], (Entry{0x100000, 0x700000, 1, 0}));
  EXPECT_EQ(map[3], (Entry{0xe0000000, 0x10000000, 2, 0}));
}

TEST_P(PvhLoaderTest, EveryTruncationIsAnError) {
  const auto kernel = ElfBuilder::tiny_kernel(GetParam());
  for (std::size_t size = 0; size < kernel.size(); ++size) {
    const auto text = error({kernel.begin(), kernel.begin() + static_cast<std::ptrdiff_t>(size)});
    EXPECT_THAT(text, HasSubstr("KERNEL")) << size;
  }
  EXPECT_EQ(error(kernel), "no error");
}

TEST_P(PvhLoaderTest, EveryByteMayBeAnything) {
  const auto kernel = ElfBuilder::tiny_kernel(GetParam());
  for (std::size_t at = 0; at < kernel.size(); ++at) {
    for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0x80U, 0xffU}) {
      auto damaged = kernel;
      damaged[at] = std::byte(value);
      // It is loaded, or one line says what is wrong with which file.
      const std::string answer = error(damaged);
      EXPECT_TRUE(answer == "no error" || answer.find("KERNEL") != std::string::npos) << answer;
      EXPECT_EQ(answer.find('\n'), std::string::npos) << answer;
    }
  }
}

TEST_P(PvhLoaderTest, AddressesOutsideRam) {
  EXPECT_THAT(error(ElfBuilder(GetParam()).load(0x10000000, kCode).pvh_note(0x10000000).build()),
              AllOf(HasSubstr("KERNEL"), HasSubstr("outside the guest's RAM of 8")));
  EXPECT_THAT(error(ElfBuilder(GetParam()).load(0x7ffffe, kCode).pvh_note(0x7ffffe).build()),
              HasSubstr("outside"));
  EXPECT_THAT(error(ElfBuilder(GetParam()).load(0x2000, kCode).pvh_note(0x2000).build()),
              HasSubstr("boot information"));
}

TEST_P(PvhLoaderTest, EntryOutsideOfWhatIsLoaded) {
  for (const std::uint64_t entry : {0xfffffULL, 0x100004ULL, 0ULL, 0xffffffffULL}) {
    EXPECT_THAT(error(ElfBuilder(GetParam()).load(0x100000, kCode).pvh_note(entry).build()),
                HasSubstr("entry"));
  }
}

TEST_P(PvhLoaderTest, OverlappingSegmentsAndEmptyFiles) {
  EXPECT_THAT(error(ElfBuilder(GetParam())
                        .load(0x100000, kCode, 0x2000)
                        .load(0x101fff, kCode)
                        .pvh_note(0x100000)
                        .build()),
              HasSubstr("overlap"));
  EXPECT_THAT(error(ElfBuilder(GetParam()).pvh_note(0x100000).build()),
              HasSubstr("nothing to load"));
  EXPECT_THAT(error(ElfBuilder(GetParam()).load(0x100000, kCode).build()),
              HasSubstr("not a PVH kernel"));
}

TEST_F(PvhLoaderTest, NotAKernelAtAll) {
  EXPECT_THAT(error({}), HasSubstr("is neither a bzImage nor an ELF file"));
  EXPECT_THAT(error(std::vector<std::byte>(10000, std::byte{'x'})), HasSubstr("nor an ELF file"));
  auto kernel = ElfBuilder::tiny_kernel();
  patch(kernel, 18, std::uint16_t{183});
  EXPECT_THAT(error(kernel), HasSubstr("machine 183"));
}

TEST_F(PvhLoaderTest, NumbersThatWrap) {
  const auto good = ElfBuilder::tiny_kernel();
  auto kernel = good;
  patch(kernel, 32, ~std::uint64_t{0});  // e_phoff
  EXPECT_THAT(error(kernel), HasSubstr("cut short"));
  kernel = good;
  patch(kernel, field64(0, 8), ~std::uint64_t{0});  // p_offset
  EXPECT_THAT(error(kernel), HasSubstr("cut short"));
  kernel = good;
  patch(kernel, field64(0, 24), ~std::uint64_t{0} - 1);  // p_paddr
  EXPECT_THAT(error(kernel), HasSubstr("wraps"));
  kernel = good;
  patch(kernel, field64(0, 40), std::uint64_t{1});  // p_memsz below p_filesz
  EXPECT_THAT(error(kernel), HasSubstr("segment"));
  kernel = good;
  patch(kernel, 56, std::uint16_t{0xffff});  // e_phnum
  EXPECT_THAT(error(kernel), HasSubstr("65535 program headers"));
}

TEST_F(PvhLoaderTest, InitrdLargerThanRam) {
  const std::vector<std::byte> initrd(9U << 20U);
  EXPECT_THAT(error(ElfBuilder::tiny_kernel(), initrd),
              AllOf(HasSubstr("INITRD"), HasSubstr("does not fit")));
  EXPECT_THAT(error(ElfBuilder::tiny_kernel(), std::span(initrd).first(7U << 20U)),
              HasSubstr("does not fit"))
      << "it would lie on the kernel";
}

TEST_F(PvhLoaderTest, CommandLineHasALimit) {
  boot_.cmdline = std::string(kMaxCommandLine, 'a');
  EXPECT_EQ(error(ElfBuilder::tiny_kernel()), "no error");
  boot_.cmdline += 'a';
  EXPECT_THAT(error(ElfBuilder::tiny_kernel()), HasSubstr("command line has 2048 bytes"));
}

TEST_F(PvhLoaderTest, FilesThatCannotBeRead) {
  KernelBoot boot;
  boot.kernel = "/nonexistent/vmlinux";
  EXPECT_THAT(load_kernel(memory_, boot).error().message,
              AllOf(HasSubstr("/nonexistent/vmlinux"), HasSubstr("No such file")));
  boot.kernel = "/dev";
  EXPECT_THAT(load_kernel(memory_, boot).error().message, HasSubstr("is not a file"));

  const std::string path = ::testing::TempDir() + "pvh_kernel_" + std::to_string(::getpid());
  const auto bytes = ElfBuilder::tiny_kernel();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  boot.kernel = path;
  EXPECT_TRUE(load_kernel(memory_, boot));
  boot.initrd = "/nonexistent/initrd";
  EXPECT_THAT(load_kernel(memory_, boot).error().message,
              HasSubstr("--initrd: cannot read /nonexistent/initrd"));
  boot.initrd = path;
  EXPECT_TRUE(load_kernel(memory_, boot));
  ASSERT_EQ(::truncate(path.c_str(), 16U << 20U), 0);
  boot.kernel = boot.initrd = path;
  EXPECT_THAT(load_kernel(memory_, boot).error().message, HasSubstr("more than the guest's RAM"));
  ::unlink(path.c_str());
}

TEST(RamLayoutTest, HoleBelowFourGiB) {
  const auto small = ram_layout(512U << 20U);
  ASSERT_TRUE(small);
  ASSERT_EQ(small->size(), 1U);
  const auto large = ram_layout(std::uint64_t{5} << 30U);
  ASSERT_TRUE(large);
  ASSERT_EQ(large->size(), 2U);
  EXPECT_EQ((*large)[0].size, kRamHole.address);
  EXPECT_EQ((*large)[1].base, GuestAddress(kRamHole.end()));
  EXPECT_EQ((*large)[1].size, std::uint64_t{2} << 30U);
  EXPECT_FALSE(ram_layout(4096));
  EXPECT_FALSE(ram_layout((4U << 20U) + 1));
  EXPECT_FALSE(ram_layout(~std::uint64_t{0} & ~std::uint64_t{4095}));
}

}  // namespace
}  // namespace bellhop
