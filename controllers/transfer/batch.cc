#include "controllers/transfer/batch.h"

#include <algorithm>
#include <utility>

#include "api/base/log.h"

namespace isla::transfer {
namespace {

constexpr size_t kMostOperations = 100;
constexpr size_t kMostBytes = size_t{512} << 10;  // but for one operation that is larger
constexpr Duration kGiveUpAfter = std::chrono::seconds(60);
constexpr Duration kRetryFirst = std::chrono::milliseconds(100);
constexpr Duration kRetryLast = std::chrono::seconds(3);

}  // namespace

void Stop::Request() {
  MutexLock lock(mu_);
  requested_ = true;
  changed_.NotifyAll();
}

Status Stop::Wait(Duration time) const {
  const MonotonicTime until = Clock::Real().Monotonic() + time;
  MutexLock lock(mu_);
  while (!requested_ && Clock::Real().Monotonic() < until) {
    changed_.WaitFor(mu_, until - Clock::Real().Monotonic());
  }
  return requested_ ? Error(Code::kCancelled, "this islad is stopping") : OkStatus();
}

Batch::Batch(store::Store& store, const Clock& clock, const Stop& stop, std::string cluster_key, store::Revision fence)
    : store_(store), clock_(clock), stop_(stop), fence_(store::Compare::ModRevision(std::move(cluster_key), fence)) {}

bool Batch::Fits(size_t bytes) const {
  return operations_.empty() || (operations_.size() < kMostOperations && bytes_ + bytes <= kMostBytes);
}

Status Batch::Put(const std::string& key, const std::string& value) { return Add(store::Operation::Put(key, value)); }
Status Batch::Delete(const std::string& key) { return Add(store::Operation::Delete(key)); }

Status Batch::Add(store::Operation operation) {
  const size_t bytes = operation.key.size() + operation.value.size();
  if (!Fits(bytes)) RETURN_IF_ERROR(Flush());
  bytes_ += bytes;
  operations_.push_back(std::move(operation));
  return OkStatus();
}

StatusOr<store::Revision> Batch::Flush() {
  if (operations_.empty()) return store::Revision{0};
  store::Transaction txn;
  txn.compares = {fence_};
  txn.success = std::exchange(operations_, {});
  bytes_ = 0;
  const MonotonicTime give_up = clock_.Monotonic() + kGiveUpAfter;
  for (Duration delay = kRetryFirst;; delay = std::min(delay * 2, kRetryLast)) {
    RETURN_IF_ERROR(stop_.Wait(Duration::zero()));
    const StatusOr<store::TxnResult> result = store_.Txn(txn);
    if (result.ok() && !result->succeeded) {
      return Error(Code::kAborted, "meta/cluster was changed: another import has taken over, or somebody repairs the store");
    }
    if (result.ok()) return result->revision;
    const Code code = result.status().code();
    if ((code != Code::kUnavailable && code != Code::kDeadlineExceeded) || clock_.Monotonic() >= give_up) {
      return result.status();
    }
    Logger("import").Warn("not written", "error='{}' retry_in_ms={}", ToString(result.status()),
                          delay / std::chrono::milliseconds(1));
    RETURN_IF_ERROR(stop_.Wait(delay));
  }
}

}  // namespace isla::transfer
