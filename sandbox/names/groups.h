// Groups of system calls by name: @file-system, @network-io... They are called as systemd's SystemCallFilter= calls
// them (systemd-analyze syscall-filter) where they mean the same, and hold what x86-64 and arm64 have.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace isla::sandbox {

struct Group {
  std::string_view name;   // with the @
  std::string_view about;  // what its calls are for
  std::vector<std::string_view> calls;  // sorted, without groups
};

/// Sorted by name. Never empty ones.
const std::vector<Group>& AllGroups();

/// Nothing if there is none of that name. Expands this one only: a start of isla-box asks for one.
std::optional<Group> FindGroup(std::string_view name);

}  // namespace isla::sandbox
