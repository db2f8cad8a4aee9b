#include "agentd/key.h"

#include <fmt/format.h>

#include <charconv>

#include "api/base/uuid.h"

namespace isla::agent {
namespace {

constexpr std::string_view kScopePrefix = "isla-";
constexpr std::string_view kScopeSuffix = ".scope";
constexpr size_t kUuidLength = 36;

}  // namespace

std::string Name(const ContainerKey& key) { return fmt::format("{}-{}", key.uid, key.incarnation); }

std::string ScopeName(const ContainerKey& key) { return fmt::format("{}{}{}", kScopePrefix, Name(key), kScopeSuffix); }

std::string SliceName(std::string_view space) {
  std::string out = "isla-";
  for (const char c : space) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                       (c == '.' && out.size() > 5);
    if (plain) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out + ".slice";
}

std::optional<ContainerKey> KeyFromName(std::string_view name) {
  if (name.size() < kUuidLength + 2 || name[kUuidLength] != '-') return std::nullopt;
  ContainerKey key{std::string(name.substr(0, kUuidLength)), 0};
  const std::string_view number = name.substr(kUuidLength + 1);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), key.incarnation);
  if (error != std::errc() || end != number.data() + number.size()) return std::nullopt;
  // One spelling only: "+1" and "01" are not names that agentd gave.
  if (!IsValid(key) || Name(key) != name) return std::nullopt;
  return key;
}

std::optional<ContainerKey> KeyFromScopeName(std::string_view unit) {
  if (!unit.starts_with(kScopePrefix) || !unit.ends_with(kScopeSuffix)) return std::nullopt;
  unit.remove_prefix(kScopePrefix.size());
  unit.remove_suffix(kScopeSuffix.size());
  return KeyFromName(unit);
}

bool IsValid(const ContainerKey& key) { return IsUuid(key.uid) && key.incarnation >= 1; }

}  // namespace isla::agent
