// Closing a store and opening it again: one write of meta/cluster each (api/registry/cluster.h says what closed means).
// Block for a few calls of the store.
#pragma once

#include <string>

#include "api/base/clock.h"
#include "api/base/status.h"
#include "api/registry/cluster.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::transfer {

/// Puts `record.tree` in place of what was read at `record.mod_revision`; the record as it is then. ABORTED: it changed meanwhile.
/// `record.tree` must differ from what is there, so that a lost answer can be read back.
StatusOr<registry::ClusterRecord> WriteCluster(store::Store& store, const store::Keys& keys,
                                               const registry::ClusterRecord& record);

/// `record.tree` closed for this reason, by `by`, at the wall clock's time, under at least `epoch`, and unlike any other closing.
void MarkClosed(registry::ClusterRecord& record, const registry::ClosedRecord& why, int64_t epoch);

/// Ends all writing and deciding, for an export that is to be moved: nothing of this cluster happens after. Idempotent.
/// FAILED_PRECONDITION: closed for an import.
StatusOr<registry::ClusterRecord> Seal(store::Store& store, const store::Keys& keys, const Clock& clock,
                                       const std::string& by);
/// Opens what was sealed; for a move that was given up. Idempotent. FAILED_PRECONDITION: closed for an import.
StatusOr<registry::ClusterRecord> Unseal(store::Store& store, const store::Keys& keys);

}  // namespace isla::transfer
