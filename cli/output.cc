#include "cli/output.h"

#include <algorithm>
#include <charconv>

#include "cli/table.h"
#include "cli/targets.h"

namespace isla::cli {
namespace {

Status BadPath(std::string_view expression, std::string_view why) {
  return Errorf(Code::kInvalidArgument, "error parsing jsonpath {}, {}", expression, why);
}

/// One step of a path: a name, an index (from the end if negative) or "*".
Status Step(std::string_view step, bool bracket, std::vector<const json::Value*>& values,
            std::string_view whole) {
  std::vector<const json::Value*> next;
  int64_t index = 0;
  const auto number = std::from_chars(step.data(), step.data() + step.size(), index);
  const bool is_index =
      bracket && number.ec == std::errc() && number.ptr == step.data() + step.size();
  const bool quoted =
      bracket && step.size() >= 2 && (step[0] == '\'' || step[0] == '"') && step.back() == step[0];
  if (bracket && !is_index && !quoted && step != "*")
    return BadPath(whole, fmt::format("[{}] is not supported", step));
  if (quoted) step = step.substr(1, step.size() - 2);
  for (const json::Value* value : values) {
    if (step == "*" && !quoted) {
      if (value->is_array())
        for (const json::Value& item : value->items()) next.push_back(&item);
      if (value->is_object())
        for (const json::Member& member : value->members()) next.push_back(&member.value);
    } else if (is_index) {
      if (!value->is_array()) continue;
      const auto size = static_cast<int64_t>(value->items().size());
      const int64_t at = index < 0 ? size + index : index;
      if (at >= 0 && at < size) next.push_back(&value->items()[static_cast<size_t>(at)]);
    } else if (const json::Value* member = value->Find(step)) {
      next.push_back(member);
    }
  }
  values = std::move(next);
  return OkStatus();
}

StatusOr<std::string> EvaluatePath(std::string_view path, const json::Value& value,
                                   std::string_view whole) {
  std::vector<const json::Value*> values{&value};
  if (path.starts_with('$')) path.remove_prefix(1);
  for (size_t at = 0; at < path.size();) {
    if (path[at] == '[') {
      const size_t close = path.find(']', at);
      if (close == std::string_view::npos) return BadPath(whole, "unterminated array");
      RETURN_IF_ERROR(Step(path.substr(at + 1, close - at - 1), true, values, whole));
      at = close + 1;
      continue;
    }
    if (path[at] != '.') return BadPath(whole, fmt::format("unexpected '{}'", path[at]));
    // "\." is a dot inside of a name.
    std::string name;
    for (++at; at < path.size() && path[at] != '.' && path[at] != '['; ++at) {
      if (path[at] == '\\' && at + 1 < path.size()) ++at;
      name.push_back(path[at]);
    }
    if (name.empty() && at < path.size() && path[at] == '.')
      return BadPath(whole, "'..' is not supported");
    if (name.find_first_of("()?@{") != std::string::npos)
      return BadPath(whole, fmt::format("'{}' is not supported", name));
    if (!name.empty()) RETURN_IF_ERROR(Step(name, false, values, whole));
  }
  std::string out;
  for (size_t i = 0; i < values.size(); ++i) out += (i > 0 ? " " : "") + CellText(*values[i]);
  return out;
}

}  // namespace

StatusOr<std::string> EvaluateJsonPath(std::string_view expression, const json::Value& value) {
  std::string_view rest = expression;
  if (rest.find('{') == std::string_view::npos) {
    // kubectl takes ".a.b" and "a.b" too.
    return EvaluatePath(rest.starts_with('.') || rest.starts_with('$') || rest.starts_with('[')
                            ? std::string(rest)
                            : "." + std::string(rest),
                        value, expression);
  }
  std::string out;
  while (!rest.empty()) {
    const size_t open = rest.find('{');
    out += rest.substr(0, open);
    if (open == std::string_view::npos) break;
    const size_t close = rest.find('}', open);
    if (close == std::string_view::npos) return BadPath(expression, "unclosed action");
    const std::string_view inside = rest.substr(open + 1, close - open - 1);
    if (inside.size() >= 2 && (inside[0] == '"' || inside[0] == '\'') &&
        inside.back() == inside[0]) {
      const std::string_view text = inside.substr(1, inside.size() - 2);
      out += text == "\\n" ? "\n" : text == "\\t" ? "\t" : std::string(text);
    } else {
      ASSIGN_OR_RETURN(const std::string found, EvaluatePath(inside, value, expression));
      out += found;
    }
    rest.remove_prefix(close + 1);
  }
  return out;
}

std::string CheckFormat(const std::string& format, const std::vector<std::string>& allowed) {
  if (format.empty()) return "";
  const std::string kind = format.substr(0, format.find('='));
  const bool has_template = format.find('=') != std::string::npos;
  const bool known = std::find(allowed.begin(), allowed.end(), kind) != allowed.end();
  if (known && has_template == (kind == "jsonpath")) return "";
  if (kind == "jsonpath" && known) return "template format specified but no template given";
  std::string list;
  for (const std::string& name : allowed) list += (list.empty() ? "" : ",") + name;
  return fmt::format(
      "unable to match a printer suitable for the output format \"{}\", allowed formats are: {}",
      format, list);
}

StatusOr<std::string> FormatObject(const json::Value& object, const client::Resource& resource,
                                   const std::string& format) {
  if (format == "json") return json::Pretty(object) + "\n";
  if (format == "yaml") {
    std::string text = json::ToYaml(object);
    if (!text.ends_with('\n')) text += '\n';
    return text;
  }
  if (format == "name") return PathName(resource, object.StringAt({"metadata", "name"})) + "\n";
  if (format.starts_with("jsonpath="))
    return EvaluateJsonPath(std::string_view(format).substr(9), object);
  return Errorf(Code::kInvalidArgument, "unknown output format \"{}\"", format);
}

json::Value ListOf(json::Array items) {
  return json::Value::MakeObject(
      {{"apiVersion", "v1"},
       {"items", std::move(items)},
       {"kind", "List"},
       {"metadata", json::Value::MakeObject({{"resourceVersion", ""}})}});
}

}  // namespace isla::cli
