// meta/cluster: which cluster a store holds, how often it was restored, and whether it is closed. Every transaction of
// isla compares this key, so that a change of it stops all that was decided before.
//
// A store is closed while its content isn't a cluster that anybody may act on: half of an import, or one that was sealed to
// be moved elsewhere. Then the API refuses writes, no islad leads, and no agent is served; reading goes on. Whoever
// closes a store raises the epoch in the same write, so that the agents' streams end before anything else changes, and what
// was bound until then counts as bound before a restore (controllers/gateway/desired_state.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "api/base/json.h"
#include "api/base/status.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::registry {

/// Of meta/cluster: the newest format that this isla writes.
inline constexpr int64_t kKnownLevel = 1;

/// The reasons of a closed store. Another word is a newer islad's: closed too.
inline constexpr std::string_view kClosedForImport = "import";
inline constexpr std::string_view kClosedBySeal = "seal";

struct ClosedRecord {
  std::string reason;
  std::string sha256;    // import: of the file
  bool replace = false;  // import: what was there goes
  bool writing = false;  // import: the store was found to be fit for it, and may hold a part of the file
  std::string at;
  std::string by;
};

/// meta/cluster as every transaction compares it.
struct ClusterRecord {
  std::string id;
  int64_t epoch = 0;
  int64_t level = 0;
  store::Revision mod_revision = 0;
  std::optional<ClosedRecord> closed;
  std::string imported_sha256;  // of the file that was imported last; "" = none
  json::Value tree;             // as it was read: members of a newer islad are kept
};

/// INTERNAL if it can't be read.
StatusOr<ClusterRecord> DecodeCluster(const store::KeyValue& kv);
/// NOT_FOUND if there is none.
StatusOr<ClusterRecord> ReadCluster(store::Store& store, const store::Keys& keys);

/// OK, or why nothing is written: UNAVAILABLE during an import, FAILED_PRECONDITION after a seal. The text is for people.
Status CheckOpen(const ClusterRecord& cluster);
/// The same of the key; OK if there is none or it can't be read.
Status CheckOpen(const store::KeyValue* cluster);

}  // namespace isla::registry
