// Writes a file (api/archive/format.h) into a store, as a restored backup: one cluster moves in, whole or not at all, as far as
// anybody who acts on it can see.
//
//   check    the whole file: its lines, its end, every value                                nothing is written before
//   close    meta/cluster says "closed for import, of this file", under a greater epoch     from here on nobody else writes,
//            (then that it is being written, once the store was seen to be empty)            leads or serves agents
//   write    what isn't there as it should be, what is too many goes; batches, each comparing meta/cluster
//   verify   everything once more, as the store has it
//   open     meta/cluster is the file's cluster, under that epoch, and names the file
//
// If this process dies in between, the store stays closed, whoever looks is told why, and the import of the same file, by
// any islad, finishes it: what is there already isn't written again. A second one at the same time fences the first off.
//
// No incarnation is started twice. Every placement of the file is of an older epoch than the store's: its Run reaches only an
// agent whose own journal has the container (controllers/gateway/desired_state.h), any other is refused and gets an
// incarnation of the new epoch's range (controllers/runtime/records.h), in which none was ever given out. The streams of agents
// end when the store is closed, since the epoch is raised with it.
//
// Not as in the file: a node is registered but not connected until its agent says so; terms of nodes never fall below what
// this store has; verdicts of the inbox speak of the manifests' new revisions, or of none, so that none is applied
// again; sessions are written in the order of their creation, so that they wait in line as before.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/base/clock.h"
#include "api/base/json.h"
#include "api/base/log.h"
#include "api/base/status.h"
#include "api/registry/cluster.h"
#include "controllers/transfer/batch.h"
#include "controllers/transfer/import_file.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::transfer {

struct ImportOptions {
  std::string by;
  bool dry_run = false;       // everything but the writing
  bool replace = false;       // what is there goes, but registered nodes
  bool keep_invalid = false;  // write what makes no sense as it is
};

struct ImportResult {
  std::string cluster_id;
  std::string sha256;
  int64_t epoch = 0;
  std::map<std::string, uint64_t> classes;  // of the file
  uint64_t written = 0, deleted = 0, unchanged = 0, invalid = 0;
  bool dry_run = false;
  bool resumed = false;  // another had begun
  bool already = false;  // this file was imported before: nothing was done
};
json::Value ToJson(const ImportResult& result);

class Importer {
 public:
  /// What it does ("checking", "writing", "writing sessions", "writing manifests", "verifying") and how many of all its keys it has done. From the thread of Run.
  using Progress = std::function<void(std::string_view phase, uint64_t done, uint64_t all)>;

  /// All must outlive it.
  Importer(store::Store& store, const Clock& clock, const Stop& stop, store::Keys keys, ImportOptions options,
           Progress progress);

  /// Once. `fd` holds the file. INVALID_ARGUMENT: the file is wrong, and nothing was written. FAILED_PRECONDITION: the store has a
  /// cluster already, or half of another import; nothing was written. Anything else: the text says whether the store is closed.
  StatusOr<ImportResult> Run(int fd);

 private:
  class Target;
  enum class Pass { kCount, kWrite, kVerify };

  Status CheckCluster(registry::ClusterRecord& cluster);
  Status CheckEmpty();
  Status CheckNodes();
  Status Close(registry::ClusterRecord& cluster);
  Status Reopen(registry::ClusterRecord& cluster);
  Status Open(const registry::ClusterRecord& cluster);
  Status Write();

  /// Goes through file and store side by side.
  Status Merge(Pass pass);
  bool Postpone(const ImportFile::Item& item);
  Status OnlyInFile(Pass pass, const ImportFile::Item& item);
  Status InBoth(Pass pass, const ImportFile::Item& item, const store::KeyValue& kv);
  Status OnlyInStore(Pass pass, const store::KeyValue& kv);
  Status VerifyBoth(const ImportFile::Item& item, const store::KeyValue& kv);
  Status WriteSessions();
  Status WriteManifests();
  bool IsSpare(const store::KeyValue& kv) const;
  std::string Wanted(const ImportFile::Item& item, const store::KeyValue* kv) const;
  Status Done(std::string_view phase, uint64_t all);

  store::Store& store_;
  const Clock& clock_;
  const Stop& stop_;
  const store::Keys keys_;
  const ImportOptions options_;
  const Progress progress_;
  const Logger log_{"import"};

  std::unique_ptr<ImportFile> file_;
  FileFacts facts_;
  bool resume_ = false;
  bool replace_ = false;  // options_.replace, or that of who began
  std::unique_ptr<Batch> batch_;
  ImportResult result_;
  uint64_t done_ = 0;
  // For the end of the writing: creation and place of session specs, places of the inbox's keys.
  std::vector<std::pair<int64_t, uint64_t>> sessions_;
  std::vector<uint64_t> manifests_;
  std::vector<uint64_t> verdicts_;
  std::map<std::string, store::Revision> manifest_revisions_;  // by "namespace/name": as they are in the store
};

}  // namespace isla::transfer
