// The gateway's lease: gateway/<id>, whose life is the proof that this process watches its agents.
//
// Whoever sees the key gone (the leader above all) may count this gateway's nodes as unwatched. So the gateway itself
// says that it serves only while it knows that the key is there: it reads the key back as its own, again and again,
// and `fresh` holds for a third of the lease's time from the moment that the last such read was *sent*. A pong
// is an answer for that long; the agent counts from its ping, so no agent believes longer than the key lives.
// When the lease is lost `on_lost` is called, and a new one is taken as soon as the store allows.
// Threads: one of its own, and the HeldLease's; all methods from any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/mutex.h"
#include "controllers/runtime/held_lease.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::controllers {

struct GatewayLeaseOptions {
  std::string id;
  std::string value;  // of gateway/<id>
  std::chrono::seconds ttl{10};
};

class GatewayLease {
 public:
  /// Begins to take it. `on_lost` (from a thread of this, after a time of being held) must not destroy this.
  GatewayLease(store::Store& store, store::Keys keys, const Clock& clock, GatewayLeaseOptions options,
               std::function<void()> on_lost);
  ~GatewayLease() { Stop(); }
  /// The lease is ended at once, and the key with it. Idempotent; blocks for a round trip.
  void Stop();

  /// Read back as our own not longer than ttl/3 ago.
  bool fresh() const;
  /// The key's create_revision while it is held, else 0: a transaction that compares it holds only as long as the key lives.
  store::Revision create_revision() const;
  /// Waits until it is fresh; false if `timeout` passes first.
  bool WaitFresh(Duration timeout);

 private:
  void Run();
  /// Grants a lease and puts the key.
  Status Acquire();
  /// NOT_FOUND: the key isn't ours any more.
  Status ReadBack();
  void Lost(const Status& why);
  /// False: stopping.
  bool Sleep(Duration time);

  store::Store& store_;
  const store::Keys keys_;
  const Clock& clock_;
  const GatewayLeaseOptions options_;
  const std::function<void()> on_lost_;
  const Logger log_{"gateway"};

  std::unique_ptr<HeldLease> lease_;  // the thread's own

  mutable Mutex mu_;
  CondVar changed_;
  MonotonicTime fresh_until_ GUARDED_BY(mu_){};
  store::Revision create_revision_ GUARDED_BY(mu_) = 0;
  bool gone_ GUARDED_BY(mu_) = false;  // the HeldLease said so
  bool stop_ GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace isla::controllers
