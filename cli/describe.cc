#include "cli/describe.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "api/client/api_error.h"
#include "api/object/exit_code.h"
#include "api/object/quantity.h"
#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/table.h"
#include "cli/targets.h"
#include "cli/three_way.h"

namespace isla::cli {
namespace {

constexpr size_t kValueColumn = 20;
constexpr int kMaxDepth = 20;

/// "Name:   value" lines, aligned within an indentation.
class Text {
 public:
  void Line(int indent, std::string_view name, const std::string& value) {
    std::string line(static_cast<size_t>(indent) * 2, ' ');
    line += name;
    line += ':';
    if (!value.empty()) {
      line.append(line.size() < kValueColumn ? kValueColumn - line.size() : 1, ' ');
      line += Printable(value);
    }
    out_ += line + "\n";
  }
  /// Only if there is something to say.
  void Maybe(int indent, std::string_view name, const std::string& value) {
    if (!value.empty()) Line(indent, name, value);
  }
  void Rows(int indent, const std::vector<std::vector<std::string>>& rows) {
    std::string text = Columns().Format(rows);
    const std::string margin(static_cast<size_t>(indent) * 2, ' ');
    for (size_t start = 0; start < text.size();) {
      const size_t end = text.find('\n', start);
      out_ += margin + text.substr(start, end - start + 1);
      start = end + 1;
    }
  }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

std::string At(const json::Value& object, std::initializer_list<std::string_view> path) {
  const json::Value* value = object.FindPath(path);
  return value == nullptr ? "" : CellText(*value);
}

std::string Age(const std::string& time, WallTime now) {
  const auto parsed = ParseRfc3339(time);
  return parsed.ok() ? api::FormatAge(now - *parsed) : "";
}

std::string WithAge(const std::string& time, WallTime now) {
  const std::string age = Age(time, now);
  return age.empty() ? time : fmt::format("{} ({} ago)", time, age);
}

/// "12.5ms", "3.25s", "2m3s": as much as a person wants to know.
std::string Elapsed(Duration time) {
  if (time >= std::chrono::minutes(1))
    return api::FormatDuration(std::chrono::round<std::chrono::seconds>(time));
  const bool seconds = time >= std::chrono::seconds(1);
  std::string text =
      fmt::format("{:.3f}", static_cast<double>(time.count()) / (seconds ? 1e9 : 1e6));
  while (text.ends_with('0')) text.pop_back();
  if (text.ends_with('.')) text.pop_back();
  return text + (seconds ? "s" : "ms");
}

/// As Elapsed(); "" if one of them is not a time.
std::string Between(const std::string& from, const std::string& to) {
  const auto start = ParseRfc3339(from);
  const auto end = ParseRfc3339(to);
  if (!start.ok() || !end.ok() || *end < *start) return "";
  return Elapsed(*end - *start);
}

/// Labels or annotations: one line each.
void Map(Text& text, std::string_view name, const json::Value* map) {
  bool any = false;
  if (map != nullptr && map->is_object()) {
    for (const json::Member& member : map->members()) {
      if (member.name == kLastApplied) continue;
      const std::string pair =
          member.name + (name == "Annotations" ? ": " : "=") + CellText(member.value);
      if (!any)
        text.Line(0, name, pair);
      else
        text.Rows(0, {{std::string(kValueColumn, ' ') + pair}});
      any = true;
    }
  }
  if (!any) text.Line(0, name, "<none>");
}

void Metadata(Text& text, const json::Value& object, WallTime now) {
  text.Line(0, "Name", At(object, {"metadata", "name"}));
  text.Maybe(0, "Namespace", At(object, {"metadata", "namespace"}));
  Map(text, "Labels", object.FindPath({"metadata", "labels"}));
  Map(text, "Annotations", object.FindPath({"metadata", "annotations"}));
  text.Line(0, "API Version", At(object, {"apiVersion"}));
  text.Line(0, "Kind", At(object, {"kind"}));
  text.Maybe(0, "UID", At(object, {"metadata", "uid"}));
  text.Line(0, "Created", WithAge(At(object, {"metadata", "creationTimestamp"}), now));
  text.Maybe(0, "Created By", At(object, {"metadata", "createdBy"}));
  text.Maybe(0, "Generation", At(object, {"metadata", "generation"}));
  const std::string deleted = At(object, {"metadata", "deletionTimestamp"});
  if (!deleted.empty()) text.Line(0, "Deleted", WithAge(deleted, now));
}

const json::Array* Items(const json::Value& object, std::initializer_list<std::string_view> path) {
  const json::Value* found = object.FindPath(path);
  return found != nullptr && found->is_array() && !found->items().empty() ? &found->items()
                                                                          : nullptr;
}

void Conditions(Text& text, const json::Value& object, WallTime now) {
  const json::Array* conditions = Items(object, {"status", "conditions"});
  if (conditions == nullptr) return;
  text.Line(0, "Conditions", "");
  std::vector<std::vector<std::string>> rows{{"TYPE", "STATUS", "AGE", "REASON", "MESSAGE"}};
  for (const json::Value& condition : *conditions) {
    rows.push_back({At(condition, {"type"}), At(condition, {"status"}),
                    Age(At(condition, {"lastTransitionTime"}), now), At(condition, {"reason"}),
                    At(condition, {"message"})});
  }
  text.Rows(1, rows);
}

std::string Words(const json::Value* list) {
  std::string out;
  if (list == nullptr || !list->is_array()) return out;
  for (const json::Value& word : list->items()) {
    std::string shown = CellText(word);
    // As a person would have to type it.
    if (shown.empty() || shown.find_first_of(" \t\n\"'\\$`*?;&|<>()") != std::string::npos) {
      std::string quoted = "'";
      for (const char c : shown) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
      shown = quoted + "'";
    }
    out += (out.empty() ? "" : " ") + shown;
  }
  return out;
}

void Spec(Text& text, const json::Value& object) {
  text.Line(0, "Spec", "");
  text.Maybe(1, "Type", At(object, {"spec", "type"}));
  text.Maybe(1, "Image", At(object, {"spec", "image"}));
  text.Maybe(1, "Command", Words(object.FindPath({"spec", "command"})));
  text.Maybe(1, "Args", Words(object.FindPath({"spec", "args"})));
  text.Maybe(1, "Working Dir", At(object, {"spec", "workingDir"}));
  if (const json::Array* env = Items(object, {"spec", "env"})) {
    text.Line(1, "Environment", "");
    for (const json::Value& entry : *env) text.Line(2, At(entry, {"name"}), At(entry, {"value"}));
  }
  text.Maybe(1, "CPU", At(object, {"spec", "resources", "cpu"}));
  text.Maybe(1, "Memory", At(object, {"spec", "resources", "memory"}));
  text.Maybe(1, "Tasks", At(object, {"spec", "resources", "tasks"}));
  text.Maybe(1, "Network", At(object, {"spec", "network"}));
  if (const json::Array* mounts = Items(object, {"spec", "mounts"})) {
    text.Line(1, "Mounts", "");
    std::vector<std::vector<std::string>> rows;
    for (const json::Value& mount : *mounts) {
      rows.push_back({At(mount, {"mountPath"}), "from " + At(mount, {"hostPath"}),
                      At(mount, {"readOnly"}) == "false" ? "(rw)" : "(ro)"});
    }
    text.Rows(2, rows);
  }
  const json::Value* selector = object.FindPath({"spec", "nodeSelector"});
  if (selector != nullptr) text.Line(1, "Node Selector", LabelText(selector));
  text.Maybe(1, "Timeout", At(object, {"spec", "timeout"}));
  text.Maybe(1, "Grace Period", At(object, {"spec", "terminationGracePeriod"}));
  text.Maybe(1, "Sandbox", At(object, {"spec", "sandbox", "policy"}));
}

/// "" if there is none: it goes on, its command was never started, or how it ended isn't known.
std::string ExitCodeText(const json::Value& status) {
  const std::optional<int64_t> code = api::ExitCodeOf(status);
  return code ? std::to_string(*code) : std::string();
}

void Outcome(Text& text, const json::Value& object, WallTime now) {
  const json::Value status =
      object.Find("status") != nullptr ? *object.Find("status") : json::Value::MakeObject();
  text.Line(0, "Phase", At(status, {"phase"}).empty() ? "Pending" : At(status, {"phase"}));
  text.Maybe(0, "Reason", At(status, {"reason"}));
  text.Maybe(0, "Message", At(status, {"message"}));
  const std::string started = At(status, {"startedAt"});
  const std::string finished = At(status, {"finishedAt"});
  if (!started.empty()) text.Line(0, "Started", WithAge(started, now));
  if (!finished.empty()) {
    text.Line(0, "Finished", WithAge(finished, now));
    text.Maybe(0, "Duration", Between(started, finished));
    text.Maybe(0, "Exit Code", ExitCodeText(status));
  }
}

void Container(Text& text, const json::Value& container) {
  text.Line(1, At(container, {"name"}).empty() ? "main" : At(container, {"name"}), "");
  text.Maybe(2, "State", At(container, {"state"}));
  text.Maybe(2, "Node", At(container, {"node"}));
  text.Maybe(2, "Scope", At(container, {"scope"}));
  text.Maybe(2, "UID", At(container, {"uid"}));
  text.Maybe(2, "Incarnation", At(container, {"incarnation"}));
  text.Maybe(2, "Policy Version", At(container, {"policyVersion"}));
  text.Maybe(2, "Policy Refused", At(container, {"policyRefused"}));
  text.Maybe(2, "Cause", At(container, {"cause"}));
  text.Maybe(2, "Signal", At(container, {"signal"}));
  text.Maybe(2, "Exit Code", ExitCodeText(container));
  text.Maybe(2, "Message", At(container, {"message"}));
  const auto peak = container.Int64At({"peakMemoryBytes"});
  if (peak && *peak > 0) text.Line(2, "Peak Memory", api::FormatBytes(*peak));
  const auto cpu = container.Int64At({"cpuTimeUsec"});
  if (cpu && *cpu > 0) text.Line(2, "CPU Time", Elapsed(std::chrono::microseconds(*cpu)));
}

void History(Text& text, const json::Value& object) {
  const json::Array* history = Items(object, {"status", "history"});
  if (history == nullptr) return;
  text.Line(0, "History", "");
  std::vector<std::vector<std::string>> rows{{"PHASE", "AT", "AFTER", "REASON", "MESSAGE"}};
  const std::string first = At((*history)[0], {"at"});
  for (const json::Value& record : *history) {
    const std::string at = At(record, {"at"});
    std::string after = Between(first, at);
    rows.push_back({At(record, {"phase"}), at, after.empty() ? "" : "+" + after,
                    At(record, {"reason"}), At(record, {"message"})});
  }
  text.Rows(1, rows);
}

/// "observedGeneration" as "Observed Generation".
std::string Title(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool upper = std::isupper(static_cast<unsigned char>(c)) != 0;
    if (i > 0 && upper && std::islower(static_cast<unsigned char>(name[i - 1]))) out.push_back(' ');
    out.push_back(i == 0 ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c);
  }
  return out;
}

void Tree(Text& text, int indent, std::string_view name, const json::Value& value) {
  if (indent > kMaxDepth) return text.Line(indent, Title(name), json::Serialize(value));
  if (value.is_object()) {
    text.Line(indent, Title(name), value.members().empty() ? "{}" : "");
    for (const json::Member& member : value.members())
      Tree(text, indent + 1, member.name, member.value);
  } else if (value.is_array()) {
    const bool plain =
        std::none_of(value.items().begin(), value.items().end(),
                     [](const json::Value& item) { return item.is_object() || item.is_array(); });
    if (plain) {
      std::string joined;
      for (const json::Value& item : value.items())
        joined += (joined.empty() ? "" : ", ") + CellText(item);
      return text.Line(indent, Title(name), joined.empty() ? "<none>" : joined);
    }
    for (const json::Value& item : value.items()) Tree(text, indent, name, item);
  } else {
    text.Line(indent, Title(name), CellText(value).empty() ? "<none>" : CellText(value));
  }
}

void Generic(Text& text, const json::Value& object, WallTime now) {
  if (!object.is_object()) return;  // the server's mistake: there is nothing to show
  for (const json::Member& member : object.members()) {
    if (member.name == "metadata" || member.name == "kind" || member.name == "apiVersion") continue;
    if (!member.value.is_object()) {
      Tree(text, 0, member.name, member.value);
      continue;
    }
    text.Line(0, Title(member.name), member.value.members().empty() ? "{}" : "");
    for (const json::Member& inner : member.value.members()) {
      if (inner.name != "conditions") Tree(text, 1, inner.name, inner.value);
    }
  }
  Conditions(text, object, now);
}

}  // namespace

std::string DescribeObject(const json::Value& object, WallTime now) {
  Text text;
  Metadata(text, object, now);
  if (object.StringAt({"kind"}) != "Session") {
    Generic(text, object, now);
    return text.Take();
  }
  Outcome(text, object, now);
  Spec(text, object);
  Conditions(text, object, now);
  if (const json::Array* containers = Items(object, {"status", "containers"})) {
    text.Line(0, "Containers", "");
    for (const json::Value& container : *containers) Container(text, container);
  }
  History(text, object);
  return text.Take();
}

int Describe(Context& context) {
  const Options& options = context.options();
  if (options.args.empty()) {
    return context.FailText(
        "You must specify the type of resource to describe. Use \"isla api-resources\" for a "
        "complete list of supported resources.");
  }
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  const auto targets = ParseTargets(context, options.args);
  if (!targets.ok()) return context.Fail(targets.status());
  int code = 0;
  bool first = true;
  const auto print = [&context, &first](const json::Value& object) {
    if (!std::exchange(first, false)) context.Print("\n\n");
    context.Print(DescribeObject(object, Clock::Real().Wall()));
  };
  for (const Target& target : *targets) {
    for (const std::string& name : target.names) {
      if (options.all_namespaces && target.resource.namespaced) {
        return context.FailText("a resource cannot be retrieved by name across all namespaces");
      }
      const auto object = (*api)->Get(target.resource.ObjectPath(NsFor(target, context), name));
      if (object.ok())
        print(*object);
      else
        code = context.Fail(object.status());
    }
    if (!target.names.empty()) continue;
    const auto list = ListTarget(context, target, "application/json");
    if (!list.ok()) return context.Fail(list.status());
    const json::Value* items = list->Find("items");
    if (items == nullptr || !items->is_array())
      return context.FailText("the server's answer is not a list");
    for (const json::Value& item : items->items()) print(item);
    if (items->items().empty()) {
      const bool scoped = target.resource.namespaced && !options.all_namespaces;
      context.Complain(scoped ? fmt::format("No resources found in {} namespace.\n", context.ns())
                              : "No resources found\n");
    }
  }
  return code;
}

}  // namespace isla::cli
