#pragma once

#include <cstddef>
#include <cstdint>

// The contents of a test image, shared by the bench guest and by the host that prepares or checks
// images. Freestanding. Every block of 4 KiB tells its own address and generation, and every 8
// bytes of it are bound to both and to their place, so that a torn, stale, shifted or misplaced
// block, or a wrong sector inside of one, cannot pass. Checking 4 KiB costs about 0.1 us.
namespace bellhop::pattern {

inline constexpr std::size_t kBlockBytes = 4096;
inline constexpr std::size_t kBlockWords = kBlockBytes / 8;
inline constexpr std::size_t kHeaderWords = 4;  // magic, block, generation, checksum
inline constexpr std::uint64_t kMagic = 0x3170'6f68'6c6c'6562;  // "bellhop1"
/// Generation of a freshly prepared image.
inline constexpr std::uint64_t kFirstGeneration = 1;

/// Two 64-bit lanes; the compiler makes SSE2 of it.
using Lanes = std::uint64_t __attribute__((vector_size(16)));

/// A bijective 64-bit mixing step: every input bit reaches every output bit.
constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 32)) * 0x9e37'79b9'7f4a'7c15;
  x = (x ^ (x >> 29)) * 0xd6e8'feb8'6659'fd93;
  return x ^ (x >> 32);
}

/// The words after the header: word i is first + i * step, modulo 2^64.
struct Progression {
  std::uint64_t first;
  std::uint64_t step;
};

constexpr Progression progression(std::uint64_t block, std::uint64_t generation,
                                  std::uint64_t seed) {
  const std::uint64_t first = mix(block + mix(generation + mix(seed)));
  return {first, mix(first) | 1};
}

/// Checksum over header and body; the sum of the body has a closed form.
constexpr std::uint64_t checksum(std::uint64_t block, std::uint64_t generation, Progression p) {
  constexpr std::uint64_t kCount = kBlockWords - kHeaderWords;
  constexpr std::uint64_t kIndexSum = (kBlockWords - 1) * kBlockWords / 2 - 6;  // 4 + ... + 511
  const std::uint64_t sum = kCount * p.first + kIndexSum * p.step;
  return mix(sum ^ mix(block ^ mix(generation ^ kMagic)));
}

/// Fills the 4 KiB at `data` (16-byte aligned) for block number `block`.
inline void fill_block(void* data, std::uint64_t block, std::uint64_t generation,
                       std::uint64_t seed) {
  const Progression p = progression(block, generation, seed);
  auto* words = static_cast<std::uint64_t*>(data);
  words[0] = kMagic;
  words[1] = block;
  words[2] = generation;
  words[3] = checksum(block, generation, p);
  auto* lanes = static_cast<Lanes*>(data);
  const Lanes step2 = {2 * p.step, 2 * p.step};
  Lanes value = {p.first + 4 * p.step, p.first + 5 * p.step};
  for (std::size_t i = 2; i < kBlockWords / 2; ++i) {
    lanes[i] = value;
    value += step2;
  }
}

/// Whether the 4 KiB at `data` (16-byte aligned) are what `fill_block` wrote for `block`, of any
/// generation; stores the generation found.
inline bool check_block(const void* data, std::uint64_t block, std::uint64_t seed,
                        std::uint64_t* generation) {
  const auto* words = static_cast<const std::uint64_t*>(data);
  const std::uint64_t found = words[2];
  *generation = found;
  const Progression p = progression(block, found, seed);
  std::uint64_t wrong =
      (words[0] ^ kMagic) | (words[1] ^ block) | (words[3] ^ checksum(block, found, p));
  const auto* lanes = static_cast<const Lanes*>(data);
  const Lanes step8 = {8 * p.step, 8 * p.step};
  Lanes a = {p.first + 4 * p.step, p.first + 5 * p.step};
  Lanes b = a + Lanes{2 * p.step, 2 * p.step};
  Lanes c = a + Lanes{4 * p.step, 4 * p.step};
  Lanes d = a + Lanes{6 * p.step, 6 * p.step};
  Lanes bad_a = {0, 0};
  Lanes bad_b = {0, 0};
  // 508 words: 63 rounds of eight, then four.
  std::size_t i = 2;
  for (; i + 4 <= kBlockWords / 2; i += 4) {
    bad_a |= lanes[i] ^ a;
    bad_b |= lanes[i + 1] ^ b;
    bad_a |= lanes[i + 2] ^ c;
    bad_b |= lanes[i + 3] ^ d;
    a += step8;
    b += step8;
    c += step8;
    d += step8;
  }
  bad_a |= lanes[i] ^ a;
  bad_b |= lanes[i + 1] ^ b;
  bad_a |= bad_b;
  wrong |= bad_a[0] | bad_a[1];
  return wrong == 0;
}

/// Digest of up to 4 KiB of arbitrary data; `bytes` is a multiple of 8, the rest counts as zero
/// bytes. `data` is 8-byte aligned.
inline std::uint64_t digest_block(const void* data, std::size_t bytes) {
  constexpr std::uint64_t kPrime = 0x9e37'79b1'85eb'ca87;
  const auto* words = static_cast<const std::uint64_t*>(data);
  std::uint64_t lane[4] = {1, 2, 3, 4};
  const auto take = [&lane](std::size_t j, std::uint64_t word) {
    const std::uint64_t mixed = lane[j] ^ word;
    lane[j] = ((mixed << 29) | (mixed >> 35)) * kPrime;
  };
  const std::size_t count = bytes < kBlockBytes ? bytes / 8 : kBlockWords;
  const std::size_t whole = count / 4 * 4;
  std::size_t i = 0;
  for (; i < whole; i += 4) {
    take(0, words[i]);
    take(1, words[i + 1]);
    take(2, words[i + 2]);
    take(3, words[i + 3]);
  }
  for (; i < kBlockWords; i += 4) {
    for (std::size_t j = 0; j < 4; ++j) take(j, i + j < count ? words[i + j] : 0);
  }
  return mix(lane[0] ^ mix(lane[1] ^ mix(lane[2] ^ mix(lane[3]))));
}

/// What one block adds to the digest of an image. The digest is the sum over all blocks modulo
/// 2^64: bound to every block's place, but not to the order in which they were read.
inline std::uint64_t image_digest_term(std::uint64_t block, const void* data, std::size_t bytes) {
  return mix(digest_block(data, bytes) + mix(~block));
}

}  // namespace bellhop::pattern
