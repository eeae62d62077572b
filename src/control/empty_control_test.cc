// A program without a machine, in which machines are created and deleted.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "control/machine_control.h"
#include "testing/control_fixture.h"

namespace bellhop::control {
namespace {

using bellhop::testing::ControlledMachine;
using bellhop::testing::expect_error;
using bellhop::testing::must;

/// A program without a machine.
struct EmptyControl {
  EmptyControl() {
    control = must(MachineControl::create());
    control->connect({.create = [this](const MachineOptions& options) { return create(options); },
                      .before_start =
                          [this] {
                            ++starts;
                            return Status();
                          },
                      .stop = [this] { ++stops; },
                      .tell = [this](std::string_view, std::string_view event,
                                     std::string_view) { events += fmt::format("{} ", event); }});
    owner = std::thread([this] { end = control->run(); });
  }
  ~EmptyControl() {
    control->stop();
    owner.join();
  }
  Result<MachineControl::Created> create(const MachineOptions& options) {
    if (!options.kernel) return fail("no kernel");
    MachineConfig config;
    config.kernel = options.kernel->text;
    config.memory = ControlledMachine::kMemory;
    MachineHooks hooks;
    hooks.serial_output = [](std::span<const std::byte>) { return true; };
    hooks.ended = [this] { control->machine_has_news(); };
    auto machine = Machine::create(config, hypervisor, std::move(hooks));
    if (!machine) return forward(machine);
    return MachineControl::Created{config, std::move(*machine)};
  }
  Result<Answer> ask(Command command) {
    std::promise<Result<Answer>> promise;
    auto answer = promise.get_future();
    control->submit(std::move(command),
                    [&](const Result<Answer>& done) { promise.set_value(done); });
    return answer.get();
  }
  CreateMachine machine() {
    CreateMachine command;
    command.options.kernel = fmt::format("/proc/self/fd/{}", kernel.get());
    return command;
  }

  UniqueFd kernel = [] {
    const auto elf = ElfBuilder::tiny_kernel();
    UniqueFd fd(::memfd_create("kernel", MFD_CLOEXEC));
    EXPECT_EQ(::write(fd.get(), elf.data(), elf.size()), static_cast<ssize_t>(elf.size()));
    return fd;
  }();
  FakeHypervisor hypervisor;
  std::atomic<int> starts{0};
  std::atomic<int> stops{0};
  std::string events;
  std::unique_ptr<MachineControl> control;
  std::thread owner;
  std::optional<Result<MachineEnd>> end;
};

TEST(EmptyControlTest, AMachineIsCreatedBootedAndDeletedAgainAndAgain) {
  EmptyControl one;
  expect_error(one.ask(GetInfo{}), ENOENT, "there is no machine");
  expect_error(one.ask(GetCounters{}), ENOENT, "there is no machine");
  expect_error(one.ask(PressPowerButton{}), ENOENT, "there is no machine");
  expect_error(one.ask(Boot{}), ENOENT, "there is no machine");
  expect_error(one.ask(DeleteMachine{}), ENOENT, "there is no machine");
  expect_error(one.ask(CreateMachine{}), EINVAL, "no kernel");
  EXPECT_TRUE(one.ask(Ping{}));
  EXPECT_EQ(one.control->press_power_button(), ButtonPress::kNoDriver);
  for (int round = 1; round <= 3; ++round) {
    ASSERT_TRUE(one.ask(one.machine()));
    expect_error(one.ask(one.machine()), EBUSY, "there is a machine already");
    EXPECT_EQ(std::get<MachineInfo>(*one.ask(GetInfo{})).state, MachineState::kCreated);
    expect_error(one.ask(Pause{}), EBUSY, "not started yet");
    expect_error(one.ask(Reboot{}), EBUSY, "not started yet");
    expect_error(one.ask(PowerOff{}), EBUSY, "not started yet");
    ASSERT_TRUE(one.ask(AddDevice{.kind = "rng", .properties = {}}));
    ASSERT_TRUE(one.ask(RemoveDevice{.id = "rng0"})) << "nobody has it in use";
    ASSERT_TRUE(one.ask(Boot{}));
    EXPECT_EQ(one.starts, round);
    EXPECT_EQ(std::get<MachineInfo>(*one.ask(GetInfo{})).state, MachineState::kRunning);
    if (round == 2) {
      ASSERT_TRUE(one.ask(PowerOff{}));
    }
    ASSERT_TRUE(one.ask(DeleteMachine{}));
    EXPECT_EQ(one.stops, round) << "what it has printed is not waited for";
    expect_error(one.ask(GetInfo{}), ENOENT, "there is no machine");
  }
  ASSERT_TRUE(one.ask(EndProcess{}));
}

TEST(EmptyControlTest, EndsWithoutAMachineAndWithOne) {
  for (const int with : {0, 1, 2}) {
    EmptyControl one;
    if (with > 0) {
      ASSERT_TRUE(one.ask(one.machine()));
    }
    if (with > 1) {
      ASSERT_TRUE(one.ask(Boot{}));
    }
    one.control->stop();
    one.owner.join();
    one.owner = std::thread([] {});
    ASSERT_TRUE(one.end && *one.end) << with;
    EXPECT_EQ((*one.end)->kind, MachineEnd::Kind::kStopped);
    expect_error(one.ask(one.machine()), ESHUTDOWN, "has come to its end");
  }
}

TEST(EmptyControlTest, MayBeLookedAtWhileMachinesComeAndGo) {
  EmptyControl one;
  std::atomic<bool> done{false};
  std::thread looks([&] {
    while (!done) {
      (void)one.ask(GetInfo{});
      (void)one.ask(GetMetrics{});
      (void)one.control->press_power_button();
    }
  });
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(one.ask(one.machine()));
    ASSERT_TRUE(one.ask(Boot{}));
    ASSERT_TRUE(one.ask(DeleteMachine{}));
  }
  done = true;
  looks.join();
}

}  // namespace
}  // namespace bellhop::control
