// All the ways that calls of one number can be decided: the question is put to rules as to a game of "which test
// next", and every line of answers that a call can give (solver.h) ends in a cell: the rule that decides, and a
// call as an example. So "can this rule ever decide", "do two policies differ, and for what" and "does the program
// mean what the policy means" are answered for all calls, not for some.
//
// Work is bounded; whoever asks is told when the bound was hit. Pure.
#pragma once

#include <functional>
#include <vector>

#include "api/base/status.h"
#include "sandbox/bpf/bpf.h"
#include "sandbox/policy/policy.h"
#include "sandbox/proof/solver.h"

namespace isla::sandbox {

struct Cell {
  RuleId first = 0, second = 0;  // what decides in each list; `second` is 0 if there is none
  bool certain = true;           // else perhaps no such call exists
  CallExample example;           // if certain; its number is not set
  std::vector<std::pair<const AnyTest*, bool>> tests;  // the answers that lead here, in order
};

struct CellOptions {
  size_t most_cells = 20'000;
  /// What several explorations may take together, in the unit of Situation::work() (a test that is asked costs some for
  /// each test before it, too); what one took is subtracted. Null: whatever most_cells takes.
  uint64_t* work_left = nullptr;
  /// What is known of the call from the start.
  Situation situation;
};

/// Calls `visit` for every cell of a list of rules, or of two lists together, until it returns false. A list that
/// decides nothing ends in rule 0. RESOURCE_EXHAUSTED beyond most_cells or work_left (some cells were visited). `second` may
/// be null.
Status ForEachCell(const std::vector<CallRule>& first, const std::vector<CallRule>* second, const CellOptions& options,
                   const std::function<bool(const Cell&)>& visit);

/// Whether a call exists for which the condition holds. kUnknown also if a bound was hit.
Answer CanHold(const Condition& condition, uint64_t* work_left = nullptr);

/// Elementary steps that evaluating it takes at most: a test of a number or an address is one or two, a glob by the
/// length of its pattern. Known when a policy is read; policies beyond kMostCost a call are refused.
uint64_t CostOf(const Condition& condition);
inline constexpr uint64_t kMostCost = 200'000;

}  // namespace isla::sandbox
