#pragma once

// The configuration of every device in devices.def.
#include "devices/balloon/balloon_config.h"  // IWYU pragma: export
#include "devices/blk/disk_config.h"         // IWYU pragma: export
#include "devices/console/console_config.h"  // IWYU pragma: export
#include "devices/fs/fs_config.h"            // IWYU pragma: export
#include "devices/net/nic_config.h"          // IWYU pragma: export
#include "devices/rng/rng_device.h"          // IWYU pragma: export
#include "devices/vsock/vsock_config.h"      // IWYU pragma: export
