#include "memory/guest_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <utility>
#include <vector>

#include "testing/test_memory.h"

namespace bellhop {
namespace {

constexpr std::uint64_t kGuestPage = 4096;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

class GuestMemoryTest : public ::testing::TestWithParam<MemoryBacking> {
 protected:
  [[nodiscard]] bool is_resident(std::uint64_t address) const {
    unsigned char page = 0;
    const auto span = memory.span(GuestAddress(address), kGuestPage);
    EXPECT_EQ(::mincore(span->as_iovec().iov_base, kGuestPage, &page), 0);
    return (page & 1) != 0;
  }
  [[nodiscard]] std::byte byte_at(std::uint64_t address) const {
    std::byte byte{0xff};
    EXPECT_TRUE(memory.read(GuestAddress(address), std::span(&byte, 1)));
    return byte;
  }

  GuestMemory memory = testing::make_memory(16 * kMiB, 4 * kMiB, GetParam());
};

TEST_P(GuestMemoryTest, SpansStayWithinTheirRegion) {
  const std::uint64_t high = testing::kHighBase;
  EXPECT_TRUE(memory.span(GuestAddress(0), 16 * kMiB));
  EXPECT_FALSE(memory.span(GuestAddress(0), 16 * kMiB + 1));
  EXPECT_FALSE(memory.span(GuestAddress(16 * kMiB), 1)) << "the hole";
  EXPECT_FALSE(memory.span(GuestAddress(high - 1), 2)) << "into a region from below";
  EXPECT_TRUE(memory.span(GuestAddress(high), 4 * kMiB));
  EXPECT_FALSE(memory.span(GuestAddress(high + kGuestPage), UINT64_MAX)) << "around the end of all";
  EXPECT_TRUE(memory.span(GuestAddress(16 * kMiB), 0)) << "nothing lies anywhere";
}

TEST_P(GuestMemoryTest, RegionsHaveMemoryOfTheirOwn) {
  memory.span(GuestAddress(0), kGuestPage)->fill(std::byte{1});
  EXPECT_EQ(byte_at(testing::kHighBase), std::byte{0});
  memory.span(GuestAddress(testing::kHighBase), kGuestPage)->fill(std::byte{2});
  EXPECT_EQ(byte_at(0), std::byte{1});
}

TEST_P(GuestMemoryTest, NothingIsReadOrWrittenOutsideOfIt) {
  std::array<std::byte, 2> bytes{std::byte{5}, std::byte{6}};
  EXPECT_FALSE(memory.read(GuestAddress(16 * kMiB - 1), bytes));
  EXPECT_FALSE(memory.read(GuestAddress(16 * kMiB), bytes));
  EXPECT_EQ(bytes, (std::array{std::byte{5}, std::byte{6}})) << "left as they were";
  EXPECT_FALSE(memory.write(GuestAddress(16 * kMiB - 1), bytes));
  EXPECT_FALSE(memory.write(GuestAddress(16 * kMiB), bytes));
  EXPECT_EQ(byte_at(16 * kMiB - 1), std::byte{0}) << "not in part either";
}

TEST_P(GuestMemoryTest, OnlyWhatIsTouchedIsTakenFromTheHost) {
  EXPECT_FALSE(is_resident(8 * kMiB));
  memory.span(GuestAddress(8 * kMiB), kGuestPage)->fill(std::byte{1});
  EXPECT_TRUE(is_resident(8 * kMiB));
  EXPECT_FALSE(is_resident(12 * kMiB));
}

TEST_P(GuestMemoryTest, ReleasedPagesReadZeroAndOthersKeepTheirBytes) {
  for (const std::uint64_t base : {std::uint64_t{0}, testing::kHighBase}) {
    memory.span(GuestAddress(base), 4 * kGuestPage)->fill(std::byte{1});
    // From the middle of the first page to the middle of the fourth: two whole ones.
    const auto part = memory.span(GuestAddress(base + kGuestPage / 2), 3 * kGuestPage);
    EXPECT_EQ(memory.release(*part), 2 * kGuestPage);
    EXPECT_EQ(byte_at(base + kGuestPage - 1), std::byte{1});
    EXPECT_EQ(byte_at(base + kGuestPage), std::byte{0});
    EXPECT_EQ(byte_at(base + 3 * kGuestPage - 1), std::byte{0});
    EXPECT_EQ(byte_at(base + 3 * kGuestPage), std::byte{1});
  }
}

TEST_P(GuestMemoryTest, ReleasedPagesLeaveTheHost) {
  memory.span(GuestAddress(8 * kMiB), 4 * kMiB)->fill(std::byte{1});
  EXPECT_EQ(memory.release(*memory.span(GuestAddress(8 * kMiB), 4 * kMiB)), 4 * kMiB);
  EXPECT_FALSE(is_resident(8 * kMiB));
  EXPECT_FALSE(is_resident(12 * kMiB - kGuestPage));
}

TEST_P(GuestMemoryTest, ClearIsAsAfterPowerOn) {
  memory.span(GuestAddress(0), kMiB)->fill(std::byte{1});
  memory.span(GuestAddress(testing::kHighBase), kMiB)->fill(std::byte{1});
  memory.clear();
  EXPECT_FALSE(is_resident(0));
  EXPECT_EQ(byte_at(kGuestPage), std::byte{0});
  EXPECT_EQ(byte_at(testing::kHighBase + kGuestPage), std::byte{0});
}

TEST_P(GuestMemoryTest, LiesInItsHugePagesAsTheGuestSeesIt) {
  const std::array odd{GuestMemory::RegionSpec{GuestAddress(3 * kGuestPage), 8 * kMiB}};
  GuestMemory other = testing::must(GuestMemory::create(odd, GetParam()));
  for (const GuestMemory* each : std::array<const GuestMemory*, 2>{&memory, &other}) {
    for (const auto& region : each->regions()) {
      const auto host = reinterpret_cast<std::uintptr_t>(region.host);
      EXPECT_EQ(host % (2 * kMiB), region.base.value() % (2 * kMiB));
    }
  }
}

TEST_P(GuestMemoryTest, OnlySharedMemoryCanBeMappedByOthers) {
  if (GetParam() == MemoryBacking::kPrivate) {
    EXPECT_FALSE(memory.shared());
    return;
  }
  const auto& region = memory.regions()[1];
  void* const other = ::mmap(nullptr, kGuestPage, PROT_READ, MAP_SHARED, region.fd,
                             static_cast<off_t>(region.file_offset));
  ASSERT_NE(other, MAP_FAILED);
  memory.span(region.base, 1)->fill(std::byte{7});
  EXPECT_EQ(*static_cast<const std::byte*>(other), std::byte{7});
  ::munmap(other, kGuestPage);
}

INSTANTIATE_TEST_SUITE_P(Backings, GuestMemoryTest,
                         ::testing::Values(MemoryBacking::kPrivate, MemoryBacking::kShared),
                         [](const auto& backing) {
                           return backing.param == MemoryBacking::kPrivate ? "private" : "shared";
                         });

// Another process has the descriptor: what it could do there would be a SIGBUS here.
TEST(SharedGuestMemoryTest, KeepsItsSizeWhateverAPeerTries) {
  for (const MemoryBacking backing : {MemoryBacking::kShared, MemoryBacking::kHugePages}) {
    const std::array regions{GuestMemory::RegionSpec{GuestAddress(0), 4 * kMiB}};
    const auto made = GuestMemory::create(regions, backing);
    if (!made && backing == MemoryBacking::kHugePages) {
      GTEST_SKIP() << "no huge pages here: " << made.error().message;
    }
    ASSERT_TRUE(made) << made.error().message;
    const int fd = made->regions().front().fd;
    for (const std::uint64_t size : {std::uint64_t{0}, 2 * kMiB, 6 * kMiB}) {
      EXPECT_NE(::ftruncate(fd, static_cast<off_t>(size)), 0) << size;
    }
    EXPECT_NE(::fallocate(fd, 0, 4 * kMiB, 2 * kMiB), 0);
    EXPECT_NE(::fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
    struct stat file {};
    ASSERT_EQ(::fstat(fd, &file), 0);
    EXPECT_EQ(file.st_size, static_cast<off_t>(4 * kMiB));
    if (backing == MemoryBacking::kHugePages) continue;  // there may be none to touch
    EXPECT_EQ(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * kMiB), 0);
    made->span(GuestAddress(0), 4 * kMiB)->fill(std::byte{1});
    EXPECT_EQ(made->release(*made->span(GuestAddress(0), 2 * kMiB)), 2 * kMiB);
  }
}

/// What another process gives: its file, and what it reads there.
class GivenGuestMemoryTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kHole = 8 * kMiB;

  static UniqueFd file(std::uint64_t size) {
    UniqueFd made(::memfd_create("given", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(made.get(), static_cast<off_t>(size)), 0);
    return made;
  }
  static GuestMemory::GivenRegion region(std::uint64_t base, std::uint64_t size, const UniqueFd& of,
                                         std::uint64_t offset) {
    return {{GuestAddress(base), size}, UniqueFd(::dup(of.get())), offset};
  }
  static std::byte at(const UniqueFd& file, std::uint64_t offset) {
    std::byte byte{0xff};
    EXPECT_EQ(::pread(file.get(), &byte, 1, static_cast<off_t>(offset)), 1);
    return byte;
  }
  static Result<GuestMemory> map(GuestMemory::GivenRegion first, GuestMemory::GivenRegion second) {
    std::vector<GuestMemory::GivenRegion> regions;
    regions.push_back(std::move(first));
    regions.push_back(std::move(second));
    return GuestMemory::map(std::move(regions));
  }

  UniqueFd one_ = file(4 * kMiB);
  UniqueFd two_ = file(kMiB);
};

TEST_F(GivenGuestMemoryTest, RegionsLieInTheirFilesWhereTheirOffsetsSay) {
  GuestMemory memory = testing::must(
      map(region(0, 2 * kMiB, one_, kMiB + kGuestPage), region(kHole, kMiB, two_, 0)));
  memory.span(GuestAddress(kGuestPage), 1)->fill(std::byte{3});
  memory.span(GuestAddress(kHole + kMiB - 1), 1)->fill(std::byte{4});
  EXPECT_EQ(at(one_, kMiB + 2 * kGuestPage), std::byte{3});
  EXPECT_EQ(at(two_, kMiB - 1), std::byte{4});
  EXPECT_FALSE(memory.span(GuestAddress(2 * kMiB), 1));
  EXPECT_TRUE(memory.shared());
  EXPECT_EQ(memory.total_size(), 3 * kMiB);

  // They stay when the memory moves, and the files' owner may close them.
  const GuestMemory moved = std::move(memory);
  one_.reset();
  std::byte byte{};
  EXPECT_TRUE(moved.read(GuestAddress(kGuestPage), std::span(&byte, 1)));
  EXPECT_EQ(byte, std::byte{3});
}

TEST_F(GivenGuestMemoryTest, ReleasedPagesAreTakenFromTheFile) {
  const GuestMemory memory = testing::must(
      map(region(0, 2 * kMiB, one_, kMiB + kGuestPage), region(kHole, kMiB, two_, 0)));
  memory.span(GuestAddress(0), 2 * kMiB)->fill(std::byte{1});
  EXPECT_EQ(memory.release(*memory.span(GuestAddress(kGuestPage - 1), kGuestPage + 2)), kGuestPage);
  EXPECT_EQ(at(one_, kMiB + 2 * kGuestPage - 1), std::byte{1});
  EXPECT_EQ(at(one_, kMiB + 2 * kGuestPage), std::byte{0});
  EXPECT_EQ(at(one_, kMiB + 3 * kGuestPage), std::byte{1});
}

TEST_F(GivenGuestMemoryTest, ARegionThatItsFileDoesNotHoldIsRefused) {
  const auto good = [this](std::uint64_t offset, std::uint64_t size) {
    return map(region(0, size, one_, offset), region(kHole, kMiB, two_, 0)).has_value();
  };
  EXPECT_TRUE(good(0, 4 * kMiB));
  EXPECT_TRUE(good(4 * kMiB - kGuestPage, kGuestPage));
  EXPECT_FALSE(good(4 * kMiB, kGuestPage)) << "past the end";
  EXPECT_FALSE(good(kGuestPage, 4 * kMiB)) << "its last page";
  EXPECT_FALSE(good(std::uint64_t{0} - kGuestPage, 2 * kGuestPage)) << "around the end of all";
  EXPECT_FALSE(good(100, kGuestPage)) << "not whole pages";
  EXPECT_FALSE(map(region(0, kMiB, UniqueFd(), 0), region(kHole, kMiB, two_, 0))) << "no file";
  EXPECT_FALSE(map(region(0, kMiB, one_, 0), region(0, kMiB, two_, 0))) << "one on another";
}

TEST_F(GivenGuestMemoryTest, ARegionMayBeginWithinAHugePage) {
  UniqueFd huge(::memfd_create("given", MFD_CLOEXEC | MFD_HUGETLB));
  if (!huge.valid() || ::ftruncate(huge.get(), static_cast<off_t>(4 * kMiB)) != 0) {
    GTEST_SKIP() << "no huge pages on this host";
  }
  const auto made = map(region(0, kMiB, huge, kMiB), region(kHole, kMiB, two_, 0));
  if (!made) GTEST_SKIP() << "no huge pages are set aside: " << made.error().message;
  EXPECT_EQ(made->release(*made->span(GuestAddress(0), kMiB)), 0U) << "they stay";
  EXPECT_TRUE(made->span(GuestAddress(kMiB - 1), 1));
}

TEST(GuestMemoryRegionsTest, WrongOnesAreRefused) {
  const auto made = [](std::initializer_list<GuestMemory::RegionSpec> specs) {
    return GuestMemory::create(std::vector(specs)).has_value();
  };
  EXPECT_FALSE(made({}));
  EXPECT_FALSE(made({{GuestAddress(0), 0}}));
  EXPECT_FALSE(made({{GuestAddress(0), 100}}));
  EXPECT_FALSE(made({{GuestAddress(1), kGuestPage}}));
  EXPECT_FALSE(made({{GuestAddress(0), 2 * kGuestPage}, {GuestAddress(kGuestPage), kGuestPage}}));
  EXPECT_TRUE(made({{GuestAddress(0), kGuestPage}, {GuestAddress(kGuestPage), kGuestPage}}));
}

}  // namespace
}  // namespace bellhop
