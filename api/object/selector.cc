#include "api/object/selector.h"

#include <algorithm>

#include "api/object/names.h"

namespace isla::api {
namespace {

constexpr std::string_view kSpaces = " \t";

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

/// Cuts at the commas outside parentheses.
std::vector<std::string_view> SplitRequirements(std::string_view text) {
  std::vector<std::string_view> out;
  size_t begin = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '(') inside = true;
    if (text[at] == ')') inside = false;
    if (text[at] == ',' && !inside) {
      out.push_back(Trim(text.substr(begin, at - begin)));
      begin = at + 1;
    }
  }
  out.push_back(Trim(text.substr(begin)));
  return out;
}

Status Bad(std::string_view what, std::string_view why) {
  return Errorf(Code::kInvalidArgument, "bad selector: '{}': {}", what, why);
}

/// One requirement cut into its three parts; `op` is "=", "!=", "in", "notin", "" (exists) or "!".
struct Parts {
  std::string_view key, op, values;
};

Parts Cut(std::string_view text) {
  if (text.starts_with('!')) return {Trim(text.substr(1)), "!", {}};
  const size_t end = std::min(text.find_first_of("=!<> \t("), text.size());
  const std::string_view key = text.substr(0, end), rest = Trim(text.substr(end));
  for (const std::string_view op : {"!=", "==", "=", "notin", "in"}) {
    if (!rest.starts_with(op)) continue;
    return {key, op == "==" ? "=" : op, Trim(rest.substr(op.size()))};
  }
  return {key, rest.empty() ? "" : "?", {}};
}

}  // namespace

StatusOr<LabelSelector> LabelSelector::Parse(std::string_view text) {
  LabelSelector out;
  if (Trim(text).empty()) return out;
  for (const std::string_view each : SplitRequirements(text)) {
    const Parts parts = Cut(each);
    if (parts.op == "?") return Bad(each, "expected =, ==, !=, in (...) or notin (...) after the key");
    if (const std::string wrong = CheckLabelKey(parts.key); !wrong.empty()) {
      return Bad(each, fmt::format("key '{}': {}", parts.key, wrong));
    }
    Requirement requirement{std::string(parts.key), Op::kExists, {}};
    const bool set = parts.op == "in" || parts.op == "notin";
    if (parts.op == "!") requirement.op = Op::kNotExists;
    if (parts.op == "=" || parts.op == "in") requirement.op = Op::kIn;
    if (parts.op == "!=" || parts.op == "notin") requirement.op = Op::kNotIn;
    std::string_view values = parts.values;
    if (set) {
      if (values.size() < 2 || values.front() != '(' || values.back() != ')') {
        return Bad(each, "expected a list of values in parentheses");
      }
      values = values.substr(1, values.size() - 2);
      for (const std::string_view value : SplitRequirements(values)) requirement.values.emplace_back(value);
    } else if (!parts.op.empty() && parts.op != "!") {
      requirement.values.emplace_back(values);
    }
    for (const std::string& value : requirement.values) {
      if (const std::string wrong = CheckLabelValue(value); !wrong.empty()) {
        return Bad(each, fmt::format("value '{}': {}", value, wrong));
      }
    }
    out.requirements_.push_back(std::move(requirement));
  }
  return out;
}

bool LabelSelector::IsMet(const Requirement& requirement, const std::string* value) {
  const auto listed = [&requirement, value] {
    return value != nullptr &&
           std::find(requirement.values.begin(), requirement.values.end(), *value) != requirement.values.end();
  };
  switch (requirement.op) {
    case Op::kIn: return listed();
    case Op::kNotIn: return !listed();  // a missing label is in no list, as in Kubernetes
    case Op::kExists: return value != nullptr;
    case Op::kNotExists: return value == nullptr;
  }
  return false;
}

bool LabelSelector::Matches(const json::Value& object) const {
  if (empty()) return true;
  const json::Value* labels = object.FindPath({"metadata", "labels"});
  const auto find = [labels](const std::string& key) -> const std::string* {
    const json::Value* value = labels == nullptr ? nullptr : labels->Find(key);
    return value != nullptr && value->is_string() ? &value->as_string() : nullptr;
  };
  return std::all_of(requirements_.begin(), requirements_.end(),
                     [&find](const Requirement& each) { return IsMet(each, find(each.key)); });
}

bool LabelSelector::Matches(const std::map<std::string, std::string>& labels) const {
  const auto find = [&labels](const std::string& key) -> const std::string* {
    const auto found = labels.find(key);
    return found == labels.end() ? nullptr : &found->second;
  };
  return std::all_of(requirements_.begin(), requirements_.end(),
                     [&find](const Requirement& each) { return IsMet(each, find(each.key)); });
}

StatusOr<FieldSelector> FieldSelector::Parse(std::string_view text) {
  FieldSelector out;
  if (Trim(text).empty()) return out;
  for (const std::string_view each : SplitRequirements(text)) {
    const size_t equals = each.find('=');
    if (equals == std::string_view::npos || each.substr(0, equals).ends_with('!')) {
      return Bad(each, "expected <field>=<value>");
    }
    const std::string_view field = Trim(each.substr(0, equals));
    std::string_view value = each.substr(equals + 1);
    if (value.starts_with('=')) value.remove_prefix(1);
    value = Trim(value);
    std::string* into = field == "metadata.name"        ? &out.name
                        : field == "metadata.namespace" ? &out.ns
                                                        : nullptr;
    if (into == nullptr) {
      return Bad(each, "this field can't be selected by (expected metadata.name or metadata.namespace)");
    }
    if (value.empty()) return Bad(each, "expected a value after '='");
    if (!into->empty() && *into != value) return Bad(each, "contradicts what stands before it");
    *into = value;
  }
  return out;
}

bool FieldSelector::Matches(const json::Value& object) const {
  return (name.empty() || object.StringAt({"metadata", "name"}) == name) &&
         (ns.empty() || object.StringAt({"metadata", "namespace"}) == ns);
}

}  // namespace isla::api
