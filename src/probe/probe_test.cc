#include "probe/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "testing/fake_hypervisor.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(CountIoeventfdsTest, StopsWhereTheHostRefusesAndUndoesAll) {
  FakeHypervisor host;
  host.set_max_ioeventfds(6);
  const auto limit = count_ioeventfds(host, 1024);
  ASSERT_TRUE(limit) << limit.error().message;
  EXPECT_EQ(limit->allowed, 6U);
  EXPECT_FALSE(limit->at_least);
}

TEST(CountIoeventfdsTest, StopsAtItsOwnBound) {
  FakeHypervisor host;
  const auto limit = count_ioeventfds(host, 100);
  ASSERT_TRUE(limit);
  EXPECT_EQ(limit->allowed, 100U);
  EXPECT_TRUE(limit->at_least);
}

ProbeReport sample() {
  ProbeReport report;
  report.host.cpus = 2;
  report.host.cpu_model = "model";
  report.host.kernel = "6.1";
  report.host.kvm = "SVM with NPT";
  report.host.governor = "performance";
  report.host.bellhop = "1.0";
  report.kvm.present = true;
  report.ioeventfds = IoeventfdLimit{6, false};
  report.floors.userspace_exit_us = 31.25;
  report.floors.ioeventfd_kick_us = 3.1234567;
  report.floors.kernel_mode_ratio = 1.1;
  return report;
}

TEST(ProbeReportTest, JsonFollowsTheSchema) {
  const auto json = to_json(sample());
  EXPECT_EQ(json.at("schema"), 1);
  for (const char* name :
       {"cpus", "cpu_model", "kernel", "kvm", "halt_poll_ns", "governor", "bellhop"}) {
    EXPECT_TRUE(json.at("host").contains(name)) << name;
  }
  EXPECT_TRUE(json["host"]["halt_poll_ns"].is_null());
  EXPECT_DOUBLE_EQ(json["floors"]["userspace_exit_us"], 31.25);
  EXPECT_DOUBLE_EQ(json["floors"]["ioeventfd_kick_us"], 3.123);
  EXPECT_TRUE(json["floors"]["wake_other_core_us"].is_null());
  EXPECT_TRUE(json["runs"].empty());
  EXPECT_EQ(json["probe"]["ioeventfds"]["allowed"], 6);
  EXPECT_FALSE(json["probe"]["kernel_mode_interpreted"]);
}

TEST(ProbeReportTest, TextSaysWhatMattersAndWhatIsMissing) {
  ProbeReport report = sample();
  report.vhost_net = {false, "/dev/vhost-net: No such file or directory"};
  std::string text = to_text(report);
  EXPECT_THAT(text, HasSubstr("SVM with NPT"));
  EXPECT_THAT(text, HasSubstr("6 (old kernels allow six)"));
  EXPECT_THAT(text, HasSubstr("no: /dev/vhost-net"));
  EXPECT_THAT(text, HasSubstr("31.25 us"));
  EXPECT_THAT(text, Not(HasSubstr("other core")));
  report.kvm = {false, "/dev/kvm is missing"};
  report.ioeventfds.reset();
  text = to_text(report);
  EXPECT_THAT(text, HasSubstr("no: /dev/kvm is missing"));
}

TEST(FloorsTest, Median) {
  EXPECT_DOUBLE_EQ(median({3, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({}), 0);
  EXPECT_GT(tsc_ticks_per_us(), 100);
}

TEST(FloorsTest, WakesNeedCpusThatAreOurs) {
  const unsigned cpu = allowed_cpus().front();
  const auto wake = measure_wake_us(cpu, cpu, 20);
  ASSERT_TRUE(wake) << wake.error().message;
  EXPECT_GT(*wake, 0);
  EXPECT_FALSE(measure_wake_us(cpu, 100000, 1));
}

}  // namespace
}  // namespace bellhop
