// The API of a real machine, and `bellhop ctl`, which speaks to it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/unix_socket.h"
#include "testing/elf_builder.h"
#include "testing/eventually.h"
#include "tests/integration/control_fixture.h"

namespace bellhop {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

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
  EXPECT_EQ(ctl({"notify", "data", "adaptive,optimize=latency"}), "");
  EXPECT_EQ(info()["notify"]["data"][0]["optimize"], "latency");
  EXPECT_EQ(ctl({"notify", "data", "adaptive"}), "");
  EXPECT_EQ(info()["notify"]["data"][0]["optimize"], "throughput") << "as the machine has it";
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

TEST_F(ControlTest, TheSerialPortIsWhereItIsSaid) {
  run("workload=idle seconds=1000", {"--serial", "pty"});
  const Json serial = info()["config"]["serial"];
  EXPECT_EQ(serial["mode"], "Pty");
  const std::string place = serial["file"];
  {
    AtTerminal user(place);
    EXPECT_TRUE(user.reads("\"event\":\"begin\"")) << "what was printed before it came, too";
    user.type("keys\r");
  }
  // The next one, and the machine's thread had no call refused.
  const AtTerminal user(place);
  user.type(std::string(2000, 'k'));  // more than the chip has room for
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  const Outcome outcome = end();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("the serial port is at " + place));
  EXPECT_EQ(outcome.out, "");

  const std::string file = (folder_ / "serial").string();
  const std::pair<std::vector<std::string>, Json> others[] = {
      {{}, {{"mode", "Tty"}}},
      {{"--serial", "null"}, {{"mode", "Null"}}},
      {{"--serial", "file=" + file}, {{"mode", "File"}, {"file", file}}}};
  for (const auto& [options, right] : others) {
    run("workload=idle seconds=1000", options);
    EXPECT_EQ(info()["config"]["serial"], right);
    EXPECT_EQ(put("vmm.shutdown"), 204U);
    EXPECT_EQ(end().status, 0);
  }
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

#endif

}  // namespace
}  // namespace bellhop
