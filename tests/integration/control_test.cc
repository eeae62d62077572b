// The API of a real machine, and `bellhop ctl`, which speaks to it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/unix_socket.h"
#include "control/api/api_client.h"
#include "control/api/metrics_sample.h"
#include "sandbox/seccomp_mode.h"
#include "testing/elf_builder.h"
#include "testing/eventually.h"
#include "tests/integration/cli_fixture.h"
#include "virtio/queue/notify_choice.h"

namespace bellhop {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

class ControlCliTest : public CliTest {};

TEST_F(ControlCliTest, AnApiSocketThatCannotBeIsRefusedByName) {
  expect_run_refused({"--api-socket", folder_.string() + "/no/such"}, "--api-socket: ");
  expect_run_refused({"--api-socket", image_}, "is there already, and is no socket");
  expect_run_refused({"--api-socket", "fd=x"}, "must be a descriptor's number");
  EXPECT_TRUE(std::filesystem::exists(image_));
}

TEST_F(ControlCliTest, WithoutAKernelThereIsNothingElseToSay) {
  const std::string socket = folder_.string() + "/s";
  expect_refused({"run"}, "--kernel is missing");
  expect_refused({"run", "--api-socket", socket, "--cpus", "2"}, "--cpus: --kernel is missing");
  expect_refused({"run", "--api-socket", socket, "--rng"}, "--rng: --kernel is missing");
  expect_refused({"run", "--api-socket", socket, "--memory", "1G"},
                 "--memory: --kernel is missing");
  expect_refused({"run", "--api-socket", socket, "--stop-timeout", "x"}, "--stop-timeout: 'x'");
  const std::string file = (folder_ / "m.toml").string();
  std::ofstream(file) << "api-socket = \"s\"\n[[disk]]\nnull = \"1M\"\n";
  expect_refused({"run", "--config", file}, "m.toml:2: disk: --kernel is missing");
}

TEST_F(ControlCliTest, CtlSaysWhatIsWrong) {
  expect_refused({"ctl"}, "ctl: a command is missing");
  expect_refused({"ctl", "x.sock"}, "ctl: a command is missing");
  expect_refused({"ctl", "info"}, "SOCKET is missing");
  expect_refused({"ctl", "x.sock", "infos"}, "infos");
  expect_refused({"ctl", "x.sock", "balloon", "many"}, "SIZE: 'many' is wrong");
  expect_refused({"ctl", "x.sock", "--timeout", "0", "info"}, "--timeout: '0' is wrong");
  const Outcome nobody = bellhop({"ctl", folder_.string() + "/x.sock", "info"});
  EXPECT_EQ(nobody.status, 1);
  EXPECT_THAT(nobody.err, HasSubstr("x.sock: no machine answers there"));
}

#ifdef BELLHOP_BENCH_GUEST

class ControlTest : public CliMachineTest {
 protected:
  void TearDown() override {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    (void)finish(pid_);
  }
  void run(const std::string& cmdline, const std::vector<std::string>& options = {}) {
    std::vector<std::string> words = {"run",      "--kernel",     BELLHOP_BENCH_GUEST,
                                      "--memory", "64M",          "--cmdline",
                                      cmdline,    "--api-socket", socket_};
    words.insert(words.end(), options.begin(), options.end());
    std::filesystem::remove(folder_ / "out");
    pid_ = start(words);
    ASSERT_TRUE(testing::eventually([&] { return ask("GET", "vmm.ping").status == 200; }));
  }
  void run_until_ready(const std::string& cmdline, const std::vector<std::string>& options = {}) {
    run(cmdline, options);
    ASSERT_TRUE(printed("\"event\":\"begin\""));
  }
  bool printed(const std::string& text) {
    return testing::eventually(
        [&] { return contents(folder_ / "out").find(text) != std::string::npos; });
  }
  control::HttpResponse ask(std::string_view method, std::string_view name,
                            std::string_view body = {}) {
    auto response = control::ask_api(socket_, method, name, body, testing::kPatience);
    if (response) return *response;
    return {.status = 0, .body = response.error().message};
  }
  unsigned put(std::string_view name, std::string_view body = {}) {
    return ask("PUT", name, body).status;
  }
  Json info() { return Json::parse(ask("GET", "vm.info").body); }
  Outcome end() {
    Outcome outcome = finish(pid_);
    pid_ = 0;
    return outcome;
  }
  /// The program has so many of what its folder in /proc lists.
  [[nodiscard]] std::size_t count(const char* what) const {
    return static_cast<std::size_t>(std::distance(
        std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/" + what), {}));
  }
  /// The same once no client's connection is on its way out any more.
  [[nodiscard]] std::size_t settled(const char* what) const {
    std::size_t least = count(what);
    for (int i = 0; i < 50; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(4));
      least = std::min(least, count(what));
    }
    return least;
  }
  /// What `bellhop ctl` prints; the machine's own output stays where it is.
  std::string ctl(const std::vector<std::string>& words, int status = 0) {
    std::string line = "ctl '" + socket_ + "'";
    for (const std::string& word : words) line += " '" + word + "'";
    return told(line, status);
  }
  /// What the program prints with these arguments.
  std::string told(const std::string& arguments, int status = 0) {
    const std::string shown = (folder_ / "told").string();
    const std::string line =
        std::string(BELLHOP_EXECUTABLE) + " " + arguments + " > '" + shown + "' 2>&1";
    const int got = std::system(line.c_str());  // NOLINT(cert-env33-c,concurrency-mt-unsafe)
    EXPECT_EQ(WIFEXITED(got) ? WEXITSTATUS(got) : -1, status) << line;
    return contents(shown);
  }

  std::string socket_ = (folder_ / "api.sock").string();
  pid_t pid_ = 0;
};

TEST_F(ControlTest, CtlShowsAndChangesAMachine) {
  run_until_ready("workload=idle seconds=1000",
                  {"--disk", image_ + ",id=data", "--balloon", "size=4M"});
  EXPECT_THAT(ctl({"ping"}), HasSubstr("pid"));
  EXPECT_THAT(ctl({"info"}), HasSubstr("state"));
  const Json shown = Json::parse(ctl({"info", "--json"}));
  EXPECT_EQ(shown["state"], "Running");
  EXPECT_EQ(shown["config"]["disks"][0]["id"], "data");
  EXPECT_EQ(shown["config"]["memory"]["size"], 64 << 20);
  EXPECT_THAT(ctl({"counters"}), HasSubstr("balloon0.wanted_bytes"));
  EXPECT_EQ(ctl({"pause"}), "");
  EXPECT_THAT(ctl({"info"}), HasSubstr("Paused"));
  EXPECT_THAT(ctl({"pause"}, 1), HasSubstr("bellhop: the machine is paused"));
  EXPECT_EQ(ctl({"resume"}), "");
  EXPECT_EQ(ctl({"resize-disk", "data", "2M"}), "");
  EXPECT_EQ(std::filesystem::file_size(image_), std::uintmax_t{2} << 20);
  EXPECT_THAT(ctl({"resize-disk", "data", "1M"}, 1), HasSubstr("would be lost"));
  EXPECT_EQ(ctl({"pin", "vcpu0", "0"}), "");
  EXPECT_THAT(ctl({"pin", "vcpu7", "0"}, 1), HasSubstr("no thread 'vcpu7'"));
  EXPECT_EQ(ctl({"rates", "data", "iops=100,bps=1M"}), "");
  EXPECT_THAT(ctl({"rates", "data", "iops=x"}, 1), HasSubstr("iops"));
  EXPECT_EQ(ctl({"notify", "data", "adaptive,optimize=efficiency,queue=0"}), "");
  EXPECT_EQ(info()["notify"]["data"][0]["optimize"], "efficiency");
  EXPECT_EQ(ctl({"notify", "data", "sync"}), "");
  EXPECT_EQ(info()["notify"]["data"][0], (Json{{"mode", "sync"}})) << "its guest leaves it alone";
  EXPECT_THAT(ctl({"notify", "data", "now"}, 1), HasSubstr("must be one of sync, ioeventfd"));
  EXPECT_THAT(ctl({"notify", "data", "sync,queue=1"}, 1), HasSubstr("there is no queue 1"));
  EXPECT_THAT(ctl({"notify", "data", "sync,queues=1"}, 2), HasSubstr("queues"));
  EXPECT_THAT(ctl({"resize-disk", "other", "1M"}, 1), HasSubstr("there is no disk 'other'"));
  EXPECT_EQ(ctl({"balloon", "8M"}), "");
  const Json counters = Json::parse(ctl({"counters", "--json"}));
  EXPECT_EQ(counters["balloon0"]["wanted_bytes"], 8 << 20);
  EXPECT_GT(counters["_machine"]["userspace_exits"], 0);
  EXPECT_THAT(ctl({"power-button"}, 1), HasSubstr("power button"));
  EXPECT_EQ(ctl({"shutdown-vmm"}), "");
  EXPECT_EQ(end().status, 0);
  EXPECT_FALSE(std::filesystem::exists(socket_));
}

// The guest has no ACPI: it finds nothing, and lets nothing go.
TEST_F(ControlTest, DevicesComeAndGo) {
  const std::string events = (folder_ / "events").string();
  run_until_ready("workload=idle seconds=1000", {"--event-monitor", "path=" + events});
  const std::size_t fds = settled("fd");
  const Json added = Json::parse(ctl({"add", "disk", image_ + ",id=late", "--json"}));
  EXPECT_EQ(added, (Json{{"id", "late"}, {"bdf", "0000:00:01.0"}}));
  EXPECT_EQ(info()["config"]["disks"][0]["path"], image_);
  EXPECT_THAT(ctl({"add", "disk", image_}, 1), HasSubstr("is the file of --disk late, too"));
  EXPECT_THAT(ctl({"add", "disk", "path=/no/such"}, 1), HasSubstr("/no/such"));
  EXPECT_THAT(ctl({"add", "disc"}, 2), HasSubstr("must be one of disk, net"));
  EXPECT_THAT(ctl({"add", "rng"}), HasSubstr("rng0"));
  EXPECT_THAT(ctl({"remove", "late", "--timeout", "200ms"}, 1),
              HasSubstr("late: the guest has not let it go in time"));
  EXPECT_THAT(ctl({"remove", "none"}, 1), HasSubstr("there is no device 'none'"));
  // A guest that starts anew has let go what it was asked for.
  EXPECT_EQ(ctl({"shutdown"}), "");
  EXPECT_THAT(ctl({"remove", "late"}, 1), HasSubstr("there is no device 'late'"));
  EXPECT_EQ(ctl({"remove", "rng0"}), "");
  EXPECT_EQ(put("vm.add-disk", R"({"path": ")" + image_ + R"("})"), 200U);
  EXPECT_EQ(put("vm.remove-device", R"({"id": "disk0"})"), 204U);
  EXPECT_EQ(settled("fd"), fds) << "nothing is left behind";
  EXPECT_EQ(ctl({"shutdown-vmm"}), "");
  EXPECT_EQ(end().status, 0);
  EXPECT_THAT(contents(events),
              HasSubstr(R"("event":"device-removed","properties":{"id":"disk0"})"));
}

// Relative paths are those of whoever asks, not of the machine.
TEST_F(ControlTest, AddedFilesAreFoundFromWhereCtlRuns) {
  run_until_ready("workload=idle seconds=1000");
  const std::string shown = (folder_ / "told").string();
  const std::string line =
      "cd '" + folder_.string() + "' && " + BELLHOP_EXECUTABLE + " ctl '" + socket_ +
      "' add disk " + std::filesystem::path(image_).filename().string() + " > '" + shown + "' 2>&1";
  EXPECT_EQ(std::system(line.c_str()), 0)
      << contents(shown);  // NOLINT(cert-env33-c,concurrency-mt-unsafe)
  EXPECT_EQ(info()["config"]["disks"][0]["path"], image_);
}

TEST_F(ControlTest, EventsAreWrittenAsTheyCome) {
  const std::string events = (folder_ / "events").string();
  run_until_ready("workload=idle seconds=1000", {"--event-monitor", "path=" + events});
  EXPECT_EQ(ctl({"pause"}), "");
  EXPECT_EQ(ctl({"resume"}), "");
  EXPECT_EQ(ctl({"shutdown-vmm"}), "");
  EXPECT_EQ(end().status, 0);
  std::vector<std::string> written;
  std::istringstream lines(contents(events));
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) written.push_back(Json::parse(line).at("event"));
  }
  EXPECT_THAT(written, ElementsAre("starting", "booting", "booted", "pausing", "paused", "resuming",
                                   "resumed", "shutdown", "shutdown"));
  expect_run_refused({"--event-monitor", "fd=99"}, "fd=99: is not open");
  expect_run_refused({"--event-monitor", "events"}, "it must be path=FILE or fd=N");
  expect_run_refused({"--event-monitor", "path=" + image_, "--disk", image_}, "--event-monitor");
  const UniqueFd image(::open(image_.c_str(), O_RDWR | O_CLOEXEC));
  pid_ =
      start({"run", "--kernel", BELLHOP_BENCH_GUEST, "--disk", image_, "--event-monitor", "fd=9"},
            [&] { ::dup2(image.get(), 9); });
  const Outcome refused = end();
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("--event-monitor"));
}

TEST_F(ControlTest, AGuestIsBootedAgainAndAgain) {
  run_until_ready("workload=idle seconds=1000");
  const auto boots = [&] {
    const std::string out = contents(folder_ / "out");
    std::size_t found = 0;
    for (std::size_t at = 0; (at = out.find("\"event\":\"ready\"", at)) != std::string::npos;
         ++at) {
      ++found;
    }
    return found;
  };
  EXPECT_EQ(boots(), 1U);
  EXPECT_EQ(put("vm.reboot"), 204U);
  EXPECT_TRUE(testing::eventually([&] { return boots() == 2; }));
  EXPECT_EQ(put("vm.shutdown"), 204U);
  EXPECT_EQ(info()["state"], "Shutdown");
  EXPECT_EQ(put("vm.shutdown"), 409U);
  EXPECT_EQ(boots(), 2U);
  EXPECT_EQ(put("vm.boot"), 204U);
  EXPECT_TRUE(testing::eventually([&] { return boots() == 3; }));
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  EXPECT_EQ(end().status, 0);
}

TEST_F(ControlTest, ASocketThatWasPassedServes) {
  UnixListener listener = *UnixListener::listen(socket_);
  std::vector<std::string> words = {
      "run", "--kernel",  BELLHOP_BENCH_GUEST,          "--memory",
      "64M", "--cmdline", "workload=idle seconds=1000", "--api-socket",
      "fd=9"};
  pid_ = start(words, [&] { ::dup2(listener.fd(), 9); });
  EXPECT_EQ(ask("GET", "vmm.ping").status, 200U);
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  EXPECT_EQ(end().status, 0);
}

TEST_F(ControlTest, ASocketThatIsLeftOverIsReplacedAndOneInUseIsNot) {
  run_until_ready("workload=idle seconds=1000");
  expect_refused({"run", "--kernel", BELLHOP_BENCH_GUEST, "--api-socket", socket_},
                 "is in use by another program");
  ::kill(pid_, SIGKILL);
  (void)end();
  ASSERT_TRUE(std::filesystem::exists(socket_));
  run("workload=idle seconds=1000");
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  EXPECT_EQ(end().status, 0);
}

/// Guest of some instructions: it listens to its power button, says that it is ready, and switches
/// itself off when it is pressed. 32 bits; PM1's status is at 0x600, its enable bits at 0x602, its
/// control at 0x604.
const std::vector<std::uint8_t> kObedient = {
    0x66, 0xba, 0x02, 0x06, 0x66, 0xb8, 0x00, 0x01, 0x66, 0xef,        // listen
    0x66, 0xba, 0xf8, 0x03, 0xb0, 'r',  0xee, 0xb0, '\n', 0xee,        // "r"
    0x66, 0xba, 0x00, 0x06, 0x66, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xf5,  // wait for the button
    0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x34, 0x66, 0xef,        // switch off
    0xf4, 0xeb, 0xfd};

class ButtonTest : public ControlTest {
 protected:
  void run_obedient() {
    constexpr std::uint64_t kAddress = 1U << 20U;
    const auto image =
        ElfBuilder(ElfBuilder::Class::k32).load(kAddress, kObedient).pvh_note(kAddress).build();
    std::ofstream(kernel_).write(reinterpret_cast<const char*>(image.data()),
                                 static_cast<std::streamsize>(image.size()));
    pid_ = start({"run", "--kernel", kernel_, "--memory", "16M", "--api-socket", socket_});
    ASSERT_TRUE(printed("r\n"));
  }
};

TEST_F(ButtonTest, APressIsHeardAndTheProgramEndsWithItsGuest) {
  run_obedient();
  EXPECT_EQ(put("vm.power-button"), 204U);
  EXPECT_EQ(end().status, 0);
  EXPECT_FALSE(std::filesystem::exists(socket_));
}

TEST_F(ButtonTest, ASignalToAPausedMachineLetsItsGuestSwitchItselfOff) {
  run_obedient();
  EXPECT_EQ(put("vm.pause"), 204U);
  ::kill(pid_, SIGTERM);
  EXPECT_EQ(end().status, 0);
}

/// A machine whose guest reads a disk as fast as it goes, and checks every byte.
class ControlUnderLoadTest : public ControlTest {
 protected:
  void load(unsigned seconds) {
    const std::string disk = make_file("load.img", std::uintmax_t{16} << 20);
    const std::vector<std::string> options = {"--disk", disk + ",id=load,queues=1", "--balloon",
                                              "size=0"};
    pid_ = start({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--cmdline",
                  "workload=prepare", "--disk", disk});
    ASSERT_EQ(end().status, 0);
    run_until_ready("workload=randread threads=16 timeout=120 seconds=" + std::to_string(seconds),
                    options);
  }
  std::uint64_t requests() {
    return Json::parse(ask("GET", "vm.counters").body)["load"]["chains"].get<std::uint64_t>();
  }
};

TEST_F(ControlUnderLoadTest, MetricsTellWhatADiskDoes) {
  load(1000);
  const auto sample = [&] { return *control::MetricsSample::read(ask("GET", "vm.metrics").body); };
  const auto disk = [](const control::MetricsSample& of) {
    return *std::ranges::find(of.queues, "load", &control::MetricsSample::Queue::device);
  };
  const control::MetricsSample first = sample();
  EXPECT_EQ(first.state, "Running");
  EXPECT_EQ(first.memory_bytes, std::uint64_t{64} << 20);
  ASSERT_EQ(first.device_bytes.size(), 1U);
  EXPECT_EQ(first.device_bytes[0].first, "load");
  EXPECT_TRUE(disk(first).running);
  EXPECT_EQ(disk(first).server, "device");
  ASSERT_THAT(first.threads, ElementsAre(Field(&control::MetricsSample::Thread::name, "vcpu0"),
                                         Field(&control::MetricsSample::Thread::name, "io0")));
  EXPECT_TRUE(testing::eventually([&] {
    const control::MetricsSample now = sample();
    return now.device_bytes[0].second > first.device_bytes[0].second &&
           disk(now).counts != disk(first).counts &&
           now.threads[0].cpu_ns > first.threads[0].cpu_ns &&
           now.threads[1].cpu_ns > first.threads[1].cpu_ns;
  }));
  const std::string top = told("top '" + socket_ + "' --interval 50ms --count 2");
  EXPECT_THAT(top, HasSubstr("api.sock: Running, 64M of memory"));
  EXPECT_THAT(top, HasSubstr("CPU: vcpu0 "));
  EXPECT_THAT(top, HasSubstr("Data: load "));
  EXPECT_THAT(top, HasSubstr("load             0 ioeventfd"));
  const std::string lines = told("top '" + socket_ + "' --interval 50ms --count 2 --json");
  EXPECT_EQ(std::ranges::count(lines, '\n'), 2);
  EXPECT_TRUE(control::MetricsSample::read(lines.substr(0, lines.find('\n'))));
  EXPECT_EQ(put("vm.pause"), 204U);
  EXPECT_THAT(told("top '" + socket_ + "' --interval 50ms --count 1"), HasSubstr("Paused"));
  EXPECT_THAT(told("top '" + socket_ + "' --interval 10ms", 2), HasSubstr("--interval: '10ms' is"));
  EXPECT_THAT(told("top '" + socket_ + "' --count 0", 2), HasSubstr("--count: '0' is wrong"));
  EXPECT_THAT(told("top '" + socket_ + "x'", 1), HasSubstr("no machine answers there"));
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  (void)end();
}

TEST_F(ControlUnderLoadTest, EveryCommandIsAnsweredWhileADiskRunsAtItsFullRate) {
  load(6);
  const std::uint64_t before = requests();
  constexpr int kTimes = 200;
  std::vector<std::chrono::microseconds> took;
  for (int i = 0; i < kTimes; ++i) {
    const auto begin = Clock::now();
    ASSERT_EQ(ask("GET", "vm.info").status, 200U);
    took.push_back(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin));
  }
  std::ranges::nth_element(took, took.begin() + kTimes / 2);
  RecordProperty("info_median_us", static_cast<int>(took[kTimes / 2].count()));
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(put("vm.pause"), 204U);
    const std::uint64_t at_rest = requests();
    EXPECT_EQ(requests(), at_rest) << "nothing moves";
    ASSERT_EQ(put("vm.resume"), 204U);
  }
  EXPECT_TRUE(testing::eventually([&] { return requests() > before; }));
  const Outcome outcome = end();
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
}

/// One command after the other, each of which has one right answer.
class RandomCommandsTest : public ControlUnderLoadTest {
 protected:
  void command() {
    switch (pick(14)) {
      case 0:
        ASSERT_EQ(put("vm.pause"), paused_ ? 409U : 204U);
        paused_ = true;
        break;
      case 1:
      case 2:
        ASSERT_EQ(put("vm.resume"), paused_ ? 204U : 409U);
        paused_ = false;
        break;
      case 3:
        ASSERT_EQ(ask("GET", "vm.info").status, 200U);
        break;
      case 4:
        ASSERT_EQ(ask("GET", pick(2) == 0 ? "vm.counters" : "vm.metrics").status, 200U);
        break;
      case 5:
        disk_bytes_ += 4096;
        ASSERT_EQ(put("vm.resize-disk", Json{{"id", "load"}, {"desired_size", disk_bytes_}}), 204U);
        break;
      case 6:
        ASSERT_EQ(put("vm.resize", Json{{"desired_balloon", pick(1024) * 4096}}), 204U);
        break;
      case 7:
        ASSERT_EQ(put("vm.set-rates",
                      Json{{"id", "load"}, {"options", pick(2) == 0 ? "iops=0" : "iops=20000"}}),
                  204U);
        break;
      case 8:
        ASSERT_EQ(put("vm.pin", Json{{"thread", pick(2) == 0 ? "io0" : "vcpu0"}, {"cpus", cpu_}}),
                  204U);
        break;
      case 9:
        ASSERT_EQ(put("vm.add-disk", Json{{"path", load_}, {"id", "again"}}), 400U);
        break;
      case 10: {
        // A client that does not stay for its answer.
        const UniqueFd gone = make_unix_socket();
        ASSERT_EQ(connect_unix(gone.get(), socket_), 0);
        const std::string_view half = "GET /api/v1/vm.counters HTTP/1.1\r\n\r\nPUT /api";
        (void)::send(gone.get(), half.data(), half.size(), MSG_NOSIGNAL);
        break;
      }
      default:
        set_notify();
    }
  }
  void set_notify() {
    Json body{{"id", pick(4) == 0 ? "balloon0" : "load"},
              {"mode", to_string(kNotifyModes[pick(4)])}};
    if (body["mode"] == "adaptive") body["optimize"] = to_string(kObjectives[pick(2)]);
    if (pick(2) == 0) body["queue"] = 0;
    ASSERT_EQ(put("vm.set-notify", body), 204U) << body;
    ASSERT_EQ(info()["notify"][body["id"]][0]["mode"], body["mode"]);
  }
  unsigned put(std::string_view name, const Json& body) {
    return ControlTest::put(name, body.dump());
  }
  using ControlTest::put;
  unsigned pick(unsigned count) { return static_cast<unsigned>(random_() % count); }
  /// Memory of the process, without what it only maps: KiB.
  [[nodiscard]] std::uint64_t data_kib() const {
    std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
    std::uint64_t kib = 0;
    for (std::string word; status >> word;) {
      if (word == "VmData:") status >> kib;
    }
    return kib;
  }
  void run_on() {
    if (paused_) {
      ASSERT_EQ(put("vm.resume"), 204U);
    }
    paused_ = false;
  }

  const std::string load_ = (folder_ / "load.img").string();
  const std::string cpu_ = std::to_string(first_cpu());
  std::mt19937 random_{20100401};
  std::uint64_t disk_bytes_ = std::uint64_t{16} << 20;
  bool paused_ = false;

 private:
  static std::size_t first_cpu() {
    cpu_set_t cpus;
    EXPECT_EQ(::sched_getaffinity(0, sizeof cpus, &cpus), 0);
    std::size_t cpu = 0;
    while (!CPU_ISSET(cpu, &cpus)) ++cpu;
    return cpu;
  }
};

// BELLHOP_LONG_TESTS has twenty times as many.
TEST_F(RandomCommandsTest, AThousandLoseNoRequestAndLeaveNothing) {
  const bool is_long = std::getenv("BELLHOP_LONG_TESTS") != nullptr;
  load(is_long ? 300 : 15);
  constexpr int kToWarmUp = 100;  // threads, arenas and reserves that come once
  ASSERT_EQ(put("vm.set-notify", Json{{"id", "load"}, {"mode", "adaptive"}}), 204U);
  for (int i = 0; i < kToWarmUp; ++i) ASSERT_NO_FATAL_FAILURE(command()) << i;
  ASSERT_NO_FATAL_FAILURE(run_on());
  const auto end_all = [&] { return put("vm.set-notify", Json{{"id", "load"}, {"mode", "sync"}}); };
  ASSERT_EQ(end_all(), 204U);
  const std::size_t descriptors = settled("fd");
  const std::size_t threads = count("task");
  const std::uint64_t memory = data_kib();
  for (int i = 0; i < (is_long ? 20'000 : 1000); ++i) ASSERT_NO_FATAL_FAILURE(command()) << i;
  ASSERT_NO_FATAL_FAILURE(run_on());
  ASSERT_EQ(end_all(), 204U);
  EXPECT_EQ(put("vm.pause"), 204U);
  EXPECT_EQ(put("vm.resume"), 204U) << "the guest has not ended before";
  EXPECT_EQ(settled("fd"), descriptors);
  EXPECT_EQ(count("task"), threads);
  EXPECT_LE(data_kib(), memory + 512);
  const Outcome outcome = end();
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
}

/// A program that begins without a machine.
class EmptyMachineTest : public ControlTest {
 protected:
  void run_empty(const std::vector<std::string>& options = {}) {
    std::vector<std::string> words = {"run", "--api-socket", socket_};
    words.insert(words.end(), options.begin(), options.end());
    pid_ = start(words);
    ASSERT_TRUE(testing::eventually([&] { return ask("GET", "vmm.ping").status == 200; }));
  }
  [[nodiscard]] std::string machine(const std::string& cmdline) const {
    return Json{{"payload", {{"kernel", BELLHOP_BENCH_GUEST}, {"cmdline", cmdline}}},
                {"cpus", {{"boot_vcpus", 1}, {"max_vcpus", 1}}},
                {"memory", {{"size", 64 << 20}}},
                {"disks", {{{"path", image_}}}},
                {"rng", {{"src", "/dev/urandom"}}},
                {"serial", {{"mode", "File"}, {"file", serial_}}},
                {"console", {{"mode", "Off"}}}}
        .dump();
  }

  std::string serial_ = (folder_ / "serial").string();
};

// In the order in which Kata's drivers ask.
TEST_F(EmptyMachineTest, MachinesAreMadeBootedAndDeleted) {
  run_empty({"--event-monitor", "path=" + (folder_ / "events").string()});
  EXPECT_EQ(ask("GET", "vm.info").status, 404U);
  EXPECT_EQ(put("vm.boot"), 404U);
  EXPECT_EQ(put("vm.create", R"({"payload": {"kernel": "/no/such"}})"), 400U);
  const std::size_t fds = settled("fd");
  const std::size_t threads = settled("task");
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(put("vm.create", machine("workload=randread threads=4 seconds=1000")), 204U);
    EXPECT_EQ(put("vm.create", machine("")), 409U);
    EXPECT_EQ(info()["state"], "Created");
    EXPECT_EQ(put("vm.pause"), 409U);
    ASSERT_EQ(put("vm.boot"), 204U);
    EXPECT_EQ(info()["state"], "Running");
    EXPECT_TRUE(testing::eventually(
        [&] { return contents(serial_).find("\"event\":\"begin\"") != std::string::npos; }));
    EXPECT_EQ(put("vm.add", R"({"device": "rng", "options": "id=late"})"), 200U);
    EXPECT_EQ(put("vm.pause"), 204U);
    EXPECT_EQ(put("vm.resume"), 204U);
    EXPECT_EQ(put("vm.reboot"), 204U);
    if (round == 1) {
      EXPECT_EQ(put("vm.shutdown"), 204U);
    }
    ASSERT_EQ(put("vm.delete"), 204U);
    EXPECT_EQ(settled("fd"), fds) << "nothing is left of it";
    EXPECT_EQ(settled("task"), threads);
  }
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  EXPECT_EQ(end().status, 0);
  EXPECT_FALSE(std::filesystem::exists(socket_));
}

// A FIFO that is full has a reader, which reads nothing.
TEST_F(EmptyMachineTest, WhatNobodyReadsOfTheSerialPortKeepsNoCommandWaiting) {
  ASSERT_EQ(::mkfifo(serial_.c_str(), 0600), 0);
  const UniqueFd both(::open(serial_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(both.valid());
  const std::vector<char> zeros(65536);
  while (::write(both.get(), zeros.data(), zeros.size()) > 0) {
  }
  run_empty();
  for (int round = 0; round < 2; ++round) {
    ASSERT_EQ(put("vm.create", machine("workload=idle seconds=1000")), 204U);
    ASSERT_EQ(put("vm.boot"), 204U);
    EXPECT_EQ(put("vm.delete"), 204U);
  }
  ASSERT_EQ(put("vm.create", machine("workload=idle seconds=1000")), 204U);
  ASSERT_EQ(put("vm.boot"), 204U);
  ::kill(pid_, SIGTERM);
  EXPECT_EQ(end().status, 128 + SIGTERM);
}

TEST_F(EmptyMachineTest, AFilteredOneHasOneMachine) {
  if (!kSeccompSupported) GTEST_SKIP() << "a sanitizer makes calls of its own";
  run_empty({"--seccomp", "log"});
  ASSERT_EQ(put("vm.create", machine("workload=idle seconds=1000")), 204U);
  ASSERT_EQ(put("vm.boot"), 204U);
  EXPECT_EQ(put("vm.add", R"({"device": "disk", "options": "null=1M"})"), 200U);
  EXPECT_EQ(put("vm.delete"), 204U);
  EXPECT_EQ(put("vm.create", machine("")), 409U);
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  const Outcome outcome = end();
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, ::testing::Not(HasSubstr("seccomp:")));
}

TEST_F(EmptyMachineTest, ASignalEndsItWithAMachineAndWithout) {
  for (const bool with : {false, true}) {
    run_empty();
    if (with) {
      ASSERT_EQ(put("vm.create", machine("workload=idle seconds=1000")), 204U);
      ASSERT_EQ(put("vm.boot"), 204U);
    }
    ::kill(pid_, SIGTERM);
    EXPECT_EQ(end().status, 128 + SIGTERM) << with;
  }
}

TEST_F(EmptyMachineTest, TheGuestsEndIsTheProgramsEnd) {
  run_empty();
  ASSERT_EQ(put("vm.create", machine("workload=randwrite threads=1 seconds=1")), 204U);
  ASSERT_EQ(put("vm.boot"), 204U);
  EXPECT_EQ(end().status, 0);
  EXPECT_THAT(contents(serial_), HasSubstr("\"event\":\"result\""));
}

TEST_F(EmptyMachineTest, ClientsOfCloudHypervisorStartItByThatName) {
  const std::string name = (folder_ / "cloud-hypervisor").string();
  std::filesystem::create_symlink(BELLHOP_EXECUTABLE, name);
  const std::string shown = (folder_ / "told").string();
  const std::string line = name + " --version > " + shown;
  EXPECT_EQ(std::system(line.c_str()), 0);  // NOLINT(cert-env33-c,concurrency-mt-unsafe)
  EXPECT_THAT(contents(shown), ::testing::MatchesRegex("cloud-hypervisor v[0-9]+.[0-9]+.[0-9]+\n"));
  const std::string log = (folder_ / "log").string();
  const std::string started = name + " --api-socket " + socket_ +
                              " -v --seccomp false --log-file " + log + " > /dev/null 2>&1 &";
  EXPECT_EQ(std::system(started.c_str()), 0);  // NOLINT(cert-env33-c,concurrency-mt-unsafe)
  ASSERT_TRUE(testing::eventually([&] { return ask("GET", "vmm.ping").status == 200; }));
  EXPECT_EQ(put("vm.resize", "{}"), 400U);
  EXPECT_EQ(put("vm.create", R"({"payload": {"kernel": "/no/such"}, "sgx_epc": null})"), 400U);
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  EXPECT_TRUE(testing::eventually([&] { return !std::filesystem::exists(socket_); }));
  EXPECT_THAT(contents(log), HasSubstr("sgx_epc"));
}

#endif

}  // namespace
}  // namespace bellhop
