// wait.
#include <strings.h>

#include "api/client/api_error.h"
#include "cli/commands.h"
#include "cli/name_watch.h"
#include "cli/output.h"
#include "cli/targets.h"

namespace isla::cli {
namespace {

constexpr Duration kDefaultTimeout = std::chrono::seconds(30);
constexpr Duration kWeek = std::chrono::hours(24 * 7);

struct Goal {
  enum class Kind { kDelete, kCondition, kPhase, kJsonPath };
  Kind kind = Kind::kDelete;
  std::string name;   // of the condition; the phases; the expression
  std::string value;  // of the condition, of the expression ("" = any)
};

bool SameText(const std::string& a, const std::string& b) {
  return strcasecmp(a.c_str(), b.c_str()) == 0;
}

StatusOr<Goal> ParseGoal(const std::string& text) {
  const auto bad = [&text] {
    return Errorf(Code::kInvalidArgument,
                  "unrecognized condition: \"{}\" (expected delete, condition=NAME[=VALUE], "
                  "phase=PHASE or jsonpath={{.path}}[=VALUE])",
                  text);
  };
  Goal goal;
  if (SameText(text, "delete")) return goal;
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals + 1 == text.size()) return bad();
  const std::string kind = text.substr(0, equals);
  goal.name = text.substr(equals + 1);
  if (kind == "phase") {
    goal.kind = Goal::Kind::kPhase;
    return goal;
  }
  if (kind == "jsonpath") {
    goal.kind = Goal::Kind::kJsonPath;
    const size_t brace = goal.name.rfind('}');
    const size_t split = goal.name.find('=', brace == std::string::npos ? 0 : brace);
    if (split != std::string::npos) {
      goal.value = goal.name.substr(split + 1);
      goal.name.resize(split);
    }
    if (goal.value.size() >= 2 && goal.value.front() == '\'' && goal.value.back() == '\'') {
      goal.value = goal.value.substr(1, goal.value.size() - 2);
    }
    ASSIGN_OR_RETURN(const std::string probe,
                     EvaluateJsonPath(goal.name, json::Value::MakeObject()));
    (void)probe;
    return goal;
  }
  if (kind != "condition") return bad();
  goal.kind = Goal::Kind::kCondition;
  goal.value = "true";
  if (const size_t split = goal.name.find('='); split != std::string::npos) {
    goal.value = goal.name.substr(split + 1);
    goal.name.resize(split);
  }
  return goal;
}

/// True if `phases` ("Succeeded,Failed") names this one.
bool Among(const std::string& phases, const std::string& phase) {
  size_t start = 0;
  while (start <= phases.size()) {
    const size_t end = std::min(phases.find(',', start), phases.size());
    if (SameText(phases.substr(start, end - start), phase)) return true;
    start = end + 1;
  }
  return false;
}

bool ConditionMet(const json::Value& object, const Goal& goal) {
  const json::Value* condition = ConditionOf(object, goal.name);
  if (condition == nullptr) return false;
  // A condition that speaks of an older spec says nothing about this one.
  const auto generation = object.Int64At({"metadata", "generation"});
  auto observed = condition->Int64At({"observedGeneration"});
  if (!observed) observed = object.Int64At({"status", "observedGeneration"});
  if (observed && generation && *observed < *generation) return false;
  return SameText(condition->StringAt({"status"}), goal.value);
}

bool Met(const json::Value& object, const Goal& goal) {
  switch (goal.kind) {
    case Goal::Kind::kDelete:
      return false;
    case Goal::Kind::kCondition:
      return ConditionMet(object, goal);
    case Goal::Kind::kPhase:
      return Among(goal.name, PhaseOf(object));
    case Goal::Kind::kJsonPath: {
      const auto found = EvaluateJsonPath(goal.name, object);
      return found.ok() && (goal.value.empty() ? !found->empty() : *found == goal.value);
    }
  }
  return false;
}

/// Why the goal can't be reached any more; "" if it can.
std::string Hopeless(const json::Value& object, const Goal& goal) {
  const std::string phase = PhaseOf(object);
  if (!IsFinal(phase)) return "";
  const bool ready = goal.kind == Goal::Kind::kCondition && SameText(goal.name, "Ready") &&
                     SameText(goal.value, "true");
  if (!ready && goal.kind != Goal::Kind::kPhase) return "";
  std::string text = phase;
  for (const char* field : {"reason", "message"}) {
    const std::string more = object.StringAt({"status", field});
    if (!more.empty()) text += ": " + more;
  }
  return text;
}

Status WaitFor(Context& context, const Target& target, const std::string& ns,
               const std::string& name, const Goal& goal, MonotonicTime deadline) {
  ASSIGN_OR_RETURN(NameWatch watch, NameWatch::Open(context, target.resource, ns, name));
  if (watch.object() == nullptr && goal.kind != Goal::Kind::kDelete) {
    ASSIGN_OR_RETURN(client::ApiClient * api, context.Api());
    const auto object = api->Get(target.resource.ObjectPath(ns, name));
    RETURN_IF_ERROR(object);  // the server's words for what isn't there
  }
  for (;;) {
    if (watch.object() == nullptr) {
      if (goal.kind == Goal::Kind::kDelete) return OkStatus();
      return Errorf(Code::kNotFound, "{}/{} was deleted while waiting for it", target.resource.name,
                    name);
    }
    if (Met(*watch.object(), goal)) return OkStatus();
    if (const std::string why = Hopeless(*watch.object(), goal); !why.empty()) {
      return Errorf(Code::kFailedPrecondition, "the condition on {}/{} will never be met: {}",
                    target.resource.name, name, why);
    }
    const Status next =
        watch.Next(std::max(deadline - Clock::Real().Monotonic(), Duration::zero()));
    if (next.code() == Code::kDeadlineExceeded) {
      return Errorf(Code::kDeadlineExceeded, "timed out waiting for the condition on {}/{}",
                    target.resource.name, name);
    }
    RETURN_IF_ERROR(next);
  }
}

/// The objects that the command line means, each with its namespace.
StatusOr<std::vector<std::pair<std::string, std::string>>> NamesOf(Context& context,
                                                                   const Target& target) {
  const Options& options = context.options();
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::string& name : target.names)
    out.emplace_back(target.resource.namespaced ? context.ns() : "", name);
  if (!out.empty()) return out;
  if (!options.all && options.selector.empty() && options.field_selector.empty()) {
    return Error(Code::kInvalidArgument,
                 "resource(s) were provided, but no name, label selector, or --all flag specified");
  }
  ASSIGN_OR_RETURN(const json::Value list, ListTarget(context, target, "application/json"));
  const json::Value* items = list.Find("items");
  if (items == nullptr || !items->is_array())
    return Error(Code::kInternal, "the server's answer is not a list");
  for (const json::Value& item : items->items()) {
    out.emplace_back(item.StringAt({"metadata", "namespace"}), item.StringAt({"metadata", "name"}));
  }
  return out;
}

}  // namespace

int Wait(Context& context) {
  const Options& options = context.options();
  if (options.wait_for.empty())
    return context.FailText(
        "--for is required: delete, condition=NAME[=VALUE], phase=PHASE or "
        "jsonpath={.path}[=VALUE]");
  if (const std::string bad = CheckFormat(options.output, {"name"}); !bad.empty())
    return context.FailText(bad);
  const auto goal = ParseGoal(options.wait_for);
  if (!goal.ok()) return context.Fail(goal.status());
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  const auto targets = ParseTargets(context, options.args);
  if (!targets.ok()) return context.Fail(targets.status());
  const Duration timeout = options.timeout.value_or(kDefaultTimeout);
  const MonotonicTime deadline =
      Clock::Real().Monotonic() + (timeout < Duration::zero() ? kWeek : timeout);
  int code = 0;
  bool any = false;
  for (const Target& target : *targets) {
    const auto names = NamesOf(context, target);
    if (!names.ok()) return context.Fail(names.status());
    for (const auto& [ns, name] : *names) {
      any = true;
      const Status met = WaitFor(context, target, ns, name, *goal, deadline);
      if (!met.ok()) {
        code = context.Fail(met);
        continue;
      }
      context.Print(PathName(target.resource, name) +
                    (options.output == "name" ? "\n" : " condition met\n"));
      context.io().Flush();
    }
  }
  if (!any && goal->kind != Goal::Kind::kDelete)
    return context.FailText("no matching resources found");
  return code;
}

}  // namespace isla::cli
