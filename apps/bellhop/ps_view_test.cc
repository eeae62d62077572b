#include "apps/bellhop/ps_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace bellhop {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kInfo = R"({"config": {"payload": {"kernel": "/boot/vmlinuz", "cmdline": ""},
  "cpus": {"boot_vcpus": 2, "max_vcpus": 2}, "disks": [{}, {}], "net": [{}], "rng": {"src": ""}},
  "state": "Running", "memory_actual_size": 536870912})";

ListedProcess machine(std::string info, std::string what = "web.toml") {
  return {.found = {.pid = 12,
                    .serves = false,
                    .what = std::move(what),
                    .uptime = std::chrono::seconds(3725),
                    .api_socket = "/run/vm/api.sock",
                    .api_way = "/proc/12/root/run/vm/api.sock",
                    .sockets = {}},
          .info = std::move(info)};
}
std::string text_of(const ListedProcess& one) { return ps_text({&one, 1}); }
nlohmann::json json_of(const ListedProcess& one) {
  return nlohmann::json::parse(ps_json({&one, 1})).at(0);
}

TEST(PsViewTest, ShowsWhatAMachineTells) {
  EXPECT_EQ(
      text_of(machine(kInfo)),
      "PID  STATE    VCPUS  MEMORY  UPTIME  API SOCKET        WHAT\n"
      " 12  Running      2    512M   1h02m  /run/vm/api.sock  vmlinuz, 2 disks, 1 NIC, 1 rng\n");
  const auto json = json_of(machine(kInfo));
  EXPECT_EQ(json["pid"], 12);
  EXPECT_EQ(json["command"], "run");
  EXPECT_EQ(json["state"], "Running");
  EXPECT_EQ(json["vcpus"], 2);
  EXPECT_EQ(json["memory"], 536870912);
  EXPECT_EQ(json["uptime_s"], 3725);
  EXPECT_EQ(json["api_socket"], "/run/vm/api.sock");
  EXPECT_EQ(json["what"], "/boot/vmlinuz");
  EXPECT_EQ(json["devices"], (nlohmann::json{{"disks", 2}, {"net", 1}, {"rng", 1}}));
}

TEST(PsViewTest, WhatIsNotKnownIsADash) {
  ListedProcess one = machine("", "");
  EXPECT_THAT(text_of(one),
              HasSubstr(" 12  no answer      -       -   1h02m  /run/vm/api.sock  -\n"));
  one.found.api_socket.clear();
  one.found.uptime.reset();
  EXPECT_THAT(text_of(one), HasSubstr(" 12  -          -       -       -  -           -\n"));
  const auto json = json_of(one);
  for (const char* name :
       {"state", "vcpus", "memory", "uptime_s", "api_socket", "what", "devices"}) {
    ASSERT_TRUE(json.contains(name)) << name;
    EXPECT_TRUE(json[name].is_null()) << name;
  }
}

TEST(PsViewTest, AnswersOfAnyShapeAreShown) {
  for (const char* info :
       {"[", "[]", "7", "\"x\"", "null", "{}", R"({"config": [], "state": 1})",
        R"({"config": {"cpus": {"boot_vcpus": -1}, "payload": {"kernel": {}}, "disks": 3}})",
        R"({"memory_actual_size": 1e300, "state": []})", "\xff"}) {
    EXPECT_THAT(text_of(machine(info)), HasSubstr("  no answer      -       -  ")) << info;
    EXPECT_TRUE(json_of(machine(info))["state"].is_null()) << info;
  }
}

TEST(PsViewTest, TextsOfOthersAreNoCommandsToATerminal) {
  ListedProcess one =
      machine(R"({"state": "\u001b[2J", "config": {"payload": {"kernel": "/a\u0007"}}})");
  one.found.api_socket = "/x\x1b]0;t\x07\n";
  EXPECT_THAT(text_of(one), HasSubstr("?[2J"));
  EXPECT_THAT(text_of(one), HasSubstr("/x?]0;t??   a?\n"));
  EXPECT_THAT(text_of(one), Not(HasSubstr("\x1b")));
  one.found.what = "\xff";
  one.info.clear();
  EXPECT_EQ(json_of(one)["what"], "\uFFFD");
}

TEST(PsViewTest, AServerHasItsSocketsInTheLastColumn) {
  ListedProcess one;
  one.found = {.pid = 9,
               .serves = true,
               .what = "blk",
               .uptime = std::chrono::seconds(59),
               .api_socket = {},
               .api_way = {},
               .sockets = {"/run/a", "/run/b"}};
  EXPECT_THAT(text_of(one),
              HasSubstr("  9  Serving      -       -     59s  -           blk /run/a /run/b\n"));
  EXPECT_EQ(json_of(one)["sockets"], (nlohmann::json{"/run/a", "/run/b"}));
  EXPECT_EQ(json_of(one)["command"], "serve");
}

TEST(PsViewTest, TimesAreShort) {
  for (const auto& [seconds, text] :
       {std::pair{0, " 0s"}, {61, " 1m01s"}, {86399, " 23h59m"}, {90061, " 1d01h"}}) {
    ListedProcess one = machine("");
    one.found.uptime = std::chrono::seconds(seconds);
    EXPECT_THAT(text_of(one), HasSubstr(text));
  }
}

TEST(PsViewTest, OfNoneThereIsAHeadingAndAnEmptyList) {
  EXPECT_EQ(ps_text({}), "PID  STATE  VCPUS  MEMORY  UPTIME  API SOCKET  WHAT\n");
  EXPECT_EQ(ps_json({}), "[]\n");
}

}  // namespace
}  // namespace bellhop
