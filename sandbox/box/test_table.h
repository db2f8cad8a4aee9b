// Tables of calls and what should become of them, one a line:
//
//   openat(AT_FDCWD, "/etc/shadow", O_RDONLY)   -> deny
//   socket(AF_VSOCK, SOCK_STREAM)               -> errno EAFNOSUPPORT by floor: socket families
//   connect(3, "10.0.0.1:443") uid=1000         -> redirect to 127.0.0.1:8080
//   openat(AT_FDCWD, "/data/x", O_RDONLY)       -> program f
//   # a comment
//
// What comes after "->" is the action as `isla-box explain` prints it, so of a program what its function answers; after
// " by ", if it is there, the name of the rule that must decide.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sandbox/manifest/sandbox_policy.h"

namespace isla::sandbox {

struct TableTest {
  size_t line = 0;
  std::string call;      // as written
  std::string expected;  // action
  std::string rule;      // "" if any may decide
};

struct TableResult {
  TableTest test;
  bool passed = false;
  std::string action, rule;  // what became of it
  std::string error;         // the call can't be read
  std::string program_error;  // why a function's answer is onError
};

/// INVALID_ARGUMENT with "line N: ..." for lines that aren't tests (all of them).
StatusOr<std::vector<TableTest>> ParseTable(std::string_view text);

/// Errors of Compile().
StatusOr<std::vector<TableResult>> RunTable(const SandboxPolicy& policy, const std::vector<TableTest>& tests);

}  // namespace isla::sandbox
