#include "bench/report/losses_table.h"

#include "bench/report/cell_text.h"

namespace bellhop::bench {

Table losses_table(const std::vector<Comparison>& comparisons, bool single_repeats,
                   const Programs& programs) {
  Table table;
  table.caption = "Where Bellhop loses: ratios whose interval lies below 1";
  table.columns = {{"", "cell", true}, {"", "to", true}, {"", "throughput"}, {"", "MB per CPU s"}};
  table.keys = 1;
  for (const Comparison& one : comparisons) {
    if (one.cell_vmm.is_qemu() || !one.is_behind()) continue;
    table.rows.push_back({one.cell, one.base_vmm.is_qemu() ? programs.label(one.base_vmm) : "sync",
                          ratio_cell(one.throughput), ratio_cell(one.efficiency)});
  }
  if (comparisons.empty()) {
    table.empty = "Nothing was compared: neither a peer nor two ways to notify.";
  } else if (single_repeats) {
    table.empty = "Each cell was measured once: nothing can be said.";
  } else {
    table.empty = "None.";
  }
  return table;
}

}  // namespace bellhop::bench
