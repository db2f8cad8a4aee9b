// The settings that exist: name, type, default, range, where each may be set, and what it does. One table.
// What is put is checked against it; what is in the store and isn't in it (a newer islad's) is kept and ignored.
//
// A setting that is set nowhere leaves the program as its flags say; the default of the table is what holds
// without a flag. Every setting here takes effect while the program runs.
// Pure functions, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/json.h"
#include "api/config/scope.h"
#include "api/base/field_error.h"

namespace isla::config {

enum class Type { kInteger, kWord, kName };  // kWord: one of `words`. kName: an RFC 1123 label.

inline constexpr std::string_view kAgentLogLevel = "agent/log/level";
inline constexpr std::string_view kAgentLogMaxBytes = "agent/log/maxBytes";
inline constexpr std::string_view kAgentLogNodeMaxBytes = "agent/log/nodeMaxBytes";
inline constexpr std::string_view kAgentStartMaxParallel = "agent/start/maxParallel";
inline constexpr std::string_view kIsladHistoryKeepSeconds = "islad/history/keepSeconds";
inline constexpr std::string_view kIsladLogLevel = "islad/log/level";
inline constexpr std::string_view kNodeGroup = "node/group";

struct Setting {
  std::string_view name;
  Type type = Type::kInteger;
  std::string_view unit;      // "bytes", "seconds", "" = none
  int64_t least = 0;          // kInteger
  int64_t most = 0;
  std::string_view words;     // kWord: "debug info warn error"
  std::string_view fallback;  // JSON text of the default; "" = none
  std::string_view scopes;    // where it may be set: "global group node"
  std::string_view applies;   // when and to what it takes effect
  std::string_view about;     // one line

  bool MayBeIn(ScopeKind kind) const;
  /// The default; nothing if there is none.
  std::optional<json::Value> Default() const;
  /// "an integer from 65536 to 1099511627776 (bytes)", "one of debug, info, warn, error".
  std::string Expected() const;
};

/// Sorted by name. No name lies below another, so that all of them make a tree.
std::span<const Setting> Settings();
/// Null if there is none.
const Setting* FindSetting(std::string_view name);
/// INVALID_ARGUMENT "...: did you mean 'agent/log/level'?" for what is neither a setting nor above one. "" is above all.
Status CheckPrefix(std::string_view prefix);

/// What is wrong with putting `value` there; nothing if nothing is.
std::optional<FieldError> CheckPut(const Scope& scope, std::string_view name, const json::Value& value);
/// For a name that isn't a setting: what lies below it, or which one was meant.
FieldError UnknownSetting(std::string_view name);

/// The table as JSON: [{"name", "type", "unit", "minimum", "maximum", "enum", "default", "scopes", "applies", "description"}].
json::Value SchemaJson();

}  // namespace isla::config
