// A guest that moves to another host while its devices work: every page that a device has written
// is marked in the front end's log, and none that it could not have written.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "block/raw_file.h"
#include "devices/blk/blk_device.h"
#include "devices/console/console_device.h"
#include "devices/net/net_device.h"
#include "devices/rng/rng_device.h"
#include "testing/memory_backend.h"
#include "testing/memory_nic.h"
#include "testing/page_log.h"
#include "testing/vhost_user_server_fixture.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/net.h"

namespace bellhop {
namespace {

using namespace vhost_user;
using testing::eventually;
using testing::MemoryImage;
using testing::missing;
using testing::must;
using testing::PageLog;
using testing::Pages;
using testing::pages_of;
using Client = testing::VhostUserClient;

constexpr std::uint64_t kWrittenPage = DirtyLog::kPage;

struct WrittenShape {
  const char* name;
  RingFeatures ring;
  bool tracked;  ///< requests in flight are noted, too
};

class WrittenPagesTest : public ::testing::TestWithParam<WrittenShape> {
 protected:
  /// Serves a device to a guest that moves, with rings of `size`.
  void serve(std::unique_ptr<VirtioDevice> device, unsigned rings, std::uint16_t size,
             std::uint64_t features = 0) {
    const WrittenShape& shape = GetParam();
    service = std::make_unique<testing::VhostUserService>(std::move(device));
    client = std::make_unique<Client>(rings, size, shape.ring);
    log = std::make_unique<PageLog>(client->memory);
    features |= Client::kVersion1 | Client::kProtocolBit | Client::kLogBit;
    if (shape.ring.packed) features |= virtio::feature_mask(virtio::kFeatureRingPacked);
    if (shape.ring.event_idx) features |= virtio::feature_mask(virtio::kFeatureEventIdx);
    ASSERT_TRUE(client->connect(service->path));
    ASSERT_TRUE(client->negotiate(features, Client::kLogging | Client::kTracking));
    ASSERT_TRUE(client->set_memory());
    ASSERT_TRUE(client->set_log(*log));
    ASSERT_TRUE(!shape.tracked || client->track_inflight());
    bases.assign(rings, client->first_base());
  }
  void offer(unsigned ring, std::vector<DriverBuffer> buffers) {
    for (const DriverBuffer& one : buffers) {
      if (!one.device_writes) continue;
      writable.merge(pages_of(one.address, one.length));
      // So that each byte that is written is another one afterwards, a status of 0 too.
      client->memory.span(one.address, one.length)->fill(std::byte{0xa5});
    }
    testing::FakeDriver& driver = client->rings[ring]->driver;
    ASSERT_TRUE(driver.add(buffers));
    (void)driver.offer();
    ++offered;
  }
  /// Has all that was offered on `ring` done, and `meanwhile` happen before; then nothing moves any
  /// more. What was written must be marked by then, and what is marked must be writable.
  template <class Meanwhile>
  void finish(unsigned ring, Meanwhile meanwhile) {
    const QueueCounters& counters = service->device().life().counters(ring);
    const std::uint64_t done = counters.completions.get() + std::exchange(offered, 0U);
    (void)log->take();
    const MemoryImage before(client->memory);
    ASSERT_TRUE(client->start_ring(ring, bases[ring]));
    client->rings[ring]->kick.signal();
    meanwhile();
    ASSERT_TRUE(eventually([&] { return counters.completions.get() == done; }))
        << counters.completions.get() << " of " << done;
    const auto base = client->stop_ring(ring);
    ASSERT_TRUE(base);
    bases[ring] = *base;
    const Pages changed = before.changed();
    const Pages marked = log->take();
    EXPECT_EQ(missing(changed, marked), Pages()) << "written, and not marked";
    Pages allowed = std::exchange(writable, {});
    const QueueConfig config = client->rings[ring]->driver.config();
    if (GetParam().ring.packed) {
      allowed.merge(pages_of(config.desc, virtio::desc_table_bytes(config.size)));
      allowed.merge(pages_of(config.device, virtio::kPackedEventBytes));
    } else {
      allowed.merge(pages_of(config.device, virtio::used_ring_bytes(config.size)));
    }
    EXPECT_EQ(missing(marked, allowed), Pages()) << "marked, and not writable";
    seen.insert(changed.begin(), changed.end());
    while (client->rings[ring]->driver.reap()) {
    }
  }
  void finish(unsigned ring) {
    finish(ring, [] {});
  }

  /// Reads of all kinds, from a disk that has other bytes in each sector.
  void read_disk();

  std::unique_ptr<testing::VhostUserService> service;
  std::unique_ptr<Client> client;
  std::unique_ptr<PageLog> log;
  std::vector<std::uint32_t> bases;
  Pages writable;        ///< of what was offered
  Pages seen;            ///< pages that changed in any round
  unsigned offered = 0;  ///< and not done yet
};

INSTANTIATE_TEST_SUITE_P(
    Rings, WrittenPagesTest,
    ::testing::Values(WrittenShape{"split", {}, false},
                      WrittenShape{"split_event", {.event_idx = true}, false},
                      WrittenShape{"packed", {.packed = true}, false},
                      WrittenShape{"packed_event", {.event_idx = true, .packed = true}, false},
                      WrittenShape{"split_tracked", {}, true},
                      WrittenShape{"packed_tracked", {.event_idx = true, .packed = true}, true}),
    [](const auto& which) { return std::string(which.param.name); });

constexpr std::size_t kWrittenDisk = 1 << 20;

std::vector<std::byte> disk_contents() {
  std::vector<std::byte> bytes(kWrittenDisk);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(i * 7 + i / 512 + 1);
  }
  return bytes;
}

void WrittenPagesTest::read_disk() {
  constexpr GuestAddress kHeaders{0x180000};
  std::uint64_t next = Client::kBuffers;
  const auto room = [&](std::uint64_t bytes, std::uint64_t in_page = 0) {
    const GuestAddress at(next + in_page);
    next += (in_page + bytes + 2 * kWrittenPage) / kWrittenPage * kWrittenPage;  // a page between
    return DriverBuffer{at, static_cast<std::uint32_t>(bytes), true};
  };
  for (unsigned round = 0; round < 6; ++round) {
    next = Client::kBuffers;
    for (unsigned i = 0; i < 50; ++i) {
      const virtio::BlkRequestHeader header{
          .type = i % 10 == 9 ? virtio::kBlkTypeGetId : virtio::kBlkTypeIn,
          .reserved = 0,
          // One behind the disk's end.
          .sector = i % 10 == 8 ? kWrittenDisk : (round * 50 + i) % 64 * 8};
      const GuestAddress at(kHeaders.value() + 16 * i);
      ASSERT_TRUE(client->memory.write(at, std::as_bytes(std::span(&header, 1))));
      const DriverBuffer head{at, 16, false};
      switch (i % 5) {
        case 0:  // the usual way
          offer(0, {head, room(kWrittenPage), room(1)});
          break;
        case 1:  // the status is the first byte of the next page
          offer(0, {head, room(kWrittenPage + 1)});
          break;
        case 2:  // pieces of pages
          offer(0, {head, room(512, 3000), room(1024, 4000), room(2560), room(1, 4095)});
          break;
        case 3:  // many pages, not aligned
          offer(0, {head, room(8 * kWrittenPage + 1, 2048)});
          break;
        default:
          offer(0, {head, room(512, 3584), room(1)});
          break;
      }
    }
    finish(0);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(seen.size(), 150U);
}

TEST_P(WrittenPagesTest, Disk) {
  auto medium = std::make_shared<MemoryBackend>(kWrittenDisk);
  medium->bytes() = disk_contents();
  BlkOptions options;
  options.queue_size = 512;
  serve(std::make_unique<BlkDevice>(medium, options), 1, options.queue_size);
  if (!HasFatalFailure()) read_disk();
}

// The kernel writes the data, by whichever engine.
TEST_P(WrittenPagesTest, DiskOfAFile) {
  const auto bytes = disk_contents();
  for (const Aio aio : {Aio::kIoUring, Aio::kNative, Aio::kThreads}) {
    std::string name = "/var/tmp/writtenXXXXXX";  // on a disk, also where /tmp is memory
    const UniqueFd file(::mkstemp(name.data()));
    ASSERT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    auto opened = open_raw_file({.path = name, .aio = aio});
    ::unlink(name.c_str());
    if (!opened) continue;  // an engine that this host has not
    BlkOptions options;
    options.queue_size = 512;
    serve(std::make_unique<BlkDevice>(std::move(*opened), options), 1, options.queue_size);
    if (!HasFatalFailure()) read_disk();
    service.reset();
  }
}

TEST_P(WrittenPagesTest, Nic) {
  constexpr std::uint64_t kMac = 0x0605'0403'0202;
  auto wire = std::make_shared<testing::MemoryNic>();
  NetOptions options;
  options.mac = kMac;
  options.queue_size = 64;
  const bool mergeable = GetParam().ring.event_idx;
  serve(std::make_unique<NetDevice>(wire, options), 2, 64,
        mergeable ? virtio::feature_mask(virtio::kNetFeatureMrgRxbuf) : 0);
  if (HasFatalFailure()) return;
  const auto frame = [&](std::size_t bytes, unsigned fill, std::uint8_t flags = 0) {
    std::vector<std::byte> all(kNetHeaderBytes + bytes, static_cast<std::byte>(fill));
    std::memset(all.data(), 0, kNetHeaderBytes);
    all[offsetof(virtio::NetHeader, flags)] = std::byte{flags};
    store_mac(kMac, all.data() + kNetHeaderBytes);
    return all;
  };
  for (unsigned round = 0; round < 8; ++round) {
    const std::uint32_t bytes = mergeable ? 1536 : 3 * kWrittenPage;
    for (unsigned i = 0; i < 8; ++i) {
      offer(0, {{GuestAddress(Client::kBuffers + i * 4 * kWrittenPage + 300), bytes, true}});
    }
    offered = mergeable ? 6 : 4;  // those that come back: one frame takes three buffers
    finish(0, [&] {
      const unsigned fill = round * 16 + 1;
      // One that is dropped is read into the guest's buffer, and a smaller one after it.
      ASSERT_TRUE(wire->put(frame(1400, fill, virtio::kNetHeaderNeedsCsum)));
      ASSERT_TRUE(wire->put(frame(60, fill + 1)));
      ASSERT_TRUE(wire->put(frame(1514, fill + 2)));
      ASSERT_TRUE(wire->put(frame(mergeable ? 4000 : 9000, fill + 3)));
      ASSERT_TRUE(wire->put(frame(100, fill + 4)));
    });
    if (HasFatalFailure()) return;
    // Those that are left in the ring are there for the next round.
  }
}

TEST_P(WrittenPagesTest, Rng) {
  serve(std::make_unique<RngDevice>(UniqueFd(::open("/dev/urandom", O_RDONLY | O_CLOEXEC)),
                                    RngConfig{}),
        1, 64);
  if (HasFatalFailure()) return;
  for (unsigned round = 0; round < 8; ++round) {
    for (unsigned i = 0; i < 20; ++i) {
      offer(0,
            {{GuestAddress(Client::kBuffers + i * 4 * kWrittenPage + 4000), 200, true},
             {GuestAddress(Client::kBuffers + i * 4 * kWrittenPage + 2 * kWrittenPage), 64, true}});
    }
    finish(0);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(seen.size(), 20U);
}

TEST_P(WrittenPagesTest, Console) {
  std::array<int, 2> in{};
  ASSERT_EQ(::pipe2(in.data(), O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd ours(in[1]);
  const UniqueFd theirs(in[0]);
  const UniqueFd out(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  std::vector<ConsolePortOptions> ports;
  ports.push_back({.name = {}, .backend = must(make_stdio_console(theirs.get(), out.get()))});
  serve(std::make_unique<ConsoleDevice>(std::move(ports), ConsoleOptions{}), 2, 64);
  if (HasFatalFailure()) return;
  for (unsigned round = 0; round < 8; ++round) {
    for (unsigned i = 0; i < 4; ++i) {
      offer(0, {{GuestAddress(Client::kBuffers + i * 4 * kWrittenPage + 4000), 1000, true}});
    }
    // No more than what a pipe takes as a whole.
    const std::string text(4 * 1000, static_cast<char>('a' + round));
    finish(0, [&] {
      ASSERT_EQ(::write(ours.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    });
    if (HasFatalFailure()) return;
  }
  EXPECT_GE(seen.size(), 8U);
}

}  // namespace
}  // namespace bellhop
