// What the parts of bench_sandbox share.
#pragma once

#include <string>
#include <vector>

#include "bench/common/row.h"

namespace isla::bench {

struct SandboxSettings {
  int rounds = 5;
  std::string out;  // the folder for plots; none: no plots
};

/// The folder of this program: isla-box and isla-supervisor lie there, too.
std::string ProgramFolder();

// ---- the parts; each prints what it measured ----

/// An allowed call; a call that the supervisor answers, beside a bare loop and a tracer; the supervisor's memory.
void RunCalls(const SandboxSettings& settings);
/// Deciding by tables of a hundred rules.
void RunDecide(const SandboxSettings& settings);
/// Policies of 10 to 1,000 rules, beside libseccomp.
void RunRules(const SandboxSettings& settings);
/// Whole programs in a box, beside none; a start, beside bwrap and crun.
void RunPrograms(const SandboxSettings& settings);

}  // namespace isla::bench
