#include "controllers/runtime/fenced_writer.h"

#include <algorithm>

namespace isla::controllers {

using store::Compare;
using store::Operation;

namespace {

/// The revision of the keys that `txn` has for this key before it was committed: what it compares, or -1.
store::Revision ComparedRevision(const store::Transaction& txn, const std::string& key) {
  for (const Compare& compare : txn.compares) {
    if (compare.key == key && compare.target == Compare::Target::kModRevision && compare.op == Compare::Op::kEqual) {
      return compare.number;
    }
  }
  return -1;
}

}  // namespace

FencedWriter::FencedWriter(store::Store& store, store::Keys keys, store::Revision token)
    : store_(store), keys_(std::move(keys)), token_(token) {}

std::vector<Compare> FencedWriter::Conditions() const {
  return {Compare::CreateRevision(keys_.Lead(), token_)};
}

FencedWriter::Outcome FencedWriter::Commit(store::Transaction txn, store::Revision cluster_revision) const {
  if (cluster_revision == 0) {
    return {Errorf(Code::kAborted, "'{}' isn't in the cache", keys_.Cluster()), 0, false};
  }
  // The failure branch says why: first the lead key, then meta/cluster, then what would have been written.
  txn.failure = {Operation::Get(keys_.Lead()), Operation::Get(keys_.Cluster())};
  for (const Operation& operation : txn.success) {
    const bool writes = operation.kind == Operation::Kind::kPut || operation.kind == Operation::Kind::kDelete;
    if (writes && txn.failure.size() < 100) txn.failure.push_back(Operation::Get(operation.key));
  }
  txn.compares.push_back(Compare::CreateRevision(keys_.Lead(), token_));
  txn.compares.push_back(Compare::ModRevision(keys_.Cluster(), cluster_revision));
  const StatusOr<store::TxnResult> result = store_.Txn(txn);
  if (!result.ok()) {
    if (result.status().code() != Code::kDeadlineExceeded) return {result.status(), 0, false};
    return ReadBack(txn, result.status());
  }
  if (!result->succeeded) return Failed(*result);
  return {OkStatus(), result->revision, false};
}

FencedWriter::Outcome FencedWriter::Failed(const store::TxnResult& result) const {
  const store::KeyValue* lead = result.gets.empty() ? nullptr : result.gets[0].get();
  if (lead == nullptr || lead->create_revision != token_) {
    return {Errorf(Code::kFailedPrecondition, "not the leader any more (token {}, now {})", token_,
                   lead == nullptr ? 0 : lead->create_revision),
            0, true};
  }
  store::Revision newest = 0;
  for (const auto& kv : result.gets) {
    if (kv != nullptr) newest = std::max(newest, kv->mod_revision);
  }
  return {Error(Code::kAborted, "what the decision was made on has changed"), newest, false};
}

FencedWriter::Outcome FencedWriter::ReadBack(const store::Transaction& txn, const Status& unknown) const {
  for (const Operation& operation : txn.success) {
    if (operation.kind != Operation::Kind::kPut && operation.kind != Operation::Kind::kDelete) continue;
    const StatusOr<store::GetResult> now = store_.Get(operation.key);
    if (!now.ok()) return {unknown, 0, false};
    // One key tells for all: a transaction is atomic.
    if (operation.kind == Operation::Kind::kDelete) {
      if (now->kv == nullptr) return {OkStatus(), 0, false};
    } else if (now->kv != nullptr && now->kv->value == operation.value &&
               now->kv->mod_revision > ComparedRevision(txn, operation.key)) {
      return {OkStatus(), now->kv->mod_revision, false};
    }
    return {unknown, 0, false};
  }
  return {unknown, 0, false};
}

FencedWriter::Outcome CommitReadingBack(store::Store& store, const store::Transaction& txn) {
  const StatusOr<store::TxnResult> result = store.Txn(txn);
  if (result.ok()) {
    if (!result->succeeded) return {Error(Code::kAborted, "a compare failed"), 0, false};
    return {OkStatus(), result->revision, false};
  }
  if (result.status().code() != Code::kDeadlineExceeded) return {result.status(), 0, false};
  for (const Operation& operation : txn.success) {
    if (operation.kind != Operation::Kind::kPut) continue;
    const StatusOr<store::GetResult> now = store.Get(operation.key);
    if (now.ok() && now->kv != nullptr && now->kv->value == operation.value &&
        now->kv->mod_revision > ComparedRevision(txn, operation.key)) {
      return {OkStatus(), now->kv->mod_revision, false};
    }
    break;
  }
  return {result.status(), 0, false};
}

}  // namespace isla::controllers
