#include "store/embedded/leases.h"

#include <algorithm>

namespace isla::store {

LeaseId Leases::Grant(std::chrono::seconds ttl, MonotonicTime now) {
  leases_[++last_] = Lease{ttl, now + ttl, {}, false};
  return last_;
}

bool Leases::Lives(LeaseId lease) const {
  const auto it = leases_.find(lease);
  return it != leases_.end() && !it->second.ending;
}

std::optional<std::chrono::seconds> Leases::KeepAlive(LeaseId lease, MonotonicTime now) {
  const auto it = leases_.find(lease);
  if (it == leases_.end() || it->second.ending || it->second.ends <= now) return std::nullopt;
  it->second.ends = now + it->second.ttl;
  return it->second.ttl;
}

std::vector<std::string> Leases::KeysOf(LeaseId lease) const {
  const auto it = leases_.find(lease);
  if (it == leases_.end()) return {};
  return {it->second.keys.begin(), it->second.keys.end()};
}

void Leases::SetEnding(LeaseId lease, bool ending) {
  if (const auto it = leases_.find(lease); it != leases_.end()) it->second.ending = ending;
}

void Leases::Forget(LeaseId lease) { leases_.erase(lease); }

void Leases::Attach(const KeyValue* kv) {
  if (kv == nullptr || kv->lease == 0) return;
  if (const auto it = leases_.find(kv->lease); it != leases_.end()) it->second.keys.insert(kv->key);
}

void Leases::Detach(const KeyValue* kv) {
  if (kv == nullptr || kv->lease == 0) return;
  if (const auto it = leases_.find(kv->lease); it != leases_.end()) it->second.keys.erase(kv->key);
}

void Leases::Follow(const Event& event) {
  Detach(event.previous.get());
  Attach(event.kv.get());
}

void Leases::Unfollow(const Event& event) {
  Detach(event.kv.get());
  Attach(event.previous.get());
}

std::vector<LeaseId> Leases::Expired(MonotonicTime now) const {
  std::vector<LeaseId> expired;
  for (const auto& [id, lease] : leases_) {
    if (!lease.ending && lease.ends <= now) expired.push_back(id);
  }
  return expired;
}

std::optional<MonotonicTime> Leases::NextExpiry() const {
  std::optional<MonotonicTime> next;
  for (const auto& [id, lease] : leases_) {
    if (!lease.ending) next = next ? std::min(*next, lease.ends) : lease.ends;
  }
  return next;
}

}  // namespace isla::store
