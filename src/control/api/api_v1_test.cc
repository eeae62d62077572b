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
  command<DeleteMachine>(read("PUT", "vm.delete"));
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

TEST(ApiV1Test, ReadsWhereAThreadIsToRun) {
  const auto pin =
      command<PinThread>(read("PUT", "vm.pin", R"({"thread": "vcpu1", "cpus": "0,2-3"})"));
  EXPECT_EQ(pin.name, "vcpu1");
  EXPECT_EQ(pin.cpus, "0,2-3");
  expect_refused(read("PUT", "vm.pin", R"({"thread": "vcpu1"})"), 400, "cpus is missing");
  expect_refused(read("PUT", "vm.pin", R"({"cpus": "0"})"), 400, "thread is missing");
}

TEST(ApiV1Test, ReadsRates) {
  const auto rates = command<SetRates>(
      read("PUT", "vm.set-rates", R"({"id": "disk0", "options": "iops=10,bps=1M"})"));
  EXPECT_EQ(rates.id, "disk0");
  EXPECT_EQ(rates.properties.text(), "iops=10,bps=1M");
  expect_refused(read("PUT", "vm.set-rates", R"({"id": "disk0"})"), 400, "options is missing");
  expect_refused(read("PUT", "vm.set-rates", R"({"options": "iops=1"})"), 400, "id is missing");
  expect_refused(read("PUT", "vm.set-rates", R"({"id": "a", "options": "iops=1,iops=2"})"), 400,
                 "options: ");
}

TEST(ApiV1Test, ReadsHowToNotify) {
  const auto all =
      command<SetNotify>(read("PUT", "vm.set-notify", R"({"id": "a", "mode": "poll"})"));
  EXPECT_EQ(all.id, "a");
  EXPECT_EQ(all.wish.mode, NotifyMode::kPoll);
  EXPECT_FALSE(all.queue);
  EXPECT_FALSE(all.optimize_given);
  const auto one = command<SetNotify>(
      read("PUT", "vm.set-notify",
           R"({"id": "a", "mode": "adaptive", "optimize": "efficiency", "queue": 3})"));
  EXPECT_EQ(one.wish.mode, NotifyMode::kAdaptive);
  EXPECT_EQ(one.wish.optimize, Optimize::kEfficiency);
  EXPECT_TRUE(one.optimize_given);
  EXPECT_EQ(command<SetNotify>(read("PUT", "vm.set-notify",
                                    R"({"id": "a", "mode": "adaptive", "optimize": "latency"})"))
                .wish.optimize,
            Optimize::kLatency);
  EXPECT_EQ(one.queue, 3U);
  const auto refused = [](const char* body, const char* why) {
    expect_refused(read("PUT", "vm.set-notify", body), 400, why);
  };
  refused(R"({"id": "a"})", "mode is missing");
  refused(R"({"mode": "sync"})", "id is missing");
  refused(R"({"id": "a", "mode": "often"})", "mode must be one of sync, ioeventfd, poll, adaptive");
  refused(R"({"id": "a", "mode": "sync", "optimize": "efficiency"})", "optimize says what");
  refused(R"({"id": "a", "mode": "adaptive", "optimize": "x"})", "throughput, efficiency, latency");
  refused(R"({"id": "a", "mode": "sync", "queue": 65536})", "queue must be 65535 at most");
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

/// A device as its option would have it.
std::string option_of(const ApiRequest& request) {
  if (const auto* refused = std::get_if<HttpResponse>(&request.result)) return refused->body;
  const auto device = command<AddDevice>(request);
  return device.kind + " " + device.properties.text();
}

TEST(ApiV1Test, DevicesBecomeTheOptionsThatMeanTheSame) {
  EXPECT_EQ(option_of(read("PUT", "vm.add-disk",
                           R"({"path": "/a,b", "id": "d", "readonly": true, "direct": true,
                               "num_queues": 2, "queue_size": 128, "image_type": "Raw"})")),
            "disk path=/a,,b,id=d,readonly=on,cache=none,queues=2,queue-size=128,format=raw");
  EXPECT_EQ(option_of(read("PUT", "vm.add-disk",
                           R"({"path": "/a", "readonly": false, "direct": false, "iommu": false,
                               "vhost_user": false, "rate_limiter_config": null})")),
            "disk path=/a");
  EXPECT_EQ(option_of(read("PUT", "vm.add-disk",
                           R"({"path": "/a", "rate_limiter_config": {
                               "bandwidth": {"size": 1048576, "refill_time": 100},
                               "ops": {"size": 500, "one_time_burst": 9, "refill_time": 1000}}})")),
            "disk path=/a,bps=10485760,iops=500,burst=1000ms");
  EXPECT_EQ(option_of(read("PUT", "vm.add-net",
                           R"({"tap": "t0", "mac": "02:00:00:00:00:01", "num_queues": 4,
                               "queue_size": 256, "mtu": 1400, "id": "n"})")),
            "net tap=t0,id=n,mac=02:00:00:00:00:01,mtu=1400,queue-size=256,queues=2");
  EXPECT_EQ(option_of(read("PUT", "vm.add-disk",
                           R"({"vhost_user": true, "vhost_socket": "/s", "num_queues": 2})")),
            "disk vhost-user=/s,queues=2");
  EXPECT_EQ(option_of(read("PUT", "vm.add-net", R"({"vhost_user": true, "vhost_socket": "/s"})")),
            "net vhost-user=/s");
  EXPECT_EQ(option_of(read("PUT", "vm.add-fs",
                           R"({"tag": "t", "socket": "/s", "num_queues": 1, "queue_size": 512})")),
            "fs tag=t,socket=/s,num-queues=1,queue-size=512");
  EXPECT_EQ(option_of(read("PUT", "vm.add-vsock", R"({"cid": 3, "socket": "/s", "id": "v"})")),
            "vsock cid=3,uds=/s,id=v");
  EXPECT_EQ(option_of(read("PUT", "vm.add", R"({"device": "disk", "options": "/a,readonly"})")),
            "disk path=/a,readonly");
  EXPECT_EQ(option_of(read("PUT", "vm.add", R"({"device": "rng"})")), "rng ");
  EXPECT_EQ(command<RemoveDevice>(read("PUT", "vm.remove-device", R"({"id": "d"})")).id, "d");
}

TEST(ApiV1Test, AMachineBecomesTheOptionsThatMeanTheSame) {
  const auto request = read("PUT", "vm.create", R"({
      "payload": {"kernel": "/k", "initramfs": "/i", "cmdline": "quiet"},
      "cpus": {"boot_vcpus": 2, "max_vcpus": 4, "topology": {"sockets": 1}},
      "memory": {"size": 1048576, "shared": true, "hotplug_size": null, "zones": null},
      "disks": [{"path": "/a", "readonly": true, "pci_segment": 0}, {"path": "/b", "id": "b"}],
      "net": [{"tap": "t", "num_queues": 2}],
      "fs": [{"tag": "f", "socket": "/s"}],
      "vsock": {"cid": 3, "socket": "/v"},
      "rng": {"src": "/dev/urandom"},
      "balloon": {"size": 4096, "deflate_on_oom": true, "free_page_reporting": true},
      "serial": {"mode": "File", "file": "/out"},
      "console": {"mode": "Pty"},
      "platform": {"num_pci_segments": 1}})");
  const MachineOptions options = command<CreateMachine>(request).options;
  EXPECT_EQ(options.kernel, OptionText("/k"));
  EXPECT_EQ(options.initrd, OptionText("/i"));
  EXPECT_EQ(options.cmdline, OptionText("quiet"));
  EXPECT_EQ(options.cpus, OptionText("2"));
  EXPECT_EQ(options.memory.text(), "size=1048576,shared=on");
  ASSERT_EQ(options.disks.size(), 2U);
  EXPECT_EQ(options.disks[0].text(), "path=/a,readonly=on");
  EXPECT_EQ(options.disks[1].text(), "path=/b,id=b");
  ASSERT_EQ(options.nics.size(), 1U);
  EXPECT_EQ(options.nics[0].text(), "tap=t,queues=1");
  ASSERT_EQ(options.shares.size(), 1U);
  EXPECT_EQ(options.shares[0].text(), "tag=f,socket=/s");
  ASSERT_EQ(options.vsocks.size(), 1U);
  EXPECT_EQ(options.vsocks[0].text(), "cid=3,uds=/v");
  EXPECT_EQ(options.rngs.at(0).text(), "src=/dev/urandom");
  EXPECT_EQ(options.balloons.at(0).text(), "size=4096,deflate-on-oom=on,free-page-reporting=on");
  EXPECT_EQ(options.serial, OptionText("file=/out"));
  EXPECT_EQ(options.consoles.at(0).text(), "pty");
  EXPECT_EQ(options.on_reset, OptionText("restart"));
  EXPECT_THAT(request.ignored,
              ElementsAre("\"cpus.topology\"", "\"memory.hotplug_size\"", "\"memory.zones\"",
                          "\"disks[0].pci_segment\"", "\"platform\""));
}

TEST(ApiV1Test, AMachineOfOlderClients) {
  const auto options =
      command<CreateMachine>(
          read("PUT", "vm.create", R"({"kernel": {"path": "/k"}, "initramfs": {"path": "/i"},
                                   "cmdline": {"args": "quiet"}, "console": {"mode": "Off"}})"))
          .options;
  EXPECT_EQ(options.kernel, OptionText("/k"));
  EXPECT_EQ(options.initrd, OptionText("/i"));
  EXPECT_EQ(options.cmdline, OptionText("quiet"));
  EXPECT_EQ(options.serial, OptionText("null"));
  EXPECT_TRUE(options.consoles.empty());
}

TEST(ApiV1Test, AMachineWithItsSerialPortOnATerminal) {
  const auto request =
      read("PUT", "vm.create", R"({"payload": {"kernel": "/k"}, "serial": {"mode": "Pty"}})");
  EXPECT_EQ(command<CreateMachine>(request).options.serial, OptionText("pty"));
}

TEST(ApiV1Test, WhatAMachineCannotBeIsRefusedByPlace) {
  const auto with = [](const std::string& more) {
    return read("PUT", "vm.create", R"({"payload": {"kernel": "/k"}, )" + more + "}");
  };
  expect_refused(read("PUT", "vm.create", "{}"), 400, "payload.kernel is missing");
  expect_refused(read("PUT", "vm.create", R"({"payload": {"firmware": "/f"}})"), 400,
                 "payload.firmware is not supported");
  expect_refused(read("PUT", "vm.create", R"({"payload": 1})"), 400, "payload must be an object");
  expect_refused(with(R"("disks": {})"), 400, "disks must be a list");
  expect_refused(with(R"("disks": [{"path": "/a"}, {}])"), 400, "disks[1].path is missing");
  expect_refused(with(R"("disks": [1])"), 400, "disks[0] must be an object");
  expect_refused(with(R"("cpus": {"boot_vcpus": "2"})"), 400, "cpus.boot_vcpus must be a number");
  expect_refused(with(R"("serial": {"mode": "Socket"})"), 400, "serial.mode must be Off");
  expect_refused(with(R"("serial": {"mode": "File"})"), 400, "serial.file is missing");
  expect_refused(with(R"("console": {"mode": "Tty"})"), 400, "console.mode must be Off");
  expect_refused(with(R"("devices": [{"path": "/sys/x"}])"), 400, "devices are not supported");
}

TEST(ApiV1Test, WhatADeviceCannotBeIsRefused) {
  expect_refused(read("PUT", "vm.add-disk", "{}"), 400, "vm.add-disk: path is missing");
  expect_refused(read("PUT", "vm.add-disk", R"({"path": "/a", "readonly": 1})"), 400,
                 "readonly must be true or false");
  expect_refused(read("PUT", "vm.add-disk", R"({"path": "/a", "image_type": "Qcow2"})"), 400,
                 "image_type must be Raw");
  expect_refused(read("PUT", "vm.add-disk", R"({"path": "/a", "rate_limiter_config":
                                               {"ops": {"size": 0, "refill_time": 1}}})"),
                 400, "rate_limiter_config.ops.size and refill_time must be 1 or more");
  expect_refused(read("PUT", "vm.add-disk", R"({"path": "/a", "rate_limiter_config":
                                               {"bandwidth": {"size": 1}}})"),
                 400, "rate_limiter_config.bandwidth.refill_time is missing");
  expect_refused(read("PUT", "vm.add-disk", R"({"vhost_user": true})"), 400,
                 "vhost_socket is missing");
  expect_refused(read("PUT", "vm.add-net", R"({"tap": "t", "num_queues": 3})"), 400,
                 "num_queues must be 2 for each pair");
  expect_refused(read("PUT", "vm.add-vsock", R"({"socket": "/s"})"), 400, "cid is missing");
  expect_refused(read("PUT", "vm.add", R"({"options": "x"})"), 400, "device is missing");
  expect_refused(read("PUT", "vm.add", R"({"device": "disk", "options": "a,,,"})"), 400,
                 "--disk: an item is empty");
  expect_refused(read("PUT", "vm.remove-device"), 400, "id is missing");
}

TEST(ApiV1Test, AnAddedDeviceIsToldWithItsPlace) {
  const HttpResponse told =
      write_answer(AddDevice{}, Answer(AddedDevice{.id = "d", .bdf = "0000:00:05.0"}), "1");
  EXPECT_EQ(told.status, 200U);
  EXPECT_EQ(Json::parse(told.body), (Json{{"id", "d"}, {"bdf", "0000:00:05.0"}}));
}

TEST(ApiV1Test, FieldsThatMeanNothingAreNamed) {
  const auto request =
      read("PUT", "vm.resize", R"({"desired_balloon": 0, "new\nline": 1, "other": 2})");
  command<Resize>(request);
  EXPECT_THAT(request.ignored, ElementsAre("\"new\\nline\"", "\"other\""));
}

TEST(ApiV1Test, WhatIsNotThereIsSaidToBeSo) {
  expect_refused(read("PUT", "vm.add-device", "{}"), 501, "vm.add-device: not supported");
  expect_refused(read("PUT", "vm.snapshot"), 501, "not supported");
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
  config.halt_poll = std::chrono::microseconds(200);
  disk.id = "disk0";
  disk.source = RawFileSource{.path = "a.img", .cache = Cache::kNone};
  disk.rates = {.units = 333, .bytes = 1000, .burst = std::chrono::milliseconds(10)};
  config.disks.push_back(disk);
  NicConfig nic;
  nic.id = "net0";
  nic.mac = 0x563412005452;
  nic.source = TapSource{.name = "tap0", .fds = {}, .pairs = 2};
  config.nics.push_back(nic);
  config.rate_groups.push_back({.id = "slow", .rates = {.units = 5}, .place = {}});
  config.nics[0].rate_group = "slow";
  config.consoles.emplace_back().ports.emplace_back().end = ConsolePortConfig::End::kPty;
  QueueStats queue;
  queue.device = "disk0";
  queue.running = true;
  queue.notify = NotifyMode::kPoll;
  queue.wish = {.mode = NotifyMode::kAdaptive, .optimize = Optimize::kEfficiency};
  const Json json = Json::parse(info_json({.state = MachineState::kPaused,
                                           .config = std::make_shared<const MachineConfig>(config),
                                           .memory_bytes = 4096,
                                           .queues = {queue, QueueStats{.device = "disk0"}},
                                           .threads = {{"io0", {0, 1}, true}},
                                           .console = "/dev/pts/7",
                                           .serial = {SerialPort::Mode::kPty, "/dev/pts/8"}}));
  EXPECT_EQ(json["config"]["serial"], Json::parse(R"({"mode": "Pty", "file": "/dev/pts/8"})"));
  EXPECT_EQ(json["notify"], Json::parse(R"({"disk0": [
                {"mode": "adaptive", "optimize": "efficiency", "now": "poll"},
                {"mode": "ioeventfd"}]})"));
  EXPECT_EQ(json["config"]["console"], Json::parse(R"({"mode": "Pty", "file": "/dev/pts/7"})"));
  EXPECT_EQ(json["config"]["rate_limit_groups"][0]["id"], "slow");
  EXPECT_EQ(json["config"]["rate_limit_groups"][0]["rate_limiter_config"]["ops"]["size"], 5);
  EXPECT_EQ(json["config"]["net"][0]["rate_limit_group"], "slow");
  EXPECT_EQ(json["state"], "Paused");
  EXPECT_EQ(json["threads"],
            Json::parse(R"([{"name": "io0", "cpus": "0-1", "cpus_given": true}])"));
  EXPECT_EQ(json["config"]["cpus"]["halt_poll_ns"], 200'000);
  EXPECT_EQ(json["memory_actual_size"], 4096);
  EXPECT_EQ(json["config"]["payload"]["kernel"], "/boot/vmlinuz");
  EXPECT_EQ(json["config"]["cpus"]["boot_vcpus"], 2);
  EXPECT_EQ(json["config"]["memory"]["size"], config.memory);
  EXPECT_EQ(json["config"]["disks"][0]["path"], "a.img");
  EXPECT_EQ(json["config"]["disks"][0]["direct"], true);
  EXPECT_EQ(json["config"]["disks"][0]["rate_limiter_config"],
            Json::parse(R"({"ops": {"size": 333, "refill_time": 1000},
                            "bandwidth": {"size": 1000, "refill_time": 1000},
                            "burst_ns": 10000000})"));
  EXPECT_FALSE(json["config"]["net"][0].contains("rate_limiter_config")) << "it has none";
  EXPECT_EQ(json["config"]["net"][0]["mac"], "52:54:00:12:34:56");
  EXPECT_EQ(json["config"]["net"][0]["num_queues"], 4);
}

TEST(ApiV1Test, InfoNamesTheBackEndsOfDevices) {
  MachineConfig config;
  config.disks.emplace_back().source = VhostUserDisk{.socket = "/run/disk.sock"};
  config.nics.emplace_back().source = VhostUserNic{.socket = "/run/net.sock"};
  const Json json = Json::parse(info_json({.state = MachineState::kRunning,
                                           .config = std::make_shared<const MachineConfig>(config),
                                           .memory_bytes = 0,
                                           .queues = {}}));
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
