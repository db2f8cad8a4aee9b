#include "api/base/json_mistake.h"

#include <charconv>
#include <string_view>

namespace isla::json {
namespace {

bool Take(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

bool TakeNumber(std::string_view& text, uint32_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return error == std::errc();
}

}  // namespace

std::optional<Mistake> MistakeOf(const Status& status) {
  const std::string text = Message(status);
  std::string_view rest = text;
  Mistake out;
  if (!Take(rest, "line ") || !TakeNumber(rest, out.position.line) || !Take(rest, ":") || !TakeNumber(rest, out.position.column) || !Take(rest, ": ")) return std::nullopt;
  out.what = rest;
  return out;
}

}  // namespace isla::json
