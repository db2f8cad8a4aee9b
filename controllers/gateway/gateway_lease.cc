#include "controllers/gateway/gateway_lease.h"

#include <algorithm>
#include <utility>

namespace isla::controllers {

using store::Compare;
using store::Operation;

GatewayLease::GatewayLease(store::Store& store, store::Keys keys, const Clock& clock, GatewayLeaseOptions options,
                           std::function<void()> on_lost)
    : store_(store),
      keys_(std::move(keys)),
      clock_(clock),
      options_(std::move(options)),
      on_lost_(std::move(on_lost)),
      thread_([this] { Run(); }) {}

void GatewayLease::Stop() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
  MutexLock lock(mu_);
  create_revision_ = 0;
}

bool GatewayLease::fresh() const {
  MutexLock lock(mu_);
  return create_revision_ != 0 && clock_.Monotonic() < fresh_until_;
}

store::Revision GatewayLease::create_revision() const {
  MutexLock lock(mu_);
  return create_revision_;
}

bool GatewayLease::WaitFresh(Duration timeout) {
  const MonotonicTime until = clock_.Monotonic() + timeout;
  MutexLock lock(mu_);
  while (create_revision_ == 0 || clock_.Monotonic() >= fresh_until_) {
    const Duration left = until - clock_.Monotonic();
    if (stop_ || left <= Duration::zero()) return false;
    changed_.WaitFor(mu_, left);
  }
  return true;
}

bool GatewayLease::Sleep(Duration time) {
  const MonotonicTime until = clock_.Monotonic() + time;
  MutexLock lock(mu_);
  while (!stop_ && !gone_ && clock_.Monotonic() < until) changed_.WaitFor(mu_, until - clock_.Monotonic());
  return !stop_;
}

void GatewayLease::Run() {
  const Duration period = Duration(options_.ttl) / 9;  // three reads before an old one stops to count
  Duration backoff = std::chrono::milliseconds(50);
  do {
    if (lease_ == nullptr) {
      const Status status = Acquire();
      if (!status.ok()) {
        log_.Warn("no gateway lease", "error='{}' retry_in_ms={}", ToString(status), backoff / std::chrono::milliseconds(1));
        if (!Sleep(backoff)) break;
        backoff = std::min<Duration>(backoff * 2, std::chrono::seconds(2));
        continue;
      }
      backoff = std::chrono::milliseconds(50);
    }
    const Status status = ReadBack();
    if (status.code() == Code::kNotFound) Lost(status);
  } while (Sleep(period));
  if (lease_ != nullptr) lease_->Release();
  lease_.reset();
}

Status GatewayLease::Acquire() {
  {
    MutexLock lock(mu_);
    gone_ = false;
  }
  ASSIGN_OR_RETURN(lease_, HeldLease::Grant(store_, clock_, options_.ttl, [this] {
                     MutexLock lock(mu_);
                     gone_ = true;
                     changed_.NotifyAll();
                   }));
  store::Transaction txn;
  const std::string key = keys_.Gateway(options_.id);
  txn.compares = {Compare::Missing(key), Compare::Exists(keys_.Cluster())};
  txn.success = {Operation::Put(key, options_.value, lease_->id())};
  const StatusOr<store::TxnResult> result = store_.Txn(txn);
  // An unknown outcome is told by reading back.
  if (result.ok() ? result->succeeded : result.status().code() == Code::kDeadlineExceeded) return OkStatus();
  lease_->Release();
  lease_.reset();
  if (!result.ok()) return result.status();
  return Errorf(Code::kAborted, "gateway '{}' is there already, or the cluster isn't set up", options_.id);
}

Status GatewayLease::ReadBack() {
  {
    MutexLock lock(mu_);
    if (gone_) return Error(Code::kNotFound, "the lease ran out");
  }
  const MonotonicTime sent = clock_.Monotonic();
  ASSIGN_OR_RETURN(const store::GetResult now,
                   store_.Get(keys_.Gateway(options_.id), Duration(options_.ttl) / 3));
  if (now.kv == nullptr || now.kv->lease != lease_->id()) return Error(Code::kNotFound, "the key is gone");
  MutexLock lock(mu_);
  if (gone_) return Error(Code::kNotFound, "the lease ran out");
  create_revision_ = now.kv->create_revision;
  fresh_until_ = sent + Duration(options_.ttl) / 3;
  changed_.NotifyAll();
  return OkStatus();
}

void GatewayLease::Lost(const Status& why) {
  bool was_held = false;
  {
    MutexLock lock(mu_);
    was_held = std::exchange(create_revision_, 0) != 0;
  }
  log_.Warn("gateway lease lost", "id={} error='{}'; agents have to connect again", options_.id, ToString(why));
  lease_->Release();
  lease_.reset();
  if (was_held) on_lost_();
}

}  // namespace isla::controllers
