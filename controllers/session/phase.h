// The life of a session: one table of phases, their drivers, deadlines and edges. A unit test walks it.
//
//   Pending -> Scheduled -> Preparing -> Running -> Succeeded | Failed
//   Scheduled, Preparing, Running -> Pending   refused by its node, lost: incarnation + 1
//   any -> Terminating                         it was deleted; then its keys go, all in one transaction
//   Terminating -> Cancelled                   only as `result`: the object is about to vanish
//
// Every phase that isn't final has a driver (who moves it on), a deadline with a reason (what its conditions
// say once it has taken too long: nothing is stuck in silence) and at least one way out. A deadline reports,
// it never kills: what ends a container is its own timeout, on its node.
#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <span>
#include <string_view>

#include "api/base/clock.h"

namespace isla::controllers {

enum class Phase { kPending, kScheduled, kPreparing, kRunning, kTerminating, kSucceeded, kFailed, kCancelled };

/// Who moves a session out of a phase.
enum class Driver { kNobody, kScheduler, kAgent, kPayload, kUser };

/// What is added to the deadline of the table.
enum class DeadlinePlus {
  kNothing,
  kTimeout,      // spec.timeout; without one the phase may last for ever, and that is what was asked for
  kGracePeriod,  // what the containers may take to end
};

struct PhaseRow {
  Phase phase;
  std::string_view name;
  bool final;
  Driver driver;
  Duration deadline;
  DeadlinePlus plus;
  std::string_view overdue_reason;   // of the condition Ready, when the deadline has passed
  std::string_view overdue_message;
  std::array<Phase, 4> next;         // the ways out; filled up with the phase itself
};

inline constexpr std::array<PhaseRow, 8> kPhases = {{
    {Phase::kPending, "Pending", false, Driver::kScheduler, std::chrono::seconds(10), DeadlinePlus::kNothing,
     "NoVerdict", "the scheduler has not looked at it yet",
     {Phase::kScheduled, Phase::kTerminating, Phase::kPending, Phase::kPending}},
    {Phase::kScheduled, "Scheduled", false, Driver::kAgent, std::chrono::seconds(15), DeadlinePlus::kNothing,
     "NodeNotResponding", "its node has not accepted it yet",
     {Phase::kPreparing, Phase::kPending, Phase::kTerminating, Phase::kFailed}},
    {Phase::kPreparing, "Preparing", false, Driver::kAgent, std::chrono::seconds(60), DeadlinePlus::kNothing,
     "StartingTakesLong", "its node has accepted it, but has not started it yet",
     {Phase::kRunning, Phase::kFailed, Phase::kPending, Phase::kTerminating}},
    {Phase::kRunning, "Running", false, Driver::kPayload, std::chrono::seconds(60), DeadlinePlus::kTimeout,
     "TimeoutNotEnforced", "it has run past its timeout, and its node has not reported its end",
     {Phase::kSucceeded, Phase::kFailed, Phase::kPending, Phase::kTerminating}},
    {Phase::kTerminating, "Terminating", false, Driver::kAgent, std::chrono::seconds(30),
     DeadlinePlus::kGracePeriod, "StoppingTakesLong", "its node has not reported yet that nothing is left of it",
     {Phase::kCancelled, Phase::kSucceeded, Phase::kFailed, Phase::kTerminating}},
    {Phase::kSucceeded, "Succeeded", true, Driver::kUser, Duration::zero(), DeadlinePlus::kNothing, "", "",
     {Phase::kTerminating, Phase::kSucceeded, Phase::kSucceeded, Phase::kSucceeded}},
    {Phase::kFailed, "Failed", true, Driver::kUser, Duration::zero(), DeadlinePlus::kNothing, "", "",
     {Phase::kTerminating, Phase::kFailed, Phase::kFailed, Phase::kFailed}},
    {Phase::kCancelled, "Cancelled", true, Driver::kNobody, Duration::zero(), DeadlinePlus::kNothing, "", "",
     {Phase::kCancelled, Phase::kCancelled, Phase::kCancelled, Phase::kCancelled}},
}};

constexpr const PhaseRow& RowOf(Phase phase) { return kPhases[static_cast<size_t>(phase)]; }
constexpr std::string_view PhaseName(Phase phase) { return RowOf(phase).name; }

constexpr std::optional<Phase> ParsePhase(std::string_view name) {
  for (const PhaseRow& row : kPhases) {
    if (row.name == name) return row.phase;
  }
  return std::nullopt;
}

/// Whether the table has an edge from one phase straight to another.
constexpr bool CanFollow(Phase from, Phase to) {
  if (from == to) return false;
  for (const Phase next : RowOf(from).next) {
    if (next == to) return true;
  }
  return false;
}

}  // namespace isla::controllers
