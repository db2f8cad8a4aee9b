// The settings of the scopes laid over each other: node over group over global over the default.
//
// A leaf that is stored but can't be used (no JSON, of the wrong type, in a scope where it may not be; put there
// by hand) doesn't hide the next scope's: it is skipped, and the result says so. Names that the table doesn't
// have are left out of the result.
// Pure functions, any thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/base/json.h"
#include "api/config/schema.h"
#include "api/config/scope.h"
#include "store/store.h"

namespace isla::config {

using KvPtr = std::shared_ptr<const store::KeyValue>;

/// One setting as a scope has it.
struct Leaf {
  json::Value value;             // if it can't be used: the beginning of its text, where that is long or no JSON
  store::Revision revision = 0;  // mod_revision of its key
  std::string error;             // "" = it can be used; else why not
};
/// By name.
using Leaves = std::map<std::string, Leaf>;

struct Layer {
  Scope scope;
  Leaves leaves;
};

/// A stored value checked for its scope and name; never fails.
Leaf ReadLeaf(const Scope& scope, std::string_view name, const store::KeyValue& kv);
/// Every setting among the keys of a scope, known or not.
Leaves ReadLeaves(const store::Keys& keys, const Scope& scope, const std::vector<KvPtr>& kvs);

struct Origin {
  Scope scope;
  json::Value value;
  std::string error;  // why it was skipped; "" for one that holds or is only overridden
};

struct Effective {
  const Setting* setting = nullptr;
  std::optional<json::Value> value;  // nothing: set nowhere, and without a default
  std::optional<Scope> from;         // nothing: the default
  std::vector<Origin> others;        // the other scopes that have it, the strongest first
};

/// One for each setting below `prefix`, sorted by name. `layers`: the weakest first.
std::vector<Effective> Merge(const std::vector<Layer>& layers, std::string_view prefix = {});

/// {"agent": {"log": {"level": "debug"}}} of names and values, which must be the table's.
json::Value Tree(const std::map<std::string, json::Value>& values);

/// The group of a node: its own setting node/group, else its label isla/group, else "".
inline constexpr std::string_view kGroupLabel = "isla/group";
std::string GroupOf(const Leaves& node, const std::map<std::string, std::string>& labels);

}  // namespace isla::config
