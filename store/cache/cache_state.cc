#include "store/cache/cache_state.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>

#include "store/transaction.h"

namespace isla::store {

CacheState::CacheState(const Clock& clock, size_t history, size_t subscriber_queue, Metrics* metrics)
    : clock_(clock), history_limit_(history), subscriber_queue_(subscriber_queue) {
  if (metrics == nullptr) return;
  keys_gauge_ = metrics->AddGauge("isla_store_cache_keys", "Keys in the watch cache.");
  watermark_gauge_ = metrics->AddGauge("isla_store_cache_watermark", "Revision that the watch cache stands at.");
  subscribers_gauge_ = metrics->AddGauge("isla_store_cache_subscribers", "Subscriptions of the watch cache.");
  events_ = metrics->AddCounter("isla_store_cache_events_total", "Events applied by the watch cache.");
  dropped_ = metrics->AddCounter("isla_store_cache_subscribers_dropped_total", "Subscribers that fell behind.");
}

CacheState::Difference CacheState::ApplyList(ListResult list) {
  Difference difference;
  Queues wake;
  {
    MutexLock lock(mu_);
    KvSet items;
    last_put_ = nullptr;
    for (std::shared_ptr<const KeyValue>& kv : list.kvs) {
      if (last_put_ == nullptr || kv->mod_revision > last_put_->mod_revision) last_put_ = kv;
      const auto old = Find(items_, kv->key);
      if (old == nullptr) {
        ++difference.added;
      } else if (old->mod_revision != kv->mod_revision || old->value != kv->value) {
        ++difference.changed;
      }
      items.insert(items.end(), std::move(kv));
    }
    difference.removed = items_.size() + difference.added - items.size();
    items_ = std::move(items);
    history_.clear();
    history_events_ = 0;
    floor_ = list.revision;
    EndAll(Error(Code::kOutOfRange, "the cache listed again: history has a hole"), wake);
    Advance(list.revision);
  }
  for (const auto& queue : wake) queue->Wake();
  return difference;
}

bool CacheState::ApplyBatch(const WatchBatch& batch) {
  bool continues = true;
  Queues wake;
  {
    MutexLock lock(mu_);
    for (size_t i = 0; i < batch.events.size();) {
      CacheBatch change;
      change.revision = batch.events[i].kv->mod_revision;
      // The store promises more than the watermark; what isn't has been applied.
      const bool known = change.revision <= watermark_.load(std::memory_order_relaxed);
      for (; i < batch.events.size() && batch.events[i].kv->mod_revision == change.revision; ++i) {
        if (!known && !ApplyEvent(batch.events[i], change)) continues = false;
      }
      if (!change.events.empty()) Publish(std::move(change), wake);
    }
    if (batch.revision > watermark_.load(std::memory_order_relaxed)) Advance(batch.revision);
  }
  for (const auto& queue : wake) queue->Wake();
  return continues;
}

bool CacheState::ApplyEvent(const Event& event, CacheBatch& change) {
  const auto it = items_.find(event.kv->key);
  Event full = event;
  full.previous = it == items_.end() ? nullptr : *it;
  const KeyValue* previous = full.previous.get();
  bool continues = true;
  if (event.type == Event::Type::kDelete) {
    continues = previous != nullptr;
    if (previous != nullptr) items_.erase(it);
  } else {
    // A key's version counts its puts since it was created, so a gap can't hide.
    continues = event.kv->version == (previous == nullptr ? 1 : previous->version + 1) &&
                event.kv->create_revision == (previous == nullptr ? change.revision : previous->create_revision);
    Put(items_, event.kv);
    last_put_ = event.kv;
  }
  change.events.push_back(std::move(full));
  return continues;
}

std::shared_ptr<const CacheBatch> CacheState::Part(const CacheBatch& change, const Prefix& prefix) {
  const auto is_under = [&prefix](const Event& event) { return prefix.Covers(event.kv->key); };
  const auto first = std::find_if(change.events.begin(), change.events.end(), is_under);
  if (first == change.events.end()) return nullptr;
  auto part = std::make_shared<CacheBatch>();
  part->revision = change.revision;
  std::copy_if(first, change.events.end(), std::back_inserter(part->events), is_under);
  return part;
}

void CacheState::Publish(CacheBatch change, Queues& wake) {
  events_.Increment(static_cast<double>(change.events.size()));
  for (auto& [prefix, queues] : subscribers_) {
    const auto part = Part(change, prefix);
    if (part == nullptr) continue;
    const size_t dropped = std::erase_if(queues, [&part, &wake](const std::shared_ptr<SubscriptionQueue>& queue) {
      const auto pushed = queue->Push(part);
      if (pushed != SubscriptionQueue::Pushed::kQuiet) wake.push_back(queue);
      return pushed == SubscriptionQueue::Pushed::kOverflow;
    });
    dropped_.Increment(static_cast<double>(dropped));
    subscriber_count_ -= dropped;
  }
  history_events_ += change.events.size();
  history_.push_back(std::move(change));
  while (history_events_ > history_limit_) {
    history_events_ -= history_.front().events.size();
    floor_ = history_.front().revision;
    history_.pop_front();
  }
}

void CacheState::Advance(Revision revision) {
  watermark_.store(revision, std::memory_order_release);
  for (const auto& [prefix, queues] : subscribers_) {
    for (const auto& queue : queues) queue->Advance(revision);
  }
  keys_gauge_.Set(static_cast<double>(items_.size()));
  watermark_gauge_.Set(static_cast<double>(revision));
  subscribers_gauge_.Set(static_cast<double>(subscriber_count_));
  advanced_.NotifyAll();
}

void CacheState::EndAll(const Status& status, Queues& wake) {
  for (const auto& [prefix, queues] : subscribers_) {
    for (const auto& queue : queues) queue->End(status);
    wake.insert(wake.end(), queues.begin(), queues.end());
  }
  subscribers_.clear();
  subscriber_count_ = 0;
}

size_t CacheState::CountDivergence(const ListResult& list, std::string& example) const {
  MutexLock lock(mu_);
  if (list.revision < floor_ || list.revision > watermark_.load(std::memory_order_relaxed)) return 0;
  std::unordered_set<std::string_view> changed_since;
  for (auto change = history_.rbegin(); change != history_.rend() && change->revision > list.revision; ++change) {
    for (const Event& event : change->events) changed_since.insert(event.kv->key);
  }
  size_t differing = 0;
  const auto differs = [&changed_since, &differing, &example](const std::string& key) {
    if (changed_since.contains(key)) return;
    if (differing++ == 0) example = key;
  };
  auto item = items_.begin();
  for (const auto& kv : list.kvs) {
    for (; item != items_.end() && (*item)->key < kv->key; ++item) differs((*item)->key);
    if (item == items_.end() || (*item)->key != kv->key) {
      differs(kv->key);
      continue;
    }
    if ((*item)->mod_revision != kv->mod_revision) differs(kv->key);
    ++item;
  }
  for (; item != items_.end(); ++item) differs((*item)->key);
  return differing;
}

std::shared_ptr<const KeyValue> CacheState::Get(const Key& key) const {
  MutexLock lock(mu_);
  return Find(items_, key.text());
}

ListResult CacheState::List(const Prefix& prefix) const {
  ListResult result;
  MutexLock lock(mu_);
  result.revision = watermark_.load(std::memory_order_relaxed);
  for (auto it = items_.lower_bound(std::string_view(prefix.text())); it != items_.end() && prefix.Covers((*it)->key); ++it) {
    result.kvs.push_back(*it);
  }
  return result;
}

std::shared_ptr<const KeyValue> CacheState::LastPut() const {
  MutexLock lock(mu_);
  return last_put_;
}

bool CacheState::WaitFor(Revision revision, std::chrono::nanoseconds timeout) const {
  if (watermark() >= revision) return true;
  const MonotonicTime until = clock_.Monotonic() + timeout;
  MutexLock lock(mu_);
  while (watermark() < revision) {
    const Duration left = until - clock_.Monotonic();
    if (stopped_ || left <= Duration::zero() || !advanced_.WaitFor(mu_, left)) return watermark() >= revision;
  }
  return true;
}

StatusOr<std::shared_ptr<SubscriptionQueue>> CacheState::Subscribe(const Prefix& prefix, Revision from) {
  MutexLock lock(mu_);
  if (stopped_) return Error(Code::kCancelled, "the cache has stopped");
  const Revision now = watermark_.load(std::memory_order_relaxed);
  if (from == 0) from = now;
  if (from < floor_) return Errorf(Code::kOutOfRange, "revision {} is too old (kept from {})", from, floor_);
  if (from > now) return Errorf(Code::kOutOfRange, "revision {} is in the future (now {})", from, now);
  const auto begin = std::upper_bound(history_.begin(), history_.end(), from,
                                      [](Revision revision, const CacheBatch& change) { return revision < change.revision; });
  // What is replayed doesn't count against the bound: it exists in the history anyway.
  const size_t replayed = static_cast<size_t>(history_.end() - begin);
  auto queue = std::make_shared<SubscriptionQueue>(prefix, subscriber_queue_ + replayed, from);
  for (auto change = begin; change != history_.end(); ++change) {
    if (auto part = Part(*change, prefix)) queue->Push(std::move(part));
  }
  queue->Advance(now);
  subscribers_[prefix].push_back(queue);
  ++subscriber_count_;
  subscribers_gauge_.Set(static_cast<double>(subscriber_count_));
  return queue;
}

void CacheState::Unsubscribe(const std::shared_ptr<SubscriptionQueue>& queue) {
  MutexLock lock(mu_);
  const auto group = subscribers_.find(queue->prefix());
  if (group == subscribers_.end()) return;
  subscriber_count_ -= std::erase(group->second, queue);
  if (group->second.empty()) subscribers_.erase(group);
  subscribers_gauge_.Set(static_cast<double>(subscriber_count_));
}

void CacheState::Stop() {
  Queues wake;
  {
    MutexLock lock(mu_);
    stopped_ = true;
    EndAll(Error(Code::kCancelled, "the cache has stopped"), wake);
    advanced_.NotifyAll();
  }
  for (const auto& queue : wake) queue->Wake();
}

}  // namespace isla::store
