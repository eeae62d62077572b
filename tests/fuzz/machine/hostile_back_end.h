#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "vhost_user/channel.h"

namespace bellhop::fuzz {

/// A vhost-user back end that speaks the protocol until it is told to do wrong, and touches nothing
/// of the guest's memory. One connection at a time, on a thread of its own.
class HostileBackEnd {
 public:
  HostileBackEnd() = default;
  ~HostileBackEnd() { hang_up(); }
  HostileBackEnd(const HostileBackEnd&) = delete;
  HostileBackEnd& operator=(const HostileBackEnd&) = delete;

  /// The front end's end of a new connection; the one before ends.
  Result<vhost_user::Channel> connect(vhost_user::Channel::Patience patience);
  void hang_up();
  /// The next messages are answered as these bytes say; see Misdeed. Any thread.
  void be_hostile(std::vector<std::uint8_t> how);
  /// Signals an eventfd that it was given, if there is one. Any thread.
  void signal(unsigned which);

 private:
  enum class Wrong : std::uint8_t {
    kNothing,
    kSilence,
    kHangUp,
    kWrongSize,
    kWrongRequest,
    kNoReplyFlag,
    kGarbage,
    kOtherNumber,
    kSurplusDescriptor,
    kTwice,
    kBlockingEvents,  ///< O_NONBLOCK off, which is shared with the front end
    kFullEvents,
    kShrinkMemory,
    kCount,
  };

  void run();
  /// False: the connection is over.
  bool answer(const vhost_user::Message& message, Wrong wrong);
  Wrong next();

  vhost_user::Channel channel_;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<std::uint8_t> script_;
  std::vector<UniqueFd> events_;
  std::vector<UniqueFd> memory_;
  int end_ = -1;
};

}  // namespace bellhop::fuzz
