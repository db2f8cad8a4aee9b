#include "controllers/runtime/held_lease.h"

#include <algorithm>

#include "api/base/log.h"

namespace isla::controllers {
namespace {

constexpr Duration kRetryAtMost = std::chrono::milliseconds(250);
constexpr Duration kShortestCall = std::chrono::milliseconds(100);

Duration HeldFor(Duration left) { return left / 3 * 2; }

}  // namespace

StatusOr<std::unique_ptr<HeldLease>> HeldLease::Grant(store::Store& store, const Clock& clock,
                                                      std::chrono::seconds ttl, std::function<void()> on_lost) {
  const MonotonicTime sent = clock.Monotonic();
  ASSIGN_OR_RETURN(const store::LeaseId id, store.GrantLease(ttl));
  return std::unique_ptr<HeldLease>(new HeldLease(store, clock, ttl, id, sent, std::move(on_lost)));
}

HeldLease::HeldLease(store::Store& store, const Clock& clock, std::chrono::seconds ttl, store::LeaseId id,
                     MonotonicTime sent, std::function<void()> on_lost)
    : store_(store),
      clock_(clock),
      ttl_(ttl),
      id_(id),
      on_lost_(std::move(on_lost)),
      sent_(sent),
      held_until_(sent + HeldFor(ttl)),
      gone_at_(sent + ttl),
      thread_([this] { Run(); }) {}

HeldLease::~HeldLease() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
}

bool HeldLease::held() const {
  MutexLock lock(mu_);
  return !lost_ && clock_.Monotonic() < held_until_;
}

MonotonicTime HeldLease::held_until() const {
  MutexLock lock(mu_);
  return held_until_;
}

void HeldLease::Release() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    lost_ = true;
    wake_.NotifyAll();
  }
  // Not revoked: it runs out by itself, later.
  (void)store_.RevokeLease(id_, std::chrono::seconds(2));
}

void HeldLease::Renewed(MonotonicTime sent, Duration left) {
  left = std::min<Duration>(left, ttl_);
  held_until_ = sent + HeldFor(left);
  gone_at_ = sent + left;
}

void HeldLease::Run() {
  const Duration period = Duration(ttl_) / 3;
  // So that one call that is lost leaves time for another while the lease is held.
  const Duration timeout = std::max(period / 2, kShortestCall);
  MonotonicTime next = sent_ + period;
  while (true) {
    {
      MutexLock lock(mu_);
      while (!stop_ && clock_.Monotonic() < next) wake_.WaitFor(mu_, next - clock_.Monotonic());
      if (stop_) return;
    }
    const MonotonicTime sent = clock_.Monotonic();
    const StatusOr<std::chrono::seconds> left = store_.KeepAliveLease(id_, timeout);
    MutexLock lock(mu_);
    if (stop_) return;
    if (left.ok() && *left > std::chrono::seconds(0)) {
      Renewed(sent, *left);
      next = sent + period;
      continue;
    }
    const bool gone = left.ok() || left.status().code() == Code::kNotFound;
    if (!gone && clock_.Monotonic() < gone_at_) {
      next = clock_.Monotonic() + std::min(period / 4, kRetryAtMost);
      continue;
    }
    lost_ = true;
    break;
  }
  on_lost_();
}

}  // namespace isla::controllers
