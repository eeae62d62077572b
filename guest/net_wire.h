#pragma once

#include <cstddef>
#include <cstdint>

#include "guest/pattern.h"

// What the bench guest and the host's end of its link say to each other in UDP datagrams.
// Freestanding, shared by both.
//
// A message is cut into datagrams. Every datagram of a stream begins with a tag (kind, flow,
// sequence number) and a check word over the tag, its length and the run's seed; every byte after
// that is bound to both, so that a torn, stale, shifted, shortened or misplaced datagram cannot
// pass. A datagram of one byte is a ping.
namespace bellhop::wire {

inline constexpr std::uint16_t kPort = 7010;
inline constexpr std::uint32_t kHostAddress = 0xc0000201;   // 192.0.2.1
inline constexpr std::uint32_t kGuestAddress = 0xc0000202;  // 192.0.2.2

/// Tag and check word.
inline constexpr std::uint32_t kHeadBytes = 16;
/// The largest UDP payload that IPv4 has room for.
inline constexpr std::uint32_t kMaxDatagramBytes = 65507;
inline constexpr std::uint32_t kMaxMessageBytes = 16 << 20;
/// Segments of one GSO frame that every kernel takes.
inline constexpr std::uint32_t kMaxSegments = 64;
/// A ping comes back with these bits turned over.
inline constexpr std::uint8_t kPingMask = 0x5a;

enum class Kind : std::uint8_t {
  kData = 1,
  kAck,    ///< receiver to sender: a Receipt so far
  kHello,  ///< guest to host: the run's setting; answered by kReady
  kReady,
  kFin,     ///< guest to host: the stream is over; answered by kReport
  kReport,  ///< the host's totals
};

/// Kind, flow and sequence number in 64 bits.
struct Tag {
  std::uint64_t bits = 0;

  static constexpr Tag make(Kind kind, std::uint8_t flow, std::uint64_t sequence) {
    return {sequence << 16 | std::uint64_t{flow} << 8 | static_cast<std::uint8_t>(kind)};
  }
  constexpr Kind kind() const { return static_cast<Kind>(bits & 0xff); }
  constexpr std::uint8_t flow() const { return static_cast<std::uint8_t>(bits >> 8); }
  constexpr std::uint64_t sequence() const { return bits >> 16; }
};

/// How a message becomes datagrams.
struct Cut {
  std::uint32_t message_bytes = 0;
  std::uint32_t datagram_bytes = 0;

  constexpr std::uint32_t datagrams() const {
    return (message_bytes + datagram_bytes - 1) / datagram_bytes;
  }
  /// Bytes of the message's `index`-th datagram.
  constexpr std::uint32_t bytes(std::uint32_t index) const {
    return index + 1 < datagrams() ? datagram_bytes : message_bytes - index * datagram_bytes;
  }
  /// Datagrams that one frame carries where segmentation is offloaded.
  constexpr std::uint32_t per_frame() const {
    const std::uint32_t room = kMaxDatagramBytes / datagram_bytes;
    return room < kMaxSegments ? room : kMaxSegments;
  }
  /// Every datagram has room for its head.
  constexpr bool valid() const {
    return datagram_bytes >= kHeadBytes && datagram_bytes <= kMaxDatagramBytes &&
           message_bytes >= kHeadBytes && message_bytes <= kMaxMessageBytes &&
           bytes(datagrams() - 1) >= kHeadBytes;
  }
};

using Lanes [[gnu::aligned(1), gnu::may_alias]] = pattern::Lanes;
using Word [[gnu::aligned(1), gnu::may_alias]] = std::uint64_t;

constexpr std::uint64_t check_word(Tag tag, std::uint32_t bytes, std::uint64_t seed) {
  return pattern::mix(tag.bits ^ pattern::mix(seed + bytes));
}

/// Word i of a datagram's body is first + i * step, modulo 2^64, in little-endian bytes.
constexpr pattern::Progression body_of(std::uint64_t check) {
  const std::uint64_t first = pattern::mix(check + 1);
  return {first, pattern::mix(first) | 1};
}

/// Writes a whole datagram of `bytes` (at least kHeadBytes), at any alignment.
inline void fill(std::uint8_t* data, std::uint32_t bytes, Tag tag, std::uint64_t seed) {
  const std::uint64_t check = check_word(tag, bytes, seed);
  Word* words = reinterpret_cast<Word*>(data);
  words[0] = tag.bits;
  words[1] = check;
  const pattern::Progression p = body_of(check);
  Lanes* lanes = reinterpret_cast<Lanes*>(data);
  const pattern::Lanes step4 = {4 * p.step, 4 * p.step};
  pattern::Lanes a = {p.first, p.first + p.step};
  pattern::Lanes b = a + pattern::Lanes{2 * p.step, 2 * p.step};
  const std::uint32_t end = bytes / 16;
  std::uint32_t i = 1;
  for (; i + 2 <= end; i += 2) {
    lanes[i] = a;
    lanes[i + 1] = b;
    a += step4;
    b += step4;
  }
  if (i < end) {
    lanes[i++] = a;
    a = b;
  }
  const std::uint64_t next[2] = {a[0], a[1]};
  const auto* rest = reinterpret_cast<const std::uint8_t*>(next);
  for (std::uint32_t at = 16 * i; at < bytes; ++at) data[at] = *rest++;
}

/// Whether `data` is what `fill` wrote, whatever its tag; stores the tag.
inline bool check(const std::uint8_t* data, std::uint32_t bytes, std::uint64_t seed, Tag* tag) {
  if (bytes < kHeadBytes) return false;
  const Word* words = reinterpret_cast<const Word*>(data);
  tag->bits = words[0];
  const std::uint64_t expected = check_word(*tag, bytes, seed);
  std::uint64_t wrong = words[1] ^ expected;
  const pattern::Progression p = body_of(expected);
  const Lanes* lanes = reinterpret_cast<const Lanes*>(data);
  const pattern::Lanes step4 = {4 * p.step, 4 * p.step};
  pattern::Lanes a = {p.first, p.first + p.step};
  pattern::Lanes b = a + pattern::Lanes{2 * p.step, 2 * p.step};
  pattern::Lanes bad_a = {0, 0};
  pattern::Lanes bad_b = {0, 0};
  const std::uint32_t end = bytes / 16;
  std::uint32_t i = 1;
  for (; i + 2 <= end; i += 2) {
    bad_a |= lanes[i] ^ a;
    bad_b |= lanes[i + 1] ^ b;
    a += step4;
    b += step4;
  }
  if (i < end) {
    bad_a |= lanes[i++] ^ a;
    a = b;
  }
  bad_a |= bad_b;
  const std::uint64_t next[2] = {a[0], a[1]};
  const auto* rest = reinterpret_cast<const std::uint8_t*>(next);
  for (std::uint32_t at = 16 * i; at < bytes; ++at) {
    wrong |= static_cast<std::uint64_t>(data[at] ^ *rest++);
  }
  return (wrong | bad_a[0] | bad_a[1]) == 0;
}

/// A datagram that is not data.
struct Control {
  static constexpr std::size_t kWords = 8;

  std::uint64_t tag = 0;
  std::uint64_t check = 0;
  std::uint64_t words[kWords] = {};

  constexpr std::uint64_t sum() const {
    std::uint64_t value = pattern::mix(tag + sizeof(Control));
    for (const std::uint64_t word : words) value = pattern::mix(value ^ word);
    return value;
  }
  void seal(Kind kind, std::uint64_t sequence) {
    tag = Tag::make(kind, 0, sequence).bits;
    check = sum();
  }
};
static_assert(sizeof(Control) == 80);

/// Copies a control datagram out; false if it is none, or damaged.
inline bool read_control(const std::uint8_t* data, std::uint32_t bytes, Control* control) {
  if (bytes != sizeof(Control)) return false;
  __builtin_memcpy(control, data, sizeof(Control));
  const Kind kind = Tag{control->tag}.kind();
  return kind >= Kind::kAck && kind <= Kind::kReport && control->check == control->sum();
}

/// The setting of a run, in a kHello.
struct Setting {
  std::uint64_t seed = 0;
  bool to_guest = false;
  Cut cut;
  std::uint64_t window = 0;     ///< datagrams that may be on their way
  std::uint64_t ack_every = 0;  ///< datagrams

  void write(Control* control) const {
    const std::uint64_t words[] = {
        seed, to_guest ? 1U : 0U, cut.message_bytes, cut.datagram_bytes, window, ack_every, 0, 0};
    __builtin_memcpy(control->words, words, sizeof(words));
  }
  void read(const Control& control) {
    seed = control.words[0];
    to_guest = control.words[1] != 0;
    cut = {static_cast<std::uint32_t>(control.words[2]),
           static_cast<std::uint32_t>(control.words[3])};
    window = control.words[4];
    ack_every = control.words[5];
  }
};

/// What a receiver saw of one flow.
struct Receipt {
  std::uint64_t next = 0;       ///< one past the highest sequence number
  std::uint64_t datagrams = 0;  ///< good ones
  std::uint64_t bytes = 0;
  std::uint64_t messages = 0;   ///< whole ones
  std::uint64_t reordered = 0;  ///< came after a higher number, or twice
  std::uint64_t wrong = 0;      ///< damaged, or of the wrong length for its place
  std::uint64_t extra = 0;      ///< an ack: 1 if the receiver has seen nothing for a while

  constexpr std::uint64_t lost() const { return next > datagrams ? next - datagrams : 0; }

  /// `data` is a datagram that is no control. Every byte of it is checked.
  void take(const std::uint8_t* data, std::uint32_t size, const Setting& setting) {
    Tag tag;
    if (!check(data, size, setting.seed, &tag) || tag.kind() != Kind::kData) {
      ++wrong;
      return;
    }
    const std::uint64_t sequence = tag.sequence();
    const bool in_order = sequence == next;
    const std::uint32_t index =
        in_order ? index_ : static_cast<std::uint32_t>(sequence % setting.cut.datagrams());
    if (size != setting.cut.bytes(index)) {
      ++wrong;
      return;
    }
    ++datagrams;
    bytes += size;
    if (sequence < next) {
      ++reordered;
      return;
    }
    next = sequence + 1;
    whole_ = index == 0 || (whole_ && in_order);
    index_ = index + 1;
    if (index_ == setting.cut.datagrams()) {
      index_ = 0;
      if (whole_) ++messages;
    }
  }

  void write(Control* control) const {
    const std::uint64_t words[] = {next, datagrams, bytes, messages, reordered, wrong, extra, 0};
    __builtin_memcpy(control->words, words, sizeof(words));
  }
  void read(const Control& control) {
    next = control.words[0];
    datagrams = control.words[1];
    bytes = control.words[2];
    messages = control.words[3];
    reordered = control.words[4];
    wrong = control.words[5];
    extra = control.words[6];
  }

 private:
  std::uint32_t index_ = 0;  ///< of the datagram after the last, in its message
  bool whole_ = false;       ///< nothing of the current message is missing so far
};

}  // namespace bellhop::wire
