// The life of a container on the node, as one table: what should be x what is -> what to do.
//
//   Accepted -> Starting -> Created -> Running -> Ending -> Exited -> Cleaning -> Gone
//
//   Accepted   in the journal (or on its way there); no process of it
//   Starting   a shim is spawned, its scope is being made; go was not sent: the payload has not run
//   Created    go may have been sent; execve not yet confirmed
//   Running    execve succeeded
//   Ending     its end is known or being made certain (kill what is left, empty cgroup), not yet durable
//   Exited     the exit is in the journal; log and folders are still there
//   Cleaning   scope, folders, ids are being removed
//   Gone       no trace is left; the record stays until the control plane removes it
//   Refused    admission said no: it will never run here
//   Adopting   after a start of agentd: files, shim and scope are being asked; settles into one of the above
//
// Nothing leads back: an incarnation is started at most once. A container that nobody names (an orphan) is
// held as it is. In-flight work (a systemd job, a cleanup) is marked in the container, so that an action that
// the table asks for again is not begun twice.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace isla::agent {

enum class Desired { kRun, kStop, kOrphan };
enum class Phase { kAccepted, kStarting, kCreated, kRunning, kEnding, kExited, kCleaning, kGone, kRefused, kAdopting };
enum class Action {
  kNone,
  kStart,  // spawn the shim, make the scope, go
  kAbort,  // the payload hasn't run: end the shim, then remove
  kStop,   // ask the shim to end the payload, with a deadline
  kClean,  // remove every trace
};

inline constexpr size_t kDesiredCount = 3;
inline constexpr size_t kPhaseCount = 10;

// clang-format off
inline constexpr std::array<std::array<Action, kDesiredCount>, kPhaseCount> kContainerTable = {{
  //                 Run              Stop             Orphan
  /* Accepted */ {{Action::kStart,  Action::kClean,  Action::kNone}},
  /* Starting */ {{Action::kNone,   Action::kAbort,  Action::kNone}},
  /* Created  */ {{Action::kNone,   Action::kStop,   Action::kNone}},
  /* Running  */ {{Action::kNone,   Action::kStop,   Action::kNone}},
  /* Ending   */ {{Action::kNone,   Action::kNone,   Action::kNone}},
  /* Exited   */ {{Action::kNone,   Action::kClean,  Action::kNone}},
  /* Cleaning */ {{Action::kNone,   Action::kNone,   Action::kNone}},
  /* Gone     */ {{Action::kNone,   Action::kNone,   Action::kNone}},
  /* Refused  */ {{Action::kNone,   Action::kNone,   Action::kNone}},
  /* Adopting */ {{Action::kNone,   Action::kNone,   Action::kNone}},
}};
// clang-format on

constexpr Action NextAction(Desired desired, Phase phase) {
  return kContainerTable[static_cast<size_t>(phase)][static_cast<size_t>(desired)];
}

/// Whether a process of it may exist, so that it counts against the node's capacity.
constexpr bool HoldsResources(Phase phase) {
  return phase != Phase::kExited && phase != Phase::kCleaning && phase != Phase::kGone && phase != Phase::kRefused;
}

constexpr std::string_view PhaseName(Phase phase) {
  constexpr std::array<std::string_view, kPhaseCount> kNames = {
      "Accepted", "Starting", "Created", "Running", "Ending", "Exited", "Cleaning", "Gone", "Refused", "Adopting"};
  return kNames[static_cast<size_t>(phase)];
}

}  // namespace isla::agent
