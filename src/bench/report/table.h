#pragma once

#include <string>
#include <vector>

namespace bellhop::bench {

/// A table for people: columns in groups, every cell text already.
struct Table {
  struct Column {
    std::string group;  ///< neighbours of one group share a heading
    std::string name;
    bool left = false;
  };
  std::string caption;
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;
};

std::string to_text(const Table& table);
/// <table>...</table>
std::string to_html(const Table& table);
std::string escape_html(const std::string& text);

}  // namespace bellhop::bench
