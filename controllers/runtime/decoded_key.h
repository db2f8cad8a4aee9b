// One key of the store, taken apart and decoded: what the ClusterState applies under its lock. Decoding is pure, so it is done before,
// and for a whole list by several threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "controllers/runtime/cluster_state.h"

namespace isla::controllers {

struct DecodedKey {
  store::ParsedKey key;
  std::string text;                          // of the key
  std::shared_ptr<const store::KeyValue> kv;  // null: deleted
  /// The value as the state keeps it. Nothing: deleted, or of a class that is kept as bytes.
  std::variant<std::monostate, StoredPtr<SessionSpec>, StoredPtr<ProjectSpec>, StoredPtr<PolicySpec>, StoredPtr<StatusRecord>,
               StoredPtr<Bind>, StoredPtr<Run>,
               StoredPtr<Node>, StoredPtr<NodeTerm>, StoredPtr<GatewayRecord>, StoredPtr<ManifestVerdict>>
      value;

  /// The value of that type, or null.
  template <typename T>
  StoredPtr<T> As() const {
    const auto* found = std::get_if<StoredPtr<T>>(&value);
    return found == nullptr ? nullptr : *found;
  }
};

/// Nothing for a key outside the prefix. `kv` null: the key was deleted.
std::optional<DecodedKey> DecodeKey(const store::Keys& keys, const std::string& key, const std::shared_ptr<const store::KeyValue>& kv);
/// Those of `kvs` that are inside the prefix, in their order. Blocks; many are decoded by as many threads as there are cores.
std::vector<DecodedKey> DecodeKeys(const store::Keys& keys, const std::vector<std::shared_ptr<const store::KeyValue>>& kvs);

}  // namespace isla::controllers
