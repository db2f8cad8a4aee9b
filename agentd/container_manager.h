// The containers of this node: drives each by the table of container_table.h, with systemd, shims, journal and
// timers as interfaces. Level-triggered: Drive looks at what is and what should be, and begins at most one
// thing; whatever ends drives again. Loop thread only.
//
// New versions of the policy of what runs: policy_updates.h.
//
// Start (the order of its steps is the crash safety of the whole)
//   0. A policy that isn't built in is compiled first: a process that leaves nothing.
//   1. The delta's record goes to the journal; without waiting for the disk, the shim is spawned and its scope
//      made: a crash here leaves a shim that sees the end of its socket and exits.
//   2. When the record is durable, the shim ready and the scope there: `created` is written, then go is sent.
//      So: no `created` = the payload never ran, and may be started; `created` = it may have run, and is never
//      started again.
//   3. The shim writes `running`; at the end `exit`, before anything else. The exit goes to the journal, and
//      only when it is durable it is reported and whatever it held may be removed.
// After a restart of agentd (Restore) those files, the shim's socket, systemd's scopes and the journal say where
// each container stands. What nobody knows is kept as an orphan.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agentd/container_table.h"
#include "agentd/journal.h"
#include "agentd/launcher.h"
#include "agentd/policy_updates.h"
#include "agentd/systemd_manager.h"
#include "agentd/timers.h"
#include "api/base/clock.h"
#include "api/base/fits.h"

namespace isla::agent {

struct ContainerManagerOptions {
  std::string boot_id;
  size_t max_starting = 16;  // at once; others wait in the order of acceptance
  Duration start_timeout = std::chrono::seconds(30);
  Duration stop_margin = std::chrono::seconds(5);  // past the grace period, before all is killed
  Duration retry_first = std::chrono::milliseconds(100);
  Duration retry_last = std::chrono::seconds(10);
  // What the scope has beyond the grant, for the shim and its supervisor; and beyond that what its policy's program may take.
  Resources margin{100, int64_t{8} << 20, 16};
  PolicyUpdateOptions policies;
};

class ContainerManager final : public ShimObserver {
 public:
  /// All must outlive this. `changed` is called when what a report would say of a container has changed.
  ContainerManager(ContainerManagerOptions options, Journal& journal, SystemdManager& systemd, Launcher& launcher,
                   Timers& timers, const Clock& clock, std::function<void(const ContainerKey&)> changed);
  ~ContainerManager() override;

  /// Finds out where every container stands; once, at start. `done` when each is known (systemd was asked; as
  /// long as it can't be, this waits and tries again).
  void Restore(std::function<void()> done);

  /// The entry of `key` was put into the journal, by a record that isn't durable yet.
  void OnEntryChanged(const ContainerKey& key);
  /// That record is durable.
  void OnEntryDurable(const ContainerKey& key);
  /// The entry was removed from the journal; it must be gone or refused.
  void Forget(const ContainerKey& key);
  /// It may be dropped from the records: no trace of it is left.
  bool IsGone(const ContainerKey& key) const;

  /// How many may be starting at once from now on; nothing = as it was made. Those that wait and may start now do.
  void SetMaxStarting(std::optional<size_t> most);

  /// The version of its policy that the container's shim was started with; "" if that isn't known.
  std::string PolicyAtStart(const ContainerKey& key) const { return policies_.AtStart(key); }

  Phase PhaseOf(const ContainerKey& key) const;
  isla::v1::ContainerState StateOf(const ContainerKey& key) const;
  /// Everything about the container but the sequence.
  isla::v1::Report MakeReport(const ContainerKey& key) const;
  /// What its containers hold; the sum over those that may have a process.
  Resources Used() const;
  size_t Count() const { return containers_.size(); }
  size_t CountIn(Phase phase) const;

  void OnReady(const ContainerKey& key) override;
  void OnRefused(const ContainerKey& key, const std::string& why) override;
  void OnRunning(const ContainerKey& key, int64_t started_at_ns) override;
  void OnPolicy(const ContainerKey& key, const ShimPolicy& told) override { policies_.OnTold(key, told); }
  void OnExited(const ContainerKey& key) override;
  void OnShimGone(const ContainerKey& key) override;

 private:
  struct Container {
    Phase phase = Phase::kAccepted;
    bool durable = false;      // the journal's newest entry of it
    bool announced = false;    // its acceptance was reported
    bool waiting = false;      // in waiting_
    bool shim_alive = false;
    bool ready = false;
    bool scope_started = false;
    bool scope_unheard = false;  // a start of it had an unknown outcome: a scope of that name may be ours
    bool ending_scope = false;  // EndScope is under way
    bool scope_ended = false;
    bool killed = false;        // all of it was killed, because the grace period and the margin were over
    bool restart = false;       // Adopting: clear the remnants of a start that never got to go, then start
    uint64_t op = 0;            // answers to older questions are ignored
    pid_t shim_pid = 0;
    int64_t program_room = 0;  // what its scope has for its policy's program
    UnitInfo unit;
    int64_t created_at_ns = 0;
    int64_t started_at_ns = 0;
    std::optional<Duration> told_grace;
    std::optional<isla::v1::ExitInfo> failure;  // Ending without a record: this is the exit
    TimerId deadline = 0;
    TimerId retry = 0;
    Duration retry_delay{0};
  };
  using Step = void (ContainerManager::*)(const ContainerKey&, Container&);

  Container* Find(const ContainerKey& key);
  const journal::Entry& EntryOf(const ContainerKey& key) const;
  Desired DesiredOf(const ContainerKey& key) const;
  std::optional<PolicyUpdates::Subject> PolicySubject(const ContainerKey& key) const;
  void SetPhase(const ContainerKey& key, Container& c, Phase phase);
  void Drive(const ContainerKey& key);
  void DriveWaiting();
  void Retry(const ContainerKey& key, Container& c, Step step);
  void CancelTimers(Container& c);
  /// Wraps a continuation of the container's running operation: dropped if the container went on meanwhile.
  template <typename T>
  std::function<void(T)> Then(const ContainerKey& key, Container& c,
                              void (ContainerManager::*next)(const ContainerKey&, Container&, T));

  // Start.
  void Start(const ContainerKey& key, Container& c);
  bool MayStartNow(const ContainerKey& key);
  void OnPolicyReady(const ContainerKey& key, Container& c, Status status);
  void SpawnShim(const ContainerKey& key, Container& c, const LaunchPlan& plan);
  void StartScope(const ContainerKey& key, Container& c);
  void OnScopeStarted(const ContainerKey& key, Container& c, StatusOr<UnitInfo> unit);
  void ReadBackScope(const ContainerKey& key, Container& c);
  void OnScopeReadBack(const ContainerKey& key, Container& c, StatusOr<UnitInfo> unit);
  void ReplaceScope(const ContainerKey& key, Container& c);
  void OnScopeReplaced(const ContainerKey& key, Container& c, Status status);
  void MaybeGo(const ContainerKey& key, Container& c);
  void FailStart(const ContainerKey& key, Container& c, const std::string& step, const Status& status);

  // End.
  void Stop(const ContainerKey& key, Container& c);
  void Abort(const ContainerKey& key, Container& c);
  void End(const ContainerKey& key, Container& c);
  void EndByRecord(const ContainerKey& key, Container& c, const shim::ExitRecord& record);
  void MaybeFinishEnding(const ContainerKey& key, Container& c);
  void WriteExit(const ContainerKey& key, Container& c, isla::v1::ExitInfo exit);

  // The scope and every process in it must go: ask, kill, stop, look again.
  void EndScope(const ContainerKey& key, Container& c);
  void OnScopeSeen(const ContainerKey& key, Container& c, StatusOr<UnitInfo> unit);
  void OnScopeKilled(const ContainerKey& key, Container& c, Status status);
  void OnScopeStopped(const ContainerKey& key, Container& c, Status status);
  void OnScopeEnded(const ContainerKey& key, Container& c);

  // Removal.
  void Clean(const ContainerKey& key, Container& c);
  void CleanFolders(const ContainerKey& key, Container& c);
  void OnCleaned(const ContainerKey& key, Container& c, Status status);

  // Restore.
  void RestoreFrom(const std::vector<UnitInfo>& scopes);
  void AddOrphan(const ContainerKey& key);
  void RemoveRemnant(const ContainerKey& key);
  void Settle(const ContainerKey& key, Container& c, bool has_scope);
  void SettleOrphan(const ContainerKey& key, Container& c, const RunRecords& records, bool has_scope);
  void EndAsLost(const ContainerKey& key, Container& c, const std::string& reason, const std::string& message);

  const ContainerManagerOptions options_;
  Journal& journal_;
  SystemdManager& systemd_;
  Launcher& launcher_;
  Timers& timers_;
  const Clock& clock_;
  const std::function<void(const ContainerKey&)> changed_;

  std::map<ContainerKey, Container> containers_;
  PolicyUpdates policies_;
  std::deque<ContainerKey> waiting_;  // accepted, not yet begun; may hold keys that went on
  size_t starting_ = 0;
  size_t max_starting_ = 0;
  std::function<void()> restored_;
  TimerId restore_retry_ = 0;
  Duration restore_delay_{0};
};

/// The exit as a report tells it.
isla::v1::ExitInfo ToExitInfo(const shim::ExitRecord& record);

}  // namespace isla::agent
