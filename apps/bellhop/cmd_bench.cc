#include <CLI/CLI.hpp>

#include "apps/bellhop/commands.h"

namespace bellhop {

void add_bench_command(CLI::App& app, int& exit_status) {
  CLI::App* bench = app.add_subcommand("bench", "Measure this machine, this host, and a peer");
  bench->require_subcommand(0, 1);
  bench->footer(
      "Examples:\n"
      "  bellhop bench blk --quick\n"
      "  bellhop bench blk --peer qemu --workload randread --medium /dev/shm --html report.html\n"
      "  bellhop bench net --peer qemu --workload stream --json net.json\n"
      "  bellhop bench notify\n"
      "  bellhop bench study --quick\n"
      "  bellhop bench vhost-user --peer qemu-storage-daemon --medium /dev/shm\n"
      "See also: bellhop bench blk --help, and so for net, notify, study and vhost-user");
  add_bench_blk_command(*bench, exit_status);
  add_bench_net_command(*bench, exit_status);
  add_bench_net_end_command(*bench, exit_status);
  add_bench_notify_command(*bench, exit_status);
  add_bench_study_command(*bench, exit_status);
  add_bench_vhost_user_command(*bench, exit_status);
  bench->callback([bench, &exit_status] {
    if (bench->get_subcommands().empty()) {
      exit_status =
          report({"a subcommand of bench is missing: blk, net, notify, study or vhost-user (see "
                  "--help)"},
                 kUsedWrongly);
    }
  });
}

}  // namespace bellhop
