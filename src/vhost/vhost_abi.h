#pragma once

// The kernel's header brings code for old rings that is C and no C++.
#ifndef VIRTIO_RING_NO_LEGACY
#define VIRTIO_RING_NO_LEGACY
#endif
#include <linux/vhost.h>  // IWYU pragma: export

namespace bellhop {

// In C++ an array without a size can make a struct, and a request number with it, too large.
static_assert(sizeof(vhost_memory) == 8);

}  // namespace bellhop
