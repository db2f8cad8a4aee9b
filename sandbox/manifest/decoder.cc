#include "sandbox/manifest/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "api/base/did_you_mean.h"
#include "api/base/quantity.h"
#include "sandbox/manifest/condition.h"
#include "sandbox/names/groups.h"
#include "sandbox/names/syscalls.h"

namespace isla::sandbox {
namespace {

/// The bytes that an escape at text[at] stands for, and moves past it.
size_t EscapeBytes(std::string_view text, size_t& at) {
  if (text.substr(at, 2) != "\\u") {
    at += 2;
    return 1;
  }
  const auto unit = [text](size_t from) { return std::stoul(std::string(text.substr(from + 2, 4)), nullptr, 16); };
  const unsigned long code = unit(at);
  at += 6;
  if (code >= 0xD800 && code <= 0xDBFF) {
    at += 6;  // the other half: the reader checked that it is there
    return 4;
  }
  return code < 0x80 ? 1 : code < 0x800 ? 2 : 3;
}

/// "500ms" with units from small to large: the number in the smallest one.
std::optional<int64_t> WithUnit(std::string_view text, std::initializer_list<std::pair<std::string_view, int64_t>> units) {
  size_t digits = 0;
  int64_t value = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9' && digits < 12) value = value * 10 + (text[digits++] - '0');
  if (digits == 0) return std::nullopt;
  for (const auto& [unit, factor] : units) {
    if (text.substr(digits) != unit) continue;
    return value > std::numeric_limits<int64_t>::max() / factor ? std::nullopt : std::optional(value * factor);
  }
  return std::nullopt;
}

/// In the largest unit that it is whole in.
std::string DurationText(int64_t us) {
  constexpr std::pair<int64_t, const char*> kUnits[] = {{60'000'000, "m"}, {1'000'000, "s"}, {1'000, "ms"}};
  for (const auto& [size, unit] : kUnits) {
    if (us % size == 0) return fmt::format("{}{}", us / size, unit);
  }
  return fmt::format("{}us", us);
}

}  // namespace

json::Position Decoder::Within(json::Position string, size_t offset) const {
  if (string.line == 0) return string;
  if (text_.empty()) return {string.line, string.column + 1 + static_cast<uint32_t>(offset)};
  size_t at = 0;
  for (uint32_t line = 1; line < string.line; ++line) at = text_.find('\n', at) + 1;
  const size_t line_start = at;
  at += string.column;  // past the quote
  for (size_t decoded = 0; decoded < offset && at < text_.size() && text_[at] != '"';) {
    decoded += text_[at] == '\\' ? EscapeBytes(text_, at) : (++at, 1);
  }
  return {string.line, static_cast<uint32_t>(at - line_start + 1)};
}

void Decoder::BadAt(const Field& field, size_t offset, std::string what) {
  errors_.push_back({"FieldValueInvalid", field.path(), std::move(what), Within(field.value().position(), offset)});
}

void Decoder::Warn(std::string field, json::Position position, std::string what) {
  if (!IsFull(warnings_)) warnings_.push_back({"FieldValueInvalid", std::move(field), std::move(what), position});
}

bool Decoder::Object(const Field& field, std::initializer_list<std::string_view> known) {
  if (!field.present()) {
    errors_.push_back(field.Missing());
    return false;
  }
  if (!field.is_object()) {
    errors_.push_back(TypeInvalid(field.path(), field.value(), "an object"));
    return false;
  }
  for (const json::Member& member : field.value().members()) {
    if (std::find(known.begin(), known.end(), member.name) != known.end()) continue;
    errors_.push_back(Unknown(field.Get(member.name).path(), member.position, member.name, {known.begin(), known.end()}));
  }
  return true;
}

std::optional<std::string> Decoder::String(const Field& field, size_t max_bytes) {
  if (!field.present()) return std::nullopt;
  if (!field.is_string()) {
    errors_.push_back(TypeInvalid(field.path(), field.value(), "a string"));
    return std::nullopt;
  }
  if (field.text().size() > max_bytes) {
    errors_.push_back(TooLong(field.path(), field.value(), fmt::format("{} bytes", max_bytes)));
    return std::nullopt;
  }
  return std::string(field.text());
}

std::optional<int64_t> Decoder::Integer(const Field& field, int64_t min, int64_t max) {
  if (!field.present()) return std::nullopt;
  if (!field.value().is_number()) {
    errors_.push_back(TypeInvalid(field.path(), field.value(), "a number"));
    return std::nullopt;
  }
  const auto value = field.value().ToInt64();
  if (value && *value >= min && *value <= max) return value;
  Bad(field, fmt::format("must be a whole number from {} to {}", min, max));
  return std::nullopt;
}

std::optional<int64_t> Decoder::Microseconds(const Field& field, int64_t min, int64_t max) {
  const auto text = String(field);
  if (!text) return std::nullopt;
  const auto value = WithUnit(*text, {{"us", 1}, {"ms", 1'000}, {"s", 1'000'000}, {"m", 60'000'000}});
  if (value && *value >= min && *value <= max) return value;
  Bad(field, fmt::format("must be a duration such as \"500ms\" or \"5s\", from {} to {}", DurationText(min), DurationText(max)));
  return std::nullopt;
}

std::optional<int64_t> Decoder::Quantity(const Field& field, StatusOr<int64_t> (*parse)(std::string_view), std::string (*format)(int64_t), int64_t min, int64_t max, std::string_view kind) {
  if (!field.present()) return std::nullopt;
  const bool number = field.value().is_number();
  const auto text = number ? std::optional(field.value().number_text()) : String(field);
  if (!text) return std::nullopt;
  const StatusOr<int64_t> value = parse(*text);
  if (value.ok() && *value >= min && *value <= max) return *value;
  Bad(field, fmt::format("must be {}, from {} to {}", kind, format(min), format(max)));
  return std::nullopt;
}

std::optional<int64_t> Decoder::Bytes(const Field& field, int64_t min, int64_t max) {
  return Quantity(field, ParseBytes, FormatBytes, min, max, "a size such as \"64Ki\" or \"1.5Gi\"");
}

std::optional<int64_t> Decoder::CpuMillis(const Field& field, int64_t min, int64_t max) {
  return Quantity(field, ParseCpuMillis, FormatCpuMillis, min, max, "a number of processors such as \"1.5\" or \"500m\"");
}

std::optional<size_t> Decoder::Choice(const Field& field, const std::vector<std::string>& words) {
  const auto text = String(field);
  if (!text) return std::nullopt;
  const auto found = std::find(words.begin(), words.end(), *text);
  if (found != words.end()) return static_cast<size_t>(found - words.begin());
  errors_.push_back(NotSupported(field.path(), field.value(), words));
  errors_.back().detail += DidYouMean(*text, words);
  return std::nullopt;
}

std::optional<std::string> Decoder::Path(const Field& field) {
  auto path = String(field);
  if (!path) return std::nullopt;
  if (const std::string wrong = WhatIsWrongWithPath(*path); !wrong.empty()) {
    Bad(field, wrong);
    return std::nullopt;
  }
  return path;
}

std::vector<Field> Decoder::Items(const Field& field, size_t most) {
  std::vector<Field> out;
  if (!field.present()) return out;
  if (!field.is_array()) {
    errors_.push_back(TypeInvalid(field.path(), field.value(), "an array"));
    return out;
  }
  if (field.size() > most) {
    errors_.push_back(TooLong(field.path(), field.value(), fmt::format("{} items", most)));
    return out;
  }
  for (size_t i = 0; i < field.size(); ++i) out.push_back(field.Item(i));
  return out;
}

// Lists of calls ---------------------------------------------------------------------------------------

namespace {

std::vector<std::string> AllCallNames() {
  std::vector<std::string> out;
  for (const Group& group : AllGroups()) out.emplace_back(group.name);
  for (const Syscall& call : AllSyscalls()) out.emplace_back(call.name);
  return out;
}

/// The calls of a name or group; empty, with an error, if there is none.
std::vector<const Syscall*> CallsOf(Decoder& decoder, const Field& field, std::string_view name) {
  if (const Syscall* call = FindSyscall(name)) return {call};
  if (const std::optional<Group> group = FindGroup(name)) {
    std::vector<const Syscall*> out;
    out.reserve(group->calls.size());
    // Both are sorted by name.
    auto next = AllSyscalls().begin();
    for (const std::string_view each : group->calls) {
      next = std::find_if(next, AllSyscalls().end(), [each](const Syscall& call) { return call.name == each; });
      out.push_back(&*next);
    }
    return out;
  }
  if (IsForeignSyscall(name)) {
    decoder.Warn(field.path(), field.value().position(), fmt::format("neither x86-64 nor arm64 has a system call '{}'", name));
    return {};
  }
  decoder.Bad(field, "no system call or group has this name" + DidYouMean(name, AllCallNames()));
  return {};
}

}  // namespace

CallList DecodeCalls(Decoder& decoder, const Field& field) {
  CallList out;
  std::vector<const Syscall*> excluded;
  if (!field.present() || (field.is_array() && field.size() == 0)) {
    decoder.errors().push_back(field.Missing("names of system calls, or groups such as @file-open"));
    return out;
  }
  for (const Field& item : decoder.Items(field, 1024)) {
    const auto text = decoder.String(item, 64);
    if (!text) {
      if (!item.present()) decoder.errors().push_back(item.Missing());
      continue;
    }
    const bool excludes = text->starts_with('!');
    const std::string_view name = std::string_view(*text).substr(excludes ? 1 : 0);
    const std::vector<const Syscall*> found = CallsOf(decoder, item, name);
    std::vector<const Syscall*>& list = excludes ? excluded : out.calls;
    list.insert(list.end(), found.begin(), found.end());
  }
  // Each once, by name: they are of one table that is sorted by it.
  for (std::vector<const Syscall*>* list : {&out.calls, &excluded}) {
    if (!std::is_sorted(list->begin(), list->end())) std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  std::erase_if(out.calls, [&excluded](const Syscall* call) { return std::binary_search(excluded.begin(), excluded.end(), call); });
  return out;
}

}  // namespace isla::sandbox
