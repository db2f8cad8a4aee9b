// Every version of every key, made from one client's watches: what the store's content was at each revision. Building it checks
// what MVCC promises of the events themselves (versions, create revisions, deletes of what is there).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/fault/store/history.h"

namespace isla::store::torture {

/// What is wrong, in words; the first few only.
class Complaints {
 public:
  template <typename... Args>
  void Add(fmt::format_string<Args...> format, Args&&... args) {
    if (texts_.size() < kMost) texts_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  const std::vector<std::string>& texts() const { return texts_; }
  bool empty() const { return texts_.empty(); }

 private:
  static constexpr size_t kMost = 30;
  std::vector<std::string> texts_;
};

class Timeline {
 public:
  using Kv = std::shared_ptr<const KeyValue>;

  /// From the segments of history.reference. Complains if they leave a hole between base and last.
  Timeline(const History& history, Complaints& complaints);

  /// The key as of `revision` (base <= revision); null: none.
  Kv At(const std::string& key, Revision revision) const;
  std::vector<Kv> ListAt(const std::string& prefix, Revision revision) const;

  struct Change {
    Nanos first_seen = 0;  // by any client
    std::vector<Event> events;
  };
  const std::map<Revision, Change>& changes() const { return changes_; }
  Revision last() const { return last_; }

 private:
  void Apply(Revision revision, const std::vector<Event>& events, Complaints& complaints);

  Revision base_, last_;
  std::map<std::string, std::map<Revision, Kv>, std::less<>> versions_;  // null: deleted
  std::map<Revision, Change> changes_;
};

bool SameKv(const KeyValue* a, const KeyValue* b);
std::string Describe(const KeyValue* kv);

}  // namespace isla::store::torture
