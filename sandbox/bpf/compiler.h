// Policy -> program: what scalars decide is decided by the kernel, the rest is handed to the supervisor. A total, pure
// function, no system call.
//
// The program, in this order:
//   1. the architecture: anything but the policy's is killed (a 32-bit call through int 0x80 has other
//      numbers, so no rule would mean what it says);
//   2. on x86-64, numbers from 0x40000000 (x32) and the x32-only 512-547 get ENOSYS;
//   3. a balanced tree over the numbers; calls that are decided alike share their code;
//   4. the call's rules, first match first. 64-bit comparisons are pairs of 32-bit ones; lists of values, and
//      rules one after the other that look at one argument only, become a balanced tree over its values.
// Calls without argument tests stay free of argument loads, so that the kernel's bitmap of constant actions
// (since 5.11) answers for them. libseccomp compiles nothing here: 2.5.4 gets inequalities wrong.
//
// A rule of which arguments say that it may hold, but not that it does (it looks at a path, a uid...), and a
// rule whose action is the supervisor's, return USER_NOTIF. The rule table then decides the call from the first
// rule on. So for every call the program's answer is either the policy's or USER_NOTIF.
//
// Modes: in warn what would be refused, and in learn everything, returns USER_NOTIF, so that it is written down;
// calls of NeverNotified() return LOG or ALLOW instead.
#pragma once

#include <vector>

#include "api/base/status.h"
#include "sandbox/bpf/bpf.h"
#include "sandbox/policy/policy.h"

namespace isla::sandbox {

struct Filter {
  Program program;
  std::vector<int> notified;  // numbers below kCallNumbers that may return USER_NOTIF, sorted
  bool notifies_rest = false;  // numbers from kCallNumbers on return USER_NOTIF (the default's action is the supervisor's)
};

/// INVALID_ARGUMENT for what can't be (an errno out of range, a mask wider than its test, a number that is no
/// call's, a call of NeverNotified() that would be notified); RESOURCE_EXHAUSTED beyond kMaxInstructions.
StatusOr<Filter> Compile(const Policy& policy);

/// `floor` first, then `policy`: what the floor decides for a call no policy can change, whatever the floor
/// leaves open (a call without rules, or conditions that don't hold) the policy decides. Mode and default are the
/// policy's. Both must be of one architecture.
Policy UnderFloor(const Policy& floor, const Policy& policy);

}  // namespace isla::sandbox
