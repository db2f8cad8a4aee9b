#include "api/config/scope.h"

#include "api/object/names.h"

namespace isla::config {
namespace {

constexpr size_t kMostWords = 8;
constexpr size_t kLongestWord = 63;
constexpr std::string_view kGlobal = "config/";
constexpr std::string_view kGroup = "sgroup/";
constexpr std::string_view kNode = "nodes/agents/";

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsWordChar(char c) { return IsLower(c) || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

std::string CheckWord(std::string_view word) {
  if (word.empty()) return "a part between two '/' is empty";
  if (word.size() > kLongestWord) return fmt::format("a part is longer than {} characters", kLongestWord);
  if (!IsLower(word[0])) return "each part must begin with a lower-case letter";
  for (const char c : word) {
    if (!IsWordChar(c)) return "parts consist of letters and digits, and are joined by '/'";
  }
  return "";
}

}  // namespace

std::string_view KindName(ScopeKind kind) {
  switch (kind) {
    case ScopeKind::kGlobal: return "global";
    case ScopeKind::kGroup: return "group";
    case ScopeKind::kNode: return "node";
  }
  return "";
}

std::string ScopeText(const Scope& scope) {
  return scope.kind == ScopeKind::kGlobal ? "global" : fmt::format("{}/{}", KindName(scope.kind), scope.name);
}

Status CheckScope(const Scope& scope) {
  std::string wrong;
  if (scope.kind == ScopeKind::kGroup) wrong = api::CheckDnsLabel(scope.name);
  if (scope.kind == ScopeKind::kNode) wrong = api::CheckDnsSubdomain(scope.name);
  if (wrong.empty()) return OkStatus();
  return Errorf(Code::kInvalidArgument, "{}: Invalid value: '{}': {}", KindName(scope.kind), scope.name.substr(0, 300), wrong);
}

std::string CheckName(std::string_view name) {
  if (name.empty()) return "a name is needed";
  for (size_t words = 1;; ++words) {
    if (words > kMostWords) return fmt::format("it has more than {} parts", kMostWords);
    const size_t slash = name.find('/');
    if (std::string wrong = CheckWord(name.substr(0, slash)); !wrong.empty()) return wrong;
    if (slash == std::string_view::npos) return "";
    name.remove_prefix(slash + 1);
  }
}

bool IsBelow(std::string_view name, std::string_view prefix) {
  if (prefix.empty()) return true;
  return name.starts_with(prefix) && (name.size() == prefix.size() || name[prefix.size()] == '/');
}

store::Prefix KeyPrefix(const store::Keys& keys, const Scope& scope) {
  switch (scope.kind) {
    case ScopeKind::kGlobal: break;
    case ScopeKind::kGroup: return keys.prefix().Under(fmt::format("{}{}/config/", kGroup, scope.name));
    case ScopeKind::kNode: return keys.prefix().Under(fmt::format("{}{}/config/", kNode, scope.name));
  }
  return keys.prefix().Under(kGlobal);
}

std::optional<std::pair<Scope, std::string>> ParsePath(std::string_view path) {
  Scope scope;
  if (path.starts_with(kGlobal)) {
    path.remove_prefix(kGlobal.size());
  } else {
    scope.kind = path.starts_with(kNode) ? ScopeKind::kNode : ScopeKind::kGroup;
    const std::string_view head = scope.kind == ScopeKind::kNode ? kNode : kGroup;
    if (!path.starts_with(head)) return std::nullopt;
    path.remove_prefix(head.size());
    const size_t slash = path.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    scope.name = path.substr(0, slash);
    path.remove_prefix(slash + 1);
    if (!path.starts_with(kGlobal) || !CheckScope(scope).ok()) return std::nullopt;
    path.remove_prefix(kGlobal.size());
  }
  if (!CheckName(path).empty()) return std::nullopt;
  return std::pair(std::move(scope), std::string(path));
}

}  // namespace isla::config
