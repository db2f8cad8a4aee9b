// What a supervisor can do for which call. The manifest's decoder refuses what isn't here; the supervisor implements
// what is.
#pragma once

#include <string_view>
#include <vector>

namespace isla::sandbox {

/// An answer that the supervisor makes up (action emulate).
struct Emulator {
  std::string_view name;
  std::string_view about;
  std::vector<std::string_view> calls;  // that it can answer
};

const std::vector<Emulator>& AllEmulators();
/// Null if there is none of that name.
const Emulator* FindEmulator(std::string_view name);

/// Calls of which it reads the paths, the socket address: rules of others can't look at them.
bool CanReadPaths(std::string_view call);
bool CanReadAddress(std::string_view call);

/// Calls that it can do for the caller, on its own copy of what pointers point to (action perform). Sorted.
const std::vector<std::string_view>& PerformableCalls();
bool CanPerform(std::string_view call);
/// Calls that open a file (action file).
bool CanGiveFile(std::string_view call);
/// Performable calls whose path, whose socket address can be another one (action redirect).
bool CanRedirectPath(std::string_view call);
bool CanRedirectAddress(std::string_view call);

}  // namespace isla::sandbox
