// A get at a revision of the past.
#pragma once

#include "api/base/status.h"
#include "store/store.h"

namespace isla::store {

/// The key as it was at `revision`. OUT_OF_RANGE: compacted, or in the future. As Store::List.
StatusOr<GetResult> GetAt(Store& store, const Key& key, Revision revision, Deadline deadline = kDefaultDeadline);

}  // namespace isla::store
