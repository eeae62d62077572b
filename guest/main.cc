#include "guest/bench.h"
#include "guest/clock.h"
#include "guest/console.h"
#include "guest/cpu.h"
#include "guest/disk.h"
#include "guest/interrupts.h"
#include "guest/memory.h"
#include "guest/net_bench.h"
#include "guest/options.h"
#include "guest/smp.h"

extern "C" {
extern const std::uint32_t start_info_address;
extern const std::uint64_t fault_record[6];
}

using namespace bellhop::guest;

void bsp_main(std::uint64_t /*cpu*/) {
  const std::uint64_t first = read_tsc();
  interrupts_init();
  console_init();
  if (!memory_init(start_info_address)) fail(kExitFailed, "no PVH start info with a memory map");
  clock_init();
  const Options options = parse_options();
  lapic_init();
  const std::uint32_t vcpus = start_processors(options.vcpus);
  if (vcpus != options.vcpus) fail(kExitFailed, "a vCPU does not start");

  Disk disk;
  const bool found = !options.needs_nic() && disk.find(options.disk);
  if (options.needs_disk() && !found) fail(kExitFailed, "no virtio disk");
  JsonLine ready("ready");
  ready.text("workload", options.workload_name)
      .number("vcpus", vcpus)
      .number("tsc_khz", tsc_khz())
      .text("tsc_source", tsc_source())
      .number("ram_bytes", ram_bytes())
      .number("boot_us", cycles_to_ns(read_tsc() - first) / 1000);
  if (found) ready.text("transport", disk.transport()->name());
  ready.send();

  switch (options.workload) {
    case Workload::kIdle:
      leave(run_idle(options, vcpus));
    case Workload::kNotify:
      leave(run_notify(&disk, options));
    case Workload::kHostile:
      leave(run_hostile(&disk, options, vcpus));
    case Workload::kNetSend:
    case Workload::kNetReceive:
    case Workload::kNetPing:
    case Workload::kNetPackets:
      leave(run_net(options, vcpus));
    default:
      leave(run_block(&disk, options, vcpus));
  }
}

void panic_main() {
  JsonLine("error")
      .text("what", "exception")
      .number("vector", fault_record[0])
      .hex("code", fault_record[1])
      .hex("rip", fault_record[2])
      .hex("cs", fault_record[3])
      .hex("cr2", fault_record[4])
      .hex("rsp", fault_record[5])
      .send();
  leave(kExitFailed);
}
