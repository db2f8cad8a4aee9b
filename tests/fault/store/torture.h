// One store, and everything that can happen to it: rounds of clients under seeded faults, each round's history judged (checker.h).
// The store and its caches live through all rounds; so does what a round did to them.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "store/cache/watch_cache.h"
#include "store/store.h"
#include "tests/fault/store/clients.h"
#include "tests/fault/store/history.h"

namespace isla::store::torture {

/// What is tortured.
class Target {
 public:
  virtual ~Target() = default;
  /// A client of the store that suffers all faults; each call makes one with connections of its own.
  virtual std::unique_ptr<Store> Connect() = 0;
  /// One that doesn't go through the proxy.
  virtual std::unique_ptr<Store> ConnectDirectly() = 0;
  /// Does something bad, for a while, from the test's main thread.
  virtual void Fault(std::mt19937_64& random) = 0;
  /// How many there have been so far, by kind.
  virtual std::map<std::string, uint64_t> Faults() const = 0;
  /// All faults end; connections that can't be trusted are cut.
  virtual void Heal() = 0;
  /// Puts an old state back, if it has one and can: a new history. False: it hasn't.
  virtual bool Restore() { return false; }
  /// For the report of a failure.
  virtual std::string Log() const { return {}; }
};

std::unique_ptr<Target> MakeEtcdTarget();
std::unique_ptr<Target> MakeEmbeddedTarget();  // in memory
std::unique_ptr<Target> MakeDiskTarget();      // the embedded store on a disk

struct Totals {
  uint64_t rounds = 0, ops = 0, unknown = 0, refused = 0, transactions = 0, events = 0, watches = 0;
  std::map<std::string, uint64_t> faults;
  void Add(const Totals& other);
  std::string Text() const;
};

class Torture {
 public:
  explicit Torture(std::unique_ptr<Target> target);
  ~Torture();

  /// One round with this seed; what is wrong, or nothing. `restore`: afterwards an old state is put back, if there is one.
  std::vector<std::string> Round(uint64_t seed, std::chrono::milliseconds length, bool restore);
  /// Of the last round; the faults since the beginning.
  Totals Count() const;
  /// The last round's history and the target's log, to a file; its name.
  std::string DumpLast(uint64_t seed) const;

 private:
  struct CacheUnderTest {
    std::unique_ptr<Store> store;
    Metrics metrics;
    std::unique_ptr<WatchCache> cache;
  };

  void Begin(std::vector<std::string>& complaints);
  void AddClients(uint64_t seed);
  void Finish(uint64_t seed, std::vector<std::string>& complaints);
  void Judge(std::vector<std::string>& complaints);
  void CarryUnknown();
  void CompactSome(std::mt19937_64& random);
  void RestoreOld(std::vector<std::string>& complaints);

  std::unique_ptr<Target> target_;
  std::unique_ptr<Store> direct_, shared_;
  std::vector<std::unique_ptr<CacheUnderTest>> caches_;
  History history_;
  std::vector<Op> carried_;  // outcome unknown, and not seen yet: they may still happen
  std::vector<std::unique_ptr<Client>> busy_;
  std::vector<std::unique_ptr<Follower>> followers_;
  std::vector<std::unique_ptr<CacheReaderClient>> readers_;
  WatcherClient* reference_ = nullptr;
  std::deque<Revision> marks_;  // may be compacted to
  uint64_t compactions_ = 0, restores_ = 0;
};

}  // namespace isla::store::torture
