// The bytes of the embedded store's rows on disk: encoding and decoding, nothing else. README.md in this folder has the format
// as a table. Both kinds of row begin with a version and end with a CRC-32C, which covers the row's number or key
// too: a row that was damaged, cut or put in another's place is told. Numbers are LEB128 in their shortest form,
// so that a row has one encoding.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/store.h"

namespace isla::store {

inline constexpr uint8_t kRowVersion = 1;

/// What a row decodes to: KeyValues as in mvcc.h (a deletion has version 0).
using RowChanges = std::vector<std::shared_ptr<const KeyValue>>;

/// A row of `log`: the changes of one transaction, at least one, all with mod_revision `revision`.
std::string EncodeLogRow(Revision revision, const RowChanges& changes);
/// DATA_LOSS: damaged. FAILED_PRECONDITION: of a newer version.
StatusOr<RowChanges> DecodeLogRow(Revision revision, std::string_view row);

/// A row of `live`: one key that is there.
std::string EncodeLiveRow(const KeyValue& kv);
StatusOr<std::shared_ptr<const KeyValue>> DecodeLiveRow(std::string_view key, std::string_view row);

}  // namespace isla::store
