#include "store/embedded/mvcc.h"

#include <algorithm>
#include <utility>

#include "store/transaction.h"

namespace isla::store {
namespace {

bool Compares(Compare::Op op, int order) {
  switch (op) {
    case Compare::Op::kEqual: return order == 0;
    case Compare::Op::kNotEqual: return order != 0;
    case Compare::Op::kLess: return order < 0;
    case Compare::Op::kGreater: return order > 0;
  }
  return false;
}

int Order(int64_t a, int64_t b) { return a < b ? -1 : (a > b ? 1 : 0); }

bool Holds(const Compare& compare, const KeyValue* kv) {
  switch (compare.target) {
    case Compare::Target::kVersion:
      return Compares(compare.op, Order(kv != nullptr ? kv->version : 0, compare.number));
    case Compare::Target::kCreateRevision:
      return Compares(compare.op, Order(kv != nullptr ? kv->create_revision : 0, compare.number));
    case Compare::Target::kModRevision:
      return Compares(compare.op, Order(kv != nullptr ? kv->mod_revision : 0, compare.number));
    case Compare::Target::kValue:
      return kv != nullptr && Compares(compare.op, kv->value.compare(compare.value));
  }
  return false;
}

bool Gone(const KeyValue& version) { return version.version == 0; }

bool Before(const Mvcc::Version& version, Revision revision) { return version->mod_revision < revision; }

}  // namespace

// ---- reading ---------------------------------------------------------------------------------------------

/// The last version at or below `at`, be it a deletion; null if there is none.
const Mvcc::Version& Mvcc::At(const Entry& entry, Revision at) {
  static const Version kNone;
  if (entry.newest->mod_revision <= at) return entry.newest;
  const auto above = std::upper_bound(entry.older.begin(), entry.older.end(), at,
                                      [](Revision revision, const Version& v) { return revision < v->mod_revision; });
  return above == entry.older.begin() ? kNone : *std::prev(above);
}

Mvcc::Version Mvcc::Get(std::string_view key, Revision at) const {
  const auto it = index_.find(key);
  if (it == index_.end()) return nullptr;
  const Version& version = At(*it, at);
  return version == nullptr || Gone(*version) ? nullptr : version;
}

bool Mvcc::Holds(const std::vector<Compare>& compares, Revision at) const {
  return std::all_of(compares.begin(), compares.end(),
                     [this, at](const Compare& c) { return store::Holds(c, Get(c.key, at).get()); });
}

Status Mvcc::CheckRevision(Revision revision) const {
  if (revision < compacted_) {
    return Errorf(Code::kOutOfRange, "revision {} has been compacted (up to {})", revision, compacted_);
  }
  if (revision > committed_) {
    return Errorf(Code::kOutOfRange, "revision {} is in the future (now {})", revision, committed_);
  }
  return OkStatus();
}

bool Mvcc::List(const Prefix& prefix, std::string& from, Revision at, size_t limit,
                std::vector<Version>& kvs) const {
  auto it = index_.lower_bound(std::max(from, prefix.text()));
  for (; it != index_.end() && prefix.Covers(it->key); ++it) {
    if (limit-- == 0) {
      from = it->key;
      return true;
    }
    const Version& version = At(*it, at);
    if (version != nullptr && !Gone(*version)) kvs.push_back(version);
  }
  return false;
}

size_t Mvcc::FirstChange(Revision revision) const {
  return static_cast<size_t>(std::lower_bound(changes_.begin(), changes_.end(), revision, Before) - changes_.begin());
}

/// What `version` replaced: null if the key wasn't there, or that is pruned.
Mvcc::Version Mvcc::Previous(const KeyValue& version) const { return Get(version.key, version.mod_revision - 1); }

Revision Mvcc::Collect(Revision next, const WatchOptions& options, size_t limit, WatchBatch& batch) const {
  next = std::max<Revision>(next, 2);  // the first that a transaction can have; 1 is the empty store
  size_t i = FirstChange(next);
  while (i < changes_.size() && changes_[i]->mod_revision <= committed_) {
    const Revision revision = changes_[i]->mod_revision;
    for (; i < changes_.size() && changes_[i]->mod_revision == revision; ++i, limit -= limit > 0 ? 1 : 0) {
      const Version& kv = changes_[i];
      if (!options.prefix.Covers(kv->key)) continue;
      // As in etcd, the previous value can't be told if the revision before is compacted.
      const bool previous = options.previous_values && revision - 1 >= compacted_;
      batch.events.push_back({Gone(*kv) ? Event::Type::kDelete : Event::Type::kPut, kv, previous ? Previous(*kv) : nullptr});
      batch.revision = revision;
    }
    next = revision + 1;
    if (limit == 0) break;
  }
  return next;
}

// ---- writing ---------------------------------------------------------------------------------------------

/// Adds the newest version of its key; `previous` becomes what it replaces, null if the key wasn't there.
void Mvcc::Append(Version version, Version* previous) {
  auto it = index_.lower_bound(std::string_view(version->key));
  if (it == index_.end() || it->key != version->key) {
    it = index_.insert(it, Entry{version->key, version, {}});
  } else {
    if (previous != nullptr && !Gone(*it->newest)) *previous = it->newest;
    it->older.push_back(std::move(it->newest));
    it->newest = version;
    it->key = it->newest->key;
  }
  changes_.push_back(std::move(version));
}

void Mvcc::Put(const Operation& operation, std::vector<Event>& changes) {
  const Version previous = Get(operation.key, kHead);
  auto kv = std::make_shared<KeyValue>();
  kv->key = operation.key;
  kv->value = operation.value;
  kv->create_revision = previous != nullptr ? previous->create_revision : head_ + 1;
  kv->mod_revision = head_ + 1;
  kv->version = previous != nullptr ? previous->version + 1 : 1;
  kv->lease = operation.lease;
  Append(kv, nullptr);
  changes.push_back({Event::Type::kPut, std::move(kv), previous});
}

void Mvcc::Delete(const Entry& entry, std::vector<Event>& changes) {
  if (Gone(*entry.newest)) return;
  auto gone = std::make_shared<KeyValue>();
  gone->key = entry.newest->key;
  gone->mod_revision = head_ + 1;
  Version previous;
  Append(gone, &previous);
  changes.push_back({Event::Type::kDelete, std::move(gone), std::move(previous)});
}

TxnResult Mvcc::Apply(const Transaction& txn, std::vector<Event>& changes) {
  TxnResult result;
  result.succeeded = Holds(txn.compares, kHead);
  const size_t before = changes_.size();
  for (const Operation& operation : result.succeeded ? txn.success : txn.failure) {
    switch (operation.kind) {
      case Operation::Kind::kPut:
        Put(operation, changes);
        break;
      case Operation::Kind::kDelete:
        if (const auto it = index_.find(operation.key); it != index_.end()) Delete(*it, changes);
        break;
      case Operation::Kind::kDeletePrefix:
        for (auto it = index_.lower_bound(operation.key);
             it != index_.end() && it->key.substr(0, operation.key.size()) == operation.key; ++it) {
          Delete(*it, changes);
        }
        break;
      case Operation::Kind::kGet:
        result.gets.push_back(Get(operation.key, kHead));
        break;
    }
  }
  if (changes_.size() != before) ++head_;
  result.revision = head_;
  return result;
}

void Mvcc::Undo() {
  while (!changes_.empty() && changes_.back()->mod_revision > committed_) {
    const auto it = index_.find(std::string_view(changes_.back()->key));
    if (it->older.empty()) {
      index_.erase(it);
    } else {
      it->key = it->older.back()->key;
      it->newest = std::move(it->older.back());
      it->older.pop_back();
    }
    changes_.pop_back();
  }
  head_ = committed_;
}

// ---- compaction ------------------------------------------------------------------------------------------

Status Mvcc::CheckCompact(Revision revision) const {
  if (revision <= compacted_) {
    return Errorf(Code::kOutOfRange, "revision {} is already compacted (up to {})", revision, compacted_);
  }
  if (revision > committed_) {
    return Errorf(Code::kOutOfRange, "revision {} is in the future (now {})", revision, committed_);
  }
  return OkStatus();
}

void Mvcc::Compact(Revision revision) {
  compacted_ = revision;
  pruned_at_mark_ = 0;
}

bool Mvcc::Prune(size_t limit, std::vector<Version>& garbage) {
  for (; !changes_.empty() && changes_.front()->mod_revision < compacted_; --limit) {
    if (limit == 0) return true;
    PruneKey(changes_.front()->key, garbage);
    garbage.push_back(std::move(changes_.front()));
    changes_.pop_front();
  }
  for (; pruned_at_mark_ < changes_.size() && changes_[pruned_at_mark_]->mod_revision == compacted_; --limit) {
    if (limit == 0) return true;
    PruneKey(changes_[pruned_at_mark_++]->key, garbage);
  }
  return false;
}

void Mvcc::PruneKey(std::string_view key, std::vector<Version>& garbage) {
  const auto it = index_.find(key);
  if (it == index_.end()) return;
  auto& older = it->older;
  const bool newest_alone = it->newest->mod_revision <= compacted_;
  // The version that a read at the mark sees is kept, unless it is a deletion; what is before it goes.
  auto end = newest_alone ? older.end() : std::lower_bound(older.begin(), older.end(), compacted_ + 1, Before);
  if (!newest_alone && end != older.begin() && !Gone(**std::prev(end))) --end;
  garbage.insert(garbage.end(), std::make_move_iterator(older.begin()), std::make_move_iterator(end));
  older.erase(older.begin(), end);
  if (older.empty()) older.shrink_to_fit();
  if (newest_alone && Gone(*it->newest)) index_.erase(it);
}

// ---- loading ---------------------------------------------------------------------------------------------

void Mvcc::Restore(std::vector<Version> live, Revision base) {
  for (Version& version : live) {
    const std::string_view key = version->key;
    // Many come in order, and then the hint saves the search.
    index_.insert(index_.end(), Entry{key, std::move(version), {}});
  }
  head_ = committed_ = base;
}

Status Mvcc::Replay(Revision revision, const std::vector<Version>& changes) {
  if (revision != head_ + 1) {
    return Errorf(Code::kDataLoss, "revision {} is missing: after {} comes {}", head_ + 1, head_, revision);
  }
  for (const Version& version : changes) {
    const auto it = index_.find(std::string_view(version->key));
    const Version previous = it == index_.end() || Gone(*it->newest) ? nullptr : it->newest;
    const bool follows =
        Gone(*version)        ? previous != nullptr
        : previous == nullptr ? version->version == 1 && version->create_revision == revision
                              : version->version == previous->version + 1 &&
                                    version->create_revision == previous->create_revision;
    if (!follows || (it != index_.end() && it->newest->mod_revision == revision)) {
      return Errorf(Code::kDataLoss, "revision {}: the change of '{}' doesn't follow from the revisions before", revision,
                    version->key);
    }
    Append(version, nullptr);
  }
  head_ = committed_ = revision;
  return OkStatus();
}

std::vector<std::string> Mvcc::LeasedKeys() const {
  std::vector<std::string> keys;
  for (const Entry& entry : index_) {
    if (!Gone(*entry.newest) && entry.newest->lease != 0) keys.emplace_back(entry.key);
  }
  return keys;
}

}  // namespace isla::store
