#pragma once

namespace bellhop {

/// How many descriptors this process may have open (RLIMIT_NOFILE). The soft limit is 1024 in most
/// places, for the sake of programs that use select(); a machine with many disks and connections
/// needs more, and the hard limit is there for such.
namespace descriptor_limit {

/// Raises the soft limit to the hard one, once, before there are other threads. What it was is
/// remembered for children.
void raise() noexcept;

/// While it lives a child that is started gets the limit that this process was started with. One
/// at a time; no more than the start of a child, since all threads have it meanwhile.
class AsInherited {
 public:
  AsInherited() noexcept;
  ~AsInherited();
  AsInherited(const AsInherited&) = delete;
  AsInherited& operator=(const AsInherited&) = delete;
};

}  // namespace descriptor_limit

}  // namespace bellhop
