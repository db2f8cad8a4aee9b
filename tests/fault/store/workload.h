// What writers do whose store is killed under them: transactions that follow from (writer, number) alone, so that from the number of
// the last one everything else follows that must be there.
//
// Transaction n of a writer (from 1) compares its number with n - 1 and sets it to n; puts or deletes key n mod 7 and puts
// key n mod 3, of sizes from nothing to 20 KB. None is half there: all three are at the same number.
#pragma once

#include <map>
#include <string>

#include "store/store.h"

namespace isla::store {

class Workload {
 public:
  explicit Workload(int writer) : prefix_("/w" + std::to_string(writer) + "/") {}

  const std::string& prefix() const { return prefix_; }
  std::string NumberKey() const { return prefix_ + "number"; }

  Transaction Make(int64_t n) const {
    Transaction txn;
    txn.compares = {n == 1 ? Compare::Missing(NumberKey()) : Compare::Value(NumberKey(), std::to_string(n - 1))};
    txn.success.push_back(Operation::Put(NumberKey(), std::to_string(n)));
    txn.success.push_back(Deletes(n) ? Operation::Delete(Key("a", n % 7)) : Operation::Put(Key("a", n % 7), Value(n)));
    txn.success.push_back(Operation::Put(Key("b", n % 3), Value(-n)));
    return txn;
  }

  /// What is there after transaction n, without the number.
  std::map<std::string, std::string> After(int64_t n) const {
    std::map<std::string, std::string> content;
    for (int64_t i = std::max<int64_t>(1, n - 6); i <= n; ++i) {
      if (!Deletes(i)) content[Key("a", i % 7)] = Value(i);
    }
    for (int64_t i = std::max<int64_t>(1, n - 2); i <= n; ++i) content[Key("b", i % 3)] = Value(-i);
    return content;
  }

  /// The number of the last transaction in the store, whose content has been checked. DATA_LOSS: something else is there.
  StatusOr<int64_t> Check(Store& store, Revision& revision_of_last) const {
    ASSIGN_OR_RETURN(const ListResult list, store.List(Prefix(prefix_)));
    std::map<std::string, std::string> content;
    for (const auto& kv : list.kvs) content[kv->key] = kv->value;
    int64_t n = 0;
    revision_of_last = 0;
    for (const auto& kv : list.kvs) {
      if (kv->key != NumberKey()) continue;
      n = std::stoll(kv->value);
      revision_of_last = kv->mod_revision;
      if (kv->version != n) return Errorf(Code::kDataLoss, "'{}' is {}, but at version {}", kv->key, n, kv->version);
    }
    content.erase(NumberKey());
    if (content != After(n)) return Errorf(Code::kDataLoss, "'{}' is not as it was after transaction {}", prefix_, n);
    return n;
  }

 private:
  static uint64_t Hash(int64_t n) {
    uint64_t x = static_cast<uint64_t>(n) * 0x9E3779B97F4A7C15ULL;
    x ^= x >> 29;
    return x * 0xBF58476D1CE4E5B9ULL >> 17;
  }
  static bool Deletes(int64_t n) { return n > 7 && Hash(n) % 4 == 0; }
  std::string Key(const char* kind, int64_t i) const { return prefix_ + kind + std::to_string(i); }
  std::string Value(int64_t n) const {
    const uint64_t hash = Hash(n);
    const size_t size = hash % 8 == 0 ? hash % 20'000 : hash % 300;
    std::string value = prefix_ + std::to_string(n) + ":";
    while (value.size() < size) value += static_cast<char>(hash >> (value.size() % 50));
    return value;
  }

  const std::string prefix_;
};

}  // namespace isla::store
