// The leases of the embedded store: which keys each one holds and when it ends. No locks, no clock.
//
// The keys follow what was applied (mvcc.h), also what isn't committed yet, so Follow has its opposite. A lease that a
// transaction not yet committed ends is "ending": it takes no keys and can't be renewed, but comes back if the transaction
// is undone.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "store/store.h"

namespace isla::store {

class Leases {
 public:
  /// The ids that it gives begin after `last`.
  explicit Leases(LeaseId last = 0) : last_(last) {}

  LeaseId Grant(std::chrono::seconds ttl, MonotonicTime now);
  /// It is there, and isn't ending.
  bool Lives(LeaseId lease) const;
  /// The time to live from now, or nothing: no such lease, or its time is over.
  std::optional<std::chrono::seconds> KeepAlive(LeaseId lease, MonotonicTime now);
  /// The keys that it holds, sorted.
  std::vector<std::string> KeysOf(LeaseId lease) const;
  void SetEnding(LeaseId lease, bool ending);
  void Forget(LeaseId lease);

  /// Follows one change: a put attaches its key to the new lease and takes it from the old one.
  void Follow(const Event& event);
  void Unfollow(const Event& event);

  /// The leases whose time is over and that aren't ending.
  std::vector<LeaseId> Expired(MonotonicTime now) const;
  /// When the next one of the others ends, if there is any.
  std::optional<MonotonicTime> NextExpiry() const;

 private:
  struct Lease {
    std::chrono::seconds ttl{};
    MonotonicTime ends;
    std::set<std::string> keys;
    bool ending = false;
  };
  void Attach(const KeyValue* kv);
  void Detach(const KeyValue* kv);

  std::map<LeaseId, Lease> leases_;
  LeaseId last_;
};

}  // namespace isla::store
