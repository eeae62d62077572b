// Boots the bench guest under QEMU, the peer that it is measured against: what passes here is the
// guest's own doing, not Bellhop's.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "guest/pattern.h"

namespace bellhop {
namespace {

using nlohmann::json;

constexpr std::uint64_t kBlocks = 4096;  // 16 MiB

struct GuestRun {
  std::vector<json> lines;
  int exit_status = -1;

  const json* find(const std::string& event) const {
    for (const json& line : lines) {
      if (line.at("event") == event) return &line;
    }
    return nullptr;
  }
};

enum class Bus { kPci, kMmio };

class QemuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "no access to /dev/kvm";
    ASSERT_EQ(std::system("command -v qemu-system-x86_64 >/dev/null"), 0)
        << "qemu-system-x86_64 is missing: install the package qemu-system-x86";
    std::string name = ::testing::TempDir() + "bench-guest-XXXXXX";
    const int fd = mkstemp(name.data());
    ASSERT_GE(fd, 0);
    close(fd);
    image_ = name;
    ASSERT_EQ(truncate(image_.c_str(), kBlocks * pattern::kBlockBytes), 0);
  }

  void TearDown() override {
    if (!image_.empty()) unlink(image_.c_str());
  }

  GuestRun boot(const std::string& words, Bus bus = Bus::kPci, unsigned vcpus = 1,
                const std::string& device = {}) {
    const std::string smp = std::to_string(vcpus);
    std::string command =
        "timeout 60 qemu-system-x86_64 -accel kvm -cpu qemu64 -m 256M -smp " + smp;
    command += bus == Bus::kPci ? " -M q35" : " -M microvm,acpi=off";
    command += " -nodefaults -display none -no-reboot -serial stdio -bios qboot.rom";
    command += " -device isa-debug-exit,iobase=0xf4,iosize=0x04 -object iothread,id=io0";
    command += " -drive if=none,id=d,file=" + image_ + ",format=raw,cache=writeback";
    command += bus == Bus::kPci
                   ? " -device virtio-blk-pci,disable-legacy=on,num-queues=" + smp
                   : " -global virtio-mmio.force-legacy=false -device virtio-blk-device";
    command += ",drive=d,iothread=io0" + device + " -kernel " + BELLHOP_BENCH_GUEST;
    command += " -append '" + words + " vcpus=" + smp + "' 2>/dev/null </dev/null";
    GuestRun run;
    FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) return run;
    std::array<char, 8192> buffer{};
    while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), pipe) != nullptr) {
      if (buffer[0] != '{') continue;  // firmware may talk too
      json line = json::parse(buffer.data(), nullptr, false);
      EXPECT_FALSE(line.is_discarded()) << buffer.data();
      if (!line.is_discarded()) run.lines.push_back(line);
    }
    const int status = pclose(pipe);
    run.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return run;
  }

  // isa-debug-exit turns a status into 2 * status + 1.
  static void expect_verified(const GuestRun& run, const std::string& workload) {
    EXPECT_EQ(run.exit_status, 1);
    ASSERT_NE(run.find("result"), nullptr);
    const json& result = *run.find("result");
    EXPECT_EQ(result.at("workload"), workload);
    EXPECT_EQ(result.at("verified"), true) << result;
    EXPECT_GT(result.at("operations").get<std::uint64_t>(), 0U) << result;
    EXPECT_EQ(run.find("error"), nullptr);
    EXPECT_NE(run.find("begin"), nullptr);
    EXPECT_NE(run.find("end"), nullptr);
  }

  void prepare_on_host() {
    std::ofstream out(image_, std::ios::binary);
    struct alignas(64) Block {
      std::array<char, pattern::kBlockBytes> bytes;
    };
    const auto block = std::make_unique<Block>();
    for (std::uint64_t i = 0; i < kBlocks; ++i) {
      pattern::fill_block(block.get(), i, pattern::kFirstGeneration, 0);
      out.write(block->bytes.data(), pattern::kBlockBytes);
    }
  }

  void damage(std::uint64_t offset) {
    std::fstream file(image_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put('\x5a');
  }

  std::string image_;
};

TEST_F(QemuTest, CreatesThenReadsBack) {
  const GuestRun run = boot("workload=create threads=8 seconds=0.2");
  expect_verified(run, "create");
  EXPECT_GT(run.find("result")->at("read_back").get<std::uint64_t>(), 0U);
}

TEST_F(QemuTest, ReadsWhatItPrepared) {
  expect_verified(boot("workload=prepare"), "prepare");
  expect_verified(boot("workload=randread threads=16 seconds=0.2 warmup=0.05"), "randread");
  expect_verified(boot("workload=seqread threads=4 bs=16K seconds=0.2 ring=direct"), "seqread");
}

TEST_F(QemuTest, ReadsWhatTheHostPrepared) {
  prepare_on_host();
  expect_verified(boot("workload=randread threads=8 seconds=0.2 event_idx=off"), "randread");
  expect_verified(boot("workload=randread threads=8 seconds=0.2 idle=spin size=8"), "randread");
}

TEST_F(QemuTest, WritesAtRandomAndReadsBack) {
  prepare_on_host();
  expect_verified(boot("workload=randwrite threads=16 seconds=0.2"), "randwrite");
  expect_verified(boot("workload=seqread threads=4 seconds=0.2"), "seqread");
}

TEST_F(QemuTest, WorksWithPackedRings) {
  prepare_on_host();
  for (const Bus bus : {Bus::kPci, Bus::kMmio}) {
    for (const char* const ring :
         {"packed", "packed-direct event_idx=off", "packed size=8", "packed-direct"}) {
      SCOPED_TRACE(ring);
      const std::string words = std::string("threads=2 seconds=0.2 ring=") + ring;
      expect_verified(boot("workload=randread " + words, bus, 1, ",packed=on"), "randread");
      expect_verified(boot("workload=randwrite " + words, bus, 1, ",packed=on"), "randwrite");
    }
  }
  EXPECT_NE(boot("workload=randread ring=packed").exit_status, 1) << "none are offered";
}

// One thread: QEMU 7.2 resets the queue of a disk without waiting for its requests.
TEST_F(QemuTest, ResetsAQueueBetweenRequests) {
  prepare_on_host();
  for (const char* const more : {"", " ring=direct event_idx=off"}) {
    for (const char* const workload : {"randwrite", "randread"}) {
      const GuestRun run =
          boot("workload=" + std::string(workload) + " seconds=0.3 queue_resets=20" + more);
      expect_verified(run, workload);
      EXPECT_EQ(run.find("result")->at("queue_resets"), 20);
    }
  }
  EXPECT_NE(boot("workload=randread queue_resets=1", Bus::kPci, 1, ",queue_reset=off").exit_status,
            1)
      << "none is offered";
}

TEST_F(QemuTest, TwoProcessorsTwoQueues) {
  prepare_on_host();
  const GuestRun run = boot("workload=randread threads=8 seconds=0.2", Bus::kPci, 2);
  expect_verified(run, "randread");
  EXPECT_EQ(run.find("result")->at("queues"), 2);
}

TEST_F(QemuTest, DrivesVirtioMmio) {
  prepare_on_host();
  const GuestRun run = boot("workload=randread threads=8 seconds=0.2", Bus::kMmio);
  expect_verified(run, "randread");
  EXPECT_EQ(run.find("result")->at("transport"), "mmio");
}

TEST_F(QemuTest, DigestIsTheHosts) {
  // An image of any size: the last request and the last block are short.
  constexpr std::uint64_t kBytes = 1'000'448;
  ASSERT_EQ(truncate(image_.c_str(), kBytes), 0);
  damage(12345);
  damage(kBytes - 1);
  std::ifstream file(image_, std::ios::binary);
  alignas(64) std::array<char, pattern::kBlockBytes> block{};
  std::uint64_t digest = 0;
  for (std::uint64_t i = 0; i * pattern::kBlockBytes < kBytes; ++i) {
    file.read(block.data(), pattern::kBlockBytes);
    digest += pattern::image_digest_term(i, block.data(), static_cast<std::size_t>(file.gcount()));
  }
  const GuestRun run = boot("workload=verify bs=64K");
  expect_verified(run, "verify");
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "0x%016llx", static_cast<unsigned long long>(digest));
  EXPECT_EQ(run.find("result")->at("digest"), text.data());
}

TEST_F(QemuTest, AWrongByteFailsTheRun) {
  prepare_on_host();
  damage(1000 * pattern::kBlockBytes + 2222);
  const GuestRun run = boot("workload=seqread threads=4 bs=64K seconds=0.5");
  EXPECT_EQ(run.exit_status, 3);
  ASSERT_NE(run.find("result"), nullptr);
  EXPECT_EQ(run.find("result")->at("verified"), false);
  EXPECT_GT(run.find("result")->at("wrong_blocks").get<std::uint64_t>(), 0U);
  ASSERT_NE(run.find("error"), nullptr);
  EXPECT_EQ(run.find("error")->at("offset"), 1000 * pattern::kBlockBytes);
}

TEST_F(QemuTest, RingsAnEmptyQueue) {
  const GuestRun run = boot("workload=notify count=1000");
  expect_verified(run, "notify");
  EXPECT_GT(run.find("result")->at("mean_us").get<double>(), 0.0);
}

TEST_F(QemuTest, RefusesWhatItDoesNotUnderstand) {
  EXPECT_EQ(boot("workload=nonsense").exit_status, 5);
  EXPECT_EQ(boot("workload=randread threads=many").exit_status, 5);
  EXPECT_EQ(boot("workload=randread bs=1000").exit_status, 5);
}

TEST_F(QemuTest, RecoversFromItsOwnHostileCases) {
  prepare_on_host();
  for (const char* name : {"next-out-of-range", "indirect-odd", "sector-overflow", "kick-early"}) {
    const GuestRun run = boot(std::string("hostile=") + name);
    EXPECT_EQ(run.exit_status, 1) << name;
    ASSERT_NE(run.find("hostile"), nullptr) << name;
    EXPECT_EQ(run.find("hostile")->at("recovered"), true) << name;
  }
}

}  // namespace
}  // namespace bellhop
