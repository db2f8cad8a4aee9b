#include "sandbox/box/mistakes.h"

#include <fmt/format.h>

#include "api/base/json_mistake.h"

namespace isla::sandbox {
namespace {

std::string Shown(const std::string& path) { return path == "-" ? "<stdin>" : path; }

}  // namespace

FieldErrors MistakesOf(const Status& status) {
  if (status.ok()) return {};
  FieldErrors out = FieldErrorsOf(status);
  if (!out.empty()) return out;
  const std::optional<json::Mistake> broken = json::MistakeOf(status);
  if (!broken) return out;
  FieldError mistake;
  mistake.reason = "FieldValueInvalid";
  mistake.detail = broken->what;
  mistake.position = broken->position;
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
