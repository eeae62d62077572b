#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// Bytes of a page of a file that a vhost-user peer has sent, to be mapped. Errors (the peer's
/// fault): it is neither a memfd nor on tmpfs or hugetlbfs, so that an access could wait for
/// another process or another host.
Result<std::uint64_t> page_of_peer_file(const UniqueFd& file);

}  // namespace bellhop
