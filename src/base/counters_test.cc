#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/relaxed_counter.h"
#include "base/shared_counter.h"

namespace bellhop {
namespace {

constexpr std::uint64_t kAdds = 200'000;

TEST(RelaxedCounter, CountsFromZero) {
  RelaxedCounter counter;
  EXPECT_EQ(counter.get(), 0U);
  counter.add();
  counter.add(41);
  EXPECT_EQ(counter.get(), 42U);
  counter.add(0);
  EXPECT_EQ(counter.get(), 42U);
}

TEST(RelaxedCounter, AReaderNeverSeesItGoBack) {
  RelaxedCounter counter;
  // Steps that change both halves of the word: a torn value would show.
  constexpr std::uint64_t kStep = (std::uint64_t{1} << 32) + 1;
  std::thread writer([&] {
    for (std::uint64_t i = 0; i < kAdds; ++i) counter.add(kStep);
  });
  std::uint64_t before = 0;
  while (before < kAdds * kStep) {
    const std::uint64_t now = counter.get();
    ASSERT_GE(now, before);
    ASSERT_EQ(now % kStep, 0U);
    before = now;
  }
  writer.join();
  EXPECT_EQ(counter.get(), kAdds * kStep);
}

TEST(SharedCounter, TwoWritersLoseNothing) {
  SharedCounter counter;
  std::atomic<unsigned> ready{0};
  std::vector<std::thread> writers;
  for (const std::uint64_t step : {1U, 3U}) {
    writers.emplace_back([&counter, &ready, step] {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      for (std::uint64_t i = 0; i < kAdds; ++i) counter.add(step);
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(counter.get(), 4 * kAdds);
}

}  // namespace
}  // namespace bellhop
