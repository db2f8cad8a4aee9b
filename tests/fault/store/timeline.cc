#include "tests/fault/store/timeline.h"

#include <algorithm>
#include <utility>

#include "store/transaction.h"

namespace isla::store::torture {
namespace {

std::string Short(const std::string& text) { return text.size() <= 40 ? text : text.substr(0, 40) + "..."; }

}  // namespace

bool SameKv(const KeyValue* a, const KeyValue* b) {
  if (a == nullptr || b == nullptr) return a == b;
  return a->key == b->key && a->value == b->value && a->create_revision == b->create_revision &&
         a->mod_revision == b->mod_revision && a->version == b->version && a->lease == b->lease;
}

std::string Describe(const KeyValue* kv) {
  if (kv == nullptr) return "nothing";
  return fmt::format("{}='{}' mod={} create={} version={} lease={:x}", kv->key, Short(kv->value), kv->mod_revision, kv->create_revision,
                     kv->version, kv->lease);
}

Timeline::Timeline(const History& history, Complaints& complaints) : base_(history.base), last_(history.base) {
  for (const Kv& kv : history.state) versions_[kv->key][base_] = kv;
  for (const Segment& segment : history.segments) {
    if (segment.client != history.reference) continue;
    if (segment.after != last_) {
      complaints.Add("{}: began after revision {}, expected {}", segment.client, segment.after, last_);
      if (segment.after > last_) break;
    }
    for (const Segment::Batch& batch : segment.batches) {
      std::map<Revision, std::vector<Event>> parts;
      for (const Event& event : batch.events) parts[event.kv->mod_revision].push_back(event);
      for (auto& [revision, events] : parts) {
        if (revision <= last_ || changes_.contains(revision)) continue;  // the watch's own check complains of it
        Apply(revision, events, complaints);
        changes_[revision] = Change{batch.at, std::move(events)};
      }
      last_ = std::max(last_, batch.revision);
    }
  }
  if (last_ < history.last) complaints.Add("{}: got to revision {} only, of {}", history.reference, last_, history.last);
}

void Timeline::Apply(Revision revision, const std::vector<Event>& events, Complaints& complaints) {
  for (const Event& event : events) {
    auto& versions = versions_[event.kv->key];
    const Kv before = versions.empty() ? nullptr : versions.rbegin()->second;
    if (!versions.empty() && versions.rbegin()->first >= revision) {
      complaints.Add("revision {} changes '{}' twice", revision, event.kv->key);
    }
    if (event.type == Event::Type::kDelete) {
      if (before == nullptr) complaints.Add("revision {} deletes '{}', which isn't there: a put was lost", revision, event.kv->key);
      versions[revision] = nullptr;
      continue;
    }
    const int64_t version = before == nullptr ? 1 : before->version + 1;
    const Revision created = before == nullptr ? revision : before->create_revision;
    if (event.kv->version != version || event.kv->create_revision != created) {
      complaints.Add("revision {}: {} follows {}: an event was lost", revision, Describe(event.kv.get()), Describe(before.get()));
    }
    versions[revision] = event.kv;
  }
}

Timeline::Kv Timeline::At(const std::string& key, Revision revision) const {
  const auto found = versions_.find(key);
  if (found == versions_.end()) return nullptr;
  const auto after = found->second.upper_bound(revision);
  return after == found->second.begin() ? nullptr : std::prev(after)->second;
}

std::vector<Timeline::Kv> Timeline::ListAt(const std::string& prefix, Revision revision) const {
  std::vector<Kv> kvs;
  for (auto it = versions_.lower_bound(prefix); it != versions_.end() && it->first.starts_with(prefix); ++it) {
    if (Kv kv = At(it->first, revision); kv != nullptr) kvs.push_back(std::move(kv));
  }
  return kvs;
}

}  // namespace isla::store::torture
