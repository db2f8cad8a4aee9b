// Whether a container fits on a node: the one rule, shared by the scheduler (which places) and by the agent's
// admission (which has the last word), so that the two can't disagree for ever. Pure functions, any thread.
//
// `used` is a sum over the containers that hold resources on the node: in the scheduler over the entries of
// bind/ that aren't released, in the agent over its journal. Nothing is counted up and down.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace isla {

/// What a container asks for, what a node has, or a sum of such. All values are at least 0.
struct Resources {
  int64_t cpu_millis = 0;
  int64_t memory_bytes = 0;
  int64_t tasks = 0;

  friend bool operator==(const Resources&, const Resources&) = default;
};

/// a + b; stays at the greatest number instead of overflowing.
Resources Add(const Resources& a, const Resources& b);

enum class Fit { kFits, kOutOfCpu, kOutOfMemory, kOutOfTasks };

/// Whether `request` fits into what `used` leaves of `capacity`; the first resource that doesn't, in the order
/// cpu, memory, tasks. A node whose capacity was lowered below `used` has nothing left.
Fit Fits(const Resources& request, const Resources& capacity, const Resources& used);

/// One word for a Nack or a verdict: "OutOfCpu", "OutOfMemory", "OutOfTasks"; "" for kFits.
std::string_view FitReason(Fit fit);

/// "cpu: asks for 2000m, 500m of 4000m are free"; "" for kFits.
std::string FitMessage(Fit fit, const Resources& request, const Resources& capacity, const Resources& used);

}  // namespace isla
