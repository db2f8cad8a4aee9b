#include "controllers/runtime/settings_index.h"

namespace isla::controllers {

void SettingsIndex::Apply(const std::string& path, const store::KeyValue* kv) {
  const auto parsed = config::ParsePath(path);
  if (!parsed) return;
  const auto& [scope, name] = *parsed;
  config::Leaves& leaves = scopes_[config::ScopeText(scope)];
  if (kv != nullptr) {
    leaves[name] = config::ReadLeaf(scope, name, *kv);
    return;
  }
  leaves.erase(name);
  if (leaves.empty()) scopes_.erase(config::ScopeText(scope));
}

config::Layer SettingsIndex::LayerOf(const config::Scope& scope) const {
  const auto found = scopes_.find(config::ScopeText(scope));
  return {scope, found == scopes_.end() ? config::Leaves() : found->second};
}

std::vector<config::Layer> SettingsIndex::LayersOf(const std::string& node,
                                                   const std::map<std::string, std::string>& labels) const {
  std::vector<config::Layer> layers = {LayerOf(config::Scope::Global())};
  if (node.empty()) return layers;
  config::Layer own = LayerOf(config::Scope::Node(node));
  const std::string group = config::GroupOf(own.leaves, labels);
  if (!group.empty()) layers.push_back(LayerOf(config::Scope::Group(group)));
  layers.push_back(std::move(own));
  return layers;
}

std::string SettingsIndex::ErrorOf(const std::string& path) const {
  const auto parsed = config::ParsePath(path);
  if (!parsed) return "not the name of a setting in a scope";
  const auto scope = scopes_.find(config::ScopeText(parsed->first));
  if (scope == scopes_.end()) return "";
  const auto leaf = scope->second.find(parsed->second);
  return leaf == scope->second.end() ? "" : leaf->second.error;
}

}  // namespace isla::controllers
