// The scheduler: places pending sessions on nodes.
//
// Order: by the create_revision of spec/, first fit over the connected nodes sorted by name. A session that fits
// nowhere doesn't hold back those behind it; why it fits nowhere is kept in its bind/ (the verdict) and its
// status. One reconciler with one key: each run makes at most one write, a binding before any verdict, and the
// next run waits for the cache to have it. So what is used on a node is always the exact sum over bind/ of
// what this leader and all before it have written.
// It runs again by event: a session comes or changes, a binding goes or releases, a node comes, goes or changes.
// A bind compares the spec's mod_revision (a delete mark wins), the bind's and the status's; not the nodes: the
// agent's admission, which asks the same Fits(), has the last word.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "controllers/runtime/reconciler.h"
#include "controllers/scheduler/launch.h"

namespace isla::controllers {

/// Where a session goes, or why nowhere.
struct Placement {
  const CandidateNode* node = nullptr;  // null: nowhere
  Verdict verdict;                      // if nowhere
  /// A node that refused it is avoided, and may be tried then.
  std::optional<Duration> look_again;
};

/// First fit. `nodes` sorted by name.
Placement Place(const SessionSpec& spec, const Resources& request, const Bind* bind,
                const std::vector<CandidateNode>& nodes, WallTime now);

/// How long a node that refused a session `count` times is left alone: 5 s, doubled each time, at most 5 min.
Duration AvoidFor(int64_t count);

class Scheduler final : public Reconciler {
 public:
  static constexpr const char* kKey = "queue";

  /// `clock` must outlive it.
  Scheduler(store::Keys keys, const Clock& clock) : keys_(std::move(keys)), clock_(clock) {}

  std::string_view name() const override { return "scheduler"; }
  std::vector<std::string> AllKeys(const ClusterState&) const override { return {kKey}; }
  void KeysFor(const Change& change, const ClusterState& state, std::vector<std::string>& keys) const override;
  Decision Reconcile(const std::string& key, const ClusterState& state) const override;

  /// The pure part.
  Decision Decide(const SchedulingView& view, WallTime now) const;

 private:
  Decision BindTo(const SchedulingView& view, const PendingSession& session, const CandidateNode& node,
                  Launch launch, WallTime now) const;
  std::optional<Decision> Explain(const SchedulingView& view, const PendingSession& session, const Placement& placement,
                                  WallTime now) const;
  Decision Write(const SchedulingView& view, const PendingSession& session, const Bind& bind, std::string what,
                 WallTime now) const;

  const store::Keys keys_;
  const Clock& clock_;
};

}  // namespace isla::controllers
