#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bellhop::bench {

/// What a cell of a table says, for those who show colours.
enum class Tone : std::uint8_t { kPlain, kGood, kBad, kFaint };

/// A table for people: columns in groups, every cell text already.
struct Table {
  struct Column {
    std::string group;  ///< neighbours of one group share a heading
    std::string name;
    bool left = false;
    bool spare = false;  ///< left out where there is no room for all
  };
  struct Cell {
    std::string text;
    Tone tone = Tone::kPlain;

    Cell(std::string words, Tone its_tone = Tone::kPlain)  // NOLINT(google-explicit-constructor)
        : text(std::move(words)), tone(its_tone) {}
    Cell(const char* words) : text(words) {}  // NOLINT(google-explicit-constructor)
    friend bool operator==(const Cell& cell, std::string_view words) { return cell.text == words; }
  };
  std::string caption;
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;
  std::size_t keys = 1;  ///< the first columns, which say what a row is
  std::string empty;     ///< what is said where there are no rows
};

struct TextStyle {
  std::size_t columns = 0;  ///< of the terminal; 0: as many as are needed
  bool colour = false;
};
/// A table that is too broad leaves out its spare columns; if it is still too broad its columns
/// come one part after the other, each part with the keys.
std::string to_text(const Table& table, const TextStyle& style = {});
/// <table>...</table>, in an element that scrolls.
std::string to_html(const Table& table);
std::string escape_html(const std::string& text);

}  // namespace bellhop::bench
