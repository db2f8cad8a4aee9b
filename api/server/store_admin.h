// What an administrator does with the store as a whole, and with single raw keys: the server's side of
// /apis/isla/v1/store/..., which islad's main fills (controllers/transfer does the work).
// Threads: every method from any thread, several at once. All but BeginUpload may block for a few calls of the store.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"
#include "api/registry/registry.h"
#include "api/server/http.h"

namespace isla::server {

struct StoreImport {
  bool dry_run = false;
  bool replace = false;
  bool keep_invalid = false;
};

struct StorePut {
  store::Revision revision = 0;
  bool force = false;
  bool dry_run = false;
};

struct StoreKey {
  std::string key;        // without the store's prefix
  std::string key_class;  // "spec", ...
  store::KeyValue kv;
};

struct StoreKeys {
  std::vector<StoreKey> keys;  // in order
  store::Revision revision = 0;
  bool more = false;
};

class StoreAdmin {
 public:
  virtual ~StoreAdmin() = default;

  /// The text of an export; what goes wrong after it began is its last line. RESOURCE_EXHAUSTED: too many are read.
  virtual StatusOr<std::unique_ptr<BodyStream>> Export(const registry::Caller& caller) = 0;

  /// Where the body of an import goes, on a disk, until Import. Never blocks long: called on an I/O thread.
  virtual StatusOr<std::shared_ptr<BodySink>> BeginUpload(const registry::Caller& caller) = 0;
  /// Lines of JSON: {"progress": {"phase": S, "done": N, "all": N}} now and then, then {"result": {...}} or {"error": a Status}. It goes
  /// on if nobody reads. ABORTED: another import is under way here.
  virtual StatusOr<std::unique_ptr<BodyStream>> Import(const registry::Caller& caller, std::shared_ptr<BodySink> uploaded,
                                                       const StoreImport& options) = 0;

  /// {"sealed": B, "cluster": S, "epoch": N}
  virtual StatusOr<json::Value> Seal(const registry::Caller& caller) = 0;
  virtual StatusOr<json::Value> Unseal(const registry::Caller& caller) = 0;

  virtual StatusOr<StoreKey> GetKey(const std::string& key) = 0;
  virtual StatusOr<StoreKeys> ListKeys(const std::string& prefix, const std::string& after, size_t limit) = 0;
  virtual StatusOr<StoreKey> PutKey(const registry::Caller& caller, const std::string& key, const std::string& value,
                                    const StorePut& options) = 0;
};

}  // namespace isla::server
