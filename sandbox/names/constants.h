// Symbolic names of numbers: O_RDONLY, AF_INET, EPERM. A domain is what a name is a value of: "open" for O_...,
// "family" for AF_...; arguments say theirs (signature.h), so that MAP_PRIVATE can't be meant for an open flag.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/names/arch.h"

namespace isla::sandbox {

struct Constant {
  std::string_view domain, name;
  uint64_t value = 0;
};

/// The constants of that name: one a domain (CLONE_FS is one of clone and of unshare). Empty if there is none.
std::vector<Constant> FindConstants(Arch arch, std::string_view name);
/// Those of a domain, in the order of the table; empty for an unknown domain.
std::vector<Constant> ConstantsOf(Arch arch, std::string_view domain);
/// For suggestions; sorted.
std::vector<std::string> AllConstantNames();

/// "EPERM" -> 1. Nothing for an unknown name.
std::optional<uint16_t> ErrnoOf(std::string_view name);
/// 1 -> "EPERM"; "" for an unknown number.
std::string_view ErrnoName(uint16_t number);
std::vector<std::string> AllErrnoNames();

/// CAP_... names, for profiles that ask for them.
bool IsCapability(std::string_view name);
std::vector<std::string> AllCapabilities();

}  // namespace isla::sandbox
