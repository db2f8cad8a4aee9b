// The settings as they are stored, by scope: a part of the ClusterState, under its lock. Not thread-safe by itself.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/config/merge.h"

namespace isla::controllers {

class SettingsIndex {
 public:
  /// What is at a key of class kConfig now (`path`: ParsedKey::name); null = it was deleted. What can't be a setting is left out.
  void Apply(const std::string& path, const store::KeyValue* kv);

  /// The scopes that count for a node, the weakest first, as config::Merge wants them; "" = the global one alone.
  std::vector<config::Layer> LayersOf(const std::string& node, const std::map<std::string, std::string>& labels) const;
  /// Why what is stored there isn't used; "" if it is, or isn't there.
  std::string ErrorOf(const std::string& path) const;

 private:
  config::Layer LayerOf(const config::Scope& scope) const;

  std::map<std::string, config::Leaves> scopes_;  // by ScopeText; none is empty
};

}  // namespace isla::controllers
