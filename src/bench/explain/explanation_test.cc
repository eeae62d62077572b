#include "bench/explain/explanation.h"

#include <gtest/gtest.h>

#include <array>

#include "bench/explain/waterfall.h"

namespace bellhop::bench {
namespace {

constexpr double kHertz = 1e9;  // a cycle is a nanosecond

/// Two requests of which everything is known: 1, 2, 3, ... and 3, 6, 9, ... microseconds a step.
RequestTimes two_requests() {
  RequestTimes times;
  times.requests = times.by_driver = 2;
  for (std::uint64_t i = 0; i < kRequestSteps; ++i) {
    times.steps[i].add((i + 1) * 1000);
    times.steps[i].add((i + 1) * 3000);
  }
  times.total.add(28'000);
  times.total.add(84'000);
  times.cpu.taken = 2;
  times.cpu.answered = 4;
  times.cpu.ns = {0, 200, 400, 8000, -20, 80, 0};
  RequestLife life;
  for (std::uint64_t i = 0; i < kRequestPoints; ++i)
    life.at[i] = 1'000'000 + i * (i + 1) / 2 * 1000;
  times.last.push_back(life);
  return times;
}

QueueExplanation explained() { return explain("disk0", 1, "sync", two_requests(), kHertz); }

TEST(Explanation, CyclesAreMicroseconds) {
  const QueueExplanation queue = explained();
  EXPECT_EQ(queue.steps[0].mean, 2);
  EXPECT_EQ(queue.steps[6].mean, 14);
  EXPECT_NEAR(queue.steps[6].p50, 7, 0.3);
  EXPECT_NEAR(queue.steps[6].p99, 21, 0.1);
  EXPECT_EQ(queue.total.mean, 56);
  ASSERT_EQ(queue.last.size(), 1U);
  EXPECT_EQ(queue.last[0][0], 0) << "from the first point on";
  EXPECT_EQ(queue.last[0][7], 28);
}

TEST(Explanation, CpuTimeIsForEachRequestThatWasClocked) {
  std::vector<QueueExplanation> queues = {explained()};
  QueueExplanation& queue = queues.front();
  EXPECT_FALSE(queue.steps[0].cpu) << "none was clocked";
  EXPECT_EQ(queue.steps[1].cpu, 0.1) << "of those taken";
  EXPECT_EQ(queue.steps[2].cpu, 0.2);
  EXPECT_EQ(queue.steps[3].cpu, 2) << "of those answered";
  EXPECT_EQ(queue.steps[4].cpu, 0) << "shorter than a reading";
  EXPECT_EQ(queue.steps[5].cpu, 0.02);
  EXPECT_FALSE(queue.steps[6].cpu);
  EXPECT_FALSE(queue.rest_cpu);
  queues.push_back(explained());
  share_rest(queues, 100);
  EXPECT_DOUBLE_EQ(*queues.front().rest_cpu, 25 - 2.32);
  EXPECT_EQ(queues.back().rest_cpu, queues.front().rest_cpu);
  share_rest(queues, 1);
  EXPECT_EQ(queues.front().rest_cpu, 0) << "the process's clock lags";
}

TEST(Explanation, StepsOfAnIoThreadAddUpToItsOwnClock) {
  QueueExplanation one = explained();
  QueueExplanation other = explained();
  other.requests = 6;
  other.steps[3].cpu = 1;
  const std::array<QueueExplanation*, 2> queues{&one, &other};
  share_thread(queues, 20);
  EXPECT_DOUBLE_EQ(*one.steps[0].cpu, (20 - 2 * 2.32 - 6 * 1.32) / 8);
  EXPECT_EQ(other.steps[0].cpu, one.steps[0].cpu) << "it looks for the requests of all";
  EXPECT_EQ(one.steps[3].cpu, 2);
  share_thread(queues, (2 * 2.32 + 6 * 1.32) / 4);
  EXPECT_DOUBLE_EQ(*one.steps[0].cpu, 0);
  EXPECT_DOUBLE_EQ(*one.steps[3].cpu, 0.5) << "more was clocked than it used";
  EXPECT_DOUBLE_EQ(*other.steps[3].cpu, 0.25);
}

TEST(Explanation, AFileIsReadBackAsItWasWritten) {
  auto queue = explained();
  queue.last[0][3] = -1;
  queue.rest_cpu = 17.5;
  const auto read = read_explanations(to_json({queue, explained()}));
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 2U);
  const QueueExplanation& back = read->front();
  EXPECT_EQ(back.device, "disk0");
  EXPECT_EQ(back.queue, 1U);
  EXPECT_EQ(back.notify, "sync");
  EXPECT_EQ(back.requests, 2U);
  EXPECT_EQ(back.rest_cpu, 17.5);
  for (std::size_t i = 0; i < kRequestSteps; ++i) {
    EXPECT_NEAR(back.steps[i].mean, queue.steps[i].mean, 0.001) << i;
    EXPECT_NEAR(back.steps[i].p99, queue.steps[i].p99, 0.001) << i;
    EXPECT_EQ(back.steps[i].cpu, queue.steps[i].cpu) << i;
  }
  ASSERT_EQ(back.last.size(), 1U);
  EXPECT_EQ(back.last[0], queue.last[0]);
  const auto again = read_explanations(to_json(*read));
  ASSERT_TRUE(again);
  EXPECT_EQ(waterfall(again->front()), waterfall(back));
}

TEST(Explanation, OtherFilesAreRefused) {
  for (const char* text : {"", "{", "[]", "{}", R"({"schema":1})", R"({"queues":3,"schema":1})",
                           R"({"queues":[],"schema":2})", R"({"queues":[]})"}) {
    EXPECT_FALSE(read_explanations(text)) << text;
  }
}

TEST(Explanation, ValuesOfAWrongKindAreNothing) {
  const auto read = read_explanations(
      R"({"schema":1,"queues":[7,{"device":3,"queue":-1,"requests":"x","steps":[1],
          "total":{"p50_us":"y"},"last":[1,[null,"z",2,3,4,5,6,7,8,9,10]]}]})");
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 1U);
  EXPECT_EQ(read->front().device, "");
  EXPECT_EQ(read->front().total.p50, 0);
  ASSERT_EQ(read->front().last.size(), 2U);
  EXPECT_EQ(read->front().last[1][1], -1);
  EXPECT_EQ(read->front().last[1][7], 7);
  EXPECT_NE(waterfall(read->front()), "");
  EXPECT_NE(timeline(*read), "");
}

TEST(Waterfall, EachStepBeginsWhereTheOneBeforeEnds) {
  const std::string text = waterfall(explained());
  EXPECT_NE(text.find("disk0, queue 1: 2 requests, notify=sync\n"), std::string::npos) << text;
  EXPECT_NE(text.find("offered → served         1.01    3.00    2.00    4       –  █\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("signalled → seen         7.04    21.0    14.0   25       –                 "
                      "█████\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("25 % of the time goes by from signalled to seen"), std::string::npos)
      << text;
}

TEST(Waterfall, SaysWhatCpuTimeGoesTo) {
  QueueExplanation queue = explained();
  std::string text = waterfall(queue);
  EXPECT_NE(text.find("submitted → answered     4.03    12.0    8.00   14    2.00      ███\n"),
            std::string::npos)
      << text;
  EXPECT_NE(
      text.find(";\n86 % of the CPU time (2.32 µs a request) goes to: back end and medium.\n"),
      std::string::npos)
      << text;
  queue.rest_cpu = 7.68;
  text = waterfall(queue);
  EXPECT_NE(text.find("the guest, and others       –       –       –         7.68\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find(";\n77 % of the CPU time (10.0 µs a request) goes to: the guest and its "
                      "exits.\n"),
            std::string::npos)
      << text;
}

TEST(Waterfall, SaysWhatIsNotKnown) {
  QueueExplanation queue = explained();
  queue.by_driver = 0;
  queue.disordered = 4;
  queue.steps.front() = queue.steps.back() = {};
  const std::string text = waterfall(queue);
  EXPECT_EQ(text.find("offered"), std::string::npos) << text;
  EXPECT_NE(text.find("The driver does not say"), std::string::npos) << text;
  EXPECT_NE(text.find("Of 4 requests the driver's clock"), std::string::npos) << text;
  EXPECT_EQ(dominating({}), "No request was seen from its begin to its end.");
}

TEST(Timeline, RequestsThatOverlapHaveRowsOfTheirOwn) {
  QueueExplanation queue = explained();
  const auto shifted = [&](double by) {
    RequestLine line = queue.last[0];
    for (double& at : line) at += by;
    return line;
  };
  queue.last = {queue.last[0], shifted(10), shifted(28)};
  const auto file = nlohmann::json::parse(timeline({queue}));
  std::vector<int> rows;
  for (const auto& event : file["traceEvents"]) {
    if (event["ph"] == "X" && event["name"] == "offered to served") rows.push_back(event["tid"]);
  }
  EXPECT_EQ(rows, (std::vector{0, 1, 0}));
  EXPECT_EQ(file["traceEvents"].size(), 1 + 3 * kRequestSteps);
}

}  // namespace
}  // namespace bellhop::bench
