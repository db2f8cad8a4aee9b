#include "api/config/merge.h"

#include "api/object/names.h"

namespace isla::config {
namespace {

constexpr size_t kMostShown = 200;  // of a value that can't be used: there is no telling how large it is

std::string Short(std::string text) {
  if (text.size() <= kMostShown) return text;
  text.resize(kMostShown);
  return text + "...";
}

}  // namespace

Leaf ReadLeaf(const Scope& scope, std::string_view name, const store::KeyValue& kv) {
  Leaf leaf;
  leaf.revision = kv.mod_revision;
  auto value = json::Parse(kv.value);
  if (!value.ok()) {
    leaf.value = Short(kv.value);
    leaf.error = "not JSON: " + Message(value.status());
    return leaf;
  }
  leaf.value = *std::move(value);
  leaf.value.set_position({});
  if (FindSetting(name) == nullptr) {
    leaf.error = "Unknown setting";
  } else if (const auto wrong = CheckPut(scope, name, leaf.value)) {
    leaf.error = wrong->detail;
  }
  if (!leaf.error.empty()) {
    if (std::string text = json::Serialize(leaf.value); text.size() > kMostShown) leaf.value = Short(std::move(text));
  }
  return leaf;
}

Leaves ReadLeaves(const store::Keys& keys, const Scope& scope, const std::vector<KvPtr>& kvs) {
  const store::Prefix prefix = KeyPrefix(keys, scope);
  Leaves leaves;
  for (const KvPtr& kv : kvs) {
    if (!prefix.Covers(kv->key)) continue;
    const std::string name = kv->key.substr(prefix.size());
    if (!CheckName(name).empty()) continue;
    leaves[name] = ReadLeaf(scope, name, *kv);
  }
  return leaves;
}

std::vector<Effective> Merge(const std::vector<Layer>& layers, std::string_view prefix) {
  std::vector<Effective> out;
  for (const Setting& setting : Settings()) {
    if (!IsBelow(setting.name, prefix)) continue;
    Effective effective;
    effective.setting = &setting;
    for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
      const auto leaf = layer->leaves.find(std::string(setting.name));
      if (leaf == layer->leaves.end()) continue;
      if (leaf->second.error.empty() && !effective.from) {
        effective.value = leaf->second.value;
        effective.from = layer->scope;
      } else {
        effective.others.push_back({layer->scope, leaf->second.value, leaf->second.error});
      }
    }
    if (!effective.from) effective.value = setting.Default();
    out.push_back(std::move(effective));
  }
  return out;
}

json::Value Tree(const std::map<std::string, json::Value>& values) {
  json::Value root = json::Value::MakeObject();
  for (const auto& [name, value] : values) {
    json::Value* at = &root;
    std::string_view rest = name;
    for (size_t slash = rest.find('/'); slash != std::string_view::npos; slash = rest.find('/')) {
      at = &at->Member(rest.substr(0, slash));
      rest.remove_prefix(slash + 1);
    }
    at->Set(rest, value);
  }
  return root;
}

std::string GroupOf(const Leaves& node, const std::map<std::string, std::string>& labels) {
  const auto leaf = node.find(std::string(kNodeGroup));
  if (leaf != node.end() && leaf->second.error.empty()) return leaf->second.value.as_string();
  const auto label = labels.find(std::string(kGroupLabel));
  if (label == labels.end() || !api::CheckDnsLabel(label->second).empty()) return "";
  return label->second;
}

}  // namespace isla::config
