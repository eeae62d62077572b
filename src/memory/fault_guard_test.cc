#include "memory/fault_guard.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <optional>

#include "base/thread.h"
#include "testing/test_memory.h"

namespace bellhop {
namespace {

using testing::must;

constexpr std::size_t kPage = 4096;

class FaultGuardTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kPages = 8;

  FaultGuardTest() {
    must(FaultGuard::install());
    if (::ftruncate(file.get(), kPages * kPage) != 0) std::abort();
    void* const at =
        ::mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (at == MAP_FAILED) std::abort();
    bytes = static_cast<std::byte*>(at);
    std::memset(bytes, 0x5a, kPages * kPage);
  }
  ~FaultGuardTest() override { ::munmap(bytes, kPages * kPage); }
  void cut_to(std::size_t pages) {
    ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(pages * kPage)), 0);
  }
  unsigned read(std::size_t page) const {
    return std::to_integer<unsigned>(*static_cast<volatile std::byte*>(bytes + page * kPage + 9));
  }

  UniqueFd file{::memfd_create("test", MFD_CLOEXEC)};
  std::byte* bytes = nullptr;
  EventFd faulted = must(EventFd::create());
};

TEST_F(FaultGuardTest, APageThatIsGoneReadsZeroAndIsTold) {
  const auto guard = must(FaultGuard::guard(bytes, kPages * kPage, kPage, faulted));
  EXPECT_EQ(read(7), 0x5aU);
  EXPECT_EQ(faulted.consume(), 0U);
  cut_to(4);
  EXPECT_EQ(read(7), 0U);
  EXPECT_EQ(faulted.consume(), 1U);
  bytes[5 * kPage] = std::byte{1};  // a write goes somewhere, too
  EXPECT_EQ(faulted.consume(), 1U);
  EXPECT_EQ(read(3), 0x5aU) << "what is there is left alone";
  EXPECT_EQ(faulted.consume(), 0U);
}

TEST_F(FaultGuardTest, OnThreadsThatTakeNoOtherSignal) {
  const auto guard = must(FaultGuard::guard(bytes, kPages * kPage, kPage, faulted));
  cut_to(0);
  must(run_on_thread(ThreadKind::kOther, "a test", [&] { EXPECT_EQ(read(1), 0U); }));
  EXPECT_EQ(faulted.consume(), 1U);
}

TEST_F(FaultGuardTest, HugePagesAreReplacedWhole) {
  const auto guard = must(FaultGuard::guard(bytes, kPages * kPage, 4 * kPage, faulted));
  cut_to(4);
  EXPECT_EQ(read(7), 0U);
  EXPECT_EQ(read(5), 0U);
  EXPECT_EQ(faulted.consume(), 1U) << "one page of four";
}

TEST_F(FaultGuardTest, SlotsAreUsedAgainAndHaveAnEnd) {
  std::vector<FaultGuard> guards;
  for (unsigned round = 0; round < 2; ++round) {
    for (unsigned i = 0; i < FaultGuard::kMaxGuards; ++i) {
      guards.push_back(must(FaultGuard::guard(bytes, kPage, kPage, faulted)));
    }
    EXPECT_FALSE(FaultGuard::guard(bytes, kPage, kPage, faulted));
    guards.clear();
  }
}

using FaultGuardDeathTest = FaultGuardTest;

TEST_F(FaultGuardDeathTest, WhatNobodyGuardsEndsTheProcess) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto end = [&](bool guarded_elsewhere) {
    std::optional<FaultGuard> other;
    if (guarded_elsewhere) other = must(FaultGuard::guard(bytes, kPage, kPage, faulted));
    cut_to(1);
    (void)read(2);
  };
  EXPECT_EXIT(end(false), ::testing::KilledBySignal(SIGBUS), "");
  EXPECT_EXIT(end(true), ::testing::KilledBySignal(SIGBUS), "");
  EXPECT_EXIT(::raise(SIGBUS), ::testing::KilledBySignal(SIGBUS), "");
  { const auto past = must(FaultGuard::guard(bytes, kPages * kPage, kPage, faulted)); }
  EXPECT_EXIT(end(false), ::testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace bellhop
