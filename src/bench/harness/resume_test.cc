#include "bench/harness/resume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/report/results.h"

namespace bellhop::bench {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

BlkReport earlier_report() {
  BlkReport report;
  report.host = {{"kernel", "6.1"}, {"cpus", 2}, {"kvm", "VMX"}};
  report.options = {{"seconds", 3.0}, {"threads", {1, 16}}, {"aio", "native"}};
  report.comparing.seed = 42;
  Measurement m;
  m.seconds = 3;
  m.bytes = 4096;
  m.operations = 1;
  Measurement rejected = m;
  rejected.disturbed = true;
  report.runs.push_back(summarise<BlkCell, Measurement>({}, {m, m}, {rejected}));
  return report;
}

std::string fault_of(const Status& status) { return status ? "" : status.error().message; }

TEST(Resume, TakesWhatWasMeasured) {
  const auto report = parse_report(to_json(earlier_report()).dump());
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(*seed_in(*report), 42U);
  const auto earlier = earlier_in<Measurement>(*report, 3);
  ASSERT_TRUE(earlier.has_value()) << earlier.error().message;
  ASSERT_EQ(earlier->size(), 1U);
  const auto& repeats = earlier->at(describe(BlkCell{}));
  EXPECT_EQ(repeats.all.size(), 2U);
  ASSERT_EQ(repeats.rejected.size(), 1U);
  EXPECT_TRUE(repeats.rejected[0].disturbed);
  EXPECT_THAT(earlier_in<Measurement>(*report, 1).error().message, HasSubstr("more repeats"));
}

TEST(Resume, RefusesOtherOptionsAndAnotherHost) {
  const BlkReport old = earlier_report();
  const Json report = to_json(old);
  const Json host{{"kernel", "6.1"}, {"cpus", 2}};
  EXPECT_EQ(fault_of(check_same(report, old.options, host)), "");
  Json options = old.options;
  options["seconds"] = 1.0;
  EXPECT_EQ(fault_of(check_same(report, options, host)),
            "it was measured with --seconds 3.0, not 1.0");
  options = old.options;
  options["threads"] = {1, 8};
  EXPECT_EQ(fault_of(check_same(report, options, host)),
            "it was measured with --threads 1,16, not 1,8");
  options = old.options;
  options["new"] = "x";
  EXPECT_EQ(fault_of(check_same(report, options, host)),
            "it was measured with --new unknown, not x");
  EXPECT_EQ(fault_of(check_same(report, old.options, {{"kernel", "6.2"}})),
            "it was measured with kernel 6.1, not 6.2");
}

TEST(Resume, RefusesWhatIsNestedWithoutEnd) {
  const std::string deep(1U << 20U, '[');
  EXPECT_FALSE(parse_report(deep).has_value());
  EXPECT_FALSE(parse_report(R"({"schema":2,"runs":)" + deep).has_value());
  EXPECT_FALSE(parse_report(R"({"schema":2,"runs":)" + deep + std::string(1U << 20U, ']') + "}")
                   .has_value());
}

TEST(Resume, RefusesWhatIsNoReport) {
  for (const char* text : {"", "{", "[]", "7", "{}", R"({"schema":"2"})", "null"}) {
    EXPECT_FALSE(parse_report(text).has_value()) << text;
  }
  EXPECT_THAT(parse_report(R"({"schema":1})").error().message, HasSubstr("schema 1"));
  const auto refused = [](const std::function<void(Json&)>& change) {
    Json report = to_json(earlier_report());
    change(report);
    const bool good = seed_in(report) && earlier_in<Measurement>(report, 3);
    EXPECT_TRUE(check_same(report, earlier_report().options, {}).has_value() || !good);
    return !good;
  };
  EXPECT_FALSE(refused([](Json&) {}));
  EXPECT_TRUE(refused([](Json& json) { json["seed"] = -1; }));
  EXPECT_TRUE(refused([](Json& json) { json["runs"] = 1; }));
  EXPECT_TRUE(refused([](Json& json) { json["runs"][0] = 1; }));
  EXPECT_TRUE(refused([](Json& json) { json["runs"][0]["cell"] = 1; }));
  EXPECT_TRUE(refused([](Json& json) { json["runs"][0].erase("all_repeats"); }));
  EXPECT_TRUE(refused([](Json& json) { json["runs"][0]["all_repeats"][0] = "x"; }));
  EXPECT_TRUE(refused([](Json& json) { json["runs"][0]["all_repeats"][0]["seconds"] = 0; }));
  EXPECT_TRUE(refused([](Json& json) { json["runs"][0]["all_repeats"][0]["bytes"] = 0; }));
  EXPECT_TRUE(refused([](Json& json) { json["runs"][0]["all_repeats"][0]["seconds"] = 1e-320; }));
}

}  // namespace
}  // namespace bellhop::bench
