#pragma once

#include <cstddef>
#include <cstdint>

// The kernel command line: words `key=value` parted by spaces, as Linux takes them.
namespace bellhop::guest {

/// A piece of text inside the copied command line; not terminated.
struct Text {
  const char* data = nullptr;
  std::size_t length = 0;

  bool present() const { return data != nullptr; }
  bool equals(const char* word) const;
};

/// Copies the command line (at most 4 KiB of it) out of the VMM's memory.
void cmdline_copy(const char* text);

/// Value of the `occurrence`-th (from 0) word `key=`; not present if there is none.
Text cmdline_value(const char* key, unsigned occurrence = 0);

/// Number with an optional suffix K, M, G (powers of 1024), decimal or 0x; `fallback` if the word
/// is absent. A value that is no number is remembered, see `cmdline_bad_word`.
std::uint64_t cmdline_number(const char* key, std::uint64_t fallback);

/// Index of the word's value among `names` (up to a null pointer); 0 if the word is absent. An
/// unknown value is remembered.
unsigned cmdline_choice(const char* key, const char* const* names);

/// Parses a number at `*text`, moves past it; false if there is none.
bool parse_number(Text* text, std::uint64_t* value);

/// The key of the first word that was not understood, or null.
const char* cmdline_bad_word();

}  // namespace bellhop::guest
