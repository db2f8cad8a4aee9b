// What a transaction must satisfy before any backend sees it, so that both refuse the same things with the
// same codes. Used by the backends only.
#pragma once

#include <cstddef>

#include "api/base/status.h"
#include "store/store.h"

namespace isla::store {

inline constexpr size_t kMaxTransactionParts = 128;  // compares; operations of a branch (etcd: --max-txn-ops)
/// Keys, values and 32 bytes a part. etcd's --max-request-bytes is 1.5 MiB for the encoded request with its
/// envelope; the part's 32 bytes and the KiB left free keep us below it whatever the contents.
inline constexpr size_t kMaxTransactionBytes = 1536 * 1024 - 1024;

/// INVALID_ARGUMENT: an empty key, a key written twice (or within a prefix that is deleted), a write in
/// `failure`. RESOURCE_EXHAUSTED: too many parts or bytes.
Status CheckTransaction(const Transaction& txn);

}  // namespace isla::store
