#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "base/result.h"

namespace bellhop {

/// How an image with these first bytes is called if it is no raw one: "qcow2", "vmdk", "vdi", "vpc"
/// (VHD) or "vhdx", as qemu-img has them. Empty: none of these.
std::string_view image_format(std::span<const std::byte> head) noexcept;

/// Errors: the open file is an image of another format, which a guest would see as it is stored and
/// whose structure it would destroy. What cannot be read is no such image.
Status check_raw_image(int fd, std::string_view path);

}  // namespace bellhop
