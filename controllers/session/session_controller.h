// The session controller: copies what the nodes observed (run/) into the status of sessions, releases what has
// ended, stops and removes what was deleted. One key a session: "ns/name".
//
// desired x observed -> action (the first row that fits):
//
//   spec    bind          run              action
//   ------  ------------  ---------------  ----------------------------------------------------------------
//   none    none          -                delete a status that was left over
//   none    some          -                nothing: absence is never a command
//   broken  -             -                nothing: served as it is, in nobody's way
//   other   of older uid  not Gone         Stop the older object's containers (its name was taken again)
//   other   of older uid  Gone             delete that bind/ and its run/
//   going   none/no place -                delete spec, status, bind together
//   going   Run           -                bind: Stop, with the grace period; status: Terminating
//   going   Stop          not Gone         status as observed
//   going   Stop          Gone, refused    delete spec, status, bind, run together
//   lives   placed        refused (nack)   back to Pending, incarnation + 1, the node avoided for a while
//   lives   placed        Exited, Gone     status: Succeeded or Failed; bind: released, in the same transaction
//   lives   placed        other, none      status as observed; when a phase's deadline passes, conditions say so;
//                                          bind: the version that its SandboxPolicy has now, if it names another
//   lives   no place      -                nothing: the scheduler's
#pragma once

#include <string>
#include <vector>

#include "api/base/clock.h"
#include "controllers/runtime/reconciler.h"

namespace isla::controllers {

class SessionController final : public Reconciler {
 public:
  /// `clock` must outlive it.
  SessionController(store::Keys keys, const Clock& clock) : keys_(std::move(keys)), clock_(clock) {}

  std::string_view name() const override { return "session"; }
  int workers() const override { return 4; }
  std::vector<std::string> AllKeys(const ClusterState& state) const override;
  void KeysFor(const Change& change, const ClusterState& state, std::vector<std::string>& keys) const override;
  Decision Reconcile(const std::string& key, const ClusterState& state) const override;

  /// The pure part.
  Decision Decide(const SessionView& view, WallTime now) const;

 private:
  Decision WithoutSpec(const SessionView& view) const;
  Decision OlderBind(const SessionView& view) const;
  Decision Deleting(const SessionView& view, WallTime now) const;
  Decision Placed(const SessionView& view, WallTime now) const;
  Decision Refused(const SessionView& view, const RunNack& nack, WallTime now) const;
  /// `bind` has none any more: the session is Pending again, and the keys of what was refused go.
  Decision WithoutContainer(const SessionView& view, const Bind& bind, WallTime now) const;
  Decision Remove(const SessionView& view) const;
  /// Status as the facts say, with `bind` in place of the stored one if it isn't null.
  Decision Observe(const SessionView& view, const Bind* bind, WallTime now) const;
  std::vector<store::Compare> Compares(const SessionView& view) const;
  void DeleteRuns(const SessionView& view, std::vector<store::Operation>& operations) const;

  const store::Keys keys_;
  const Clock& clock_;
};

}  // namespace isla::controllers
