// The leader's pen: commits transactions that hold only while this process leads.
//
// Each transaction gets two more compares: lead/controllers still has the create_revision that this leader won
// with (the fencing token), and meta/cluster is the one that the decision was made under. So a leader that was
// frozen past its lease, or missed a restore, writes nothing, whatever it believes.
// Threads: any. Blocks for a store round trip, two if the outcome was unknown.
#pragma once

#include <vector>

#include "api/base/status.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::controllers {

class FencedWriter {
 public:
  /// `token`: the create_revision of lead/controllers. `store` must outlive it.
  FencedWriter(store::Store& store, store::Keys keys, store::Revision token);

  struct Outcome {
    /// OK: committed. ABORTED: a compare of the transaction failed: the decision was stale, or meta/cluster changed.
    /// FAILED_PRECONDITION: fenced off, another leads or nobody. DEADLINE_EXCEEDED: unknown, and reading back
    /// didn't tell. UNAVAILABLE: nothing was done.
    Status status;
    /// OK: the commit's revision; ABORTED: the newest mod_revision of the keys concerned. The key must not be
    /// looked at again before the cache has reached it. 0: not known.
    store::Revision revision = 0;
    bool fenced_off = false;
  };
  /// `cluster_revision`: meta/cluster's mod_revision in the view that was decided on; 0 never commits.
  Outcome Commit(store::Transaction txn, store::Revision cluster_revision) const;

  /// The compare that fences a write done elsewhere (the registry compares meta/cluster itself).
  std::vector<store::Compare> Conditions() const;
  store::Revision token() const { return token_; }

 private:
  Outcome Failed(const store::TxnResult& result) const;
  Outcome ReadBack(const store::Transaction& txn, const Status& unknown) const;

  store::Store& store_;
  const store::Keys keys_;
  const store::Revision token_;
};

/// Commits without a leader's fence, for the gateway, whose own compares fence it: the same treatment of
/// unknown outcomes.
FencedWriter::Outcome CommitReadingBack(store::Store& store, const store::Transaction& txn);

}  // namespace isla::controllers
