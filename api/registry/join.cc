// From the store's keys to an object of the API: see registry.h, and docs/store-values.md for the values.
#include <algorithm>

#include "api/base/stored_json.h"
#include "api/object/check_types.h"
#include "api/object/object.h"
#include "api/object/quantity.h"
#include "api/registry/registry.h"
#include "api/registry/stored.h"

namespace isla::registry {

namespace {

struct KeyNames {
  std::string ns;  // "_" for cluster-wide kinds
  std::string name;
};

/// The last two parts of ".../spec/<kind>/<ns>/<name>".
KeyNames NamesOf(const std::string& key) {
  const size_t last = key.rfind('/');
  if (last == std::string::npos) return {{}, key};
  const size_t before = last == 0 ? std::string::npos : key.rfind('/', last - 1);
  const size_t begin = before == std::string::npos ? 0 : before + 1;
  return {key.substr(begin, last - begin), key.substr(last + 1)};
}

json::Value Skeleton(const api::Kind& kind, const store::KeyValue& kv) {
  const KeyNames names = NamesOf(kv.key);
  json::Value object = json::Value::MakeObject({{"apiVersion", api::kApiVersion}, {"kind", kind.kind}});
  json::Value& metadata = object.Member("metadata");
  metadata.Set("name", names.name);
  if (kind.namespaced) metadata.Set("namespace", names.ns);
  return object;
}

ObjectPtr InvalidStored(const api::Kind& kind, const store::KeyValue& kv, store::Revision revision,
                        const std::string& why) {
  json::Value object = Skeleton(kind, kv);
  object.Member("metadata").Set("resourceVersion", std::to_string(revision));
  object.Set("status", json::Value::MakeObject(
                           {{"phase", "Invalid"}, {"message", std::string(kUnreadable) + why}}));
  return std::make_shared<const Object>(std::move(object));
}

json::Value DefaultStatus(const api::Kind& kind, const json::Value& object) {
  if (kind.kind != "Project") return json::Value::MakeObject({{"phase", "Pending"}});
  const bool going = object.FindPath({"metadata", "deletionTimestamp"}) != nullptr;
  return json::Value::MakeObject({{"phase", going ? "Terminating" : "Active"}});
}

/// The status that the leader wrote for the object with this uid, or what an object without one shows.
json::Value StatusOf(const api::Kind& kind, const json::Value& object, const store::KeyValue* kv) {
  if (kv == nullptr) return DefaultStatus(kind, object);
  auto parsed = json::Parse(kv->value, kStoredJson);
  if (!parsed.ok() || !parsed->is_object()) {
    return json::Value::MakeObject({{"phase", "Unknown"}, {"message", "the stored status can't be read"}});
  }
  if (parsed->StringAt({"uid"}) != object.StringAt({"metadata", "uid"})) return DefaultStatus(kind, object);
  json::Value* status = parsed->Find("status");
  if (status == nullptr || !status->is_object()) return DefaultStatus(kind, object);
  json::Value result = std::move(*status);
  const json::Value* observed = parsed->Find("observedGeneration");
  if (observed != nullptr && result.Find("observedGeneration") == nullptr) {
    result.Set("observedGeneration", *observed);
  }
  return result;
}

void CopyMember(const json::Value& from, std::string_view name, json::Value& to) {
  if (const json::Value* value = from.Find(name)) to.Set(name, *value);
}

json::Value NodeConditions(const json::Value& node, bool connected) {
  json::Value ready = json::Value::MakeObject({
      {"type", "Ready"},
      {"status", connected ? "True" : "False"},
      {"reason", connected ? "AgentConnected" : "AgentDisconnected"},
      {"message", connected ? "the node's agent is connected" : "no gateway has a connection to the node's agent"},
  });
  if (const std::string at = node.StringAt({"lastChange"}); !at.empty()) ready.Set("lastTransitionTime", at);
  return json::Value::MakeArray({std::move(ready)});
}

/// "2026-11-22T15:42:17.123456Z" -> "2026-11-22T15:42:17Z": metadata.creationTimestamp of the API has whole seconds, as
/// in Kubernetes; the store has the exact time.
std::string WholeSeconds(const std::string& time) {
  const auto parsed = ParseRfc3339(time);
  return parsed.ok() ? FormatRfc3339(*parsed) : time;
}

ObjectPtr NodeObject(const api::Kind& kind, const store::KeyValue& kv) {
  auto parsed = json::Parse(kv.value, kStoredJson);
  if (!parsed.ok()) return InvalidStored(kind, kv, kv.mod_revision, Message(parsed.status()));
  if (!parsed->is_object()) return InvalidStored(kind, kv, kv.mod_revision, "it is not a JSON object");
  const json::Value& node = *parsed;

  json::Value object = Skeleton(kind, kv);
  json::Value& metadata = object.Member("metadata");
  CopyMember(node, "uid", metadata);
  if (const std::string at = node.StringAt({"createdAt"}); !at.empty()) {
    metadata.Set("creationTimestamp", WholeSeconds(at));
  }
  metadata.Set("generation", 1);
  CopyMember(node, "labels", metadata);
  metadata.Set("resourceVersion", std::to_string(kv.mod_revision));
  object.Set("spec", json::Value::MakeObject());

  const json::Value* flag = node.Find("connected");
  const bool connected = flag != nullptr && flag->is_bool() && flag->as_bool();
  json::Value& status = object.Member("status");
  status.Set("connected", connected);
  status.Set("conditions", NodeConditions(node, connected));
  if (const json::Value* capacity = node.Find("capacity")) {
    json::Value shown = json::Value::MakeObject();
    if (const auto cpu = capacity->Int64At({"cpuMillis"})) shown.Set("cpu", api::FormatCpuMillis(*cpu));
    if (const auto memory = capacity->Int64At({"memoryBytes"})) shown.Set("memory", api::FormatBytes(*memory));
    CopyMember(*capacity, "tasks", shown);
    status.Set("capacity", std::move(shown));
  }
  for (const char* name : {"bootId", "agentVersion", "kernel", "gateway", "term", "features", "orphans"}) {
    CopyMember(node, name, status);
  }
  return std::make_shared<const Object>(std::move(object));
}

}  // namespace

Status CheckStored(const api::Kind& kind, const std::string& key, const json::Value& value) {
  const auto bad = [](std::string_view what) { return Errorf(Code::kInvalidArgument, "{}", what); };
  if (!value.is_object()) return bad("it is not a JSON object");
  const json::Value* metadata = value.Find("metadata");
  if (metadata == nullptr || !metadata->is_object()) return bad("it has no metadata");
  if (value.StringAt({"apiVersion"}) != api::kApiVersion) return bad("its apiVersion is not isla/v1");
  if (value.StringAt({"kind"}) != kind.kind) {
    return Errorf(Code::kInvalidArgument, "its kind is not {}", kind.kind);
  }
  const KeyNames names = NamesOf(key);
  if (metadata->StringAt({"name"}) != names.name) return bad("metadata.name is not the key's");
  if (kind.namespaced && metadata->StringAt({"namespace"}) != names.ns) {
    return bad("metadata.namespace is not the key's");
  }
  if (metadata->StringAt({"uid"}).empty()) return bad("it has no metadata.uid");
  return api::CheckTypes(kind, value);
}

ObjectPtr JoinObject(const api::Kind& kind, const store::KeyValue* spec, const store::KeyValue* status) {
  if (spec == nullptr) return nullptr;
  if (kind.kind == "Node") return NodeObject(kind, *spec);
  const store::Revision revision = std::max(spec->mod_revision, status == nullptr ? 0 : status->mod_revision);
  auto parsed = json::Parse(spec->value, kStoredJson);
  if (!parsed.ok()) return InvalidStored(kind, *spec, revision, Message(parsed.status()));
  if (const Status ok = CheckStored(kind, spec->key, *parsed); !ok.ok()) {
    return InvalidStored(kind, *spec, revision, Message(ok));
  }
  json::Value object = std::move(*parsed);
  object.Remove("status");
  json::Value& metadata = object.Member("metadata");
  if (const std::string at = metadata.StringAt({"creationTimestamp"}); !at.empty()) {
    metadata.Set("creationTimestamp", WholeSeconds(at));
  }
  metadata.Set("resourceVersion", std::to_string(revision));
  object.Set("status", StatusOf(kind, object, status));
  return std::make_shared<const Object>(std::move(object));
}

}  // namespace isla::registry
