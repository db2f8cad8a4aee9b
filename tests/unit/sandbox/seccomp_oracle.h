// What runc makes of a profile with Debian's libseccomp, as a program: the oracle for imported and exported profiles.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/base/json.h"
#include "sandbox/bpf/bpf.h"
#include "sandbox/policy/policy.h"

namespace isla::sandbox {

/// A profile in the form of containers-common (with includes and excludes) as the runtime specification's, as podman does
/// for these capabilities.
json::Value ResolvedProfile(const json::Value& profile, Arch arch, const std::vector<std::string>& capabilities);

/// Whether the installed libseccomp has this call: others it gives its default, whatever a profile says.
bool SeccompKnows(std::string_view name, Arch arch);

/// The runtime specification's linux.seccomp through libseccomp, as runc does: native architecture only. Fails the test
/// on errors.
Program SeccompProgram(const json::Value& profile, Arch arch);

}  // namespace isla::sandbox
