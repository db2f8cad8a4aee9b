// The identity of a container on a node: its uid (which lives through restarts) and incarnation (which doesn't).
// Every command, file, unit and report is named after both, so that an old one can never hit a new one.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace isla::agent {

struct ContainerKey {
  std::string uid;
  int64_t incarnation = 0;

  friend auto operator<=>(const ContainerKey&, const ContainerKey&) = default;
};

/// "<uid>-<incarnation>": the name of its folders.
std::string Name(const ContainerKey& key);
/// "isla-<uid>-<incarnation>.scope".
std::string ScopeName(const ContainerKey& key);
/// "isla-<namespace>.slice", the namespace escaped as systemd-escape does it: a '-' is a level of slices.
std::string SliceName(std::string_view space);

/// The inverse of Name and ScopeName; nothing for any other text.
std::optional<ContainerKey> KeyFromName(std::string_view name);
std::optional<ContainerKey> KeyFromScopeName(std::string_view unit);

/// A uid that may be used in names of files and units, and an incarnation of at least 1.
bool IsValid(const ContainerKey& key);

}  // namespace isla::agent
