#include "devices/balloon/balloon_pages.h"

#include <algorithm>

#include "virtio/abi/balloon.h"

namespace bellhop {

using virtio::kBalloonPageBytes;

namespace {

constexpr std::uint64_t kBitsInWord = 64;

}  // namespace

BalloonPages::BalloonPages(const GuestMemory& memory, BalloonCounters& counters)
    : memory_(memory), counters_(counters) {
  if (memory.page_bytes() == kBalloonPageBytes) return;
  // Whole words for each of the host's pages: 2 MiB are 512 bits.
  in_balloon_.resize(memory.total_size() / kBalloonPageBytes / kBitsInWord);
}

bool BalloonPages::is_ram(std::uint32_t number, std::uint64_t count) const noexcept {
  const GuestAddress address(number * kBalloonPageBytes);
  return memory_.span(address, count * kBalloonPageBytes).has_value();
}

void BalloonPages::inflate(std::uint32_t number, std::uint64_t count) noexcept {
  const auto span =
      memory_.span(GuestAddress(number * kBalloonPageBytes), count * kBalloonPageBytes);
  if (!span) return;
  counters_.inflated_pages.add(count);
  if (huge()) {
    inflate_huge(*span);
  } else {
    release(*span);
  }
}

void BalloonPages::deflate(std::uint32_t number) noexcept {
  const auto span = memory_.span(GuestAddress(number * kBalloonPageBytes), kBalloonPageBytes);
  if (!span) return;
  counters_.deflated_pages.add();
  // The host brings the page when the guest touches it.
  if (!huge()) return;
  const std::uint64_t page = index_of(*span);
  const std::lock_guard<std::mutex> hold(lock_);
  in_balloon_[page / kBitsInWord] &= ~(std::uint64_t{1} << (page % kBitsInWord));
}

void BalloonPages::release(const GuestSpan& span) noexcept {
  if (const auto bytes = memory_.release(span)) {
    counters_.released_bytes.add(*bytes);
  } else {
    counters_.host_errors.add();
  }
}

void BalloonPages::reset() noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  std::ranges::fill(in_balloon_, 0);
}

/// The lock is held over the release: a page must not come out of the balloon, and be written to,
/// between the look at the bits and the loss of what is there.
void BalloonPages::inflate_huge(const GuestSpan& span) noexcept {
  const std::uint64_t words_in_page = memory_.page_bytes() / kBalloonPageBytes / kBitsInWord;
  const std::uint64_t first = index_of(span);
  for (std::uint64_t i = 0; i < span.size() / kBalloonPageBytes; ++i) {
    const std::uint64_t page = first + i;
    const std::lock_guard<std::mutex> hold(lock_);
    std::uint64_t& word = in_balloon_[page / kBitsInWord];
    const std::uint64_t bit = std::uint64_t{1} << (page % kBitsInWord);
    if ((word & bit) != 0) continue;
    word |= bit;
    if (word != UINT64_MAX) continue;
    const std::uint64_t whole = page / kBitsInWord / words_in_page * words_in_page;
    const auto all = std::span(in_balloon_).subspan(whole, words_in_page);
    if (!std::ranges::all_of(all, [](std::uint64_t bits) { return bits == UINT64_MAX; })) continue;
    // Regions are made of whole pages of the host, so this lies in the region of `span`.
    const std::uint64_t before = page - whole * kBitsInWord;
    std::byte* const here =
        static_cast<std::byte*>(span.as_iovec().iov_base) + i * kBalloonPageBytes;
    release(GuestSpan(here - before * kBalloonPageBytes, memory_.page_bytes()));
  }
}

/// Which page of all RAM, holes left out, `span` begins with.
std::uint64_t BalloonPages::index_of(const GuestSpan& span) const noexcept {
  const auto* const host = static_cast<const std::byte*>(span.as_iovec().iov_base);
  for (const GuestMemory::Region& region : memory_.regions()) {
    if (host < region.host || host >= region.host + region.size) continue;
    return (region.file_offset + static_cast<std::uint64_t>(host - region.host)) /
           kBalloonPageBytes;
  }
  return 0;
}

}  // namespace bellhop
