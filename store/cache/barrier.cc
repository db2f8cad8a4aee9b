#include "store/cache/barrier.h"

#include <algorithm>
#include <utility>

namespace isla::store {
namespace {

// What was committed under the prefix just before is on its way through the watch already, and arrives within
// this time on a healthy connection; a put costs an fsync of etcd and an event for every islad.
constexpr auto kGrace = std::chrono::milliseconds(3);

}  // namespace

ReadBarrier::ReadBarrier(Store& store, const Clock& clock, const CacheState& state, std::string key, bool wait,
                         std::function<void()> went_back, Metrics* metrics)
    : store_(store), clock_(clock), state_(state), key_(std::move(key)), wait_(wait), went_back_(std::move(went_back)) {
  if (metrics == nullptr) return;
  reads_ = metrics->AddCounter("isla_store_cache_barrier_rounds_total", "Reads of the store's revision for read barriers.");
  puts_ = metrics->AddCounter("isla_store_cache_barrier_puts_total", "Puts of barrier/<id>.");
  seconds_ = metrics->AddHistogram("isla_store_cache_barrier_seconds", "Time that a reader waited at a read barrier.");
}

Status ReadBarrier::Pass(std::chrono::nanoseconds timeout) {
  const MonotonicTime begin = clock_.Monotonic();
  const MonotonicTime until = begin + timeout;
  const Status late = Error(Code::kDeadlineExceeded, "the cache did not reach the store's revision in time");
  for (;;) {
    std::shared_ptr<Round> round;
    {
      MutexLock lock(mu_);
      if (next_ == nullptr) next_ = std::make_shared<Round>();
      round = next_;
      while (!round->done && !(next_ == round && !running_)) {
        const Duration left = until - clock_.Monotonic();
        if (left <= Duration::zero() || !done_.WaitFor(mu_, left)) return late;
      }
      if (!round->done) {
        next_ = nullptr;
        running_ = true;
      } else if (round->status.code() == Code::kDeadlineExceeded && clock_.Monotonic() < until) {
        continue;  // the caller who ran it had less time than we have
      }
    }
    if (!round->done) {
      const StatusOr<Revision> target = Run(until - clock_.Monotonic());
      MutexLock lock(mu_);
      round->status = target.status();
      round->target = target.ok() ? *target : 0;
      round->done = true;
      running_ = false;
      done_.NotifyAll();
    }
    RETURN_IF_ERROR(round->status);
    if (!state_.WaitFor(round->target, wait_ ? until - clock_.Monotonic() : Duration::zero())) return late;
    seconds_.Observe(std::chrono::duration<double>(clock_.Monotonic() - begin).count());
    return OkStatus();
  }
}

StatusOr<Revision> ReadBarrier::Run(Duration left) {
  reads_.Increment();
  const Revision before = state_.watermark();
  // Any key will do: what is wanted is the revision of a linearizable read.
  ASSIGN_OR_RETURN(const GetResult now, store_.Get(key_.empty() ? "barrier" : key_, left));
  if (now.revision < before) {
    went_back_();
    return Errorf(Code::kUnavailable, "the store's revision went back from {} to {}", before, now.revision);
  }
  if (state_.WaitFor(now.revision, wait_ ? std::min(left, Duration(kGrace)) : Duration::zero())) return now.revision;
  if (key_.empty()) return now.revision;
  return Put(left);
}

StatusOr<Revision> ReadBarrier::Put(Duration timeout) {
  if (key_.empty()) return Error(Code::kFailedPrecondition, "this cache has no barrier key");
  puts_.Increment();
  int64_t n = 0;
  {
    MutexLock lock(mu_);
    n = ++puts_made_;
  }
  Transaction txn;
  txn.success.push_back(Operation::Put(key_, fmt::format("{{\"n\":{}}}", n)));
  ASSIGN_OR_RETURN(const TxnResult put, store_.Txn(txn, timeout));
  return put.revision;
}

}  // namespace isla::store
