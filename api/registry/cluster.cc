#include "api/registry/cluster.h"

#include <algorithm>

namespace isla::registry {

StatusOr<ClusterRecord> DecodeCluster(const store::KeyValue& kv) {
  auto value = json::Parse(kv.value);
  if (!value.ok()) return Annotate(value.status(), "meta/cluster");
  ClusterRecord record;
  record.id = value->StringAt({"id"});
  record.epoch = std::max<int64_t>(1, value->Int64At({"epoch"}).value_or(1));
  record.level = value->Int64At({"level"}).value_or(0);
  record.mod_revision = kv.mod_revision;
  if (record.id.empty() || record.level < 1) {
    return Errorf(Code::kInternal, "meta/cluster is unreadable: {}", kv.value);
  }
  // Whatever stands there: who doesn't understand it doesn't write.
  if (const json::Value* closed = value->Find("closed"); closed != nullptr) {
    const auto says = [closed](std::string_view name) {
      const json::Value* member = closed->Find(name);
      return member != nullptr && member->is_bool() && member->as_bool();
    };
    record.closed = ClosedRecord{closed->StringAt({"reason"}), closed->StringAt({"sha256"}), says("replace"),
                                 says("writing"),              closed->StringAt({"at"}),     closed->StringAt({"by"})};
  }
  record.imported_sha256 = value->StringAt({"imported", "sha256"});
  record.tree = *std::move(value);
  return record;
}

StatusOr<ClusterRecord> ReadCluster(store::Store& store, const store::Keys& keys) {
  ASSIGN_OR_RETURN(const store::GetResult read, store.Get(keys.Cluster()));
  if (read.kv == nullptr) return Error(Code::kNotFound, "the store has no meta/cluster");
  return DecodeCluster(*read.kv);
}

Status CheckOpen(const ClusterRecord& cluster) {
  if (!cluster.closed) return OkStatus();
  const ClosedRecord& closed = *cluster.closed;
  if (closed.reason == kClosedForImport) {
    return Errorf(Code::kUnavailable,
                  "the store is closed: an import, begun at {} by '{}', isn't finished; if it has ended, repeat it with the "
                  "same file",
                  closed.at, closed.by);
  }
  if (closed.reason == kClosedBySeal) {
    return Errorf(Code::kFailedPrecondition,
                  "the store is closed: it was sealed at {} by '{}', to be moved; 'isla store unseal' opens it again", closed.at,
                  closed.by);
  }
  return Errorf(Code::kUnavailable, "the store is closed: '{}'", closed.reason);
}

Status CheckOpen(const store::KeyValue* cluster) {
  if (cluster == nullptr) return OkStatus();
  const StatusOr<ClusterRecord> record = DecodeCluster(*cluster);
  return record.ok() ? CheckOpen(*record) : OkStatus();
}

}  // namespace isla::registry
