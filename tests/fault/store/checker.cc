#include "tests/fault/store/checker.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "store/transaction.h"
#include "tests/fault/store/timeline.h"

namespace isla::store::torture {
namespace {

using Kv = Timeline::Kv;

constexpr Nanos kNever = std::numeric_limits<Nanos>::max();

const std::string& UniqueValue(const Transaction& txn) {
  static const std::string kNone;
  for (const Operation& operation : txn.success) {
    if (operation.kind == Operation::Kind::kPut) return operation.value;
  }
  return kNone;
}

bool Holds(const Compare& compare, const KeyValue* kv) {
  const auto compared = [&compare](const auto& is, const auto& to) {
    switch (compare.op) {
      case Compare::Op::kEqual: return is == to;
      case Compare::Op::kNotEqual: return is != to;
      case Compare::Op::kLess: return is < to;
      case Compare::Op::kGreater: return is > to;
    }
    return false;
  };
  switch (compare.target) {
    case Compare::Target::kVersion: return compared(kv == nullptr ? 0 : kv->version, compare.number);
    case Compare::Target::kCreateRevision: return compared(kv == nullptr ? 0 : kv->create_revision, compare.number);
    case Compare::Target::kModRevision: return compared(kv == nullptr ? 0 : kv->mod_revision, compare.number);
    case Compare::Target::kValue: return kv != nullptr && compared(kv->value, compare.value);
  }
  return false;
}

class Checker {
 public:
  explicit Checker(const History& history) : history_(history), timeline_(history, complaints_) {}

  std::vector<std::string> Run() {
    for (const Segment& segment : history_.segments) CheckSegment(segment);
    FindFirstSeen();
    MatchTransactions();
    for (const Op& op : history_.ops) CheckAnswer(op);
    CheckRealTime();
    CheckSessions();
    for (const Belief& belief : history_.beliefs) CheckBelief(belief);
    return complaints_.texts();
  }

 private:
  struct Match {
    Revision revision = 0;
    size_t times = 0;
  };

  void CheckSegment(const Segment& segment);
  void CheckEvents(const Segment& segment, Revision revision, const std::vector<Event>& events);
  void CheckNothingMissed(const Segment& segment, const std::set<Revision>& seen);
  void FindFirstSeen();
  void MatchTransactions();
  void CheckEffect(const Op& op, Revision revision, const std::vector<Event>& events);
  void CheckUnclaimed(Revision revision, const std::vector<Event>& events);
  void CheckAnswer(const Op& op);
  void CheckTxnAnswer(const Op& op);
  void CheckKvs(const Op& op, const std::vector<Kv>& expected);
  void CheckRealTime();
  void CheckSessions();
  void CheckBelief(const Belief& belief);
  bool Covered(Revision revision) const { return revision >= history_.base && revision <= timeline_.last(); }
  /// When someone had first seen the store at this revision or a later one.
  Nanos FirstSeen(Revision revision) const {
    const auto it = first_seen_.lower_bound(revision);
    return it == first_seen_.end() ? kNever : it->second;
  }

  const History& history_;
  Complaints complaints_;
  const Timeline timeline_;
  std::map<Revision, Nanos> first_seen_;
  std::map<const Op*, Match> matches_;
};

void Checker::CheckSegment(const Segment& segment) {
  Revision last = segment.after;
  std::set<Revision> seen;
  for (const Segment::Batch& batch : segment.batches) {
    if (batch.revision <= last && !(batch.events.empty() && batch.revision == last)) {
      complaints_.Add("{}: a batch of revision {} after {}: again, or out of order", segment.client, batch.revision, last);
    }
    std::map<Revision, std::vector<Event>> parts;
    Revision previous = 0;
    for (const Event& event : batch.events) {
      const Revision revision = event.kv->mod_revision;
      if (revision < previous) complaints_.Add("{}: revision {} after {} within a batch", segment.client, revision, previous);
      if (revision > batch.revision) complaints_.Add("{}: revision {} in a batch of {}", segment.client, revision, batch.revision);
      if (revision <= last) {
        complaints_.Add("{}: event of revision {} when {} had been delivered: {}", segment.client, revision, last,
                        Describe(event.kv.get()));
      }
      if (!event.kv->key.starts_with(segment.prefix)) {
        complaints_.Add("{}: '{}' isn't under '{}'", segment.client, event.kv->key, segment.prefix);
      }
      previous = std::max(previous, revision);
      parts[revision].push_back(event);
    }
    for (const auto& [revision, events] : parts) {
      seen.insert(revision);
      CheckEvents(segment, revision, events);
    }
    last = std::max(last, batch.revision);
  }
  CheckNothingMissed(segment, seen);
}

/// One transaction's events, as this watch has them, are those of the timeline under its prefix.
void Checker::CheckEvents(const Segment& segment, Revision revision, const std::vector<Event>& events) {
  if (!Covered(revision)) return;
  const auto change = timeline_.changes().find(revision);
  if (change == timeline_.changes().end()) {
    complaints_.Add("{}: revision {} (of '{}') is known to nobody else", segment.client, revision, events[0].kv->key);
    return;
  }
  std::map<std::string, const Event*> expected;
  for (const Event& event : change->second.events) {
    if (event.kv->key.starts_with(segment.prefix)) expected[event.kv->key] = &event;
  }
  for (const Event& event : events) {
    const auto it = expected.find(event.kv->key);
    if (it == expected.end()) {
      complaints_.Add("{}: revision {} has '{}' twice, or it didn't change it", segment.client, revision, event.kv->key);
      continue;
    }
    if (event.type != it->second->type || !SameKv(event.kv.get(), it->second->kv.get())) {
      complaints_.Add("{}: revision {} is {}, for others {}", segment.client, revision, Describe(event.kv.get()),
                      Describe(it->second->kv.get()));
    }
    expected.erase(it);
    const Kv before = timeline_.At(event.kv->key, revision - 1);
    if (event.previous == nullptr ? segment.previous_required && before != nullptr : !SameKv(event.previous.get(), before.get())) {
      complaints_.Add("{}: revision {} replaced {}, and says {}", segment.client, revision, Describe(before.get()),
                      Describe(event.previous.get()));
    }
  }
  for (const auto& [key, event] : expected) {
    complaints_.Add("{}: revision {} is torn: '{}' is missing", segment.client, revision, key);
  }
}

void Checker::CheckNothingMissed(const Segment& segment, const std::set<Revision>& seen) {
  auto change = timeline_.changes().upper_bound(segment.after);
  for (; change != timeline_.changes().end() && change->first <= segment.upto(); ++change) {
    const bool ours = std::any_of(change->second.events.begin(), change->second.events.end(),
                                  [&segment](const Event& event) { return event.kv->key.starts_with(segment.prefix); });
    if (ours && !seen.contains(change->first)) {
      complaints_.Add("{}: revision {} was lost (watched after {}, up to {})", segment.client, change->first, segment.after,
                      segment.upto());
    }
  }
}

void Checker::FindFirstSeen() {
  std::map<Revision, Nanos> at;
  const auto see = [&at](Revision revision, Nanos when) {
    const auto [it, fresh] = at.emplace(revision, when);
    if (!fresh) it->second = std::min(it->second, when);
  };
  for (const Segment& segment : history_.segments) {
    for (const Segment::Batch& batch : segment.batches) see(batch.revision, batch.at);
  }
  for (const Op& op : history_.ops) {
    if (op.outcome == Op::Outcome::kOk) see(op.revision, op.ended);
  }
  // A later revision seen earlier counts for all before it.
  Nanos earliest = kNever;
  for (auto it = at.rbegin(); it != at.rend(); ++it) {
    earliest = std::min(earliest, it->second);
    it->second = earliest;
  }
  first_seen_ = std::move(at);
}

void Checker::MatchTransactions() {
  std::map<std::string, const Op*> by_value;
  for (const Op& op : history_.ops) {
    if (op.kind != Op::Kind::kTxn || UniqueValue(op.txn).empty()) continue;
    if (!by_value.emplace(UniqueValue(op.txn), &op).second) complaints_.Add("two transactions put '{}'", UniqueValue(op.txn));
  }
  for (const auto& [revision, change] : timeline_.changes()) {
    const Op* op = nullptr;
    for (const Event& event : change.events) {
      if (event.type != Event::Type::kPut) continue;
      const auto found = by_value.find(event.kv->value);
      if (found != by_value.end()) op = found->second;
    }
    if (op == nullptr) {
      CheckUnclaimed(revision, change.events);
      continue;
    }
    Match& match = matches_[op];
    if (++match.times > 1) {
      complaints_.Add("{}: '{}' was done at revision {} and again at {}", op->client, UniqueValue(op->txn), match.revision, revision);
    }
    match.revision = revision;
    CheckEffect(*op, revision, change.events);
  }
}

void Checker::CheckEffect(const Op& op, Revision revision, const std::vector<Event>& events) {
  const std::string& value = UniqueValue(op.txn);
  if (op.outcome == Op::Outcome::kRefused) {
    complaints_.Add("{}: '{}' was refused ({}), and happened at revision {}", op.client, value, op.error, revision);
  }
  if (FirstSeen(revision) < op.called) complaints_.Add("{}: '{}' was seen at revision {} before it was asked for", op.client, value, revision);
  for (const Compare& compare : op.txn.compares) {
    if (Holds(compare, timeline_.At(compare.key, revision - 1).get())) continue;
    complaints_.Add("{}: '{}' happened at revision {} though its compare on '{}' doesn't hold: {}", op.client, value, revision,
                    compare.key, Describe(timeline_.At(compare.key, revision - 1).get()));
  }
  std::map<std::string, const Operation*> expected;  // key -> the put, or null for a delete
  for (const Operation& operation : op.txn.success) {
    if (operation.kind == Operation::Kind::kPut) expected[operation.key] = &operation;
    if (operation.kind == Operation::Kind::kDelete && timeline_.At(operation.key, revision - 1) != nullptr) expected[operation.key] = nullptr;
    if (operation.kind != Operation::Kind::kDeletePrefix) continue;
    for (const Kv& kv : timeline_.ListAt(operation.key, revision - 1)) expected[kv->key] = nullptr;
  }
  for (const Event& event : events) {
    const auto it = expected.find(event.kv->key);
    const bool put = event.type == Event::Type::kPut;
    if (it == expected.end() || (it->second != nullptr) != put ||
        (put && (event.kv->value != it->second->value || event.kv->lease != it->second->lease))) {
      complaints_.Add("{}: '{}' at revision {} did {} {}, which it was not to", op.client, value, revision, put ? "put" : "delete",
                      Describe(event.kv.get()));
      continue;
    }
    expected.erase(it);
  }
  for (const auto& [key, operation] : expected) {
    complaints_.Add("{}: '{}' is torn: revision {} doesn't {} '{}'", op.client, value, revision, operation == nullptr ? "delete" : "put", key);
  }
}

/// What no transaction did: a lease's end, which deletes all of its keys, or a barrier.
void Checker::CheckUnclaimed(Revision revision, const std::vector<Event>& events) {
  std::set<LeaseId> leases;
  for (const Event& event : events) {
    if (event.type == Event::Type::kPut) {
      if (history_.unclaimed_prefix.empty() || !event.kv->key.starts_with(history_.unclaimed_prefix) || events.size() != 1) {
        complaints_.Add("revision {}: nobody put {}", revision, Describe(event.kv.get()));
      }
      return;
    }
    const Kv before = timeline_.At(event.kv->key, revision - 1);
    if (before == nullptr || before->lease == 0) {
      complaints_.Add("revision {}: nobody deleted '{}'", revision, event.kv->key);
      return;
    }
    leases.insert(before->lease);
  }
  if (leases.size() != 1) complaints_.Add("revision {} deletes the keys of {} leases", revision, leases.size());
}

void Checker::CheckAnswer(const Op& op) {
  if (op.outcome != Op::Outcome::kOk || op.revision > timeline_.last()) return;
  if (op.revision < history_.base) {
    complaints_.Add("{}: answered with revision {}, the history begins after {}", op.client, op.revision, history_.base);
    return;
  }
  switch (op.kind) {
    case Op::Kind::kTxn: CheckTxnAnswer(op); break;
    case Op::Kind::kGet: CheckKvs(op, {timeline_.At(op.key, op.revision)}); break;
    case Op::Kind::kList:
    case Op::Kind::kCacheList: CheckKvs(op, timeline_.ListAt(op.key, op.revision)); break;
  }
}

void Checker::CheckTxnAnswer(const Op& op) {
  const std::string& value = UniqueValue(op.txn);
  const auto match = matches_.find(&op);
  if (op.succeeded) {
    if (match == matches_.end()) {
      complaints_.Add("{}: '{}' succeeded at revision {}, and nobody saw it", op.client, value, op.revision);
    } else if (match->second.revision != op.revision) {
      complaints_.Add("{}: '{}' succeeded at revision {}, and was seen at {}", op.client, value, op.revision, match->second.revision);
    }
    return;
  }
  if (match != matches_.end()) {
    complaints_.Add("{}: '{}' did not succeed, and happened at revision {}", op.client, value, match->second.revision);
  }
  const bool all = std::all_of(op.txn.compares.begin(), op.txn.compares.end(), [&op, this](const Compare& compare) {
    return Holds(compare, timeline_.At(compare.key, op.revision).get());
  });
  if (all) complaints_.Add("{}: '{}' did not succeed, though its compares hold at revision {}", op.client, value, op.revision);
  std::vector<Kv> expected;
  for (const Operation& operation : op.txn.failure) expected.push_back(timeline_.At(operation.key, op.revision));
  CheckKvs(op, expected);
}

void Checker::CheckKvs(const Op& op, const std::vector<Kv>& expected) {
  for (size_t i = 0; i < std::max(op.kvs.size(), expected.size()); ++i) {
    const KeyValue* got = i < op.kvs.size() ? op.kvs[i].get() : nullptr;
    const KeyValue* right = i < expected.size() ? expected[i].get() : nullptr;
    if (SameKv(got, right)) continue;
    complaints_.Add("{}: a read of '{}' at revision {} gave {}, there was {}", op.client, op.key, op.revision, Describe(got), Describe(right));
    return;
  }
}

/// Sweeps over the calls' beginnings: what had ended by then bounds the revision from below.
void Checker::CheckRealTime() {
  struct Ended {
    Nanos at;
    Revision revision;
    const Op* op;
  };
  std::vector<Ended> ended;
  std::vector<const Op*> began;
  for (const Op& op : history_.ops) {
    if (!op.linearizable || op.outcome == Op::Outcome::kRefused) continue;
    if (op.outcome == Op::Outcome::kOk) ended.push_back({op.ended, op.revision, &op});
    began.push_back(&op);
  }
  std::sort(ended.begin(), ended.end(), [](const Ended& a, const Ended& b) { return a.at < b.at; });
  std::sort(began.begin(), began.end(), [](const Op* a, const Op* b) { return a->called < b->called; });
  const Ended* newest = nullptr;
  size_t next = 0;
  for (const Op* op : began) {
    for (; next < ended.size() && ended[next].at < op->called; ++next) {
      if (newest == nullptr || ended[next].revision > newest->revision) newest = &ended[next];
    }
    if (newest == nullptr) continue;
    const auto match = matches_.find(op);
    const bool wrote = match != matches_.end();
    if (!wrote && op->outcome != Op::Outcome::kOk) continue;
    const Revision revision = wrote ? match->second.revision : op->revision;
    if (wrote ? revision > newest->revision : revision >= newest->revision) continue;
    complaints_.Add("{}: {} of '{}' has revision {}, though {} had been told {} before it began: stale", op->client,
                    wrote ? "write" : "read", wrote ? UniqueValue(op->txn) : op->key, revision, newest->op->client, newest->revision);
  }
}

void Checker::CheckSessions() {
  std::map<std::string, std::vector<const Op*>> sessions;
  for (const Op& op : history_.ops) {
    if (op.outcome == Op::Outcome::kOk) sessions[op.client].push_back(&op);
  }
  for (auto& [client, ops] : sessions) {
    std::stable_sort(ops.begin(), ops.end(), [](const Op* a, const Op* b) { return a->called < b->called; });
    for (size_t i = 1; i < ops.size(); ++i) {
      if (ops[i]->revision >= ops[i - 1]->revision || ops[i]->called < ops[i - 1]->ended) continue;
      complaints_.Add("{}: saw revision {} after {}", client, ops[i]->revision, ops[i - 1]->revision);
    }
  }
}

void Checker::CheckBelief(const Belief& belief) {
  for (auto change = timeline_.changes().upper_bound(belief.created); change != timeline_.changes().end(); ++change) {
    if (FirstSeen(change->first) >= belief.until) return;
    for (const Event& event : change->second.events) {
      if (event.type != Event::Type::kDelete || event.kv->key != belief.key) continue;
      complaints_.Add("{}: '{}' was seen gone at revision {}, {} us before its holder stopped being sure", belief.client, belief.key,
                      change->first, (belief.until - FirstSeen(change->first)) / 1000);
      return;
    }
  }
}

}  // namespace

std::vector<std::string> Check(const History& history) { return Checker(history).Run(); }

}  // namespace isla::store::torture
