#include "controllers/transfer/key_value.h"

#include <algorithm>

#include "api/base/stored_json.h"
#include "api/config/merge.h"
#include "api/config/schema.h"
#include "api/config/scope.h"
#include "api/object/kind.h"
#include "api/registry/registry.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/runtime/records.h"

namespace isla::transfer {
namespace {

using store::KeyClass;


Status CheckSpec(const store::ParsedKey& parsed, const std::string& key, const std::string& value) {
  const auto& kinds = api::AllKinds();
  const auto kind = std::find_if(kinds.begin(), kinds.end(), [&parsed](const api::Kind& k) { return k.singular == parsed.kind; });
  if (kind == kinds.end()) return Errorf(Code::kInvalidArgument, "'{}' is no kind that this isla knows", parsed.kind);
  if (kind->kind == api::NodeKind().kind) return Error(Code::kInvalidArgument, "a node has no spec/ key: what is known of it is at node/");
  if (kind->namespaced == (parsed.ns == store::kClusterWide)) {
    return Errorf(Code::kInvalidArgument, "{} belongs {}", kind->kind, kind->namespaced ? "in a namespace" : "under '_'");
  }
  const store::KeyValue kv{key, value, 1, 1, 1, 0};
  const registry::ObjectPtr object = registry::JoinObject(*kind, &kv, nullptr);
  if (object->StringAt({"status", "phase"}) == "Invalid") {
    return Error(Code::kInvalidArgument, object->StringAt({"status", "message"}));
  }
  return parsed.kind == "session" ? controllers::DecodeSessionSpec(value).status() : OkStatus();
}

/// A setting that this isla knows has to fit its table; another is a newer isla's, and only has to be JSON.
Status CheckSetting(const store::ParsedKey& parsed, const std::string& key, const std::string& value) {
  const auto place = config::ParsePath(parsed.name);
  if (!place || config::FindSetting(place->second) == nullptr) return json::Parse(value, kStoredJson).status();
  const config::Leaf leaf = config::ReadLeaf(place->first, place->second, {key, value, 1, 1, 1, 0});
  return leaf.error.empty() ? OkStatus() : Error(Code::kInvalidArgument, leaf.error);
}

/// The tree without some members; the value itself if it is no object or has none of them.
template <typename Change>
std::string Changed(const std::string& value, Change change) {
  StatusOr<json::Value> tree = json::Parse(value, kStoredJson);
  if (!tree.ok() || !tree->is_object()) return value;
  const json::Value before = *tree;
  change(*tree);
  return *tree == before ? value : json::Serialize(*tree);
}

void SetIfThere(json::Value& tree, std::string_view name, json::Value value) {
  if (tree.Find(name) != nullptr) tree.Set(name, std::move(value));
}

}  // namespace

std::string_view ClassName(KeyClass key_class) {
  switch (key_class) {
    case KeyClass::kSpec: return "spec";
    case KeyClass::kStatus: return "status";
    case KeyClass::kBind: return "bind";
    case KeyClass::kRun: return "run";
    case KeyClass::kNode: return "node";
    case KeyClass::kNodeTerm: return "nodeterm";
    case KeyClass::kGateway: return "gateway";
    case KeyClass::kLead: return "lead";
    case KeyClass::kManifest: return "manifest";
    case KeyClass::kManifestStatus: return "manifest-status";
    case KeyClass::kMeta: return "meta";
    case KeyClass::kBarrier: return "barrier";
    case KeyClass::kConfig: return "config";
    case KeyClass::kOther: return "other";
  }
  return "other";
}

bool IsContent(KeyClass key_class) {
  return key_class != KeyClass::kGateway && key_class != KeyClass::kLead && key_class != KeyClass::kBarrier &&
         key_class != KeyClass::kMeta;
}

Status CheckValue(const store::Keys& keys, const store::ParsedKey& parsed, const std::string& key,
                  const std::string& value) {
  switch (parsed.key_class) {
    case KeyClass::kSpec: return CheckSpec(parsed, key, value);
    case KeyClass::kStatus: return controllers::DecodeStatusRecord(value).status();
    case KeyClass::kBind: return controllers::DecodeBind(value).status();
    case KeyClass::kRun: return controllers::DecodeRun(value).status();
    case KeyClass::kNode: return controllers::DecodeNode(value).status();
    case KeyClass::kNodeTerm: return controllers::DecodeNodeTerm(value).status();
    case KeyClass::kManifestStatus: return controllers::DecodeManifestVerdict(value).status();
    case KeyClass::kConfig: return CheckSetting(parsed, key, value);
    case KeyClass::kMeta:
      if (key == keys.Cluster()) {
        const Status cluster = registry::DecodeCluster({key, value, 1, 1, 1, 0}).status();
        return cluster.ok() ? cluster : Error(Code::kInvalidArgument, Message(cluster));
      }
      return json::Parse(value, kStoredJson).status();
    case KeyClass::kGateway:
    case KeyClass::kLead:
    case KeyClass::kBarrier:
    case KeyClass::kManifest:
    case KeyClass::kOther: return OkStatus();
  }
  return OkStatus();
}

std::string AtRest(KeyClass key_class, const std::string& value) {
  if (key_class == KeyClass::kNode) {
    return Changed(value, [](json::Value& tree) {
      SetIfThere(tree, "connected", false);
      SetIfThere(tree, "gateway", "");
      SetIfThere(tree, "orphans", json::Value::MakeArray());
    });
  }
  if (key_class == KeyClass::kNodeTerm) {
    return Changed(value, [](json::Value& tree) {
      SetIfThere(tree, "owner", "");
      SetIfThere(tree, "stream", "");
    });
  }
  return value;
}

int64_t TermOf(const std::string& value) {
  const StatusOr<controllers::NodeTerm> term = controllers::DecodeNodeTerm(value);
  return term.ok() ? term->term : 0;
}

}  // namespace isla::transfer
