#include "bench/report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/text_columns.h"

namespace bellhop::bench {

namespace {

constexpr const char* kBetweenColumns = "  ";
constexpr const char* kBetweenGroups = " | ";

/// Which columns stand in a part of a table, by their numbers.
using Columns = std::vector<std::size_t>;

std::string pad(const std::string& text, std::size_t taken, std::size_t width, bool left) {
  const std::string blanks(width > taken ? width - taken : 0, ' ');
  return left ? text + blanks : blanks + text;
}

const char* colour_of(Tone tone) {
  switch (tone) {
    case Tone::kGood:
      return "\x1b[32m";
    case Tone::kBad:
      return "\x1b[31m";
    case Tone::kFaint:
      return "\x1b[2m";
    case Tone::kPlain:
      break;
  }
  return "";
}

/// Some columns of a table as text.
class Part {
 public:
  Part(const Table& table, Columns columns, bool colour)
      : table_(table), columns_(std::move(columns)), colour_(colour) {
    for (const std::size_t column : columns_) {
      std::size_t width = columns_of(table.columns[column].name);
      for (const auto& row : table.rows) width = std::max(width, columns_of(row[column].text));
      widths_.push_back(width);
    }
    for (std::size_t first = 0; first < columns_.size(); first = group_end(first)) {
      const std::size_t total = group_width(first);
      const std::size_t name = columns_of(table.columns[columns_[first]].group);
      if (name > total) widths_[first] += name - total;
    }
  }

  [[nodiscard]] std::size_t width() const {
    std::size_t width = std::accumulate(widths_.begin(), widths_.end(), std::size_t{0});
    for (std::size_t i = 1; i < columns_.size(); ++i) width += columns_of(gap(i));
    return width;
  }

  [[nodiscard]] std::string text() const {
    std::string groups;
    bool named = false;
    for (std::size_t first = 0; first < columns_.size(); first = group_end(first)) {
      const std::string& name = table_.columns[columns_[first]].group;
      named |= !name.empty();
      groups += (first == 0 ? "" : kBetweenGroups) +
                pad(name, columns_of(name), group_width(first), true);
    }
    std::string text = named ? trimmed(groups) : "";
    text += line([this](std::size_t column) { return Table::Cell(table_.columns[column].name); });
    for (const auto& row : table_.rows) {
      text += line([&row](std::size_t column) { return row[column]; });
    }
    return text;
  }

 private:
  [[nodiscard]] const char* gap(std::size_t i) const {
    const bool same = table_.columns[columns_[i]].group == table_.columns[columns_[i - 1]].group;
    return same ? kBetweenColumns : kBetweenGroups;
  }
  /// One past the last column of the group that `first` starts.
  [[nodiscard]] std::size_t group_end(std::size_t first) const {
    std::size_t end = first + 1;
    while (end < columns_.size() && gap(end) == kBetweenColumns) ++end;
    return end;
  }
  [[nodiscard]] std::size_t group_width(std::size_t first) const {
    std::size_t width = widths_[first];
    for (std::size_t i = first + 1; i < group_end(first); ++i) width += 2 + widths_[i];
    return width;
  }
  static std::string trimmed(std::string line) {
    while (!line.empty() && line.back() == ' ') line.pop_back();
    return line + "\n";
  }
  template <class CellOf>
  std::string line(const CellOf& cell_of) const {
    std::string text;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (i > 0) text += gap(i);
      const Table::Cell cell = cell_of(columns_[i]);
      const std::size_t taken = columns_of(cell.text);
      const bool coloured = colour_ && cell.tone != Tone::kPlain;
      const std::string shown = coloured ? colour_of(cell.tone) + cell.text + "\x1b[0m" : cell.text;
      text += pad(shown, taken, widths_[i], table_.columns[columns_[i]].left);
    }
    return trimmed(std::move(text));
  }

  const Table& table_;
  Columns columns_;
  std::vector<std::size_t> widths_;
  bool colour_;
};

/// The parts that fit, with the keys in each.
std::vector<Part> split(const Table& table, const Columns& all, const TextStyle& style) {
  const auto keys = static_cast<std::ptrdiff_t>(std::min(table.keys, all.size()));
  std::vector<Part> parts;
  Columns columns(all.begin(), all.begin() + keys);
  for (auto at = all.begin() + keys; at != all.end();) {
    // A group together, if that fits where it begins.
    auto end = at;
    while (end != all.end() && table.columns[*end].group == table.columns[*at].group) ++end;
    Columns with_group = columns;
    with_group.insert(with_group.end(), at, end);
    if (Part(table, with_group, false).width() <= style.columns) {
      columns = std::move(with_group);
      at = end;
    } else if (columns.size() > static_cast<std::size_t>(keys)) {
      parts.emplace_back(table, columns, style.colour);
      columns.resize(static_cast<std::size_t>(keys));
    } else {
      // Too broad by itself: as many of its columns as fit, and at least one.
      do {
        columns.push_back(*at++);
        if (at == end) break;
        with_group = columns;
        with_group.push_back(*at);
      } while (Part(table, with_group, false).width() <= style.columns);
    }
  }
  parts.emplace_back(table, columns, style.colour);
  return parts;
}

}  // namespace

std::string to_text(const Table& table, const TextStyle& style) {
  std::string text =
      (style.columns == 0 ? table.caption : wrap(table.caption, style.columns, 0)) + "\n";
  if (table.rows.empty() && !table.empty.empty()) return text + "  " + table.empty + "\n";
  Columns all(table.columns.size());
  std::iota(all.begin(), all.end(), 0);
  const auto fits = [&](const Columns& columns) {
    return style.columns == 0 || Part(table, columns, false).width() <= style.columns;
  };
  if (!fits(all)) {
    std::erase_if(all, [&table](std::size_t column) { return table.columns[column].spare; });
  }
  if (fits(all)) return text + Part(table, all, style.colour).text();
  bool first = true;
  for (const Part& part : split(table, all, style)) {
    text += (first ? "" : "\n") + part.text();
    first = false;
  }
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
  if (table.rows.empty() && !table.empty.empty()) {
    return "<h3>" + escape_html(table.caption) + "</h3>\n<p>" + escape_html(table.empty) + "</p>\n";
  }
  // The caption stays where it is while a broad table scrolls.
  std::string html = "<p class=\"caption\">" + escape_html(table.caption) +
                     "</p>\n<div class=\"scroll\"><table>\n<thead><tr>";
  for (std::size_t first = 0; first < table.columns.size();) {
    std::size_t end = first + 1;
    while (end < table.columns.size() && table.columns[end].group == table.columns[first].group) {
      ++end;
    }
    html += fmt::format("<th colspan=\"{}\" class=\"group\">{}</th>", end - first,
                        escape_html(table.columns[first].group));
    first = end;
  }
  html += "</tr>\n<tr>";
  for (const auto& column : table.columns) {
    html += fmt::format("<th{}>{}</th>", column.left ? " class=\"left\"" : "",
                        escape_html(column.name));
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    html += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      std::string kind = table.columns[i].left ? "left" : "";
      if (row[i].tone == Tone::kGood) kind += kind.empty() ? "good" : " good";
      if (row[i].tone == Tone::kBad) kind += kind.empty() ? "bad" : " bad";
      if (row[i].tone == Tone::kFaint) kind += kind.empty() ? "faint" : " faint";
      html += fmt::format("<td{}>{}</td>", kind.empty() ? "" : fmt::format(" class=\"{}\"", kind),
                          escape_html(row[i].text));
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace bellhop::bench
