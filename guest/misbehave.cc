#include "guest/bench.h"
#include "guest/console.h"
namespace bellhop::guest {
std::uint32_t run_misbehave(Disk*, const Options&) { fail(kExitUsage, "unknown misbehaviour"); }
}  // namespace bellhop::guest
