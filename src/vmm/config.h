#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/cpu_list.h"
#include "base/result.h"
#include "block/raw_file.h"
#include "event/io_thread.h"
#include "virtio/notify_mode.h"

namespace bellhop {

enum class TransportKind : std::uint8_t { kPci, kMmio };

/// `--disk path=...`
struct DiskConfig {
  std::string id;                ///< "disk0", ... where not given; also GET_ID's answer
  RawFileConfig file;            ///< an empty path: the null medium of `null_bytes`
  std::uint64_t null_bytes = 0;
  unsigned queues = 1;
  unsigned queue_size = 256;
  NotifyMode notify = NotifyMode::kIoEventFd;
  std::string iothread;          ///< a name from `iothreads`; empty: the first
};

/// What a machine is made of. Values, as parsed; Machine::create() checks what needs the host.
struct MachineConfig {
  std::string kernel;
  std::string initrd;
  std::string cmdline;
  unsigned cpus = 1;
  std::vector<CpuList> vcpu_affinity;        ///< vCPU i runs on [i]; missing or empty: anywhere
  std::uint64_t memory = std::uint64_t{512} << 20;  ///< bytes
  bool huge_pages = false;
  TransportKind transport = TransportKind::kPci;
  std::vector<IoThreadConfig> iothreads;     ///< at least one is made
  std::vector<DiskConfig> disks;
  unsigned max_ioeventfds = 0;               ///< 0: as many as the host allows
  unsigned reserved_ioeventfds = 0;          ///< kept free for a vhost user
};

}  // namespace bellhop
