#include "machine/platform/cmos_rtc.h"

#include <utility>

namespace bellhop {

namespace {

enum : std::uint8_t {
  kSeconds = 0x00,
  kMinutes = 0x02,
  kHours = 0x04,
  kWeekday = 0x06,
  kDay = 0x07,
  kMonth = 0x08,
  kYear = 0x09,
  kStatusA = 0x0a,
  kStatusB = 0x0b,
  kStatusC = 0x0c,
  kStatusD = 0x0d,
  kCentury = 0x32,
};

constexpr std::uint8_t kDividerOn = 0x26;  // 32768 Hz, and no update ever in progress
constexpr std::uint8_t kSet = 0x80;        // of status B: the guest is setting the clock
constexpr std::uint8_t kBinary = 0x04;     // of status B: else BCD
constexpr std::uint8_t k24Hours = 0x02;
constexpr std::uint8_t kValid = 0x80;      // of status D: the battery is well
constexpr std::uint8_t kIndexMask = 0x7f;  // bit 7 of the index port masks NMIs

bool is_time(std::uint8_t index) {
  return index == kSeconds || index == kMinutes || index == kHours ||
         (index >= kWeekday && index <= kYear) || index == kCentury;
}

}  // namespace

CmosRtc::CmosRtc(Clock clock) : clock_(std::move(clock)) { reset(); }

void CmosRtc::reset() noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  index_ = 0;
  cells_[kStatusA] = kDividerOn;
  cells_[kStatusB] = k24Hours;
  cells_[kStatusC] = 0;
}

bool CmosRtc::being_set() const noexcept { return (cells_[kStatusB] & kSet) != 0; }

std::tm CmosRtc::now() const noexcept {
  if (being_set()) return held_;
  const std::time_t time = clock_() + shift_;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  return parts;
}

void CmosRtc::read(std::uint64_t offset, std::span<std::byte> data) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = std::byte{(offset + i) % kPorts == 0 ? std::uint8_t{0xff} : read_cell(index_)};
  }
}

void CmosRtc::write(std::uint64_t offset, std::span<const std::byte> data) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  for (std::size_t i = 0; i < data.size(); ++i) {
    const auto value = std::to_integer<std::uint8_t>(data[i]);
    if ((offset + i) % kPorts == 0) {
      index_ = value & kIndexMask;
    } else {
      write_cell(index_, value);
    }
  }
}

std::uint8_t CmosRtc::read_cell(std::uint8_t index) const noexcept {
  if (!is_time(index)) return index == kStatusD ? kValid : cells_[index];
  const std::tm time = now();
  int value = 0;
  bool pm = false;
  switch (index) {
    case kSeconds:
      value = time.tm_sec;
      break;
    case kMinutes:
      value = time.tm_min;
      break;
    case kHours:
      value = time.tm_hour;
      if ((cells_[kStatusB] & k24Hours) == 0) {
        pm = value >= 12;
        value = value % 12 == 0 ? 12 : value % 12;
      }
      break;
    case kWeekday:
      value = time.tm_wday + 1;
      break;
    case kDay:
      value = time.tm_mday;
      break;
    case kMonth:
      value = time.tm_mon + 1;
      break;
    case kYear:
      value = (time.tm_year + 1900) % 100;
      break;
    default:
      value = (time.tm_year + 1900) / 100;
      break;
  }
  const int coded = (cells_[kStatusB] & kBinary) != 0 ? value : value / 10 * 16 + value % 10;
  return static_cast<std::uint8_t>(coded | (pm ? 0x80 : 0));
}

void CmosRtc::write_cell(std::uint8_t index, std::uint8_t value) noexcept {
  if (index == kStatusB) {
    const bool was = being_set();
    if (!was && (value & kSet) != 0) held_ = now();
    cells_[kStatusB] = value;
    if (was && (value & kSet) == 0) shift_ = ::timegm(&held_) - clock_();
  } else if (is_time(index)) {
    write_time(index, value);
  } else if (index != kStatusC && index != kStatusD) {
    cells_[index] = index == kStatusA ? value & 0x7f : value;
  }
}

void CmosRtc::write_time(std::uint8_t index, std::uint8_t value) noexcept {
  std::tm time = now();
  const bool pm = index == kHours && (cells_[kStatusB] & k24Hours) == 0 && (value & 0x80) != 0;
  const int coded = pm ? value & 0x7f : value;
  const int number = (cells_[kStatusB] & kBinary) != 0 ? coded : coded / 16 * 10 + coded % 16;
  const int year = time.tm_year + 1900;
  switch (index) {
    case kSeconds:
      time.tm_sec = number;
      break;
    case kMinutes:
      time.tm_min = number;
      break;
    case kHours:
      time.tm_hour = (cells_[kStatusB] & k24Hours) != 0 ? number : number % 12 + (pm ? 12 : 0);
      break;
    case kDay:
      time.tm_mday = number;
      break;
    case kMonth:
      time.tm_mon = number - 1;
      break;
    case kYear:
      time.tm_year = year / 100 * 100 + number - 1900;
      break;
    case kCentury:
      time.tm_year = number * 100 + year % 100 - 1900;
      break;
    default:
      return;  // the day of the week follows from the date
  }
  if (being_set()) {
    held_ = time;
  } else {
    shift_ = ::timegm(&time) - clock_();
  }
}

}  // namespace bellhop
