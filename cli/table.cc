#include "cli/table.h"

#include <algorithm>
#include <cctype>

#include "cli/error_text.h"

namespace isla::cli {
namespace {

constexpr size_t kGap = 3;
constexpr size_t kMinWidth = 6;

/// The number of code points: close enough to the columns of a terminal.
size_t WidthOf(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string Cell(std::string_view text) {
  const size_t end = text.find_first_of("\n\r");
  if (end == std::string_view::npos) return Printable(text);
  return Printable(text.substr(0, end)) + "...";
}

const json::Array* ArrayAt(const json::Value& value, std::string_view name) {
  const json::Value* found = value.Find(name);
  return found != nullptr && found->is_array() ? &found->items() : nullptr;
}

std::string Upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::string Columns::Format(const std::vector<std::vector<std::string>>& lines) {
  std::vector<std::vector<std::string>> cells;
  for (const auto& line : lines) {
    auto& row = cells.emplace_back();
    for (size_t i = 0; i < line.size(); ++i) {
      row.push_back(Cell(line[i]));
      if (i + 1 == line.size()) break;
      if (widths_.size() <= i) widths_.resize(i + 1, kMinWidth);
      widths_[i] = std::max(widths_[i], WidthOf(row.back()) + kGap);
    }
  }
  std::string out;
  for (const auto& row : cells) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths_[i] - WidthOf(row[i]), ' ');
    }
    while (out.ends_with(' ')) out.pop_back();  // empty cells at the end
    out += '\n';
  }
  return out;
}

std::string CellText(const json::Value& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.as_string() : json::Serialize(value);
}

std::string LabelText(const json::Value* labels) {
  if (labels == nullptr || !labels->is_object() || labels->members().empty()) return "<none>";
  std::vector<std::string> pairs;
  for (const json::Member& label : labels->members())
    pairs.push_back(label.name + "=" + CellText(label.value));
  std::sort(pairs.begin(), pairs.end());
  std::string out;
  for (const std::string& pair : pairs) out += (out.empty() ? "" : ",") + pair;
  return out;
}

size_t RowCount(const json::Value& table) {
  const json::Array* rows = ArrayAt(table, "rows");
  return rows == nullptr ? 0 : rows->size();
}

StatusOr<std::vector<std::vector<std::string>>> TableLines(const json::Value& table,
                                                           const TableStyle& style) {
  const json::Array* columns = ArrayAt(table, "columnDefinitions");
  if (table.StringAt({"kind"}) != "Table" || columns == nullptr) {
    return Error(Code::kInternal, "the server's answer is not a Table");
  }
  std::vector<size_t> shown;
  std::vector<std::string> headers;
  if (!style.event.empty()) headers.emplace_back("EVENT");
  if (style.ns) headers.emplace_back("NAMESPACE");
  for (size_t i = 0; i < columns->size(); ++i) {
    if ((*columns)[i].Int64At({"priority"}).value_or(0) > 0 && !style.wide) continue;
    shown.push_back(i);
    headers.push_back(Upper((*columns)[i].StringAt({"name"})));
  }
  if (style.labels) headers.emplace_back("LABELS");
  std::vector<std::vector<std::string>> lines;
  if (style.headers) lines.push_back(std::move(headers));
  const json::Array* rows = ArrayAt(table, "rows");
  if (rows == nullptr) return lines;
  for (const json::Value& row : *rows) {
    auto& line = lines.emplace_back();
    const json::Array* cells = ArrayAt(row, "cells");
    if (!style.event.empty()) line.push_back(style.event);
    if (style.ns) line.push_back(row.StringAt({"object", "metadata", "namespace"}));
    for (const size_t i : shown) {
      const bool there = cells != nullptr && i < cells->size() && !(*cells)[i].is_null();
      std::string text = there ? CellText((*cells)[i]) : "<none>";
      if (i == 0) text = style.name_prefix + text;
      line.push_back(std::move(text));
    }
    if (style.labels) line.push_back(LabelText(row.FindPath({"object", "metadata", "labels"})));
  }
  return lines;
}

}  // namespace isla::cli
