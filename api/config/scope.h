// Where a setting can be set, and how its keys look:
//
//   <prefix>config/<name>                        global
//   <prefix>sgroup/<group>/config/<name>         a group of nodes
//   <prefix>nodes/agents/<node>/config/<name>    one node
//
// A name is a path of 1 to 8 words joined by '/': "agent/log/maxBytes". A word is a lower-case letter, then
// letters and digits, 63 at most. So no name holds an empty part, a dot, or anything that a key or a URL has
// to escape, and a prefix ends where a word does: "agent/lo" is no prefix of "agent/log/level".
// Pure functions, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "api/base/status.h"
#include "store/keys.h"

namespace isla::config {

enum class ScopeKind { kGlobal, kGroup, kNode };

struct Scope {
  ScopeKind kind = ScopeKind::kGlobal;
  std::string name;  // of the group or node; "" = global

  static Scope Global() { return {}; }
  static Scope Group(std::string name) { return {ScopeKind::kGroup, std::move(name)}; }
  static Scope Node(std::string name) { return {ScopeKind::kNode, std::move(name)}; }
  friend bool operator==(const Scope&, const Scope&) = default;
};

/// "global", "group", "node".
std::string_view KindName(ScopeKind kind);
/// "global", "group/gpu", "node/n1".
std::string ScopeText(const Scope& scope);
/// INVALID_ARGUMENT if the name isn't one of a group (RFC 1123 label) or node (subdomain).
Status CheckScope(const Scope& scope);

/// What is wrong with a setting's name, in words that fit behind it; "" if nothing is.
std::string CheckName(std::string_view name);
/// `name` is `prefix` or lies below it; "" is above everything.
bool IsBelow(std::string_view name, std::string_view prefix);

/// The key prefix of all settings of a scope; ends in '/'.
store::Prefix KeyPrefix(const store::Keys& keys, const Scope& scope);
/// ParsedKey::name of a kConfig key taken apart; nothing if it isn't the key of a setting in a scope.
std::optional<std::pair<Scope, std::string>> ParsePath(std::string_view path);

}  // namespace isla::config
