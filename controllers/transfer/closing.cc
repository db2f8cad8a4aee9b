#include "controllers/transfer/closing.h"

#include <algorithm>

#include "api/base/uuid.h"

namespace isla::transfer {

using registry::ClosedRecord;
using registry::ClusterRecord;
using store::Compare;
using store::Operation;

StatusOr<ClusterRecord> WriteCluster(store::Store& store, const store::Keys& keys, const ClusterRecord& record) {
  const std::string value = json::Serialize(record.tree);
  store::Transaction txn;
  txn.compares = {Compare::ModRevision(keys.Cluster(), record.mod_revision)};
  txn.success = {Operation::Put(keys.Cluster(), value)};
  const StatusOr<store::TxnResult> result = store.Txn(txn);
  if (result.ok() && !result->succeeded) return Error(Code::kAborted, "meta/cluster was changed by somebody else");
  if (result.ok()) return registry::DecodeCluster({keys.Cluster(), value, 0, result->revision, 0, 0});
  if (result.status().code() != Code::kDeadlineExceeded) return result.status();
  ASSIGN_OR_RETURN(const store::GetResult now, store.Get(keys.Cluster()));
  if (now.kv == nullptr || now.kv->value != value || now.kv->mod_revision <= record.mod_revision) return result.status();
  return registry::DecodeCluster(*now.kv);
}

void MarkClosed(ClusterRecord& record, const ClosedRecord& why, int64_t epoch) {
  json::Value closed = json::Value::MakeObject({{"reason", why.reason}});
  if (!why.sha256.empty()) closed.Set("sha256", why.sha256);
  if (why.reason == registry::kClosedForImport) {
    closed.Set("replace", why.replace);
    closed.Set("writing", why.writing);
  }
  closed.Set("at", why.at);
  closed.Set("by", why.by);
  closed.Set("token", RandomHex(8));
  record.tree.Set("epoch", std::max(record.epoch, epoch));
  record.tree.Set("closed", std::move(closed));
}

StatusOr<ClusterRecord> Seal(store::Store& store, const store::Keys& keys, const Clock& clock, const std::string& by) {
  ASSIGN_OR_RETURN(ClusterRecord record, registry::ReadCluster(store, keys));
  if (record.closed && record.closed->reason == registry::kClosedBySeal) return record;
  if (record.closed) return Error(Code::kFailedPrecondition, Message(registry::CheckOpen(record)));
  ClosedRecord why;
  why.reason = registry::kClosedBySeal;
  why.at = FormatRfc3339(clock.Wall(), 6);
  why.by = by;
  // The epoch ends the agents' streams, and tells apart what is done here, if it is opened again, from what is done where
  // the export is imported.
  MarkClosed(record, why, record.epoch + 1);
  return WriteCluster(store, keys, record);
}

StatusOr<ClusterRecord> Unseal(store::Store& store, const store::Keys& keys) {
  ASSIGN_OR_RETURN(ClusterRecord record, registry::ReadCluster(store, keys));
  if (!record.closed) return record;
  if (record.closed->reason != registry::kClosedBySeal) {
    return Error(Code::kFailedPrecondition, Message(registry::CheckOpen(record)));
  }
  record.tree.Remove("closed");
  return WriteCluster(store, keys, record);
}

}  // namespace isla::transfer
