#include "net/passt.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/descriptor_limit.h"
#include "base/unique_fd.h"
#include "net/passt_child.h"
#include "net/passt_launcher.h"
#include "testing/eventually.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;
using Protocol = PortForward::Protocol;

TEST(PortForwardTest, AsQemuWritesThem) {
  const std::pair<const char*, PortForward> good[] = {
      {"tcp::2222-:22", {Protocol::kTcp, "", 2222, 22}},
      {"udp::1-:65535", {Protocol::kUdp, "", 1, 65535}},
      {"tcp:127.0.0.1:80-:8080", {Protocol::kTcp, "127.0.0.1", 80, 8080}},
      {"udp:[::1]:53-:5353", {Protocol::kUdp, "::1", 53, 5353}},
  };
  for (const auto& [text, right] : good) {
    const auto parsed = parse_port_forward(text);
    ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
    EXPECT_EQ(*parsed, right) << text;
  }
  for (const char* text : {"",
                           "tcp",
                           "tcp:",
                           "2222:22",
                           "2222-:22",
                           ":2222-:22",
                           "tcp:2222-22",
                           "tcp::2222",
                           "tcp::-:",
                           "tcp::0-:22",
                           "tcp::22-:0",
                           "tcp::65536-:1",
                           "tcp::1-:65536",
                           "tcp::a-:1",
                           "tcp:1.2.3:1-:1",
                           "tcp:localhost:1-:1",
                           "tcp:::1:1-:1",
                           "tcp:[1.2.3.4]:1-:1",
                           "sctp::1-:1",
                           "tcp::1-:2-:3",
                           "tcp:: 1-:1",
                           "tcp::+1-:1",
                           "TCP::1-:1"}) {
    const auto parsed = parse_port_forward(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_THAT(parsed.error().message, HasSubstr("tcp::2222-:22")) << text;
  }
  EXPECT_THAT(parse_port_forward("tcp::2222-10.0.2.15:22").error().message,
              HasSubstr("leave 10.0.2.15 out"));
}

/// A program of the test's own in passt's place.
class Pretender {
 public:
  explicit Pretender(const char* script) {
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
    program = folder_ + "/passt";
    std::ofstream(program) << "#!/bin/sh\n" << script << "\n";
    EXPECT_EQ(::chmod(program.c_str(), 0755), 0);
  }
  ~Pretender() {
    ::unlink(program.c_str());
    ::unlink((program + ".pid").c_str());
    ::rmdir(folder_.c_str());
  }
  /// What the script has written of itself by `echo $$ > $0.pid`; 0: nothing yet.
  [[nodiscard]] pid_t pid() const {
    pid_t pid = 0;
    std::ifstream(program + ".pid") >> pid;
    return pid;
  }
  std::string program;

 private:
  std::string folder_ = "/tmp/bellhop-passt-XXXXXX";
};

std::string fault_of(const PasstSource& config) {
  const auto started = start_passt(config);
  return started ? "" : started.error().message;
}

TEST(PasstTest, SaysWhatIsWrong) {
  PasstSource config;
  config.program = "bellhop-no-such-program";
  EXPECT_THAT(fault_of(config), HasSubstr("not installed (apt install passt)"));

  const Pretender unhappy(
      "echo 'Failed to send 3 bytes to syslog' >&2; echo 'No luck today' >&2; exit 1");
  config.program = unhappy.program;
  EXPECT_EQ(fault_of(config), "--net: user: passt does not start: No luck today");
  const Pretender silent("exit 0");
  config.program = silent.program;
  EXPECT_EQ(fault_of(config), "--net: user: passt does not start");
  // More words than are kept: refused, and nobody waits for them.
  const Pretender talker("yes 'blah blah' | head -c 1000000 >&2; exit 1");
  config.program = talker.program;
  EXPECT_THAT(fault_of(config), HasSubstr("passt does not start: "));

  config.mtu = 65521;
  EXPECT_THAT(fault_of(config), HasSubstr("at most 65520"));
}

// An end that goes throws away what it has not read, which looks as if it had.
TEST(PasstTest, OneThatHasGoneHasNotReadAll) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd ours(ends[0]);
  UniqueFd its(ends[1]);
  EXPECT_TRUE(has_read_all(ours));
  ASSERT_EQ(::send(ours.get(), "hello", 5, 0), 5);
  EXPECT_FALSE(has_read_all(ours));
  std::array<char, 5> bytes{};
  ASSERT_EQ(::recv(its.get(), bytes.data(), bytes.size(), 0), 5);
  EXPECT_TRUE(has_read_all(ours));
  ASSERT_EQ(::send(ours.get(), "hello", 5, 0), 5);
  its.reset();
  EXPECT_FALSE(has_read_all(ours));
}

TEST(PasstTest, OneThatNeverServes) {
  const Pretender idle("sleep 100");
  PasstSource config;
  config.program = idle.program;
  config.patience = std::chrono::milliseconds(200);
  EXPECT_EQ(fault_of(config), "--net: user: " + idle.program +
                                  " has started, but reads nothing from its socket for 200 ms");
  // One that only reads serves, for all that can be known.
  const Pretender reader("exec cat <&3 >/dev/null");
  config.program = reader.program;
  config.patience = std::chrono::milliseconds(20000);
  EXPECT_EQ(fault_of(config), "");
}

// This process has a higher limit than it was started with; passt does not.
TEST(PasstTest, HasTheLimitOfDescriptorsThatWeWereStartedWith) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{.rlim_cur = 200, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  descriptor_limit::raise();
  const Pretender told("echo \"$(ulimit -Sn) of $(ulimit -Hn)\" >&2; exit 1");
  PasstSource config;
  config.program = told.program;
  EXPECT_EQ(fault_of(config),
            "--net: user: passt does not start: 200 of " + (before.rlim_max == RLIM_INFINITY
                                                                ? std::string("unlimited")
                                                                : std::to_string(before.rlim_max)));
  rlimit after{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

// passt is content with one of the two, and the other's callers find another program.
TEST(PasstTest, APortThatIsTakenByOneVersionOfIpOnly) {
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    const bool tcp = protocol == Protocol::kTcp;
    const UniqueFd taken(::socket(AF_INET6, tcp ? SOCK_STREAM : SOCK_DGRAM, 0));
    const int on = 1;
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    socklen_t bytes = sizeof address;
    if (!taken.valid() ||
        ::setsockopt(taken.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0 ||
        ::bind(taken.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      GTEST_SKIP() << "no IPv6 here";
    }
    if (tcp) {
      ASSERT_EQ(::listen(taken.get(), 1), 0);
    }
    ASSERT_EQ(::getsockname(taken.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
    PasstSource config;
    config.program = "bellhop-no-such-program";
    const std::uint16_t port = ntohs(address.sin6_port);
    config.forwards.push_back({protocol, "", port, 22});
    EXPECT_EQ(fault_of(config), "--net: hostfwd: the host's " + std::string(tcp ? "tcp" : "udp") +
                                    " port [::] " + std::to_string(port) +
                                    " cannot be had: Address already in use");
    config.forwards[0].host_address = "0.0.0.0";
    EXPECT_THAT(fault_of(config), HasSubstr("not installed")) << "that one is free";
  }
}

TEST(PasstTest, APortThatIsTaken) {
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    const bool tcp = protocol == Protocol::kTcp;
    const UniqueFd taken(::socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    ASSERT_EQ(::bind(taken.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    if (tcp) {
      ASSERT_EQ(::listen(taken.get(), 1), 0);
    }
    ASSERT_EQ(::getsockname(taken.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
    PasstSource config;
    config.forwards.push_back({protocol, "127.0.0.1", ntohs(address.sin_port), 22});
    EXPECT_THAT(fault_of(config), HasSubstr("cannot be had: Address already in use"));
    config.forwards[0].host_address.clear();
    EXPECT_THAT(fault_of(config), HasSubstr("cannot be had"));
  }
}

TEST(PasstTest, EndsWithUsAndWithoutUs) {
  // One that reads until its socket ends, and one that does not care.
  for (const char* script :
       {"exec cat <&3 >/dev/null", "trap '' TERM; printf xxxx >&3; sleep 100"}) {
    const Pretender pretender(script);
    PasstSource config;
    config.program = pretender.program;
    auto started = start_passt(config);
    ASSERT_TRUE(started.has_value()) << started.error().message;
    EXPECT_TRUE((*started)->limits().to_host.empty());
    EXPECT_TRUE((*started)->limits().to_guest.empty());
    EXPECT_EQ((*started)->limits().pairs, 1U);
    EXPECT_FALSE((*started)->use_pairs(2).has_value());
    EXPECT_FALSE((*started)->set_guest_offloads({Offload::kCsum}).has_value());
    started->reset();  // returns: no process is left behind
  }
  // It dies: the interface is gone.
  const Pretender mortal("printf xxxx >&3; sleep 0.1; exit 1");
  PasstSource config;
  config.program = mortal.program;
  const auto started = start_passt(config);
  ASSERT_TRUE(started.has_value()) << started.error().message;
  NetPair& pair = (*started)->pair(0);
  std::array<char, 100> room{};
  const iovec part{room.data(), room.size()};
  ssize_t got = -EAGAIN;
  while (got == -EAGAIN) {
    pollfd wait{.fd = pair.fd(), .events = POLLIN, .revents = 0};
    (void)::poll(&wait, 1, 1000);
    got = pair.receive({&part, 1});
  }
  EXPECT_TRUE(got == -ECONNRESET || got == -EPROTO) << got;
}

/// The process that starts passt for us, where "passt" is a program of the test's own.
class PasstLauncherTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string folder = std::filesystem::path(installed_.program).parent_path();
    ASSERT_EQ(::setenv("PATH", (folder + ":" + path_).c_str(), 1), 0);
    auto started = PasstLauncher::start();
    ASSERT_TRUE(started) << started.error().message;
    launcher = *std::move(started);
    ASSERT_NE(launcher, nullptr);
  }
  void TearDown() override { ::setenv("PATH", path_.c_str(), 1); }

  static std::string fault_of(const PasstSource& source) {
    const auto running = PasstLauncher::run(source);
    return running ? "" : running.error().message;
  }

  std::unique_ptr<PasstLauncher> launcher;

 private:
  const std::string path_ = std::getenv("PATH");
  const Pretender installed_{"exit 1"};
};

TEST_F(PasstLauncherTest, WhatItHasStartedIsOurs) {
  const Pretender reader("exec cat <&3 >/dev/null");
  PasstSource source;
  source.program = reader.program;
  for (unsigned round = 0; round < 3; ++round) {
    auto running = PasstLauncher::run(source);
    ASSERT_TRUE(running) << running.error().message;
    EXPECT_FALSE(running->child.ended());
    running->socket.reset();
    EXPECT_TRUE(testing::eventually([&] { return running->child.ended(); })) << "its sign to end";
  }
}

/// Does not care for its socket, and takes no hint.
constexpr const char* kStubborn =
    "trap '' TERM HUP; echo $$ > $0.pid; printf xxxx >&3; exec sleep 100";

bool is_there(pid_t pid) { return ::kill(pid, 0) == 0; }

// It is the launcher that ends it: a machine under Landlock could not.
TEST_F(PasstLauncherTest, WhatDoesNotEndWithItsSocketIsKilled) {
  const Pretender stubborn(kStubborn);
  PasstSource source;
  source.program = stubborn.program;
  {
    auto running = PasstLauncher::run(source);
    ASSERT_TRUE(running) << running.error().message;
    ASSERT_GT(stubborn.pid(), 0);
    EXPECT_FALSE(running->child.process().valid()) << "nothing by which it can be signalled";
    running->socket.reset();
    std::this_thread::sleep_for(PasstChild::kEndPatience * 2);
    EXPECT_TRUE(is_there(stubborn.pid())) << "it has not been let go";
    EXPECT_FALSE(running->child.ended());
  }
  EXPECT_FALSE(is_there(stubborn.pid())) << "its end is waited for";

  // Of two, the one that was let go.
  const Pretender other(kStubborn);
  auto first = PasstLauncher::run(source);
  source.program = other.program;
  auto second = PasstLauncher::run(source);
  ASSERT_TRUE(first && second);
  first->child.end();
  EXPECT_TRUE(first->child.ended());
  EXPECT_FALSE(is_there(stubborn.pid()));
  EXPECT_TRUE(is_there(other.pid()));
  // The launcher ends after all of them.
  launcher.reset();
  EXPECT_FALSE(is_there(other.pid()));
  EXPECT_TRUE(second->child.ended());
}

TEST_F(PasstLauncherTest, WhatIsLeftOfAKilledMachineIsKilled) {
  const Pretender stubborn(kStubborn);
  PasstSource source;
  source.program = stubborn.program;
  const pid_t machine = ::fork();
  if (machine == 0) {
    auto its = PasstLauncher::start();
    const bool runs = its && PasstLauncher::run(source);
    ::_exit(runs ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(machine, &status, 0), machine);
  ASSERT_EQ(status, 0);
  ASSERT_GT(stubborn.pid(), 0);
  EXPECT_TRUE(testing::eventually([&] { return !is_there(stubborn.pid()); }));
}

TEST_F(PasstLauncherTest, SaysWhatRunPasstSays) {
  PasstSource source;
  source.program = "bellhop-no-such-program";
  EXPECT_THAT(fault_of(source), HasSubstr("not installed (apt install passt)"));
  // All that was asked for comes to the program.
  const Pretender told("echo \"$*\" >&2; exit 1");
  source.program = told.program;
  source.mtu = 1400;
  source.forwards = {{Protocol::kTcp, "", 42222, 22}, {Protocol::kUdp, "127.0.0.1", 42223, 53}};
  EXPECT_EQ(fault_of(source),
            "--net: user: passt does not start: --foreground --stderr --quiet --one-off --fd 3 "
            "--mtu 1400 --tcp-ports 42222:22 --udp-ports 127.0.0.1/42223:53");
  const Pretender idle("exec sleep 100");
  source = {};
  source.program = idle.program;
  source.patience = std::chrono::milliseconds(200);
  EXPECT_THAT(fault_of(source), HasSubstr("reads nothing from its socket for 200 ms"));
}

TEST_F(PasstLauncherTest, WithoutItThereIsAnError) {
  PasstSource source;
  std::ifstream children("/proc/thread-self/children");
  pid_t pid = 0;
  if (!(children >> pid)) GTEST_SKIP() << "this kernel does not tell of children";
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  EXPECT_EQ(fault_of(source), "--net: user: what starts passt has gone");
  launcher.reset();
  EXPECT_THAT(fault_of(source), HasSubstr("was not installed when the machine started"));
}

}  // namespace
}  // namespace bellhop
