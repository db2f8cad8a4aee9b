// The store: an MVCC key-value interface with etcd's meaning. Everything in isla that lasts lives here,
// and it is the only channel between components.
//
// Two backends: EtcdStore (store/etcd) and EmbeddedStore (store/embedded). One conformance suite
// (tests/conformance) passes on both. Rules, from etcd's API guarantees (etcd documentation, "KV API
// guarantees", "Watch API guarantees"):
//   - Each transaction that changes something gets the next revision (one for all its changes).
//   - Reads and transactions are linearizable. A List with `revision` 0 reads the newest state.
//   - A watch delivers whole transactions in order of revision, each once, from the revision asked for,
//     or ends with a status that says why; it never skips silently. It is not linearizable: it may lag.
//   - A lease is a hint: it may be gone before its holder notices. Truth is a compare in a transaction.
//   - A write that fails with DEADLINE_EXCEEDED or UNAVAILABLE after it was sent has an unknown outcome:
//     the backend never sends it again by itself. (UNAVAILABLE is used only where nothing was sent or
//     the server said that it did nothing; anything doubtful is DEADLINE_EXCEEDED.)
// Thread safety: every method of Store may be called from any thread at once. Calls block until done or
// past their deadline. No call is made with a lock of the caller's held.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/status.h"
#include "store/key.h"

namespace isla::store {

using Revision = int64_t;  // from 1; 0 = none, or "the newest"
using LeaseId = int64_t;   // 0 = no lease

struct KeyValue {
  std::string key;
  std::string value;
  Revision create_revision = 0;
  Revision mod_revision = 0;
  int64_t version = 0;  // 1 at creation, +1 for each put
  LeaseId lease = 0;
};

struct GetResult {
  std::shared_ptr<const KeyValue> kv;  // null: no such key (that is not an error)
  Revision revision = 0;               // of the store when it was read
};

struct ListOptions {
  Revision revision = 0;   // 0 = newest; else OUT_OF_RANGE if compacted (also between two pages) or in the future
  size_t page_size = 500;  // the backend reads pages of this many keys, all at one revision
  bool keys_only = false;
  // For those who take it piece by piece; each piece but the first at the first's revision.
  std::string from;  // only keys from this one on, itself included; "" = all under the prefix
  size_t limit = 0;  // at most so many keys; 0 = all
};

struct ListResult {
  std::vector<std::shared_ptr<const KeyValue>> kvs;  // sorted by key, bytewise
  Revision revision = 0;                             // the one that every page was read at
  bool more = false;  // with `limit`: it was reached, and there may be more behind the last key (whose next is key + '\0')
};

/// One condition of a transaction on one key. A key that doesn't exist has version, create and mod
/// revision 0 and no value (a compare of the value then fails).
struct Compare {
  enum class Target { kVersion, kCreateRevision, kModRevision, kValue };
  enum class Op { kEqual, kNotEqual, kLess, kGreater };
  std::string key;
  Target target = Target::kModRevision;
  Op op = Op::kEqual;
  int64_t number = 0;
  std::string value;

  static Compare ModRevision(Key key, Revision is) {
    return {std::move(key).text(), Target::kModRevision, Op::kEqual, is, {}};
  }
  static Compare CreateRevision(Key key, Revision is) {
    return {std::move(key).text(), Target::kCreateRevision, Op::kEqual, is, {}};
  }
  static Compare Missing(Key key) { return CreateRevision(std::move(key), 0); }
  static Compare Exists(Key key) {
    return {std::move(key).text(), Target::kCreateRevision, Op::kGreater, 0, {}};
  }
  static Compare Value(Key key, std::string is) {
    return {std::move(key).text(), Target::kValue, Op::kEqual, 0, std::move(is)};
  }
};

struct Operation {
  enum class Kind { kPut, kDelete, kDeletePrefix, kGet };
  Kind kind = Kind::kPut;
  std::string key;  // kDeletePrefix: the prefix
  std::string value;
  LeaseId lease = 0;

  static Operation Put(Key key, std::string value, LeaseId lease = 0) {
    return {Kind::kPut, std::move(key).text(), std::move(value), lease};
  }
  static Operation Delete(Key key) { return {Kind::kDelete, std::move(key).text(), {}, 0}; }
  static Operation DeletePrefix(const Prefix& prefix) { return {Kind::kDeletePrefix, prefix.text(), {}, 0}; }
  static Operation Get(Key key) { return {Kind::kGet, std::move(key).text(), {}, 0}; }
};

/// All compares hold -> `success` is done, else `failure` (reads only, to learn what is there).
/// A key may be put or deleted once in a transaction (INVALID_ARGUMENT otherwise). At most 128 compares
/// and 128 operations, and 1.5 MiB in all (RESOURCE_EXHAUSTED).
struct Transaction {
  std::vector<Compare> compares;
  std::vector<Operation> success;
  std::vector<Operation> failure;
};

struct TxnResult {
  bool succeeded = false;
  Revision revision = 0;  // the transaction's own if it changed something, else the store's when it ran
  /// One entry for each kGet of the branch that ran, in order; null = no such key.
  std::vector<std::shared_ptr<const KeyValue>> gets;
};

/// One change of one key.
struct Event {
  enum class Type { kPut, kDelete };
  Type type = Type::kPut;
  std::shared_ptr<const KeyValue> kv;        // kDelete: key and mod_revision (of the delete) only
  std::shared_ptr<const KeyValue> previous;  // what it replaced, if asked for and not compacted; else null
};

/// Whole transactions in order; `revision` = all events up to and including it have been delivered.
/// No events = progress only.
struct WatchBatch {
  Revision revision = 0;
  std::vector<Event> events;
};

struct WatchOptions {
  Prefix prefix;
  /// The first revision to deliver, above the compacted one; it may lie in the future. 0 = after now: then the first batch is empty, and its revision
  /// is the one after which the watch began.
  Revision start_revision = 0;
  bool previous_values = false;
};

/// Gets a watch's batches. Called from one thread of the store's at a time, never after OnEnd. Must return
/// soon: it runs on a thread that the backend needs (gRPC has two), so that an event gets here without a hop. It may
/// take a lock that is held shortly, move data, wake others; it must not wait for anything, nor call the store.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual void OnBatch(WatchBatch batch) = 0;
  /// Called once, last. CANCELLED: by Watch's destructor. OUT_OF_RANGE: start_revision is compacted, or is the revision
  /// that was compacted to (or the store behind is another one), list again. UNAVAILABLE: the connection went; watch again from the last batch's
  /// revision + 1. Anything else: as UNAVAILABLE, but worth a warning.
  virtual void OnEnd(const Status& status) = 0;
};

/// A running watch; its destructor cancels it and returns after OnEnd has returned. Must not be destroyed
/// within its own watcher's callbacks, and not after its store.
class Watch {
 public:
  virtual ~Watch() = default;
};

using Deadline = std::chrono::nanoseconds;  // a duration from the call
inline constexpr Deadline kDefaultDeadline = std::chrono::seconds(5);

class Store {
 public:
  virtual ~Store() = default;

  virtual StatusOr<GetResult> Get(const Key& key, Deadline deadline = kDefaultDeadline) = 0;
  /// All keys under `prefix`, at one revision.
  virtual StatusOr<ListResult> List(const Prefix& prefix, const ListOptions& options = {},
                                    Deadline deadline = std::chrono::seconds(30)) = 0;
  virtual StatusOr<TxnResult> Txn(const Transaction& txn, Deadline deadline = kDefaultDeadline) = 0;
  /// Starts a watch. `watcher` must outlive the Watch. An error to connect comes through OnEnd.
  virtual StatusOr<std::unique_ptr<Watch>> StartWatch(const WatchOptions& options, Watcher& watcher) = 0;

  /// A new lease of `ttl` (whole seconds, at least 1).
  virtual StatusOr<LeaseId> GrantLease(std::chrono::seconds ttl, Deadline deadline = kDefaultDeadline) = 0;
  /// Renews it once; the time to live from now. NOT_FOUND: the lease is gone, with its keys.
  virtual StatusOr<std::chrono::seconds> KeepAliveLease(LeaseId lease, Deadline deadline = kDefaultDeadline) = 0;
  /// Ends it and deletes its keys. A lease that is gone already is OK.
  virtual Status RevokeLease(LeaseId lease, Deadline deadline = kDefaultDeadline) = 0;

  /// Forgets history below `revision`: lists at it still work, watches begin above it. It should be a revision without a delete,
  /// as that of a put of the caller's own: up to etcd 3.4.35 a watch that has fallen behind to just there loses the delete.
  /// See Compactor. OUT_OF_RANGE if it is already compacted or in the future.
  virtual Status Compact(Revision revision, Deadline deadline = kDefaultDeadline) = 0;

  /// Which store is behind this one, as of the last answer: etcd's cluster id; 0 = not known or none. If it changes, or the
  /// revision falls, another history is being served (a backup was restored): nothing read before holds.
  virtual uint64_t Identity() const { return 0; }
};

}  // namespace isla::store
