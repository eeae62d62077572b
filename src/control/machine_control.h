#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/command.h"
#include "event/event_loop.h"
#include "machine/machine.h"

namespace bellhop::control {

/// The machine's own loop: starts it, executes commands one after the other, and starts it again or
/// ends when its guest asks for it. Runs on the thread that owns the machine.
///
/// Whatever state the machine is in, each command gets one answer. Ping, info, counters and metrics
/// and the power button wait for nothing: they are answered at once, by the thread that asks, also
/// while the loop waits for a disk in order to pause. All others are executed in the order in which
/// they came. Those that come before the machine has started wait for that; a guest's reset comes
/// between two commands. When the machine has come to its end, those that are left get an error.
class MachineControl final : private EventHandler {
 public:
  /// Errors: no descriptor left.
  static Result<std::unique_ptr<MachineControl>> create();
  ~MachineControl();
  MachineControl(const MachineControl&) = delete;
  MachineControl& operator=(const MachineControl&) = delete;

  /// A machine that a CreateMachine has asked for.
  struct Created {
    MachineConfig config;
    std::shared_ptr<Machine> machine;  ///< goes on the loop's thread
    SerialPort serial = {};
  };

  struct Wiring {
    Machine* machine = nullptr;             ///< outlives this; null: there is none until a Create
    const MachineConfig* config = nullptr;  ///< that the machine was made of
    SerialPort serial = {};
    /// Without a machine: makes one, on the loop's thread. Errors: what is wrong with the options,
    /// or what the host refuses.
    std::function<Result<Created>(const MachineOptions&)> create = nullptr;
    /// Before the first start of a machine that was created so. Errors: it does not start.
    std::function<Status()> before_start = [] { return Status(); };
    /// What ends with the machine besides it must not be waited for. Any thread.
    std::function<void()> stop = [] {};
    /// Whether it is being ended: a guest that asks for a reset then is not started again. Any
    /// thread.
    std::function<bool()> stopping = [] { return false; };
    /// Told what becomes of the machine, in the words of EventMonitor; `id` is the device's whose
    /// event it is, or empty. Any thread; must not wait.
    std::function<void(std::string_view source, std::string_view event, std::string_view id)> tell =
        [](std::string_view, std::string_view, std::string_view) {};
  };
  /// Before the first submit() and run().
  void connect(Wiring wiring);
  /// Ends the machine, and run() with it. Any thread.
  void stop() noexcept;
  /// Asks the guest to switch itself off, if there is one. Any thread.
  ButtonPress press_power_button() noexcept;

  /// What MachineHooks::ended and let_go are to call.
  void machine_has_news() noexcept { news_.signal(); }

  /// Called once for each command, on the thread that submits or on the loop's. It must not wait.
  using Done = std::function<void(Result<Answer>)>;
  /// Any thread.
  void submit(Command command, Done done);

  /// Starts the machine, if there is one, and returns why it ended; by then every command has its
  /// answer, and later ones get an error. Once. Errors: the host refuses a start.
  Result<MachineEnd> run();

 private:
  struct Pending {
    Command command;
    Done done;
  };

  MachineControl() = default;
  void on_event(std::uint64_t count) noexcept override;
  /// The guest has come to an end. True: the machine has, too.
  bool end_or_restart();
  std::optional<Pending> take();
  void close();
  [[nodiscard]] bool closed() const;

  void tell(std::string_view event, std::string_view id = {}) const {
    wiring_.tell("vm", event, id);
  }
  [[nodiscard]] std::shared_ptr<const MachineConfig> config() const;
  void set_config(MachineConfig config);
  void set_serial(SerialPort serial);
  [[nodiscard]] SerialPort serial() const;
  /// Forgets the devices that have gone.
  void remove_let_go();
  [[nodiscard]] MachineState state() const;
  /// Whether a guest may have anything of the machine in use.
  [[nodiscard]] bool has_power() const;
  /// What the guest has, without its balloon.
  [[nodiscard]] std::uint64_t memory_bytes(const MachineCounters& counters) const;
  void set_state(MachineState state);

  Result<Answer> execute(const Ping& command);
  Result<Answer> execute(const GetInfo& command);
  Result<Answer> execute(const GetCounters& command);
  Result<Answer> execute(const GetMetrics& command);
  Result<Answer> execute(const PressPowerButton& command);
  Result<Answer> execute(const Boot& command);
  Result<Answer> execute(const Pause& command);
  Result<Answer> execute(const Resume& command);
  Result<Answer> execute(const Reboot& command);
  Result<Answer> execute(const PowerOff& command);
  Result<Answer> execute(const EndProcess& command);
  Result<Answer> execute(const ResizeDisk& command);
  Result<Answer> execute(const SetRates& command);
  Result<Answer> execute(const SetNotify& command);
  Result<Answer> execute(const PinThread& command);
  Result<Answer> execute(const Resize& command);
  Result<Answer> execute(const AddDevice& command);
  Result<Answer> execute(const RemoveDevice& command);
  Result<Answer> execute(const CreateMachine& command);
  Result<Answer> execute(const DeleteMachine& command);
  /// A command that needs a machine gets an error where there is none.
  Result<Answer> execute_any(const Command& command);
  Status first_start();
  void set_machine(std::shared_ptr<Machine> machine);
  Result<Answer> start_anew();

  Wiring wiring_;
  std::unique_ptr<EventLoop> loop_;
  EventFd news_;  ///< a command, or the machine's end
  std::optional<Result<MachineEnd>> end_;

  /// Held while the machine comes or goes, and by who looks at it on another thread than the
  /// loop's.
  mutable std::shared_mutex machine_mutex_;
  std::shared_ptr<Machine> machine_;
  std::atomic<bool> stopping_{false};

  mutable std::mutex mutex_;
  std::deque<Pending> pending_;
  MachineState state_ = MachineState::kCreated;
  std::shared_ptr<const MachineConfig> config_;
  SerialPort serial_;
  bool closed_ = false;
};

/// As the API and its clients call it: "Running".
std::string_view to_string(MachineState state) noexcept;

}  // namespace bellhop::control
