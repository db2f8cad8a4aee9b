#include "api/config/schema.h"

#include <algorithm>
#include <array>

#include "api/object/names.h"

namespace isla::config {
namespace {

constexpr int64_t kMostLogBytes = int64_t{1} << 40;  // as node.json's
constexpr std::string_view kLevels = "debug info warn error";

constexpr std::array<Setting, 7> kSettings{{
    {kAgentLogLevel, Type::kWord, "", 0, 0, kLevels, "\"info\"", "global group node",
     "at once; while it is set it stands above the agent's --log-level",
     "How much the agent of a node writes to its own log"},
    {kAgentLogMaxBytes, Type::kInteger, "bytes", 65536, kMostLogBytes, "", "16777216", "global group node",
     "to containers accepted from then on; never more than node.json's logs.containerBytes",
     "How much of a container's output is kept"},
    {kAgentLogNodeMaxBytes, Type::kInteger, "bytes", 65536, kMostLogBytes, "", "1073741824", "global group node",
     "to containers accepted from then on; never more than node.json's logs.nodeBytes",
     "How much output of all containers together a node keeps"},
    {kAgentStartMaxParallel, Type::kInteger, "", 1, 256, "", "16", "global group node",
     "at once; starts that are under way go on", "How many containers a node starts at the same time"},
    {kIsladHistoryKeepSeconds, Type::kInteger, "seconds", 300, 86400, "", "600", "global",
     "at the leader's next compaction, within 5 minutes",
     "How long old revisions are kept at least, so that watches can go on where they stopped"},
    {kIsladLogLevel, Type::kWord, "", 0, 0, kLevels, "\"info\"", "global",
     "at once, in every islad; while it is set it stands above islad's --log-level",
     "How much islad writes to its own log"},
    {kNodeGroup, Type::kName, "", 0, 0, "", "", "node",
     "at once; it stands above the node's label isla/group", "The group whose settings hold for a node"},
}};

bool HasWord(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t blank = std::min(list.find(' '), list.size());
    if (list.substr(0, blank) == word) return true;
    list.remove_prefix(std::min(blank + 1, list.size()));
  }
  return false;
}

std::vector<std::string> Words(std::string_view list) {
  std::vector<std::string> words;
  while (!list.empty()) {
    const size_t blank = std::min(list.find(' '), list.size());
    words.emplace_back(list.substr(0, blank));
    list.remove_prefix(std::min(blank + 1, list.size()));
  }
  return words;
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const Setting& setting : kSettings) names.emplace_back(setting.name);
  return names;
}

std::string_view TypeName(Type type) { return type == Type::kInteger ? "integer" : "string"; }

std::optional<FieldError> CheckValue(const Setting& setting, const json::Value& value) {
  const std::string field(setting.name);
  if (setting.type == Type::kInteger) {
    const auto number = value.ToInt64();
    if (!value.is_number() || !number) return TypeInvalid(field, value, setting.Expected());
    if (*number >= setting.least && *number <= setting.most) return std::nullopt;
    return Invalid(field, value, "must be " + setting.Expected());
  }
  if (!value.is_string()) return TypeInvalid(field, value, setting.Expected());
  if (setting.type == Type::kWord) {
    if (HasWord(setting.words, value.as_string())) return std::nullopt;
    return NotSupported(field, value, Words(setting.words));
  }
  const std::string wrong = api::CheckDnsLabel(value.as_string());
  if (wrong.empty()) return std::nullopt;
  return Invalid(field, value, wrong);
}

}  // namespace

bool Setting::MayBeIn(ScopeKind kind) const { return HasWord(scopes, KindName(kind)); }

std::optional<json::Value> Setting::Default() const {
  if (fallback.empty()) return std::nullopt;
  auto value = json::Parse(fallback);
  ISLA_CHECK(value.ok());
  json::Value out = *std::move(value);
  out.set_position({});
  return out;
}

std::string Setting::Expected() const {
  switch (type) {
    case Type::kInteger:
      return fmt::format("an integer from {} to {}{}", least, most, unit.empty() ? "" : fmt::format(" ({})", unit));
    case Type::kWord: {
      std::string list;
      for (const std::string& word : Words(words)) list += (list.empty() ? "" : ", ") + word;
      return "one of " + list;
    }
    case Type::kName: return "a name of lower-case letters, digits and '-'";
  }
  return "";
}

std::span<const Setting> Settings() { return kSettings; }

const Setting* FindSetting(std::string_view name) {
  for (const Setting& setting : kSettings) {
    if (setting.name == name) return &setting;
  }
  return nullptr;
}

FieldError UnknownSetting(std::string_view name) {
  std::string below;
  std::string_view above = name;
  if (above.ends_with('/')) above.remove_suffix(1);
  for (const Setting& setting : kSettings) {
    if (!above.empty() && IsBelow(setting.name, above)) below += fmt::format("{}'{}'", below.empty() ? "" : ", ", setting.name);
  }
  std::string why = "'isla config list --schema' shows all";
  if (!below.empty()) {
    why = "below it are " + below;
  } else if (const std::string near = Suggestion(name, Names()); !near.empty()) {
    why = fmt::format("did you mean '{}'?", near);
  }
  return {"FieldValueInvalid", std::string(name.substr(0, 200)), "Unknown setting: " + why, {}};
}

Status CheckPrefix(std::string_view prefix) {
  if (prefix.empty()) return OkStatus();
  for (const Setting& setting : kSettings) {
    if (IsBelow(setting.name, prefix)) return OkStatus();
  }
  const FieldError error = UnknownSetting(prefix);
  return Errorf(Code::kInvalidArgument, "'{}': {}", error.field, error.detail);
}

std::optional<FieldError> CheckPut(const Scope& scope, std::string_view name, const json::Value& value) {
  const Setting* setting = FindSetting(name);
  if (setting == nullptr) return UnknownSetting(name);
  if (!setting->MayBeIn(scope.kind)) {
    std::string where;
    for (const std::string& word : Words(setting->scopes)) where += (where.empty() ? "" : ", ") + word;
    return Forbidden(std::string(name), value,
                          fmt::format("it can't be set in the scope {}, only in: {}", KindName(scope.kind), where));
  }
  return CheckValue(*setting, value);
}

json::Value SchemaJson() {
  json::Value list = json::Value::MakeArray();
  for (const Setting& setting : kSettings) {
    json::Value item = json::Value::MakeObject({{"name", setting.name}, {"type", TypeName(setting.type)}});
    if (setting.type == Type::kInteger) {
      item.Set("minimum", setting.least);
      item.Set("maximum", setting.most);
    }
    if (!setting.unit.empty()) item.Set("unit", setting.unit);
    const auto strings = [](std::string_view words) {
      json::Value out = json::Value::MakeArray();
      for (std::string& word : Words(words)) out.Append(std::move(word));
      return out;
    };
    if (!setting.words.empty()) item.Set("enum", strings(setting.words));
    if (auto value = setting.Default()) item.Set("default", *std::move(value));
    item.Set("scopes", strings(setting.scopes));
    item.Set("live", true);
    item.Set("applies", setting.applies);
    item.Set("expected", setting.Expected());
    item.Set("description", setting.about);
    list.Append(std::move(item));
  }
  return list;
}

}  // namespace isla::config
