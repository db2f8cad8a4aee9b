// Many writes in few transactions, each held by meta/cluster as it was when the writer closed the store: whoever changes that
// key fences the writer off.
#pragma once

#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/base/mutex.h"
#include "api/base/status.h"
#include "store/store.h"

namespace isla::transfer {

/// Ends what runs on another thread. Any thread.
class Stop {
 public:
  void Request();
  /// CANCELLED, if it was requested before `time` passed or already.
  Status Wait(Duration time) const;

 private:
  mutable Mutex mu_;
  mutable CondVar changed_;
  bool requested_ GUARDED_BY(mu_) = false;
};

class Batch {
 public:
  /// `cluster_key`, `fence`: what every transaction compares. All references must outlive it.
  Batch(store::Store& store, const Clock& clock, const Stop& stop, std::string cluster_key, store::Revision fence);

  /// True if `bytes` more, in one more operation, belong in the same transaction.
  bool Fits(size_t bytes) const;
  /// Writes what is there first if it doesn't fit.
  Status Put(const std::string& key, const std::string& value);
  Status Delete(const std::string& key);
  /// The revision of the last transaction. Nothing there: OK, 0. An unknown outcome is tried again, since what is written twice is
  /// the same; so is a store that is away, for a minute. ABORTED: fenced off. CANCELLED: stopped.
  StatusOr<store::Revision> Flush();

 private:
  Status Add(store::Operation operation);

  store::Store& store_;
  const Clock& clock_;
  const Stop& stop_;
  const store::Compare fence_;
  std::vector<store::Operation> operations_;
  size_t bytes_ = 0;
};

}  // namespace isla::transfer
