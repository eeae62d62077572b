#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// A network interface of the host, by its name, in the network namespace of the calling thread.
/// Errors are plain: the caller says which option they belong to.
class Interface {
 public:
  /// Longest name, without the terminator (IFNAMSIZ).
  static constexpr std::size_t kMaxName = 15;

  /// Whether the kernel would take it as the name of an interface.
  [[nodiscard]] static bool is_name(const std::string& name) noexcept;
  /// Errors: no socket to ask through. The interface need not be there.
  static Result<Interface> of(std::string name);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Its owner has given it another name.
  void renamed(std::string name) noexcept { name_ = std::move(name); }
  [[nodiscard]] bool exists() const noexcept;
  /// Switched on by its owner (IFF_UP). Errors: it is gone.
  [[nodiscard]] Result<bool> is_up() const;
  /// Up, and with a carrier. Errors: it is gone.
  [[nodiscard]] Result<bool> has_link() const;
  /// Errors: no rights.
  [[nodiscard]] Status bring_up() const;
  /// In bytes. Errors: it is gone.
  [[nodiscard]] Result<std::uint16_t> mtu() const;
  /// Errors: no rights, out of range.
  [[nodiscard]] Status set_mtu(std::uint16_t bytes) const;

 private:
  Interface(std::string name, UniqueFd socket) noexcept
      : name_(std::move(name)), socket_(std::move(socket)) {}

  std::string name_;
  UniqueFd socket_;
};

}  // namespace bellhop
