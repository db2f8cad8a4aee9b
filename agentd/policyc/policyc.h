// The program isla-policyc: README.md.
#pragma once

#include <string>
#include <string_view>

#include "api/base/status.h"

namespace isla::policyc {

/// Of a SandboxPolicy's text: CompiledPolicy's bytes, which carry `hash` as their version. Errors as CompileManifest().
StatusOr<std::string> CompileText(std::string_view text, std::string hash);

/// What a container that was started with the policy `started` would have to change for `wanted`, by what the policies do (sandbox/box/diff.h): a JSON object
///   "startedFilter"  sandbox::FilterId() of `started`'s filter: what was compared with
///   "reach"          "live", "tighten-only", "restart": of all changes together
///   "obstacles"      what isn't live, for people: "mkdir: allow -> deny (restart); ..."; the first of them
StatusOr<std::string> CompareTexts(std::string_view started, std::string_view wanted);

/// What main() does: returns the exit status.
int RunPolicyc(int argc, char** argv);

}  // namespace isla::policyc
