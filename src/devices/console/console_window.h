#pragma once

#include <cstdint>
#include <mutex>

namespace bellhop {

class ConsoleDevice;

/// The window that shows a console: whatever knows its size says so here. It may be
/// there before the device, and outlive it. Any thread.
class ConsoleWindow {
 public:
  /// In characters. Often is no harm: what comes too fast for the driver is told as one change.
  void set_size(std::uint16_t cols, std::uint16_t rows) noexcept;

 private:
  friend class ConsoleDevice;
  std::mutex lock_;
  ConsoleDevice* device_ = nullptr;
  std::uint16_t cols_ = 0;
  std::uint16_t rows_ = 0;
};

}  // namespace bellhop
