// `bellhop serve` as another program finds it: its options, its ends, and a disk behind it that a
// driver uses over shared memory while the server is killed again and again.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <bit>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>

#include "base/unix_socket.h"
#include "testing/eventually.h"
#include "testing/long_run.h"
#include "testing/vhost_user_client.h"
#include "tests/integration/cli_fixture.h"
#include "virtio/abi/blk.h"

namespace bellhop {
namespace {

using namespace vhost_user;
using namespace virtio;
using testing::eventually;
using ::testing::HasSubstr;
using Client = testing::VhostUserClient;

constexpr std::uint32_t kBlock = 4096;

/// The driver of a disk, over one ring: writes that it remembers until they are done.
class DiskDriver {
 public:
  static constexpr unsigned kDepth = 8;

  explicit DiskDriver(std::string path, RingFeatures features = {})
      : path_(std::move(path)), features_(features), client_(1, kSize, features) {}

  /// A new connection, with the ring as it was left: what is in flight is for the server to do,
  /// which notes it in memory that is kept here.
  bool connect_and_go_on() {
    if (!eventually([&] { return client_.connect(path_).has_value(); })) return false;
    std::uint64_t features = Client::kVersion1 | Client::kProtocolBit;
    if (features_.packed) features |= feature_mask(kFeatureRingPacked);
    // A front end that has lost its back end knows no better.
    const std::uint32_t base =
        features_.packed ? client_.first_base() : client_.rings[0]->driver.used_idx();
    return client_.negotiate(features, Client::kTracking) && client_.set_memory() &&
           client_.track_inflight() && client_.start_ring(0, base);
  }
  /// A new connection, with a ring laid out anew; what was not done is asked for again.
  bool connect() {
    if (!eventually([&] { return client_.connect(path_).has_value(); })) return false;
    client_.rings[0] = std::make_unique<Client::Ring>(client_.memory, 0, kSize, RingFeatures{});
    in_flight_.clear();
    if (!client_.negotiate() || !client_.set_memory() || !client_.start_ring(0)) return false;
    for (const auto& [slot, block] : wanted_) put(kBlkTypeOut, slot, block);
    kick();
    return true;
  }
  [[nodiscard]] bool has_room() const { return wanted_.size() < kDepth; }
  [[nodiscard]] bool idle() const { return wanted_.empty(); }
  /// Has block `block` filled with `value`.
  void write(std::uint64_t block, std::uint32_t value) {
    unsigned slot = 0;
    while (wanted_.contains(slot)) ++slot;
    std::vector<std::uint32_t> data(kBlock / sizeof value, value);
    fill(slot, std::as_bytes(std::span(data)));
    wanted_[slot] = block;
    values_[slot] = value;
    put(kBlkTypeOut, slot, block);
    kick();
  }
  /// What has been done: false if one of them failed.
  bool reap(std::map<std::uint64_t, std::uint32_t>& done) {
    while (const auto used = client_.rings[0]->driver.reap()) {
      const auto found = in_flight_.find(used->id);
      if (found == in_flight_.end()) return false;
      const unsigned slot = found->second;
      in_flight_.erase(found);
      std::array<std::byte, 1> status{std::byte{0xff}};
      if (!client_.memory.read(status_at(slot), status) || status[0] != std::byte{kBlkStatusOk}) {
        return false;
      }
      done[wanted_[slot]] = values_[slot];
      wanted_.erase(slot);
    }
    return true;
  }
  /// All of them: false if one failed, or is not done.
  bool finish(std::map<std::uint64_t, std::uint32_t>& done) {
    return eventually([&] { return !reap(done) || idle(); }) && idle();
  }
  [[nodiscard]] bool writes_to(std::uint64_t block) const {
    return std::ranges::any_of(wanted_, [&](const auto& one) { return one.second == block; });
  }
  std::optional<std::uint32_t> read(std::uint64_t block) {
    constexpr unsigned kSlot = kDepth;
    put(kBlkTypeIn, kSlot, block);
    kick();
    if (client_.reap(0) != kBlock + 1) return std::nullopt;
    in_flight_.clear();
    std::vector<std::uint32_t> data(kBlock / sizeof(std::uint32_t));
    if (!client_.memory.read(data_at(kSlot), std::as_writable_bytes(std::span(data)))) return {};
    if (std::ranges::count(data, data[0]) != static_cast<std::ptrdiff_t>(data.size())) return {};
    return data[0];
  }
  Client& client() { return client_; }

 private:
  static constexpr std::uint16_t kSize = 64;
  static GuestAddress data_at(unsigned slot) {
    return GuestAddress(Client::kBuffers + std::uint64_t{slot} * 4 * kBlock);
  }
  static GuestAddress header_at(unsigned slot) {
    return GuestAddress(data_at(slot).value() + kBlock);
  }
  static GuestAddress status_at(unsigned slot) {
    return GuestAddress(data_at(slot).value() + 2 * kBlock);
  }
  void fill(unsigned slot, std::span<const std::byte> data) {
    if (!client_.memory.write(data_at(slot), data)) std::abort();
  }
  void put(std::uint32_t type, unsigned slot, std::uint64_t block) {
    // Whoever says that it is done without having done it leaves this.
    if (!client_.memory.write(status_at(slot), std::array{std::byte{0xff}})) std::abort();
    const BlkRequestHeader header{
        .type = type, .reserved = 0, .sector = block * (kBlock / kBlkSectorBytes)};
    if (!client_.memory.write(header_at(slot), std::as_bytes(std::span(&header, 1)))) std::abort();
    FakeDriver& driver = client_.rings[0]->driver;
    const auto head = driver.add({{header_at(slot), sizeof header, false},
                                  {data_at(slot), kBlock, type == kBlkTypeIn},
                                  {status_at(slot), 1, true}});
    if (!head) std::abort();
    in_flight_[*head] = slot;
    (void)driver.offer();
  }
  void kick() { client_.rings[0]->kick.signal(); }
  using FakeDriver = testing::FakeDriver;

  std::string path_;
  RingFeatures features_;
  Client client_;
  std::map<unsigned, std::uint64_t> wanted_;     ///< slot, and the block that it writes
  std::map<unsigned, std::uint32_t> values_;     ///< of a slot
  std::map<std::uint32_t, unsigned> in_flight_;  ///< head, and its slot
};

class ServeTest : public CliTest {
 protected:
  pid_t serve_disk() { return start({"serve", "blk", "--socket", socket_, "--disk", disk()}); }
  [[nodiscard]] std::string disk() const { return "path=" + image_; }
  void end(pid_t pid, int signal) {
    ASSERT_EQ(::kill(pid, signal), 0);
    EXPECT_EQ(finish(pid).status, 128 + signal);
  }

  std::string socket_ = (folder_ / "disk.sock").string();
};

TEST_F(ServeTest, ADiskIsWrittenAndRead) {
  const pid_t pid = serve_disk();
  DiskDriver driver(socket_);
  ASSERT_TRUE(driver.connect());
  struct stat info {};
  ASSERT_EQ(::stat(socket_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  std::map<std::uint64_t, std::uint32_t> done;
  for (std::uint32_t block = 0; block < 64; ++block) {
    driver.write(block, 1000 + block);
    ASSERT_TRUE(driver.finish(done));
  }
  for (std::uint32_t block = 0; block < 64; ++block) EXPECT_EQ(driver.read(block), 1000 + block);
  end(pid, SIGTERM);
  EXPECT_NE(::access(socket_.c_str(), F_OK), 0) << "its file goes with it";
}

TEST_F(ServeTest, TheSwitchOfTheWriteCacheIsOfferedIfThatIsAskedFor) {
  for (const bool asked : {false, true}) {
    const pid_t pid = start(
        {"serve", "blk", "--socket", socket_, "--disk", disk() + (asked ? ",config-wce=on" : "")});
    Client client;
    ASSERT_TRUE(eventually([&] { return client.connect(socket_).has_value(); }));
    const auto features = client.ask<std::uint64_t>(Request::kGetFeatures);
    ASSERT_TRUE(features);
    EXPECT_NE(*features & feature_mask(kBlkFeatureFlush), 0U);
    EXPECT_EQ((*features & feature_mask(kBlkFeatureConfigWce)) != 0, asked);
    end(pid, SIGTERM);
  }
}

TEST_F(ServeTest, KicksAsMessagesAreOfferedIfThatIsAskedFor) {
  const std::string config = (folder_ / "devices.toml").string();
  for (const bool file : {false, true}) {
    for (const bool asked : {false, true}) {
      std::vector<std::string> words{"serve", "--config", config};
      std::ofstream(config) << "[[disk]]\npath = \"" << image_ << "\"\nlisten = \"" << socket_
                            << "\"\nin-band = " << (asked ? "true" : "false") << "\n";
      if (!file) words = {"serve", "blk", "--socket", socket_, "--disk", disk()};
      if (!file && asked) words.emplace_back("--in-band");
      const pid_t pid = start(words);
      Client client;
      ASSERT_TRUE(eventually([&] { return client.connect(socket_).has_value(); }));
      const auto offered = client.ask<std::uint64_t>(Request::kGetProtocolFeatures);
      ASSERT_TRUE(offered);
      EXPECT_EQ((*offered >> kProtocolInbandNotifications & 1) != 0, asked) << file;
      end(pid, SIGTERM);
    }
  }
}

// In its sandbox, as all of them are.
TEST_F(ServeTest, AConsolesStateGoesOutAndIn) {
  const pid_t pid = start({"serve", "console", "--socket", socket_, "--console", "null"});
  Client client;
  ASSERT_TRUE(eventually([&] { return client.connect(socket_).has_value(); }));
  constexpr std::uint64_t kState = std::uint64_t{1} << kProtocolDeviceState;
  ASSERT_TRUE(client.negotiate(Client::kVersion1 | Client::kProtocolBit, Client::kAcks | kState));
  std::vector<std::byte> state;
  for (const std::uint32_t direction : {kStateSave, kStateLoad}) {
    const StateTransferStart begin{.direction = direction, .phase = kStateWhileStopped};
    const int nothing = client.socket();
    ASSERT_TRUE(client.channel().send(Request::kSetDeviceStateFd, 0,
                                      std::as_bytes(std::span(&begin, 1)), {&nothing, 1}));
    auto answer = client.channel().receive();
    ASSERT_TRUE(answer && answer->fds.size() == 1);
    UniqueFd end = std::move(answer->fds[0]);
    if (direction == kStateSave) {
      state.resize(4096);
      const ssize_t got = ::read(end.get(), state.data(), state.size());
      ASSERT_GT(got, 0);
      state.resize(static_cast<std::size_t>(got));
    } else {
      ASSERT_EQ(::write(end.get(), state.data(), state.size()), static_cast<ssize_t>(state.size()));
    }
    end.reset();
    EXPECT_EQ(client.ask<std::uint64_t>(Request::kCheckDeviceState), 0U) << direction;
  }
  this->end(pid, SIGTERM);
}

// A thread of its own measures, and has the rings change over while they are used.
TEST_F(ServeTest, AnAdaptiveDiskIsServedBusyAndIdle) {
  const std::string stats = (folder_ / "stats.json").string();
  const pid_t pid = start({"serve", "blk", "--socket", socket_, "--disk",
                           disk() + ",notify=adaptive", "--stats", stats});
  DiskDriver driver(socket_);
  ASSERT_TRUE(driver.connect());
  std::map<std::uint64_t, std::uint32_t> done;
  std::uint32_t value = 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(700);
  while (std::chrono::steady_clock::now() < until) {
    ++value;
    driver.write(value % 64, value);
    ASSERT_TRUE(driver.finish(done));
  }
  for (std::uint32_t block = value - 63; block <= value; ++block) {
    EXPECT_EQ(driver.read(block % 64), block);
  }
  end(pid, SIGTERM);
  EXPECT_THAT(contents(stats), HasSubstr("\"queues_poll\""));
  EXPECT_THAT(contents(stats), HasSubstr("\"queues_sync\": 0"));
}

// Each of them does the work of its queue, and sleeps while the other's has some.
TEST_F(ServeTest, EachQueueOfADiskMayHaveAThreadOfItsOwn) {
  const pid_t pid =
      start({"serve", "blk", "--socket", socket_, "--iothread", "name=io0,poll-max=0", "--iothread",
             "name=io1,poll-max=0", "--disk", disk() + ",queues=2,iothread=io0:io1"});
  Client client(2);
  ASSERT_TRUE(eventually([&] { return client.connect(socket_).has_value(); }));
  ASSERT_TRUE(client.negotiate(
      Client::kVersion1 | Client::kProtocolBit | feature_mask(kBlkFeatureMultiqueue),
      Client::kAcks | 1U << kProtocolMq));
  ASSERT_TRUE(client.set_memory());
  for (const unsigned ring : {0U, 1U}) ASSERT_TRUE(client.start_ring(ring));
  // Nanoseconds that the thread of that name has run.
  const auto time_of = [&](const std::string& name) -> std::uint64_t {
    const std::filesystem::path tasks = "/proc/" + std::to_string(pid) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      if (contents(task.path() / "comm") != name + "\n") continue;
      return std::stoull(contents(task.path() / "schedstat"));
    }
    ADD_FAILURE() << "no thread " << name;
    return 0;
  };
  const GuestAddress header(Client::kBuffers);
  const GuestAddress status(Client::kBuffers + 64);
  const GuestAddress data(Client::kBuffers + kBlock);
  const BlkRequestHeader read{.type = kBlkTypeIn, .reserved = 0, .sector = 0};
  ASSERT_TRUE(client.memory.write(header, std::as_bytes(std::span(&read, 1))));
  for (const unsigned ring : {0U, 1U}) {
    const std::uint64_t others = time_of(ring == 0 ? "io1" : "io0");
    const std::uint64_t own = time_of(ring == 0 ? "io0" : "io1");
    for (unsigned i = 0; i < 200; ++i) {
      ASSERT_TRUE(client.rings[ring]->driver.add(
          {{header, sizeof read, false}, {data, kBlock, true}, {status, 1, true}}));
      (void)client.rings[ring]->driver.offer();
      ASSERT_EQ(client.kick_and_reap(ring), kBlock + 1);
    }
    EXPECT_GT(time_of(ring == 0 ? "io0" : "io1") - own,
              10 * (time_of(ring == 0 ? "io1" : "io0") - others));
  }
  end(pid, SIGTERM);
}

// By a signal that has no other meaning here.
TEST_F(ServeTest, ADiskThatHasGrownIsToldOf) {
  const pid_t pid = serve_disk();
  Client client;
  ASSERT_TRUE(eventually([&] { return client.connect(socket_).has_value(); }));
  ASSERT_TRUE(client.negotiate(Client::kVersion1 | Client::kProtocolBit,
                               Client::kAcks | 1U << kProtocolBackendReq | 1U << kProtocolConfig));
  auto requests = client.hear();
  ASSERT_TRUE(requests);
  const auto sectors = [&]() -> std::uint64_t {
    std::array<std::byte, sizeof(ConfigHead) + sizeof(std::uint64_t)> asked{};
    const ConfigHead head{.offset = 0, .size = sizeof(std::uint64_t), .flags = 0};
    std::memcpy(asked.data(), &head, sizeof head);
    const auto reply = client.ask_raw(Request::kGetConfig, asked);
    if (!reply || reply->header.size != asked.size()) return 0;
    std::uint64_t capacity = 0;
    std::memcpy(&capacity, reply->payload.data() + sizeof head, sizeof capacity);
    return capacity;
  };
  const std::uint64_t before = sectors();
  ASSERT_NE(before, 0U);
  std::filesystem::resize_file(image_, 2 * before * kBlkSectorBytes);
  ASSERT_EQ(::kill(pid, SIGHUP), 0);
  const auto told = requests->receive();
  ASSERT_TRUE(told) << told.error().message;
  EXPECT_EQ(told->header.request, kBackendConfigChange);
  EXPECT_EQ(sectors(), 2 * before);
  end(pid, SIGTERM);
}

TEST_F(ServeTest, KilledAHundredTimesItHasAllThatItSaidWasDone) {
  DiskDriver driver(socket_);
  std::map<std::uint64_t, std::uint32_t> done;
  std::mt19937 random(7);
  std::uint32_t value = 0;
  const std::uint64_t blocks = std::filesystem::file_size(image_) / kBlock;
  for (unsigned round = 0; round < 100; ++round) {
    const pid_t pid = serve_disk();
    ASSERT_TRUE(driver.connect()) << round;
    // Some work, then the end at any moment of it.
    for (unsigned writes = random() % 64; writes != 0;) {
      ASSERT_TRUE(driver.reap(done));
      const std::uint64_t block = random() % blocks;
      if (!driver.has_room() || driver.writes_to(block)) continue;
      driver.write(block, ++value);
      --writes;
    }
    end(pid, SIGKILL);
  }
  // The stale socket of the last one is replaced; what was in flight is done again.
  const pid_t pid = serve_disk();
  ASSERT_TRUE(driver.connect());
  ASSERT_TRUE(driver.finish(done));
  EXPECT_GT(done.size(), 100U);
  for (const auto& [block, wrote] : done) EXPECT_EQ(driver.read(block), wrote) << block;
  end(pid, SIGTERM);
}

/// Both layouts of rings. The image lies beside the program: /tmp may be in memory, where a request
/// is done as soon as it is taken.
class TrackedServeTest : public ServeTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    ServeTest::SetUp();
    const auto image = std::filesystem::path(BELLHOP_EXECUTABLE).parent_path() /
                       ("tracked-" + std::to_string(::getpid()) + ".img");
    std::ofstream(image).close();
    std::filesystem::resize_file(image, std::filesystem::file_size(image_));
    image_ = image.string();
  }
  void TearDown() override { std::filesystem::remove(image_); }
};
INSTANTIATE_TEST_SUITE_P(Rings, TrackedServeTest, ::testing::Bool(),
                         [](const auto& ring) { return ring.param ? "packed" : "split"; });

TEST_P(TrackedServeTest, KilledAtAnyMomentItsNextOneDoesWhatWasInFlight) {
  DiskDriver driver(socket_, {.packed = GetParam()});
  const auto serve = [&] {
    return start(
        {"serve", "blk", "--socket", socket_, "--disk", disk() + (GetParam() ? ",packed=on" : "")});
  };
  std::map<std::uint64_t, std::uint32_t> done;
  std::mt19937 random(11);
  std::uint32_t value = 0;
  unsigned with_some_in_flight = 0;
  const std::uint64_t blocks = std::filesystem::file_size(image_) / kBlock;
  const std::uint64_t rounds = testing::many(500);
  for (unsigned round = 0; round < rounds; ++round) {
    const pid_t pid = serve();
    ASSERT_TRUE(driver.connect_and_go_on()) << round;
    const auto end_of_it =
        std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 3000);
    do {
      ASSERT_TRUE(driver.reap(done)) << round << ": done twice, or not done";
      const std::uint64_t block = random() % blocks;
      if (driver.has_room() && !driver.writes_to(block)) driver.write(block, ++value);
    } while (std::chrono::steady_clock::now() < end_of_it);
    // Every third one is ended instead, which leaves nothing in flight.
    end(pid, round % 3 == 2 ? SIGTERM : SIGKILL);
    ASSERT_TRUE(driver.reap(done)) << round;
    if (round % 3 != 2 && !driver.idle()) ++with_some_in_flight;
  }
  EXPECT_GT(with_some_in_flight, 0U);
  const pid_t pid = serve();
  ASSERT_TRUE(driver.connect_and_go_on());
  ASSERT_TRUE(driver.finish(done));
  EXPECT_GT(done.size(), 100U);
  for (const auto& [block, wrote] : done) EXPECT_EQ(driver.read(block), wrote) << block;
  end(pid, SIGTERM);
}

TEST_F(ServeTest, ClientsThatAreGoneLeaveRoomForTheNext) {
  const pid_t pid = serve_disk();
  std::map<std::uint64_t, std::uint32_t> done;
  for (unsigned round = 0; round <= 100; ++round) {
    DiskDriver driver(socket_);
    ASSERT_TRUE(driver.connect()) << round;
    for (unsigned i = 0; i < DiskDriver::kDepth; ++i) driver.write(i, round);
    if (round % 2 == 0) {
      ASSERT_TRUE(driver.finish(done)) << round;
    }
  }
  DiskDriver driver(socket_);
  ASSERT_TRUE(driver.connect());
  EXPECT_EQ(driver.read(3), 100U);
  end(pid, SIGINT);
}

TEST_F(ServeTest, MemoryThatAFrontEndCutsShortEndsItsConnectionAlone) {
  const pid_t pid = serve_disk();
  for (unsigned round = 0; round < 3; ++round) {
    const UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), 1 << 20), 0);
    Client client;
    ASSERT_TRUE(eventually([&] { return client.connect(socket_).has_value(); }));
    ASSERT_TRUE(client.negotiate());
    MemoryTable table;
    table.count = 1;
    table.regions[0] = client.region(0);
    table.regions[0].size = 1 << 20;
    const auto bytes = std::as_bytes(std::span(&table, 1)).first(8 + sizeof(MemoryRegion));
    ASSERT_TRUE(client.tell(Request::kSetMemTable, bytes, std::array{file.get()}));
    ASSERT_TRUE(client.start_ring(0));
    ASSERT_EQ(::ftruncate(file.get(), 0), 0);
    client.rings[0]->kick.signal();
    EXPECT_TRUE(client.is_closed());
  }
  DiskDriver driver(socket_);
  ASSERT_TRUE(driver.connect());
  EXPECT_EQ(driver.read(0), 0U);
  end(pid, SIGTERM);
}

TEST_F(ServeTest, OthersAreServedFromOneFileEachAtItsSocket) {
  const std::string config = (folder_ / "devices.toml").string();
  const std::string second = make_file("second.img", 1 << 20);
  const std::string random = (folder_ / "rng.sock").string();
  std::ofstream(config) << "[[disk]]\npath = '" << image_ << "'\nlisten = '" << socket_
                        << "'\n[[disk]]\npath = '" << second << "'\nlisten = '" << socket_
                        << "2'\n[[rng]]\nlisten = '" << random << "'\n";
  const std::string stats = (folder_ / "stats.json").string();
  const pid_t pid = start({"serve", "--config", config, "--stats", stats});
  DiskDriver one(socket_);
  DiskDriver two(socket_ + "2");
  ASSERT_TRUE(one.connect());
  ASSERT_TRUE(two.connect());
  std::map<std::uint64_t, std::uint32_t> done;
  one.write(0, 11);
  two.write(0, 22);
  ASSERT_TRUE(one.finish(done));
  ASSERT_TRUE(two.finish(done));
  EXPECT_EQ(one.read(0), 11U);
  EXPECT_EQ(two.read(0), 22U);
  Client client;
  ASSERT_TRUE(client.connect(random));
  ASSERT_TRUE(client.negotiate() && client.set_memory() && client.start_ring(0));
  const GuestAddress at(Client::kBuffers);
  ASSERT_TRUE(client.rings[0]->driver.add({{at, 32, true}}));
  (void)client.rings[0]->driver.offer();
  EXPECT_EQ(client.kick_and_reap(0), 32U);
  end(pid, SIGTERM);
  EXPECT_THAT(contents(stats), HasSubstr("\"connections\": 1"));
}

TEST_F(ServeTest, ASocketThatWasPassedIsServed) {
  const UniqueFd listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
            0);
  ASSERT_EQ(::listen(listening.get(), 5), 0);
  for (const bool by_option : {true, false}) {
    std::vector<std::string> arguments{"serve", "blk", "--disk", disk()};
    if (by_option) arguments.insert(arguments.end(), {"--fd", "3"});
    const pid_t pid = start(arguments, [&] {
      // With no close-on-exec, also if it is that one already.
      if (listening.get() != 3) ::dup2(listening.get(), 3);
      ::fcntl(3, F_SETFD, 0);
      ::setenv("LISTEN_FDS", "1", 1);
      ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    });
    DiskDriver driver(socket_);
    ASSERT_TRUE(driver.connect());
    EXPECT_EQ(driver.read(1), 0U);
    end(pid, SIGTERM);
  }
  EXPECT_EQ(::access(socket_.c_str(), F_OK), 0) << "its maker's to remove";
}

TEST_F(ServeTest, WhatIsUsedWronglyIsRefusedByName) {
  expect_refused({"serve"}, "serve: a device is missing");
  expect_refused({"serve", "blk", "--disk", disk()}, "--socket is missing");
  expect_refused({"serve", "blk", "--socket", socket_}, "--disk is missing");
  expect_refused({"serve", "blk", "--socket", socket_, "--fd", "3", "--disk", disk()}, "--fd:");
  expect_refused({"serve", "blk", "--socket", socket_, "--disk", disk() + ",notify=sync"},
                 "--disk: notify must be ioeventfd, poll or adaptive");
  expect_refused({"serve", "blk", "--fd", "x", "--disk", disk()}, "--fd: fd:x");
  expect_refused({"serve", "blk", "--socket", image_, "--disk", disk()},
                 "is there already, and is no socket");
  expect_refused({"serve", "blk", "--socket", socket_, "--socket-mode", "9", "--disk", disk()},
                 "--socket-mode");
  expect_refused({"serve", "fs", "--socket", socket_}, "fs");
  const auto listening = UnixListener::listen(socket_);
  ASSERT_TRUE(listening);
  expect_refused({"serve", "blk", "--socket", socket_, "--disk", disk()},
                 "is in use by another program");
  const std::string config = (folder_ / "devices.toml").string();
  std::ofstream(config) << "[[disk]]\npath = '" << image_ << "'\n";
  expect_refused({"serve", "--config", config}, "devices.toml:1: disk: listen is missing");
  std::ofstream(config) << "[[disk]]\npath = '" << image_ << "'\nlisten = 'one'\nin-band = 3\n";
  expect_refused({"serve", "--config", config}, "in-band=3 is wrong; it must be on or off");
  std::ofstream(config) << "[[disk]]\npath = '" << image_ << "'\nlisten = 'one'\n[[rng]]\n"
                        << "listen = 'one'\n";
  expect_refused({"serve", "--config", config}, "one: another device has it already");
  expect_refused({"serve", "blk", "--fd", "03", "--disk", disk()}, "must be a descriptor's number");
  std::ofstream(config) << "cpus = 2\n";
  expect_refused({"serve", "--config", config}, "devices.toml:1: cpus: belongs to a machine");
  EXPECT_EQ(bellhop({"serve", "--help"}).status, 0);
  EXPECT_THAT(bellhop({"serve", "blk", "--help"}).out, HasSubstr("queue-size=N"));
}

}  // namespace
}  // namespace bellhop
