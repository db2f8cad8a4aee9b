#include "store/compactor.h"

#include <algorithm>
#include <utility>

#include "api/base/json.h"

namespace isla::store {
namespace {

/// The revision that the mark holds. 0: there is none, or it isn't one that this store can have written.
Revision MarkedRevision(const GetResult& mark) {
  if (mark.kv == nullptr) return 0;
  const auto value = json::Parse(mark.kv->value);
  if (!value.ok()) return 0;
  const Revision revision = value->Int64At({"revision"}).value_or(0);
  return revision > mark.revision ? 0 : revision;
}

}  // namespace

Compactor::Compactor(Store& store, Keys keys, const Clock& clock, const CompactorOptions& options)
    : store_(store), keys_(std::move(keys)), clock_(clock), options_(options) {}

Revision Compactor::Target(MonotonicTime now, Revision not_above) const {
  Revision target = 0;
  for (const Sample& sample : samples_) {
    if (now - sample.at < options_.keep || (not_above > 0 && sample.revision > not_above)) break;
    target = sample.revision;
  }
  return target;
}

StatusOr<Revision> Compactor::Tick(const std::vector<Compare>& fence, Revision not_above) {
  const MonotonicTime now = clock_.Monotonic();
  if (!samples_.empty() && now - samples_.back().at < options_.every) return 0;
  ASSIGN_OR_RETURN(const GetResult mark, store_.Get(keys_.Compacted()));
  // A backup was restored: what we saw was another history.
  if (!samples_.empty() && mark.revision < samples_.back().revision) samples_.clear();
  const Revision marked = MarkedRevision(mark);
  const Revision target = Target(now, not_above);

  Transaction txn;
  txn.compares = fence;
  txn.compares.push_back(Compare::ModRevision(keys_.Compacted(), mark.kv != nullptr ? mark.kv->mod_revision : 0));
  txn.success.push_back(Operation::Put(keys_.Compacted(), fmt::format("{{\"revision\":{},\"at\":\"{}\"}}", std::max(target, marked),
                                                                     FormatRfc3339(clock_.Wall(), 6))));
  ASSIGN_OR_RETURN(const TxnResult moved, store_.Txn(txn));
  if (!moved.succeeded) return Error(Code::kAborted, "the compaction mark or the leader changed");
  samples_.push_back({now, moved.revision});
  while (samples_.front().revision < target) samples_.pop_front();
  if (target <= marked) return 0;
  const Status compacted = store_.Compact(target);
  if (!compacted.ok() && compacted.code() != Code::kOutOfRange) return compacted;  // OUT_OF_RANGE: an operator was faster
  return target;
}

}  // namespace isla::store
