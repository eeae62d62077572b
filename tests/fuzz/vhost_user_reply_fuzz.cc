// Whatever a vhost-user back end answers, and wherever its bytes end: the front end comes back with
// a connection or an error, and rings can be started and stopped over both.

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "testing/fake_driver.h"
#include "testing/test_memory.h"
#include "vhost_user/vhost_user_front.h"
#include "virtio/ring/split_ring.h"

namespace {

using namespace bellhop;
using bellhop::testing::FakeDriver;
using bellhop::testing::must;

constexpr std::uint16_t kSize = 16;

struct Host {
  GuestMemory memory = bellhop::testing::make_memory(1U << 20, 4096);
  FakeDriver driver{memory, GuestAddress(0x1000), kSize};
  EventFd event = must(EventFd::create());
};

}  // namespace

/// Input: all that the back end ever says, before it closes its end.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Host host;
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  // What does not fit into the socket does not count.
  (void)::send(theirs.get(), data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  (void)::shutdown(theirs.get(), SHUT_WR);

  auto front = VhostUserFront::create(
      {.name = "fuzz", .queues = 2, .features = 1, .patience = vhost_user::Channel::Patience(1000)},
      [&ours](vhost_user::Channel::Patience patience) -> Result<vhost_user::Channel> {
        if (!ours.valid()) return fail("no other connection");
        return vhost_user::Channel(std::move(ours), patience);
      });
  if (!front) {
    if (front.error().message.empty()) std::abort();
    return 0;
  }
  QueueCounters counters;
  const auto ring = must(SplitRing::activate(host.memory, host.driver.config(), {}, counters));
  const OffloadedRing handed{ring.areas(), 0, &host.event, nullptr, &host.event};
  (void)(*front)->begin(1);
  QueueBackEnd& back_end = (*front)->ring(1);
  if (back_end.start(handed)) {
    back_end.call_changed(&host.event);
    // As many entries as there can be, at most, were taken and not given back.
    if (back_end.stop() > kSize) std::abort();
  }
  return 0;
}
