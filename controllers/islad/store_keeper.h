// The store's own endpoints for the API server: runs exports and imports (controllers/transfer) on threads of its own, and
// hands their text to the connections piece by piece.
//
// An export is read from the store as fast as its client takes it: at most kPiecesAhead pieces wait in memory. An import
// waits whole on this machine's disk, in a file without a name in the data folder, which is gone with the process; it
// goes on when its client goes away, and ends at this process's end, between two transactions.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/server/store_admin.h"
#include "api/server/worker_pool.h"
#include "controllers/transfer/batch.h"
#include "store/cache/watch_cache.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::islad {

inline constexpr int kMaxExports = 4;
inline constexpr int kMaxUploads = 2;
inline constexpr size_t kPiecesAhead = 2;
inline constexpr uint64_t kMaxUploadBytes = uint64_t{16} << 30;

class StoreKeeper final : public server::StoreAdmin {
 public:
  /// `cache`: watches `store`. `spool_dir`: where uploads wait. All references must outlive it.
  StoreKeeper(store::Store& store, store::WatchCache& cache, const Clock& clock, store::Keys keys, std::string spool_dir);
  /// Ends the import that is under way between two transactions, waits for calls of the store. No stream that it gave out may
  /// be used any more but to be destroyed.
  ~StoreKeeper() override;

  StatusOr<std::unique_ptr<server::BodyStream>> Export(const registry::Caller& caller) override;
  StatusOr<std::shared_ptr<server::BodySink>> BeginUpload(const registry::Caller& caller) override;
  StatusOr<std::unique_ptr<server::BodyStream>> Import(const registry::Caller& caller,
                                                       std::shared_ptr<server::BodySink> uploaded,
                                                       const server::StoreImport& options) override;
  StatusOr<json::Value> Seal(const registry::Caller& caller) override;
  StatusOr<json::Value> Unseal(const registry::Caller& caller) override;
  StatusOr<server::StoreKey> GetKey(const std::string& key) override;
  StatusOr<server::StoreKeys> ListKeys(const std::string& prefix, const std::string& after, size_t limit) override;
  StatusOr<server::StoreKey> PutKey(const registry::Caller& caller, const std::string& key, const std::string& value,
                                    const server::StorePut& options) override;

 private:
  /// One of a bounded number; given back when the last copy goes.
  using Ticket = std::shared_ptr<void>;
  static Ticket Take(const std::shared_ptr<std::atomic<int>>& count, int most);

  store::Store& store_;
  store::WatchCache& cache_;
  const Clock& clock_;
  const store::Keys keys_;
  const std::string spool_dir_;
  const Logger log_{"store"};
  // Shared with what may outlive this by a moment.
  const std::shared_ptr<std::atomic<int>> exports_ = std::make_shared<std::atomic<int>>(0);
  const std::shared_ptr<std::atomic<int>> uploads_ = std::make_shared<std::atomic<int>>(0);
  const std::shared_ptr<std::atomic<int>> imports_ = std::make_shared<std::atomic<int>>(0);
  transfer::Stop stop_;
  server::WorkerPool readers_;  // for exports
  server::WorkerPool writer_;   // for the import
};

}  // namespace isla::islad
