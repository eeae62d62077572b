#pragma once

#include "vmm/bench/blk_cell.h"

namespace bellhop::bench {

/// Khoa Huynh's FFSB figures in MB/s, from the mail of 2010 that asked for bytes per host CPU
/// second: cache=none, aio=native; "unmodified" notifies synchronously in the vCPU's thread,
/// "patched" by ioeventfd in the I/O thread.
struct MailFigure {
  Workload workload;
  unsigned threads;
  double unmodified;
  double patched;
};

inline constexpr MailFigure kMailFigures[] = {
    {Workload::kCreate, 1, 21.7, 21.8},     {Workload::kCreate, 8, 101.0, 118.0},
    {Workload::kCreate, 16, 119.0, 157.0},  {Workload::kSeqRead, 1, 21.9, 23.2},
    {Workload::kSeqRead, 8, 114.0, 139.0},  {Workload::kSeqRead, 16, 143.0, 178.0},
    {Workload::kRandRead, 1, 3.3, 3.6},     {Workload::kRandRead, 8, 23.0, 25.4},
    {Workload::kRandRead, 16, 43.3, 47.8},  {Workload::kRandWrite, 1, 22.2, 23.0},
    {Workload::kRandWrite, 8, 93.1, 111.6}, {Workload::kRandWrite, 16, 110.5, 132.0},
};

/// Null where the mail has no such row.
constexpr const MailFigure* find_mail_figure(Workload workload, unsigned threads) noexcept {
  for (const MailFigure& figure : kMailFigures) {
    if (figure.workload == workload && figure.threads == threads) return &figure;
  }
  return nullptr;
}

}  // namespace bellhop::bench
