#include "sandbox/box/mistakes.h"

#include <fmt/format.h>

#include <charconv>

namespace isla::sandbox {
namespace {

std::string Shown(const std::string& path) { return path == "-" ? "<stdin>" : path; }

bool TakeNumber(std::string_view& text, uint32_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool Take(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

}  // namespace

FieldErrors MistakesOf(const Status& status) {
  if (status.ok()) return {};
  FieldErrors out = FieldErrorsOf(status);
  if (!out.empty()) return out;
  // As json::Parse says it.
  const std::string text = Message(status);
  std::string_view rest = text;
  uint32_t line = 0, column = 0;
  if (!Take(rest, "line ") || !TakeNumber(rest, line) || !Take(rest, ":") || !TakeNumber(rest, column) || !Take(rest, ": ")) return out;
  FieldError mistake;
  mistake.reason = "FieldValueInvalid";
  mistake.detail = rest;
  mistake.position.line = line;
  mistake.position.column = column;
  out.push_back(std::move(mistake));
  return out;
}

std::string MistakeLine(const std::string& path, std::string_view kind, const FieldError& mistake) {
  const std::string at = mistake.position.line == 0 ? Shown(path) : fmt::format("{}:{}:{}", Shown(path), mistake.position.line, mistake.position.column);
  return fmt::format("{}: {}: {}{}{}\n", at, kind, mistake.field, mistake.field.empty() ? "" : ": ", mistake.detail);
}

std::string MistakeLines(const std::string& path, const Status& status) {
  std::string out;
  for (const FieldError& mistake : MistakesOf(status)) out += MistakeLine(path, "error", mistake);
  return out.empty() ? fmt::format("{}: error: {}\n", Shown(path), Message(status)) : out;
}

}  // namespace isla::sandbox
