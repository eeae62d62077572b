#include "guest/cmdline.h"

namespace bellhop::guest {
namespace {

constexpr std::size_t kMaxBytes = 4096;
constinit char line[kMaxBytes + 1];
constinit const char* bad_word = nullptr;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n'; }

void remember_bad(const char* key) {
  if (bad_word == nullptr) bad_word = key;
}

}  // namespace

bool Text::equals(const char* word) const {
  std::size_t i = 0;
  for (; i < length && word[i] != '\0'; ++i) {
    if (data[i] != word[i]) return false;
  }
  return i == length && word[i] == '\0';
}

void cmdline_copy(const char* text) {
  std::size_t i = 0;
  if (text != nullptr) {
    for (; i < kMaxBytes && text[i] != '\0'; ++i) line[i] = text[i];
  }
  line[i] = '\0';
}

Text cmdline_value(const char* key, unsigned occurrence) {
  for (const char* at = line; *at != '\0';) {
    while (is_space(*at)) ++at;
    const char* word = at;
    while (*at != '\0' && !is_space(*at)) ++at;
    const char* k = key;
    const char* w = word;
    while (*k != '\0' && w < at && *w == *k) {
      ++w;
      ++k;
    }
    if (*k != '\0' || w >= at || *w != '=') continue;
    if (occurrence-- > 0) continue;
    return Text{w + 1, static_cast<std::size_t>(at - w - 1)};
  }
  return {};
}

bool parse_number(Text* text, std::uint64_t* value) {
  unsigned base = 10;
  if (text->length > 2 && text->data[0] == '0' && (text->data[1] | 0x20) == 'x') {
    base = 16;
    text->data += 2;
    text->length -= 2;
  }
  std::uint64_t number = 0;
  std::size_t digits = 0;
  for (; text->length > 0; ++digits, ++text->data, --text->length) {
    const char c = static_cast<char>(text->data[0] | 0x20);
    unsigned digit = 99;
    if (text->data[0] >= '0' && text->data[0] <= '9') {
      digit = static_cast<unsigned>(text->data[0] - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<unsigned>(c - 'a') + 10;
    }
    if (digit >= base) break;
    if (number > (~std::uint64_t{0} - digit) / base) return false;
    number = number * base + digit;
  }
  if (digits == 0) return false;
  if (text->length > 0) {
    const char suffix = static_cast<char>(text->data[0] | 0x20);
    const unsigned shift = suffix == 'k' ? 10 : suffix == 'm' ? 20 : suffix == 'g' ? 30 : 0;
    if (shift != 0) {
      if (number > (~std::uint64_t{0} >> shift)) return false;
      number <<= shift;
      ++text->data;
      --text->length;
    }
  }
  *value = number;
  return true;
}

std::uint64_t cmdline_number(const char* key, std::uint64_t fallback) {
  Text text = cmdline_value(key);
  if (!text.present()) return fallback;
  std::uint64_t value = fallback;
  if (!parse_number(&text, &value) || text.length != 0) {
    remember_bad(key);
    return fallback;
  }
  return value;
}

unsigned cmdline_choice(const char* key, const char* const* names) {
  const Text text = cmdline_value(key);
  if (!text.present()) return 0;
  for (unsigned i = 0; names[i] != nullptr; ++i) {
    if (text.equals(names[i])) return i;
  }
  remember_bad(key);
  return 0;
}

const char* cmdline_bad_word() { return bad_word; }

}  // namespace bellhop::guest
