#include "bench/report/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace bellhop::bench {

namespace {

constexpr const char* kBetweenColumns = "  ";
constexpr const char* kBetweenGroups = "   | ";

/// Columns of a terminal that UTF-8 takes: one for each byte that begins a character.
std::size_t columns_of(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string pad(const std::string& text, std::size_t width, bool left) {
  const std::size_t taken = columns_of(text);
  const std::string blanks(width > taken ? width - taken : 0, ' ');
  return left ? text + blanks : blanks + text;
}

bool starts_group(const Table& table, std::size_t column) {
  return column > 0 && table.columns[column].group != table.columns[column - 1].group;
}

std::vector<std::size_t> widths(const Table& table) {
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t width = table.columns[i].name.size();
    for (const auto& row : table.rows) width = std::max(width, columns_of(row[i]));
    result.push_back(width);
  }
  return result;
}

/// One past the last column of the group that `first` starts.
std::size_t group_end(const Table& table, std::size_t first) {
  std::size_t end = first + 1;
  while (end < table.columns.size() && !starts_group(table, end)) ++end;
  return end;
}

std::string trimmed(std::string line) {
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line + "\n";
}

}  // namespace

std::string to_text(const Table& table) {
  std::vector<std::size_t> width = widths(table);
  std::string groups;
  for (std::size_t first = 0; first < table.columns.size();) {
    const std::size_t end = group_end(table, first);
    std::size_t total = 2 * (end - first - 1);
    for (std::size_t i = first; i < end; ++i) total += width[i];
    const std::string& name = table.columns[first].group;
    if (name.size() > total) {
      width[first] += name.size() - total;
      total = name.size();
    }
    groups += (first == 0 ? "" : kBetweenGroups) + pad(name, total, true);
    first = end;
  }
  const auto line = [&](const auto& cell_of) {
    std::string text;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      if (i > 0) text += starts_group(table, i) ? kBetweenGroups : kBetweenColumns;
      text += pad(cell_of(i), width[i], table.columns[i].left);
    }
    return trimmed(std::move(text));
  };
  std::string text = table.caption + "\n" + trimmed(groups);
  text += line([&](std::size_t i) { return table.columns[i].name; });
  for (const auto& row : table.rows) text += line([&](std::size_t i) { return row[i]; });
  return text;
}

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string to_html(const Table& table) {
  std::string html = "<table>\n<caption>" + escape_html(table.caption) + "</caption>\n<tr>";
  for (std::size_t first = 0; first < table.columns.size();) {
    const std::size_t end = group_end(table, first);
    html += fmt::format("<th colspan=\"{}\" class=\"group\">{}</th>", end - first,
                        escape_html(table.columns[first].group));
    first = end;
  }
  html += "</tr>\n<tr>";
  for (const auto& column : table.columns) html += "<th>" + escape_html(column.name) + "</th>";
  html += "</tr>\n";
  for (const auto& row : table.rows) {
    html += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      html += fmt::format("<td{}>{}</td>", table.columns[i].left ? " class=\"left\"" : "",
                          escape_html(row[i]));
    }
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

}  // namespace bellhop::bench
