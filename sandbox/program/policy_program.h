// The program tier: the Lua 5.4 functions of a policy's section `program`, for what rules can't say. Used by the supervisor
// (action {"program": "f"}) and, with the same answers, by the policy's decoder and isla-box. sandbox/program/README.md is
// the language for those who write policies.
//
// The source is a tenant's, and hostile. So a state has no library but the few functions of environment.cc, nothing that
// catches an error, no metatables, and three bounds that cannot be got around: bytes (the allocator's), work (instructions, bytes
// allocated and bytes looked at, counted in one sum, so the same on every machine), and processor time (a backstop for machines
// slower than that sum assumes). Whatever goes wrong, the answer is the section's onError, and the state is thrown away.
//
// Thread-safe: calls that come at the same time run in states of their own, which are kept for later ones. What a function keeps
// in its own tables is therefore kept for some calls only; what must be counted is counted by rate(), which all states share.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/base/mutex.h"
#include "sandbox/names/arch.h"
#include "sandbox/policy/policy.h"
#include "sandbox/policy/sections.h"

namespace isla::sandbox {

/// What a function made of a call.
struct ProgramAnswer {
  Action action;      // any kind but kProgram; one that this call can have
  std::string error;  // why it is onError; "" if it is what the function returned
};

/// Strings of a state are at most this long: what looks at one is one instruction.
inline constexpr size_t kMaxProgramString = 64 * 1024;

class LuaState;
class ProgramMemory;
class ProgramRates;

class PolicyProgram {
 public:
  /// Runs nothing: the source is compiled when the first call comes, and if it can't be, every answer is onError.
  PolicyProgram(ProgramSection section, Arch arch);
  ~PolicyProgram();
  PolicyProgram(const PolicyProgram&) = delete;
  PolicyProgram& operator=(const PolicyProgram&) = delete;

  /// What `function` makes of the call. It sees those of the call's facts that are known; `process` is the caller's, 0 if unknown.
  /// Takes up to the section's time, and a little.
  ProgramAnswer Run(const std::string& function, const NotifiedCall& call, pid_t process) const EXCLUDES(mu_);

  /// How many states were made so far: one for each call at a time, and one after each error.
  size_t states_made() const EXCLUDES(mu_);
  /// What its states hold, all together: at most the section's memory.
  size_t memory_used() const;

 private:
  const ProgramSection section_;
  const Arch arch_;
  /// States that nobody uses just now go, with what their tables kept.
  void DropIdle() const EXCLUDES(mu_);

  const std::unique_ptr<ProgramRates> rates_;    // these two: their own synchronisation
  const std::unique_ptr<ProgramMemory> memory_;
  mutable Mutex mu_;
  mutable std::vector<std::unique_ptr<LuaState>> idle_ GUARDED_BY(mu_);
  mutable size_t made_ GUARDED_BY(mu_) = 0;
};

/// What is wrong with a source, or which functions it has.
struct ProgramCheck {
  std::string error;  // "" if nothing is
  int line = 0;       // of the source, from 1; 0 if it can't be told
  std::vector<std::string> functions;  // global ones, sorted
};

/// Compiles the source and runs it, as for a first call. Bounded as a call is, but by work alone: the same on every machine.
ProgramCheck CheckProgram(const ProgramSection& section, Arch arch);

/// Whether the supervisor looks behind pointers of this call before a function is asked: then no function can let the call go on
/// (the kernel would look again, and may find something else), it can have it performed.
bool ProgramSeesPointers(std::string_view call);

}  // namespace isla::sandbox
