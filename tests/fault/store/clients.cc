#include "tests/fault/store/clients.h"

#include <algorithm>
#include <utility>

namespace isla::store::torture {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

Nanos Now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

void Client::Stop() {
  stop_.store(true, std::memory_order_release);
  if (thread_.joinable()) thread_.join();
}

void Client::Collect(History& history, std::vector<std::string>& complaints) {
  std::move(ops_.begin(), ops_.end(), std::back_inserter(history.ops));
  std::move(segments_.begin(), segments_.end(), std::back_inserter(history.segments));
  std::move(beliefs_.begin(), beliefs_.end(), std::back_inserter(history.beliefs));
  complaints.insert(complaints.end(), complaints_.begin(), complaints_.end());
}

void Client::Pause(microseconds most) {
  auto left = microseconds(static_cast<int64_t>(Below(static_cast<uint64_t>(most.count()) + 1)));
  while (left.count() > 0 && !stopping()) {
    const auto part = std::min<microseconds>(left, milliseconds(50));
    std::this_thread::sleep_for(part);
    left -= part;
  }
}

std::string Client::UniqueValue() {
  std::string value = fmt::format("{}#{}.{:x}", name_, values_++, random_());
  const uint64_t dice = Below(1000);
  if (dice < 40) value.append(Below(20'000), 'x');  // several frames
  // Seven of them are still a transaction; etcd tells of one that replaces another in fragments.
  if (dice >= 40 && dice < 48) value.append(200'000, 'y');
  return value;
}

Op Client::Begin(Op::Kind kind, const std::string& key) const {
  Op op;
  op.client = name_;
  op.kind = kind;
  op.key = key;
  op.called = Now();
  return op;
}

const Op& Client::End(Op op, const Status& status) {
  op.ended = Now();
  if (status.ok()) {
    op.outcome = Op::Outcome::kOk;
  } else {
    op.outcome = status.code() == Code::kDeadlineExceeded ? Op::Outcome::kUnknown : Op::Outcome::kRefused;
    op.error = ToString(status);
    // What a caller may be told under these faults; any other code would be a lie about what happened.
    const bool expected = status.code() == Code::kDeadlineExceeded || status.code() == Code::kUnavailable;
    if (!expected && complaints_.size() < 5) complaints_.push_back(fmt::format("{}: unexpected error: {}", name_, op.error));
  }
  ops_.push_back(std::move(op));
  return ops_.back();
}

const Op& Client::Txn(Store& store, Transaction txn) {
  Op op = Begin(Op::Kind::kTxn, txn.success.empty() ? "" : txn.success[0].key);
  const auto result = store.Txn(txn, milliseconds(300 + Below(1200)));
  op.txn = std::move(txn);
  if (result.ok()) {
    op.succeeded = result->succeeded;
    op.revision = result->revision;
    op.kvs = result->gets;
  }
  return End(std::move(op), result.status());
}

const Op& Client::Get(Store& store, const std::string& key) {
  Op op = Begin(Op::Kind::kGet, key);
  const auto result = store.Get(key, milliseconds(300 + Below(1200)));
  if (result.ok()) {
    op.revision = result->revision;
    op.kvs = {result->kv};
  }
  return End(std::move(op), result.status());
}

const Op& Client::List(Store& store, const std::string& prefix) {
  Op op = Begin(Op::Kind::kList, prefix);
  ListOptions options;
  options.page_size = 1 + Below(30);
  const auto result = store.List(Prefix(prefix), options, milliseconds(500 + Below(2000)));
  if (result.ok()) {
    op.revision = result->revision;
    op.kvs = result->kvs;
  }
  return End(std::move(op), result.status());
}

std::string WriterClient::SharedKey() { return fmt::format("/t/k/{}", Below(12)); }
std::string WriterClient::OwnKey() { return fmt::format("/t/w/{}/{}", name_, Below(10)); }

/// Reads a key and changes it if it is still the same, with another key beside it.
Transaction WriterClient::CompareAndSwap() {
  const std::string key = SharedKey();
  Transaction txn;
  txn.failure.push_back(Operation::Get(key));
  const Op& read = Get(store_, key);
  const KeyValue* kv = read.outcome == Op::Outcome::kOk ? read.kvs[0].get() : nullptr;
  switch (Below(4)) {
    case 0: txn.compares.push_back(Compare::ModRevision(key, kv == nullptr ? 0 : kv->mod_revision)); break;
    case 1: txn.compares.push_back(kv == nullptr ? Compare::Missing(key) : Compare::Value(key, kv->value)); break;
    case 2: txn.compares.push_back({key, Compare::Target::kVersion, Compare::Op::kLess, kv == nullptr ? 1 : kv->version + 1, {}}); break;
    default: txn.compares.push_back(kv == nullptr ? Compare::Missing(key) : Compare::CreateRevision(key, kv->create_revision)); break;
  }
  const std::string value = UniqueValue();
  txn.success.push_back(Operation::Put(key, value));
  if (Below(2) == 0) txn.success.push_back(Operation::Put(OwnKey(), value));
  return txn;
}

Transaction WriterClient::Several() {
  Transaction txn;
  const std::string value = UniqueValue();
  txn.success.push_back(Operation::Put(OwnKey(), value));
  const uint64_t first = Below(12);
  const uint64_t count = Below(6);
  for (uint64_t i = 0; i < count; ++i) {
    const std::string key = fmt::format("/t/k/{}", (first + i) % 12);
    txn.success.push_back(Below(3) == 0 ? Operation::Delete(key) : Operation::Put(key, value));
  }
  std::shuffle(txn.success.begin(), txn.success.end(), random_);
  return txn;
}

Transaction WriterClient::Clear() {
  Transaction txn;
  txn.success.push_back(Operation::DeletePrefix(Prefix(fmt::format("/t/w/{}/", name_))));
  txn.success.push_back(Operation::Put(SharedKey(), UniqueValue()));
  return txn;
}

void WriterClient::Run() {
  while (!stopping()) {
    const uint64_t dice = Below(20);
    Txn(store_, dice < 9 ? CompareAndSwap() : dice < 18 ? Several() : Clear());
    Pause(milliseconds(4));
  }
}

void ReaderClient::Run() {
  while (!stopping()) {
    if (Below(3) == 0) {
      List(store_, Below(2) == 0 ? "/t/" : "/t/k/");
    } else {
      Get(store_, fmt::format("/t/k/{}", Below(12)));
    }
    Pause(milliseconds(15));
  }
}

void HolderClient::Run() {
  constexpr auto kTtl = seconds(2);
  constexpr Nanos kSure = Nanos{2'000'000'000} * 2 / 3;
  const std::string key = "/t/lease/" + name_;
  while (!stopping()) {
    Nanos asked = Now();
    const auto lease = store_.GrantLease(kTtl, milliseconds(700));
    if (!lease.ok()) {
      Pause(milliseconds(100));
      continue;
    }
    Transaction txn;
    txn.success.push_back(Operation::Put(key, UniqueValue(), *lease));
    Op put;
    // A store that was away for longer than the lease says that there is no such lease: a fair answer, and nothing was done.
    {
      const size_t before = complaints_.size();
      put = Txn(store_, std::move(txn));
      if (put.error.starts_with("NOT_FOUND") && put.ended - asked > kSure) complaints_.resize(before);
    }
    if (put.outcome != Op::Outcome::kOk) continue;
    Nanos until = asked + kSure;
    const Nanos plan = Now() + static_cast<Nanos>(Below(6'000'000'000));
    while (!stopping() && Now() < plan && Now() < until) {
      Pause(milliseconds(600));
      asked = Now();
      const auto renewed = store_.KeepAliveLease(*lease, milliseconds(500));
      if (renewed.ok()) {
        until = asked + kSure;
      } else if (renewed.status().code() == Code::kNotFound) {
        if (Now() < until) complaints_.push_back(fmt::format("{}: lease {:x} is gone, {} us before its time", name_, *lease, (until - Now()) / 1000));
        break;
      }
    }
    beliefs_.push_back({name_, key, put.revision, std::min(until, Now())});
    if (Below(3) != 0) store_.RevokeLease(*lease, milliseconds(500)).IgnoreError();
  }
}

void WatcherClient::OnBatch(WatchBatch batch) {
  const std::lock_guard lock(mu_);
  upto_.store(batch.revision, std::memory_order_release);
  segment_.batches.push_back({Now(), batch.revision, std::move(batch.events)});
  changed_.notify_all();
}

void WatcherClient::OnEnd(const Status& status) {
  const std::lock_guard lock(mu_);
  if (ended_) complaints_.push_back(name_ + ": a watch ended twice");
  ended_ = true;
  end_ = status;
  changed_.notify_all();
}

/// Watches until it ends, or until it likes to end it. Where to go on from.
Revision WatcherClient::WatchOnce(Revision after) {
  {
    const std::lock_guard lock(mu_);
    segment_ = Segment{};
    segment_.client = name_;
    segment_.prefix = plan_.prefix;
    segment_.after = after;
    ended_ = false;
  }
  auto watch = store_.StartWatch({Prefix(plan_.prefix), after + 1, plan_.previous_values}, *this);
  const auto patience = std::chrono::steady_clock::now() + milliseconds(plan_.restless ? 50 + Below(4000) : uint64_t{1'000'000'000});
  {
    std::unique_lock lock(mu_);
    while (watch.ok() && !ended_ && !stopping() && !Reached() && std::chrono::steady_clock::now() < patience) {
      changed_.wait_for(lock, milliseconds(50));
    }
  }
  Status end = watch.status();
  if (watch.ok()) {
    watch->reset();
    if (!ended_) complaints_.push_back(name_ + ": a watch that was cancelled did not say so");
    end = end_;
  }
  segment_.end = ToString(end);
  segments_.push_back(std::move(segment_));
  const Revision upto = segments_.back().upto();
  const bool told = end.code() == Code::kOutOfRange || end.code() == Code::kCancelled || end.code() == Code::kUnavailable;
  if (!told) complaints_.push_back(fmt::format("{}: a watch ended with {}", name_, ToString(end)));
  if (end.code() != Code::kOutOfRange) return upto;
  for (;;) {
    const Op& list = List(store_, plan_.prefix);
    if (list.outcome == Op::Outcome::kOk) return list.revision;
    if (stopping()) return upto;
    Pause(milliseconds(100));
  }
}

void WatcherClient::Run() {
  Revision after = plan_.after;
  while (!stopping() && !Reached()) {
    after = WatchOnce(after);
    upto_.store(after, std::memory_order_release);
    if (Reached()) break;
    // A watch may begin anywhere in the past.
    if (plan_.restless && Below(3) == 0) after = std::max(plan_.after, after - static_cast<Revision>(Below(60)));
    Pause(milliseconds(20));
  }
  finished_.store(true, std::memory_order_release);
}

void SubscriberClient::Follow(Subscription& subscription, Segment& segment) {
  while (!stopping() && !Reached()) {
    auto batch = subscription.Next(milliseconds(20));
    if (batch.status().code() == Code::kDeadlineExceeded) continue;
    if (!batch.ok()) {
      segment.end = ToString(batch.status());
      if (batch.status().code() != Code::kOutOfRange) complaints_.push_back(name_ + ": " + segment.end);
      return;
    }
    upto_.store(batch->revision, std::memory_order_release);
    segment.batches.push_back({Now(), batch->revision, std::move(batch->events)});
    if (slow_ && finish_.load(std::memory_order_acquire) == 0 && Below(40) == 0) Pause(milliseconds(1500));
  }
}

void SubscriberClient::Run() {
  while (!stopping() && !Reached()) {
    Op op;
    op.client = name_;
    op.kind = Op::Kind::kCacheList;
    op.linearizable = false;
    op.key = prefix_;
    op.called = Now();
    ListResult list = cache_.List(Prefix(prefix_));
    op.ended = Now();
    op.outcome = Op::Outcome::kOk;
    op.revision = list.revision;
    op.kvs = std::move(list.kvs);
    const Revision from = op.revision;
    ops_.push_back(std::move(op));
    upto_.store(from, std::memory_order_release);
    auto subscription = cache_.Subscribe(Prefix(prefix_), from);
    if (!subscription.ok()) {  // listed again in between
      Pause(milliseconds(5));
      continue;
    }
    Segment segment{.client = name_, .prefix = prefix_, .after = from, .previous_required = true, .batches = {}, .end = {}};
    Follow(**subscription, segment);
    segments_.push_back(std::move(segment));
  }
  finished_.store(true, std::memory_order_release);
}

bool CacheReaderClient::ReadOnce(bool barrier) {
  Op op;
  op.client = name_;
  op.kind = Op::Kind::kCacheList;
  op.key = prefix_;
  op.called = Now();
  op.linearizable = barrier && cache_.ReadBarrier(milliseconds(200 + Below(1500))).ok();
  if (barrier && !op.linearizable) op.called = Now();
  ListResult list = cache_.List(Prefix(prefix_));
  op.ended = Now();
  op.outcome = Op::Outcome::kOk;
  op.revision = list.revision;
  op.kvs = std::move(list.kvs);
  ops_.push_back(std::move(op));
  return ops_.back().linearizable;
}

void CacheReaderClient::Run() {
  while (!stopping()) {
    ReadOnce(Below(2) == 0);
    Pause(milliseconds(20));
  }
}

}  // namespace isla::store::torture
