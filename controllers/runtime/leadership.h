// Leadership: campaigns for lead/controllers, and runs the controllers while it holds it.
//
//   campaign  waits, by the cache's events, until the store is open and lead/controllers is missing; puts it with a lease, compared
//             on its absence. The create_revision it gets is the fencing token of this term.
//   settle    waits until the cache has passed the token: a leader decides nothing before.
//   lead      runs a ControllerSet, until the lease is lost, the key is another's, a write was fenced off, the store is
//             closed, or this process stops. Then it decides nothing more, drains what is in flight, and campaigns again.
// At a clean stop the lease is released, so that another takes over at once. A key left by a dead process of
// this very machine (same boot, same pid namespace, no such pid) is taken over without waiting for its
// lease: safe, because the token changes and fences the old one off whatever it does.
//
// The lease makes a second leader unlikely; the token in every write makes it harmless.
// Threads: one of its own, and those of the ControllerSet while it leads.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/metrics.h"
#include "api/base/mutex.h"
#include "controllers/runtime/controller_set.h"
#include "controllers/runtime/held_lease.h"
#include "controllers/runtime/informer.h"

namespace isla::controllers {

/// What lead/controllers holds: {"id", "instance", "host", "pid"}.
struct LeadRecord {
  std::string id;        // the islad's name
  std::string instance;  // of this process
  std::string host;      // boot id and pid namespace
  int64_t pid = 0;
};
std::string Encode(const LeadRecord& record);
StatusOr<LeadRecord> DecodeLead(std::string_view bytes);
/// This process.
LeadRecord OwnLeadRecord(const std::string& id);
/// A process of this machine and pid namespace that isn't there any more.
bool IsDead(const LeadRecord& record, const LeadRecord& own);

struct LeadershipOptions {
  std::string id;
  std::chrono::seconds ttl{10};
  Metrics* metrics = nullptr;
  /// Started once a term has settled, destroyed when it ends: what only a leader does besides reconciling.
  std::function<std::shared_ptr<void>(store::Revision token)> while_leading;
};

class Leadership : public ChangeListener {
 public:
  /// All references must outlive it.
  Leadership(store::Store& store, const ClusterState& state, Listeners& listeners, const Clock& clock,
             const std::vector<std::unique_ptr<Reconciler>>& reconcilers, LeadershipOptions options);
  /// Ends the term if there is one, releases the lease, joins.
  ~Leadership() override;

  /// True while the controllers of this process decide.
  bool leading() const { return leading_; }

  void OnChanges(const std::vector<Change>& changes, store::Revision revision) override;
  void OnReset() override;

 private:
  /// What was seen when a campaign was decided on, and is compared when it is carried out.
  struct Vacancy {
    std::shared_ptr<const store::KeyValue> dead;  // the key of a dead process; null: there is no key
  };

  void Run();
  /// Waits until the lead key is missing or its holder is dead; nothing if stopping.
  std::optional<Vacancy> WaitForVacancy();
  StatusOr<store::Revision> Campaign(const Vacancy& vacancy, HeldLease& lease);
  void Lead(HeldLease& lease, store::Revision token);
  /// Sleeps until an event or `timeout`; false if stopping.
  bool Wait(Duration timeout);
  bool Stopping();
  void Poke();

  store::Store& store_;
  const ClusterState& state_;
  Listeners& listeners_;
  const Clock& clock_;
  const std::vector<std::unique_ptr<Reconciler>>& reconcilers_;
  const LeadershipOptions options_;
  const LeadRecord own_;
  const Logger log_{"leader"};
  const Gauge leading_gauge_;
  const Counter terms_;

  std::atomic<bool> leading_{false};
  std::atomic<bool> lost_{false};  // of the present term
  Mutex mu_;
  CondVar wake_;
  bool poked_ GUARDED_BY(mu_) = false;
  bool stop_ GUARDED_BY(mu_) = false;
  std::jthread thread_;
};

}  // namespace isla::controllers
