// What was asked of a store and what it said: the record that the checker judges. Plain data, kept in memory for one round of a
// run, written to a file when the checker refuses it.
#pragma once

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "store/store.h"

namespace isla::store::torture {

/// Nanoseconds on the monotonic clock; only compared with one another.
using Nanos = int64_t;

/// One call.
struct Op {
  enum class Kind {
    kTxn,        // Store::Txn
    kGet,        // Store::Get; `key`
    kList,       // Store::List of the newest; `key` is the prefix
    kCacheList,  // WatchCache::List; `key` is the prefix
  };
  enum class Outcome { kOk, kUnknown, kRefused };

  std::string client;
  Kind kind = Kind::kTxn;
  Outcome outcome = Outcome::kUnknown;
  /// Sees everything that ended before it began. False: it may be old, but must be what once was, and one client never sees time
  /// run backwards (a cache without a barrier).
  bool linearizable = true;
  Nanos called = 0;
  Nanos ended = 0;
  std::string key;
  /// Of kTxn: at least one put, and every put has the same value, unique to the transaction: it tells the transaction in
  /// the events. `gets` only in `failure`.
  Transaction txn;
  // The answer, if kOk.
  bool succeeded = false;
  Revision revision = 0;
  std::vector<std::shared_ptr<const KeyValue>> kvs;  // kGet: one, or null; kTxn: its gets; lists: all
  std::string error;                                 // if not kOk
};

/// One watch, or one subscription to a cache, from its start to its end.
struct Segment {
  struct Batch {
    Nanos at = 0;
    Revision revision = 0;  // everything up to here has been delivered
    std::vector<Event> events;
  };
  std::string client;
  std::string prefix;
  Revision after = 0;              // delivers what is above it
  bool previous_required = false;  // each event must carry what it replaced
  std::vector<Batch> batches;
  std::string end;  // why

  Revision upto() const { return batches.empty() ? after : batches.back().revision; }
};

/// A holder of a lease was sure that its key was there, since the put at `created`, until this time.
struct Belief {
  std::string client;
  std::string key;
  Revision created = 0;
  Nanos until = 0;
};

struct History {
  std::string prefix;                                 // all keys
  Revision base = 0;                                  // it begins after this revision
  std::vector<std::shared_ptr<const KeyValue>> state;  // as of `base`
  Revision last = 0;                                  // every watch had to reach this one
  std::string reference;                              // the client whose segments, together, must be whole
  std::vector<Op> ops;
  std::vector<Segment> segments;
  std::vector<Belief> beliefs;
  /// Puts of these keys need no transaction in `ops` (a cache's barrier).
  std::string unclaimed_prefix;
};

/// For people: one line a call, one line a batch.
void Dump(const History& history, std::ostream& out);

}  // namespace isla::store::torture
