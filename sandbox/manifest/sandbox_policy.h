// The kind SandboxPolicy: from the JSON that people write to rules of calls and sections. README.md of sandbox/ has
// the grammar. Strict: every mistake is collected, each with the field's path, line and column, what was
// expected, and the nearest name that exists.
//
// Decoding is pure and bounded (256 KiB of text unless told otherwise, kMaxRules rules, expressions of kMaxExpressionBytes);
// it reads no file and makes no system call; a program's source is run once, within the bounds of a call. Texts of tenants are decoded and compiled in an unprivileged
// process of their own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/base/field_error.h"
#include "api/base/json.h"
#include "api/base/status.h"
#include "sandbox/compiled_policy.h"
#include "sandbox/policy/policy.h"
#include "sandbox/policy/sections.h"

namespace isla::sandbox {

inline constexpr size_t kMaxRules = 4096;

struct SandboxPolicy {
  std::string name;  // metadata.name
  std::string hash;  // of the text
  Policy policy;     // lowered for one architecture; rules in order: spec.rules, view's, base's, default
  Sections sections;
  FieldErrors warnings;  // rules that never decide or that another call gets around, calls that this architecture lacks, names nobody knows in a profile
};

/// What metadata.name may be.
bool IsPolicyName(std::string_view text);

struct DecodeOptions {
  Arch arch = kNativeArch;
  size_t max_bytes = 256 * 1024;
  /// Looks for rules that never decide: takes up to some milliseconds a rule.
  bool find_unreachable = true;
  /// Runs a program's source, to see whether it is one and has the functions that rules name. Not for processes that anything else depends on.
  bool run_program = true;
};

/// INVALID_ARGUMENT with all mistakes, one a line: "SandboxPolicy \"x\" is invalid:\n  spec.rules[0].when (line 7:15): ...".
/// FieldErrorsOf(status) has them one by one. A bare OCI or containers-common profile (an object with
/// defaultAction) is read as a policy whose base it is.
StatusOr<SandboxPolicy> DecodeSandboxPolicy(std::string_view text, const DecodeOptions& options = {});

/// Of a tree that is read already. Without its text a mistake within a string that has escapes is placed by its decoded bytes. `hash` is left
/// empty.
StatusOr<SandboxPolicy> DecodeSandboxTree(const json::Value& tree, const DecodeOptions& options = {}, std::string_view text = {});

/// Decode and compile.
StatusOr<CompiledPolicy> CompileManifest(std::string_view text, const DecodeOptions& options = {});

}  // namespace isla::sandbox
