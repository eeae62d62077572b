#include "memory/huge_pages.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <string>

#include "memory/guest_memory.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

std::uint64_t pool(const std::string& what) {
  std::uint64_t count = 0;
  std::ifstream("/sys/kernel/mm/hugepages/hugepages-2048kB/" + what) >> count;
  return count;
}

/// How many huge pages a file has taken from the host.
std::uint64_t pages_of(int fd) {
  struct stat file {};
  EXPECT_EQ(::fstat(fd, &file), 0);
  return static_cast<std::uint64_t>(file.st_blocks) * 512 / kHugePage;
}

TEST(HugePages, MoreThanTheHostHasAreRefusedWithWhatToSet) {
  const std::uint64_t spare = pool("free_hugepages") - pool("resv_hugepages");
  const std::uint64_t pages = spare + pool("nr_overcommit_hugepages") + 1;
  const auto file = make_huge_file(pages * kHugePage);
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message, HasSubstr(fmt::format("{} huge pages of 2M", pages)));
  const std::uint64_t enough = pool("nr_hugepages") - spare + pages;
  EXPECT_THAT(file.error().message, HasSubstr(fmt::format("vm.nr_hugepages to {}", enough)));
  EXPECT_EQ(pool("free_hugepages") - pool("resv_hugepages"), spare) << "none is kept";
}

TEST(HugePages, AreTakenAtTheStartAndKept) {
  const std::array regions{GuestMemory::RegionSpec{GuestAddress(0), 2 * kHugePage}};
  const auto memory = GuestMemory::create(regions, MemoryBacking::kHugePages);
  if (!memory) GTEST_SKIP() << memory.error().message;
  const int fd = memory->regions().front().fd;
  EXPECT_EQ(pages_of(fd), 2U) << "before anything is touched";

  const auto all = memory->span(GuestAddress(0), 2 * kHugePage);
  all->fill(std::byte{1});
  EXPECT_EQ(memory->release(*all), 0U);
  EXPECT_EQ(pages_of(fd), 2U) << "a balloon takes none";
  memory->clear();
  EXPECT_EQ(pages_of(fd), 2U) << "nor a reset";
  std::byte byte{1};
  EXPECT_TRUE(all->load(2 * kHugePage - 1, byte));
  EXPECT_EQ(byte, std::byte{0});
}

}  // namespace
}  // namespace bellhop
