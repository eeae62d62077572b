// A machine whose disks and NICs other processes serve (vhost-user=): `bellhop serve`, and peers
// that are hostile.
#include <sched.h>
#include <sys/socket.h>

#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/unix_socket.h"
#include "testing/eventually.h"
#include "testing/test_memory.h"
#include "tests/integration/cli_fixture.h"
#include "vhost_user/channel.h"

namespace bellhop {
namespace {

using namespace vhost_user;
using nlohmann::json;
using testing::eventually;
using ::testing::HasSubstr;

class FrontEndTest : public CliMachineTest {
 protected:
  FrontEndTest() { std::filesystem::resize_file(image_, std::uintmax_t{16} << 20); }

  /// `bellhop serve`, whose words are not those of the machine.
  pid_t serve(
      const std::vector<std::string>& device,
      const std::function<bool()>& first = [] { return true; }) {
    std::vector<std::string> arguments = {"serve"};
    arguments.insert(arguments.end(), device.begin(), device.end());
    arguments.insert(arguments.end(), {"--socket", socket_});
    const std::string words = (folder_ / "served").string();
    const pid_t pid = start(arguments, [&] {
      for (const int fd : {1, 2}) {
        ::dup2(::open(words.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), fd);
      }
      if (!first()) ::_exit(kNoNamespace);
    });
    const auto is_there = [&] { return ::access(socket_.c_str(), F_OK) == 0; };
    EXPECT_TRUE(eventually([&] { return is_there() || ::kill(pid, 0) != 0; }));
    return pid;
  }
  static std::vector<std::string> machine(const std::string& cmdline,
                                          const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        "run",       "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M",
        "--cmdline", cmdline,    "--stop-timeout",    "0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  /// Without the words of the one before, which who waits for them would take for its own.
  pid_t start_anew(const std::vector<std::string>& arguments) {
    for (const char* const words : {"out", "err"}) std::filesystem::remove(folder_ / words);
    return start(arguments);
  }
  [[nodiscard]] std::string by_socket() const { return "vhost-user=" + socket_; }
  /// The guest's line of that kind.
  static json line(const std::string& output, const std::string& event) {
    std::istringstream lines(output);
    for (std::string one; std::getline(lines, one);) {
      json parsed = json::parse(one, nullptr, false);
      if (parsed.is_object() && parsed.value("event", "") == event) return parsed;
    }
    return json::object();
  }
  static void end(pid_t pid, int signal) {
    ASSERT_EQ(::kill(pid, signal), 0);
    int status = 0;
    ::waitpid(pid, &status, 0);
  }

  static constexpr int kNoNamespace = 77;
  std::string socket_ = (folder_ / "back.sock").string();
};

TEST_F(FrontEndTest, ADiskThatAnotherProcessServesIsWrittenAndReadAgain) {
  const pid_t server = serve({"blk", "--disk", "path=" + image_ + ",queues=2"});
  const Outcome prepared = bellhop(machine("workload=prepare", {"--disk", by_socket()}));
  ASSERT_EQ(prepared.status, 0) << prepared.out << prepared.err;
  // Each process and its threads are as they are in a machine that has been hardened.
  const std::string stats = (folder_ / "stats.json").string();
  for (const char* const transport : {"pci", "mmio"}) {
    const Outcome read = bellhop(machine("workload=randread threads=16 seconds=0.3",
                                         {"--disk", by_socket() + ",queues=2,queue-size=128,id=far",
                                          "--transport", transport, "--stats", stats}));
    ASSERT_EQ(read.status, 0) << read.out << read.err;
    EXPECT_EQ(read.err, "");
    const json result = line(read.out, "result");
    EXPECT_TRUE(result.value("verified", false)) << read.out;
    EXPECT_EQ(result.value("wrong_blocks", 1), 0);
    EXPECT_EQ(result.value("span", 0), 16 << 20) << "as large as the server has it";
    EXPECT_GT(result.value("operations", 0), 0);
    // No request was ours.
    const json total = json::parse(contents(stats)).at("total");
    EXPECT_EQ(total.at("kicks"), 0);
    EXPECT_EQ(total.at("kicks_by_exit"), 0);
    EXPECT_EQ(total.at("chains"), 0);
    EXPECT_EQ(total.at("devices").at("far").at("lost_connections"), 0);
  }
  const Outcome written =
      bellhop(machine("workload=randwrite threads=4 seconds=0.3", {"--disk", by_socket()}));
  EXPECT_EQ(written.status, 0) << written.out << written.err;
  EXPECT_TRUE(line(written.out, "result").value("verified", false)) << written.out;
  end(server, SIGTERM);
  EXPECT_THAT(contents(folder_ / "served"), ::testing::Not(HasSubstr("refused")));
}

TEST_F(FrontEndTest, RingsArePackedOrInOrderWhereTheBackEndHasThem) {
  const pid_t plain = serve({"blk", "--disk", "path=" + image_});
  for (const char* const key : {"packed=on", "in-order=on"}) {
    const Outcome refused = bellhop(machine("workload=idle", {"--disk", by_socket() + "," + key}));
    EXPECT_EQ(refused.status, 1) << refused.out;
    EXPECT_THAT(refused.err, HasSubstr("the back end does not offer"));
    EXPECT_THAT(refused.err, HasSubstr(std::string("(") + key + ")"));
  }
  end(plain, SIGTERM);
  const pid_t server = serve({"blk", "--disk", "path=" + image_ + ",packed=on,in-order=on"});
  ASSERT_EQ(bellhop(machine("workload=prepare", {"--disk", by_socket()})).status, 0);
  EXPECT_NE(bellhop(machine("workload=randread ring=packed", {"--disk", by_socket()})).status, 0)
      << "the guest was offered what was not asked for";
  const std::pair<const char*, const char*> cases[] = {
      {"ring=packed", "packed=on"},
      {"in_order=on", "in-order=on"},
      {"ring=packed in_order=on", "packed=on,in-order=on"}};
  for (const auto& [guest, disk] : cases) {
    const Outcome read =
        bellhop(machine(std::string("workload=randread threads=16 seconds=0.3 ") + guest,
                        {"--disk", by_socket() + "," + disk}));
    EXPECT_EQ(read.status, 0) << disk << read.out << read.err;
    EXPECT_EQ(read.err, "");
    EXPECT_TRUE(line(read.out, "result").value("verified", false)) << read.out;
  }
  end(server, SIGTERM);
}

TEST_F(FrontEndTest, ABackEndThatIsKilledLeavesTheMachineAlone) {
  const pid_t server = serve({"blk", "--disk", "path=" + image_});
  ASSERT_EQ(bellhop(machine("workload=prepare", {"--disk", by_socket()})).status, 0);
  const pid_t run = start_anew(machine("workload=randread threads=4 seconds=60 timeout=60",
                                       {"--disk", by_socket(), "--disk", "null=1M"}));
  ASSERT_TRUE(says("out", "\"begin\""));
  end(server, SIGKILL);
  EXPECT_TRUE(says("err", "disk0: the connection to its back end has ended"))
      << contents(folder_ / "err");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  ASSERT_EQ(::kill(run, SIGTERM), 0);
  const Outcome outcome = finish(run);
  EXPECT_EQ(outcome.status, 128 + SIGTERM) << "it was there until it was ended: " << outcome.out;
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
}

TEST_F(FrontEndTest, WhatIsMissingOrTooLittleIsNamed) {
  expect_refused(machine("workload=idle", {"--disk", by_socket()}),
                 "--disk: " + by_socket() + ": cannot connect: No such file");
  expect_refused(machine("workload=idle", {"--net", by_socket()}),
                 "--net: " + by_socket() + ": cannot connect: No such file");
  const pid_t server = serve({"blk", "--disk", "path=" + image_ + ",queues=2"});
  const Outcome outcome = bellhop(machine("workload=idle", {"--disk", by_socket() + ",queues=4"}));
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("--disk: " + by_socket() +
                                     ": vhost-user: the back end has 2 queues, not 4"));
  const Outcome nested =
      bellhop({"serve", "blk", "--disk", by_socket(), "--socket", socket_ + "2"});
  EXPECT_NE(nested.status, 0);
  EXPECT_THAT(nested.err, HasSubstr("--disk: another process serves its queues"));
  end(server, SIGTERM);
}

// In a network of the server's own; the bench guest uses one pair of those that it is offered.
TEST_F(FrontEndTest, ANicHasAsManyPairsAsItsBackEnd) {
  for (const unsigned pairs : {1U, 2U}) {
    const pid_t server =
        serve({"net", "--net", "tap=far0,queues=" + std::to_string(pairs)}, [pairs] {
          const char* const make =
              pairs > 1 ? "ip tuntap add far0 mode tap multi_queue" : "ip tuntap add far0 mode tap";
          return ::unshare(CLONE_NEWNET) == 0 && std::system(make) == 0;
        });
    if (::access(socket_.c_str(), F_OK) != 0) {
      (void)finish(server);
      GTEST_SKIP() << "no network of our own to be had: " << contents(folder_ / "served");
    }
    const std::string stats = (folder_ / "stats.json").string();
    const Outcome outcome =
        bellhop(machine("workload=netpps timeout=0.2",
                        {"--net", by_socket() + ",queues=2,id=wide", "--stats", stats}));
    if (pairs == 1) {
      EXPECT_THAT(outcome.err,
                  HasSubstr("--net: " + by_socket() +
                            ": vhost-user: the back end has 2 queues, number 3 is not among them"));
    } else {
      EXPECT_EQ(outcome.err, "");
      EXPECT_THAT(outcome.out, HasSubstr("no ARP reply")) << "nobody has its address";
      const json wide = json::parse(contents(stats)).at("total").at("devices").at("wide");
      EXPECT_EQ(wide.at("lost_connections"), 0);
      EXPECT_EQ(wide.at("control_commands"), 0);
    }
    end(server, SIGTERM);
  }
}

// In a network of the server's own, whose kernel answers for the tap's address. What comes after
// that the guest asks of `bellhop bench net`, which is not there.
TEST_F(FrontEndTest, FramesOfAGuestGoByTheServersTapBothWays) {
  const pid_t server = serve({"net", "--net", "tap=far0"}, [] {
    return ::unshare(CLONE_NEWNET) == 0 &&
           std::system("ip tuntap add far0 mode tap && ip addr add 192.0.2.1/24 dev far0") == 0;
  });
  if (::access(socket_.c_str(), F_OK) != 0) {
    (void)finish(server);
    GTEST_SKIP() << "no network of our own to be had: " << contents(folder_ / "served");
  }
  const Outcome outcome = bellhop(
      machine("workload=netpps timeout=2", {"--net", by_socket() + ",mac=02:00:00:00:00:07"}));
  end(server, SIGTERM);
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out, HasSubstr("the host's end of the link does not answer"))
      << "its question for an address was answered";
}

/// Answers a machine that starts until it is told to do otherwise, and goes then.
class ScriptedPeer {
 public:
  /// Says what becomes of a message: true, and it is done with.
  using Hook = std::function<bool(const Message&, Channel&)>;

  ScriptedPeer(const std::string& path, Hook hook)
      : listener_(testing::must(UnixListener::listen(path))), hook_(std::move(hook)) {
    thread_ = std::thread([this] { run(); });
  }
  ~ScriptedPeer() { thread_.join(); }
  ScriptedPeer(const ScriptedPeer&) = delete;
  ScriptedPeer& operator=(const ScriptedPeer&) = delete;

 private:
  void run() {
    UniqueFd socket;
    if (!eventually([&] { return (socket = listener_.accept()).valid(); })) return;
    Channel channel(std::move(socket), Channel::Patience(10000));
    while (auto message = channel.receive()) {
      if (hook_(*message, channel)) continue;
      std::uint64_t number = 0;
      switch (message->request()) {
        case Request::kGetFeatures:
          number = ~std::uint64_t{0};
          break;
        case Request::kGetProtocolFeatures:
          number = 1U << kProtocolMq | 1U << kProtocolConfig;
          break;
        case Request::kGetQueueNum:
          number = 1;
          break;
        case Request::kGetConfig:
          message->payload[sizeof(ConfigHead) + 1] = std::byte{8};  // a capacity
          (void)channel.send(message->request(), kReply, message->bytes());
          continue;
        default:
          continue;
      }
      (void)channel.send(message->request(), kReply, std::as_bytes(std::span(&number, 1)));
    }
  }

  UnixListener listener_;
  Hook hook_;
  std::thread thread_;
};

TEST_F(FrontEndTest, PeersThatMakeNoSenseAreRefusedInALine) {
  const auto answer = [](Request which, const std::vector<std::byte>& bytes) {
    return [=](const Message& message, Channel& channel) {
      if (message.request() != which) return false;
      (void)channel.send(which, kReply, bytes);
      return true;
    };
  };
  const auto hang_up_at = [](Request which) {
    return [=](const Message& message, Channel& channel) {
      if (message.request() == which) (void)::shutdown(channel.fd(), SHUT_RDWR);
      return message.request() == which;
    };
  };
  struct Case {
    ScriptedPeer::Hook hook;
    const char* complaint;
  };
  const Case cases[] = {
      {answer(Request::kGetConfig, std::vector<std::byte>(12 + 59)),
       "the configuration space is answered by 71 bytes, not 72"},
      {answer(Request::kGetConfig, {}), "the configuration space is answered by 0 bytes, not 72"},
      {answer(Request::kGetConfig, std::vector<std::byte>(500)), "answered by 500 bytes, not 72"},
      {answer(Request::kGetQueueNum, std::vector<std::byte>(8)),
       "the back end has 0 queues, not 1"},
      {answer(Request::kGetQueueNum, std::vector<std::byte>(4)),
       "message 17 is answered by 4 bytes"},
      {answer(Request::kGetFeatures, std::vector<std::byte>(8)), "lacks features 0x140000000"},
      {answer(Request::kGetProtocolFeatures, std::vector<std::byte>(8)),
       "lacks the protocol feature CONFIG"},
      {hang_up_at(Request::kGetFeatures), "the peer has closed the connection"},
      {hang_up_at(Request::kGetConfig), "the peer has closed the connection"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.complaint);
    const ScriptedPeer peer(socket_, one.hook);
    const Outcome outcome = bellhop(machine("workload=idle", {"--disk", by_socket()}));
    EXPECT_NE(outcome.status, 0);
    EXPECT_THAT(outcome.err, HasSubstr("--disk: " + by_socket() + ": vhost-user: "));
    EXPECT_THAT(outcome.err, HasSubstr(one.complaint));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  }
}

// It agrees to everything and serves nothing: a guest that waits for it, and a machine that goes
// on.
TEST_F(FrontEndTest, APeerThatGoesInTheMiddleOfAStart) {
  for (const Request which : {Request::kSetMemTable, Request::kSetVringAddr, Request::kSetVringKick,
                              Request::kSetVringEnable}) {
    SCOPED_TRACE(static_cast<unsigned>(which));
    const ScriptedPeer peer(socket_, [=](const Message& message, Channel& channel) {
      if (message.request() == which) (void)::shutdown(channel.fd(), SHUT_RDWR);
      return message.request() == which;
    });
    const pid_t run =
        start_anew(machine("workload=randread seconds=60 timeout=60", {"--disk", by_socket()}));
    EXPECT_TRUE(eventually([&] { return !contents(folder_ / "err").empty(); }));
    ASSERT_EQ(::kill(run, SIGTERM), 0);
    const Outcome outcome = finish(run);
    // The guest may have given up on its disk by itself.
    EXPECT_THAT(outcome.status, ::testing::AnyOf(128 + SIGTERM, 1)) << outcome.out;
    EXPECT_THAT(outcome.err, HasSubstr("disk0: ")) << outcome.err;
    EXPECT_LE(std::ranges::count(outcome.err, '\n'), 3) << outcome.err;
  }
}

}  // namespace
}  // namespace bellhop
