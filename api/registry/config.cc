#include "api/registry/config.h"

#include <algorithm>
#include <utility>

#include "api/base/field_error.h"
#include "api/base/stored_json.h"

namespace isla::registry {
namespace {

using config::KvPtr;
using config::Leaf;
using config::Scope;
using config::ScopeKind;
using store::Compare;
using store::Operation;
using store::Revision;

constexpr int kMaxTries = 8;        // races that one request may lose
constexpr size_t kMostNames = 100;  // in one write: a transaction takes 128 compares
constexpr size_t kLongestValue = 16 << 10;

Revision RevisionOf(const KvPtr& kv) { return kv == nullptr ? 0 : kv->mod_revision; }

/// The labels of a node as its agent registered it; none if it isn't known.
std::map<std::string, std::string> LabelsOf(const KvPtr& node) {
  std::map<std::string, std::string> labels;
  if (node == nullptr) return labels;
  const auto value = json::Parse(node->value, kStoredJson);
  const json::Value* found = value.ok() ? value->Find("labels") : nullptr;
  if (found == nullptr || !found->is_object()) return labels;
  for (const json::Member& member : found->members()) {
    if (member.value.is_string()) labels[member.name] = member.value.as_string();
  }
  return labels;
}

/// The value with no regard to how it was typed: 1.0 and 1 are one integer.
std::string Canonical(const json::Value& value) {
  if (const auto number = value.ToInt64(); value.is_number() && number) return json::Serialize(json::Value(*number));
  return json::Serialize(value);
}

Status CheckPrefix(const config::Leaves& leaves, const std::string& prefix) {
  for (const auto& [name, leaf] : leaves) {
    if (config::IsBelow(name, prefix)) return OkStatus();  // a name that the table doesn't have can be looked at
  }
  return config::CheckPrefix(prefix);
}

Status PreconditionFailed(const std::string& name, Revision wanted, Revision found) {
  return Errorf(Code::kAborted, "{} has changed: it was to be {}, and is {}", name,
                wanted == 0 ? std::string("not set") : fmt::format("at resourceVersion {}", wanted),
                found == 0 ? std::string("not set") : fmt::format("at resourceVersion {}", found));
}

}  // namespace

ConfigWatch::ConfigWatch(std::unique_ptr<store::Subscription> subscription, store::Keys keys, Scope scope, std::string prefix)
    : keys_(std::move(keys)), scope_(std::move(scope)), prefix_(std::move(prefix)), subscription_(std::move(subscription)) {}

StatusOr<std::vector<ConfigEvent>> ConfigWatch::Next(std::chrono::nanoseconds wait) {
  const store::Prefix prefix = config::KeyPrefix(keys_, scope_);
  while (true) {
    ASSIGN_OR_RETURN(const store::CacheBatch batch, subscription_->Next(wait));
    std::vector<ConfigEvent> events;
    for (const store::Event& event : batch.events) {
      ConfigEvent out;
      out.name = event.kv->key.substr(prefix.size());
      if (!config::CheckName(out.name).empty() || !config::IsBelow(out.name, prefix_)) continue;
      if (event.type == store::Event::Type::kDelete) {
        out.type = ConfigEvent::Type::kDeleted;
      } else {
        out.type = event.previous == nullptr ? ConfigEvent::Type::kAdded : ConfigEvent::Type::kModified;
        out.leaf = config::ReadLeaf(scope_, out.name, *event.kv);
      }
      out.leaf.revision = event.kv->mod_revision;
      events.push_back(std::move(out));
    }
    // None of a batch may be for us: what is queued behind it isn't announced again.
    if (!events.empty() || batch.events.empty()) return events;
  }
}

ConfigRegistry::ConfigRegistry(store::Store& store, store::WatchCache& cache, store::Keys keys, Duration read_timeout)
    : store_(store),
      cache_(cache),
      keys_(std::move(keys)),
      read_timeout_(read_timeout),
      fence_(cache, keys_.Cluster(), read_timeout) {}

StatusOr<ConfigValues> ConfigRegistry::ReadScope(const Scope& scope, const std::string& prefix, Revision at) {
  store::ListOptions options;
  options.revision = at;
  ASSIGN_OR_RETURN(const store::ListResult list, store_.List(config::KeyPrefix(keys_, scope), options, read_timeout_));
  ConfigValues values{config::ReadLeaves(keys_, scope, list.kvs), list.revision};
  if (prefix.empty()) return values;
  RETURN_IF_ERROR(CheckPrefix(values.leaves, prefix));
  std::erase_if(values.leaves, [&prefix](const auto& leaf) { return !config::IsBelow(leaf.first, prefix); });
  return values;
}

StatusOr<ConfigValues> ConfigRegistry::Read(const Scope& scope, const std::string& prefix) {
  RETURN_IF_ERROR(config::CheckScope(scope));
  return ReadScope(scope, prefix, 0);
}

StatusOr<ConfigValues> ConfigRegistry::ReadNode(const Scope& scope, std::string& group) {
  store::Transaction reads;
  reads.success.push_back(Operation::Get(keys_.Node(scope.name)));
  const store::Prefix prefix = config::KeyPrefix(keys_, scope);
  for (const config::Setting& setting : config::Settings()) {
    reads.success.push_back(Operation::Get(prefix + setting.name));
  }
  ASSIGN_OR_RETURN(const store::TxnResult result, store_.Txn(reads, read_timeout_));
  ConfigValues values;
  values.revision = result.revision;
  for (size_t i = 1; i < result.gets.size(); ++i) {
    if (result.gets[i] == nullptr) continue;
    const std::string name(config::Settings()[i - 1].name);
    values.leaves[name] = config::ReadLeaf(scope, name, *result.gets[i]);
  }
  group = config::GroupOf(values.leaves, LabelsOf(result.gets.empty() ? nullptr : result.gets[0]));
  return values;
}

StatusOr<ConfigExplained> ConfigRegistry::Explain(const Scope& scope, const std::string& prefix) {
  RETURN_IF_ERROR(config::CheckScope(scope));
  RETURN_IF_ERROR(config::CheckPrefix(prefix));
  ConfigExplained out;
  std::vector<config::Layer> layers;  // made from the strongest on: it tells the group, and the revision of the others
  const auto add = [&layers, &out](const Scope& from, ConfigValues values) {
    out.revision = values.revision;
    layers.insert(layers.begin(), {from, std::move(values.leaves)});
  };
  if (scope.kind == ScopeKind::kNode) {
    ASSIGN_OR_RETURN(ConfigValues values, ReadNode(scope, out.group));
    add(scope, std::move(values));
  } else {
    out.group = scope.name;
  }
  if (!out.group.empty()) {
    ASSIGN_OR_RETURN(ConfigValues values, ReadScope(Scope::Group(out.group), "", out.revision));
    add(Scope::Group(out.group), std::move(values));
  }
  ASSIGN_OR_RETURN(ConfigValues values, ReadScope(Scope::Global(), "", out.revision));
  add(Scope::Global(), std::move(values));
  out.settings = config::Merge(layers, prefix);
  return out;
}

std::vector<std::string> ConfigRegistry::WarningsOf(const Scope& scope) const {
  if (scope.kind == ScopeKind::kNode && cache_.Get(keys_.Node(scope.name)) == nullptr) {
    return {fmt::format("no node '{}' has registered so far", scope.name)};
  }
  if (scope.kind != ScopeKind::kGroup) return {};
  for (const KvPtr& node : cache_.List(keys_.NodePrefix()).kvs) {
    const Scope its = Scope::Node(node->key.substr(keys_.NodePrefix().size()));
    config::Leaves own;
    const std::string key = fmt::format("{}{}", config::KeyPrefix(keys_, its), config::kNodeGroup);
    if (const KvPtr set = cache_.Get(key)) own[std::string(config::kNodeGroup)] = config::ReadLeaf(its, config::kNodeGroup, *set);
    if (config::GroupOf(own, LabelsOf(node)) == scope.name) return {};
  }
  return {fmt::format("no node is in the group '{}' so far", scope.name)};
}

Status ConfigRegistry::CheckChange(const Scope& scope, const ConfigChange& change) const {
  RETURN_IF_ERROR(config::CheckScope(scope));
  if (change.values.empty()) return Error(Code::kInvalidArgument, "no setting is named");
  if (change.values.size() > kMostNames) {
    return Errorf(Code::kInvalidArgument, "at most {} settings can be changed at once", kMostNames);
  }
  FieldErrors errors;
  for (const auto& [name, value] : change.values) {
    if (!config::CheckName(name).empty()) {
      errors.push_back(config::UnknownSetting(name));
    } else if (value) {
      if (auto error = config::CheckPut(scope, name, *value)) errors.push_back(*std::move(error));
      else if (json::Serialize(*value).size() > kLongestValue) errors.push_back(TooLong(name, *value, "16384 bytes"));
    }
  }
  for (const auto& [name, revision] : change.preconditions) {
    if (!change.values.contains(name)) {
      errors.push_back(Invalid("preconditions", name.substr(0, 200), "only settings that are changed can have one"));
    }
  }
  return errors.empty() ? OkStatus() : InvalidObject("Config", config::ScopeText(scope), errors);
}

std::vector<Operation> ConfigRegistry::Gets(const store::Prefix& prefix, const ConfigChange& change) const {
  std::vector<Operation> gets = {Operation::Get(fence_.key())};
  for (const auto& [name, value] : change.values) gets.push_back(Operation::Get(prefix + name));
  return gets;
}

ConfigRegistry::Found ConfigRegistry::TakeGets(const ConfigChange& change, const store::TxnResult& result) {
  Found found;
  found.revision = result.revision;
  if (!result.gets.empty()) found.cluster = result.gets[0];
  size_t next = 1;
  for (const auto& [name, value] : change.values) {
    found.kvs[name] = next < result.gets.size() ? result.gets[next] : nullptr;
    ++next;
  }
  return found;
}

StatusOr<std::optional<Revision>> ConfigRegistry::ReadBack(const store::Transaction& txn, Revision before) {
  store::Transaction reads;
  for (const Operation& operation : txn.success) reads.success.push_back(Operation::Get(operation.key));
  ASSIGN_OR_RETURN(const store::TxnResult now, store_.Txn(reads));
  Revision ours = 0;
  for (size_t i = 0; i < txn.success.size() && i < now.gets.size(); ++i) {
    const KvPtr& kv = now.gets[i];
    if (txn.success[i].kind == Operation::Kind::kDelete) {
      if (kv != nullptr) return std::optional<Revision>();
      continue;
    }
    if (kv == nullptr || kv->value != txn.success[i].value || kv->mod_revision <= before) return std::optional<Revision>();
    ours = std::max(ours, kv->mod_revision);
  }
  return std::optional<Revision>(ours > 0 ? ours : now.revision);
}

StatusOr<ConfigWritten> ConfigRegistry::Write(const Scope& scope, const ConfigChange& change) {
  RETURN_IF_ERROR(CheckChange(scope, change));
  const store::Prefix prefix = config::KeyPrefix(keys_, scope);
  store::Transaction read;
  read.success = Gets(prefix, change);
  ASSIGN_OR_RETURN(store::TxnResult result, store_.Txn(read));
  Found found = TakeGets(change, result);
  for (int tries = 0; tries < kMaxTries; ++tries) {
    for (const auto& [name, wanted] : change.preconditions) {
      if (const Revision is = RevisionOf(found.kvs[name]); is != wanted) return PreconditionFailed(name, wanted, is);
    }
    ConfigWritten out;
    store::Transaction txn;
    ASSIGN_OR_RETURN(const Revision fence, fence_.Get());
    txn.compares.push_back(Compare::ModRevision(fence_.key(), fence));
    FieldErrors errors;
    for (const auto& [name, value] : change.values) {
      const KvPtr& now = found.kvs[name];
      // What isn't known can be removed, so that nothing of another version stays for ever; a misspelt name is an error.
      if (!value && now == nullptr && config::FindSetting(name) == nullptr) errors.push_back(config::UnknownSetting(name));
      txn.compares.push_back(Compare::ModRevision(prefix + name, RevisionOf(now)));
      if (!value ? now == nullptr : now != nullptr && now->value == Canonical(*value)) continue;
      out.changed.push_back(name);
      txn.success.push_back(value ? Operation::Put(prefix + name, Canonical(*value)) : Operation::Delete(prefix + name));
    }
    if (!errors.empty()) return InvalidObject("Config", config::ScopeText(scope), errors);
    Revision written = found.revision;
    if (!out.changed.empty() && !change.dry_run) {
      txn.failure = Gets(prefix, change);
      auto done = store_.Txn(txn);
      // What another has written looks just the same: that is as good, but not where it had to be as it was.
      if (done.status().code() == Code::kDeadlineExceeded && change.preconditions.empty()) {
        ASSIGN_OR_RETURN(const std::optional<Revision> ours, ReadBack(txn, found.revision));
        if (!ours) return done.status();
        done = store::TxnResult{true, *ours, {}};
      }
      RETURN_IF_ERROR(done);
      if (!done->succeeded) {
        found = TakeGets(change, *done);
        RETURN_IF_ERROR(fence_.Check(found.cluster, fence));
        continue;
      }
      written = done->revision;
    }
    out.warnings = WarningsOf(scope);
    out.values.revision = written;
    for (const auto& [name, value] : change.values) {
      if (!value) continue;
      const bool changed = std::binary_search(out.changed.begin(), out.changed.end(), name);
      store::KeyValue kv;
      kv.value = Canonical(*value);
      kv.mod_revision = changed && !change.dry_run ? written : RevisionOf(found.kvs[name]);
      out.values.leaves[name] = config::ReadLeaf(scope, name, kv);
    }
    return out;
  }
  return Error(Code::kAborted, "lost too many races against other writers, try again");
}

StatusOr<std::unique_ptr<ConfigWatch>> ConfigRegistry::Watch(const Scope& scope, const std::string& prefix,
                                                             Revision revision) {
  RETURN_IF_ERROR(config::CheckScope(scope));
  RETURN_IF_ERROR(config::CheckPrefix(prefix));
  RETURN_IF_ERROR(cache_.ReadBarrier(read_timeout_));
  if (revision > cache_.watermark()) return Error(Code::kOutOfRange, "that revision isn't in this store: read and watch anew");
  ASSIGN_OR_RETURN(auto subscription, cache_.Subscribe(config::KeyPrefix(keys_, scope), revision));
  return std::make_unique<ConfigWatch>(std::move(subscription), keys_, scope, prefix);
}

}  // namespace isla::registry
