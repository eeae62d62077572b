#pragma once

#include <vector>

#include "bench/report/results.h"
#include "bench/report/table.h"

namespace bellhop::bench {

/// The tables of `bench vhost-user`: requests a second and the back end's CPU time for each of
/// them, of each back end in each of its ways; and Bellhop beside each peer.
std::vector<Table> make_served_tables(const BlkReport& report);

}  // namespace bellhop::bench
