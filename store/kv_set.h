// Keys with their values, sorted by key, each key once. The key's text is the value's own: a tree of shared values needs no copy
// of it, which for a hundred thousand keys of 2 KiB is a tenth of what a cache takes.
#pragma once

#include <iterator>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "store/store.h"

namespace isla::store {

struct KvOrder {
  using is_transparent = void;
  using Kv = std::shared_ptr<const KeyValue>;
  bool operator()(const Kv& a, const Kv& b) const { return a->key < b->key; }
  bool operator()(const Kv& a, std::string_view b) const { return a->key < b; }
  bool operator()(std::string_view a, const Kv& b) const { return a < b->key; }
};

/// None of them is null.
using KvSet = std::set<std::shared_ptr<const KeyValue>, KvOrder>;

/// Puts `kv` where its key is, or in that key's place.
inline void Put(KvSet& set, std::shared_ptr<const KeyValue> kv) {
  const auto place = set.lower_bound(std::string_view(kv->key));
  if (place == set.end() || (*place)->key != kv->key) {
    set.insert(place, std::move(kv));
    return;
  }
  const auto next = std::next(place);
  auto node = set.extract(place);
  node.value() = std::move(kv);
  set.insert(next, std::move(node));
}

/// The value of this key, or null.
inline std::shared_ptr<const KeyValue> Find(const KvSet& set, std::string_view key) {
  const auto found = set.find(key);
  return found == set.end() ? nullptr : *found;
}

}  // namespace isla::store
