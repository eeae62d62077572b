#pragma once

#include <cstdint>
#include <string>

namespace bellhop::vhost_user {

/// A message of the front end as the specification names it: "SET_MEM_TABLE"; for one that it does
/// not know, its number.
std::string message_name(std::uint32_t request);

/// Whether the front end waits for an answer to it in any case, not only for an acknowledgement.
/// False for those that are not known.
bool is_answered(std::uint32_t request) noexcept;

}  // namespace bellhop::vhost_user
