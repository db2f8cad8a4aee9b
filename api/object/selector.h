// Label selectors ("a=b,c!=d,e in (x,y),f,!g") and field selectors (metadata.name, metadata.namespace only).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"

namespace isla::api {

class LabelSelector {
 public:
  /// "" matches everything. INVALID_ARGUMENT for bad syntax.
  static StatusOr<LabelSelector> Parse(std::string_view text);
  bool Matches(const json::Value& object) const;
  bool Matches(const std::map<std::string, std::string>& labels) const;
  bool empty() const { return requirements_.empty(); }

 private:
  enum class Op { kIn, kNotIn, kExists, kNotExists };
  struct Requirement {
    std::string key;
    Op op;
    std::vector<std::string> values;
  };
  /// `value`: of the label, or null pointer if there is none.
  static bool IsMet(const Requirement& requirement, const std::string* value);

  std::vector<Requirement> requirements_;
};

struct FieldSelector {
  std::string name;       // "" = any
  std::string ns;         // "" = any
  /// INVALID_ARGUMENT for any other field or operator: never ignored.
  static StatusOr<FieldSelector> Parse(std::string_view text);
  bool Matches(const json::Value& object) const;
};

}  // namespace isla::api
