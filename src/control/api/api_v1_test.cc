#include "control/api/api_v1.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <string>

namespace bellhop::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

ApiRequest read(const std::string& method, const std::string& name, const std::string& body = {}) {
  HttpRequest request;
  request.method = method;
  request.target = "/api/v1/" + name;
  request.body = body;
  return read_request(request);
}

template <class T>
T command(const ApiRequest& request) {
  return std::get<T>(std::get<Command>(request.result));
}

void expect_refused(const ApiRequest& request, unsigned status, const std::string& text) {
  const auto* response = std::get_if<HttpResponse>(&request.result);
  ASSERT_NE(response, nullptr) << text;
  EXPECT_EQ(response->status, status) << response->body;
  const Json json = Json::parse(response->body);
  ASSERT_TRUE(json.is_array());
  ASSERT_EQ(json.size(), 1U);
  EXPECT_THAT(json[0].get<std::string>(), HasSubstr(text));
}

TEST(ApiV1Test, EachEndpointIsACommand) {
  command<Ping>(read("GET", "vmm.ping"));
  command<GetInfo>(read("GET", "vm.info"));
  command<GetCounters>(read("GET", "vm.counters"));
  EXPECT_EQ(command<GetMetrics>(read("GET", "vm.metrics")).format, GetMetrics::Format::kJson);
  command<Boot>(read("PUT", "vm.boot"));
  command<Pause>(read("PUT", "vm.pause"));
  command<Resume>(read("PUT", "vm.resume"));
  command<PressPowerButton>(read("PUT", "vm.power-button"));
  command<Reboot>(read("PUT", "vm.reboot"));
  command<PowerOff>(read("PUT", "vm.shutdown"));
  command<EndProcess>(read("PUT", "vmm.shutdown"));
  HttpRequest absolute;
  absolute.method = "GET";
  absolute.target = "http://localhost/api/v1/vmm.ping";
  command<Ping>(read_request(absolute));
  absolute.target = "/metrics";
  EXPECT_EQ(command<GetMetrics>(read_request(absolute)).format, GetMetrics::Format::kPrometheus);
  absolute.method = "PUT";
  expect_refused(read_request(absolute), 405, "/metrics is asked for by GET");
}

TEST(ApiV1Test, ReadsSizes) {
  const auto disk = command<ResizeDisk>(
      read("PUT", "vm.resize-disk", R"({"id": "disk0", "desired_size": 4294967296})"));
  EXPECT_EQ(disk.id, "disk0");
  EXPECT_EQ(disk.bytes, 4294967296U);
  const auto all =
      command<Resize>(read("PUT", "vm.resize", R"({"desired_vcpus": 2, "desired_ram": 4096,
                                   "desired_balloon": 8192})"));
  EXPECT_EQ(all.vcpus, 2U);
  EXPECT_EQ(all.memory_bytes, 4096U);
  EXPECT_EQ(all.balloon_bytes, 8192U);
  EXPECT_FALSE(
      command<Resize>(read("PUT", "vm.resize", R"({"desired_balloon": 1, "desired_ram": null})"))
          .memory_bytes);
}

TEST(ApiV1Test, WrongBodiesAreRefusedByField) {
  expect_refused(read("PUT", "vm.resize", "{"), 400, "vm.resize: the body is no JSON");
  expect_refused(read("PUT", "vm.resize", "[1]"), 400, "the body must be a JSON object");
  expect_refused(read("PUT", "vm.resize", "{}"), 400, "desired_balloon is missing");
  expect_refused(read("PUT", "vm.resize"), 400, "desired_balloon is missing");
  expect_refused(read("PUT", "vm.resize", R"({"desired_balloon": -1})"), 400,
                 "desired_balloon must be a number of 0 or more");
  expect_refused(read("PUT", "vm.resize", R"({"desired_balloon": 1.5})"), 400, "must be a number");
  expect_refused(read("PUT", "vm.resize-disk", R"({"desired_size": 1})"), 400, "id is missing");
  expect_refused(read("PUT", "vm.resize-disk", R"({"id": 1, "desired_size": 1})"), 400,
                 "id must be a text");
  expect_refused(read("PUT", "vm.resize-disk", R"({"id": "a"})"), 400, "desired_size is missing");
  expect_refused(read("PUT", "vm.resize", std::string(60000, '[')), 400, "no JSON");
}

TEST(ApiV1Test, FieldsThatMeanNothingAreNamed) {
  const auto request =
      read("PUT", "vm.resize", R"({"desired_balloon": 0, "new\nline": 1, "other": 2})");
  command<Resize>(request);
  EXPECT_THAT(request.ignored, ElementsAre("\"new\\nline\"", "\"other\""));
}

TEST(ApiV1Test, WhatIsNotThereIsSaidToBeSo) {
  expect_refused(read("PUT", "vm.add-disk", "{}"), 501, "vm.add-disk: not supported");
  expect_refused(read("PUT", "vm.snapshot"), 501, "not supported");
  expect_refused(read("PUT", "vm.create", "{}"), 501, "not supported");
  expect_refused(read("GET", "vm.nothing"), 404, "there is no /api/v1/vm.nothing");
  HttpRequest elsewhere;
  elsewhere.method = "GET";
  elsewhere.target = "/";
  expect_refused(read_request(elsewhere), 404, "there is no /");
  const auto wrong = read("GET", "vm.pause");
  expect_refused(wrong, 405, "vm.pause is asked for by PUT");
  EXPECT_EQ(std::get<HttpResponse>(wrong.result).allow, "PUT");
  expect_refused(read("PUT", "vm.info"), 405, "GET");
}

TEST(ApiV1Test, ErrorsHaveAStatus) {
  const auto status = [](int code) {
    return write_answer(Pause{}, Result<Answer>(fail("why", code)), "1").status;
  };
  EXPECT_EQ(status(EINVAL), 400U);
  EXPECT_EQ(status(ENOENT), 404U);
  EXPECT_EQ(status(EBUSY), 409U);
  EXPECT_EQ(status(ENOTSUP), 501U);
  EXPECT_EQ(status(ESHUTDOWN), 503U);
  EXPECT_EQ(status(ENOSPC), 500U);
  EXPECT_EQ(write_answer(Pause{}, Answer(), "1").status, 204U);
}

TEST(ApiV1Test, InfoHasTheClientsShape) {
  MachineConfig config;
  config.kernel = "/boot/vmlinuz";
  config.cmdline = "quiet";
  config.cpus = 2;
  DiskConfig disk;
  disk.id = "disk0";
  disk.source = RawFileSource{.path = "a.img", .cache = Cache::kNone};
  config.disks.push_back(disk);
  NicConfig nic;
  nic.id = "net0";
  nic.mac = 0x563412005452;
  nic.source = TapSource{.name = "tap0", .fds = {}, .pairs = 2};
  config.nics.push_back(nic);
  const Json json = Json::parse(
      info_json({.state = MachineState::kPaused, .config = &config, .memory_bytes = 4096}));
  EXPECT_EQ(json["state"], "Paused");
  EXPECT_EQ(json["memory_actual_size"], 4096);
  EXPECT_EQ(json["config"]["payload"]["kernel"], "/boot/vmlinuz");
  EXPECT_EQ(json["config"]["cpus"]["boot_vcpus"], 2);
  EXPECT_EQ(json["config"]["memory"]["size"], config.memory);
  EXPECT_EQ(json["config"]["disks"][0]["path"], "a.img");
  EXPECT_EQ(json["config"]["disks"][0]["direct"], true);
  EXPECT_EQ(json["config"]["net"][0]["mac"], "52:54:00:12:34:56");
  EXPECT_EQ(json["config"]["net"][0]["num_queues"], 4);
}

TEST(ApiV1Test, InfoNamesTheBackEndsOfDevices) {
  MachineConfig config;
  config.disks.emplace_back().source = VhostUserDisk{.socket = "/run/disk.sock"};
  config.nics.emplace_back().source = VhostUserNic{.socket = "/run/net.sock"};
  const Json json = Json::parse(
      info_json({.state = MachineState::kRunning, .config = &config, .memory_bytes = 0}));
  const Json& disk = json["config"]["disks"][0];
  EXPECT_TRUE(disk["path"].is_null());
  EXPECT_EQ(disk["vhost_user"], true);
  EXPECT_EQ(disk["vhost_socket"], "/run/disk.sock");
  const Json& nic = json["config"]["net"][0];
  EXPECT_EQ(nic["vhost_user"], true);
  EXPECT_EQ(nic["vhost_socket"], "/run/net.sock");
  EXPECT_EQ(nic["num_queues"], 2);
}

TEST(ApiV1Test, CountersAreThoseOfStats) {
  MachineCounters counters;
  counters.kicks = 7;
  counters.devices.push_back({"disk0", {{"kicks", 5}, {"chains", 6}}});
  const Json json = Json::parse(counters_json(counters));
  EXPECT_EQ(json["_machine"]["kicks"], 7);
  EXPECT_EQ(json["disk0"]["kicks"], 5);
  EXPECT_EQ(json["disk0"]["chains"], 6);
}

}  // namespace
}  // namespace bellhop::control
