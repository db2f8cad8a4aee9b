#include "controllers/transfer/raw_keys.h"

#include <algorithm>

#include "api/base/stored_json.h"
#include "api/registry/cluster.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/runtime/fenced_writer.h"
#include "controllers/runtime/records.h"
#include "controllers/transfer/key_value.h"

namespace isla::transfer {

using store::Compare;
using store::KeyClass;
using store::Operation;

namespace {

constexpr size_t kMaxKey = 1024;

Status NeedsForce(const std::string& why) {
  return Errorf(Code::kFailedPrecondition, "{} (--force does it all the same)", why);
}

std::string UidOf(const store::KeyValue* kv, std::initializer_list<std::string_view> path) {
  if (kv == nullptr) return {};
  const StatusOr<json::Value> tree = json::Parse(kv->value, kStoredJson);
  return tree.ok() ? tree->StringAt(path) : std::string();
}

int64_t EpochOf(const std::string& value) {
  const store::KeyValue kv{{}, value, 0, 0, 0, 0};
  return controllers::ClusterEpoch(&kv);
}

}  // namespace

/// What is read before a put is judged; the transaction compares all of it.
struct RawKeys::Present {
  std::shared_ptr<const store::KeyValue> own, cluster;
  std::shared_ptr<const store::KeyValue> spec, bind;  // of the object that a spec or a status is of
};

StatusOr<store::KeyValue> RawKeys::Get(const std::string& key) {
  ASSIGN_OR_RETURN(const store::GetResult result, store_.Get(keys_.prefix() + key));
  if (result.kv == nullptr) return Errorf(Code::kNotFound, "there is no key '{}'", key);
  store::KeyValue kv = *result.kv;
  kv.key = key;
  return kv;
}

StatusOr<KeyPage> RawKeys::List(const std::string& prefix, const std::string& after, size_t limit) {
  store::ListOptions options;
  options.limit = options.page_size = std::max<size_t>(1, limit);
  if (!after.empty()) options.from = (keys_.prefix() + after).text() + '\0';
  ASSIGN_OR_RETURN(store::ListResult list, store_.List(keys_.prefix().Under(prefix), options));
  return KeyPage{std::move(list.kvs), list.revision, list.more};
}

std::string_view RawKeys::ClassOf(const std::string& key) const {
  const auto parsed = keys_.Parse((keys_.prefix() + key).text());
  return ClassName(parsed ? parsed->key_class : KeyClass::kOther);
}

StatusOr<RawKeys::Present> RawKeys::Read(const std::string& key, const store::ParsedKey& parsed) {
  const bool object = parsed.key_class == KeyClass::kSpec || parsed.key_class == KeyClass::kStatus;
  store::Transaction read;
  read.success = {Operation::Get(key), Operation::Get(keys_.Cluster())};
  if (object) {
    read.success.push_back(Operation::Get(keys_.Spec(parsed.kind, parsed.ns, parsed.name)));
    read.success.push_back(Operation::Get(keys_.Bind(parsed.ns, parsed.name)));
  }
  ASSIGN_OR_RETURN(const store::TxnResult found, store_.Txn(read));
  if (found.gets.size() != read.success.size()) return Error(Code::kInternal, "the store answered with too few keys");
  Present present{found.gets[0], found.gets[1], nullptr, nullptr};
  if (object) present.spec = found.gets[2];
  if (object && parsed.kind == "session") present.bind = found.gets[3];
  return present;
}

Status RawKeys::Judge(const store::ParsedKey& parsed, const std::string& value, const Present& present,
                      const PutOptions& options) const {
  switch (parsed.key_class) {
    case KeyClass::kGateway:
    case KeyClass::kLead:
    case KeyClass::kBarrier:
      return Errorf(Code::kFailedPrecondition, "a key of class '{}' belongs to a process, which alone puts it", ClassName(parsed.key_class));
    case KeyClass::kMeta:
      if (parsed.name != "cluster") return Errorf(Code::kFailedPrecondition, "meta/{} is about this store's history", parsed.name);
      if (EpochOf(value) < controllers::ClusterEpoch(present.own.get())) {
        return Errorf(Code::kFailedPrecondition, "the epoch is {}, and can't fall", controllers::ClusterEpoch(present.own.get()));
      }
      break;
    case KeyClass::kNodeTerm:
      if (present.own != nullptr && TermOf(value) < TermOf(present.own->value)) {
        return Errorf(Code::kFailedPrecondition, "the term is {}, and can't fall to {}", TermOf(present.own->value), TermOf(value));
      }
      break;
    default: break;
  }
  if (options.force) return OkStatus();
  switch (parsed.key_class) {
    case KeyClass::kManifest:
    case KeyClass::kConfig: return OkStatus();
    case KeyClass::kSpec: {
      if (present.own != nullptr && CheckValue(keys_, parsed, present.own->key, present.own->value).ok()) {
        return NeedsForce("what is there is a valid object: change it with 'isla apply'");
      }
      const std::string placed = UidOf(present.bind.get(), {"uid"});
      const StatusOr<json::Value> tree = json::Parse(value, kStoredJson);
      if (present.bind != nullptr && (!tree.ok() || tree->StringAt({"metadata", "uid"}) != placed)) {
        return NeedsForce(fmt::format("it has a placement (bind/) of uid '{}', and this is another object", placed));
      }
      return OkStatus();
    }
    case KeyClass::kStatus: {
      const std::string uid = UidOf(present.spec.get(), {"metadata", "uid"});
      const StatusOr<controllers::StatusRecord> status = controllers::DecodeStatusRecord(value);
      if (uid.empty()) return NeedsForce("there is no readable object that it is the status of");
      if (!status.ok() || status->uid != uid) {
        return NeedsForce(fmt::format("the object has uid '{}', and a status of another uid is ignored", uid));
      }
      return OkStatus();
    }
    default: return NeedsForce(fmt::format("controllers decide by keys of class '{}', and take them for what they wrote", ClassName(parsed.key_class)));
  }
}

StatusOr<store::KeyValue> RawKeys::Put(const std::string& key, const std::string& value, const PutOptions& options) {
  if (key.empty() || key.size() > kMaxKey || key.front() == '/' || key.back() == '/' || key.find("//") != std::string::npos) {
    return Errorf(Code::kInvalidArgument, "'{}' is no key: parts with '/' between, without the store's prefix", key.substr(0, 200));
  }
  const std::string full = keys_.prefix() + key;
  const store::ParsedKey parsed = keys_.Parse(full).value_or(store::ParsedKey());
  ASSIGN_OR_RETURN(const Present present, Read(full, parsed));
  RETURN_IF_ERROR(Annotate(CheckValue(keys_, parsed, full, value),
                           fmt::format("the value makes no sense for a key of class '{}'", ClassName(parsed.key_class))));
  const store::Revision now = present.own == nullptr ? 0 : present.own->mod_revision;
  if (now != options.revision) {
    return now == 0 ? Errorf(Code::kAborted, "there is no key '{}'; to make it, give no revision", key)
                    : Errorf(Code::kAborted, "key '{}' is at revision {}, not {}: look at it, then name that revision", key, now,
                             options.revision);
  }
  RETURN_IF_ERROR(Judge(parsed, value, present, options));
  if (parsed.key_class != KeyClass::kMeta) RETURN_IF_ERROR(registry::CheckOpen(present.cluster.get()));
  store::KeyValue put{key, value, now == 0 ? 0 : present.own->create_revision, now, 0, 0};
  if (options.dry_run) return put;
  store::Transaction txn;
  txn.compares = {Compare::ModRevision(full, now)};
  if (parsed.key_class != KeyClass::kMeta) {
    txn.compares.push_back(
        Compare::ModRevision(keys_.Cluster(), present.cluster == nullptr ? 0 : present.cluster->mod_revision));
  }
  if (present.spec != nullptr && parsed.key_class == KeyClass::kStatus) {
    txn.compares.push_back(Compare::ModRevision(present.spec->key, present.spec->mod_revision));
  }
  if (parsed.key_class == KeyClass::kSpec && parsed.kind == "session") {
    txn.compares.push_back(Compare::ModRevision(keys_.Bind(parsed.ns, parsed.name),
                                                present.bind == nullptr ? 0 : present.bind->mod_revision));
  }
  txn.success = {Operation::Put(full, value)};
  const controllers::FencedWriter::Outcome outcome = controllers::CommitReadingBack(store_, txn);
  RETURN_IF_ERROR(outcome.status);
  log_.Warn("key put by hand", "by='{}' key='{}' revision={} replaced={} force={}", options.by, key, outcome.revision, now,
            options.force);
  put.mod_revision = outcome.revision;
  if (put.create_revision == 0) put.create_revision = outcome.revision;
  return put;
}

}  // namespace isla::transfer
