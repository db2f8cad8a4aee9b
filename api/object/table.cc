#include "api/object/table.h"

#include "api/base/status.h"
#include "api/object/exit_code.h"
#include "api/object/quantity.h"

namespace isla::api {
namespace {

using json::Value;

constexpr std::string_view kNone = "<none>";

const std::string kNameText = "Name of the object, unique within its namespace";
const std::string kAgeText = "Time since it was created";

std::string Age(const Value& object, WallTime now) {
  const StatusOr<WallTime> created = ParseRfc3339(object.StringAt({"metadata", "creationTimestamp"}));
  return created.ok() ? FormatAge(now - *created) : "<unknown>";
}

std::string OrNone(std::string text) { return text.empty() ? std::string(kNone) : text; }

/// The first container's status, or null pointer.
const Value* MainContainer(const Value& session) {
  const Value* containers = session.FindPath({"status", "containers"});
  return containers == nullptr || !containers->is_array() || containers->items().empty() ? nullptr
                                                                                        : &containers->items().front();
}

const Value* FindCondition(const Value& object, std::string_view type) {
  const Value* conditions = object.FindPath({"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return nullptr;
  for (const Value& condition : conditions->items()) {
    if (condition.StringAt({"type"}) == type) return &condition;
  }
  return nullptr;
}

std::string SessionPhase(const Value& session) {
  // The user's word counts before the controller has acted on it.
  if (!session.StringAt({"metadata", "deletionTimestamp"}).empty()) return "Terminating";
  const std::string phase = session.StringAt({"status", "phase"});
  return phase.empty() ? "Pending" : phase;
}

/// Why it ended, why it waits, or why it runs under an older version of its policy.
std::string SessionReason(const Value& session) {
  std::string reason = session.StringAt({"status", "reason"});
  if (!reason.empty()) return reason;
  const Value* scheduled = FindCondition(session, "Scheduled");
  if (scheduled != nullptr && scheduled->StringAt({"status"}) == "False") reason = scheduled->StringAt({"reason"});
  const Value* policy = FindCondition(session, "PolicyCurrent");
  if (reason.empty() && policy != nullptr && policy->StringAt({"status"}) == "False") reason = policy->StringAt({"reason"});
  return OrNone(reason);
}

/// Its name, and the version of it that is in force.
std::string SessionPolicy(const Value& session) {
  const Value* main = MainContainer(session);
  const std::string version = main == nullptr ? std::string() : main->StringAt({"policyVersion"});
  return OrNone(session.StringAt({"spec", "sandbox", "policy"}) + (version.empty() ? "" : "@" + version.substr(0, 12)));
}

std::string SessionExit(const Value& session) {
  const Value* status = session.Find("status");
  const std::optional<int64_t> code = status == nullptr ? std::nullopt : ExitCodeOf(*status);
  return code ? std::to_string(*code) : std::string(kNone);
}

json::Array SessionCells(const Value& session, WallTime now) {
  const Value* main = MainContainer(session);
  const auto resource = [&session](std::string_view name) {
    return OrNone(session.StringAt({"spec", "resources", name}));
  };
  const std::optional<int64_t> incarnation = main == nullptr ? std::nullopt : main->Int64At({"incarnation"});
  return {session.StringAt({"metadata", "name"}),
          SessionPhase(session),
          SessionReason(session),
          OrNone(main == nullptr ? std::string() : main->StringAt({"node"})),
          SessionExit(session),
          Age(session, now),
          OrNone(session.StringAt({"spec", "image"})),
          resource("cpu"),
          resource("memory"),
          incarnation ? std::to_string(*incarnation) : std::string(kNone),
          OrNone(main == nullptr ? std::string() : main->StringAt({"scope"})),
          SessionPolicy(session)};
}

std::string NodeReady(const Value& node) {
  const Value* ready = FindCondition(node, "Ready");
  if (ready != nullptr) return ready->StringAt({"status"}) == "True" ? "Ready" : "NotReady";
  const Value* connected = node.FindPath({"status", "connected"});
  return connected != nullptr && connected->is_bool() && connected->as_bool() ? "Ready" : "NotReady";
}

json::Array NodeCells(const Value& node, WallTime now) {
  const Value* orphans = node.FindPath({"status", "orphans"});
  return {node.StringAt({"metadata", "name"}),
          NodeReady(node),
          OrNone(node.StringAt({"status", "capacity", "cpu"})),
          OrNone(node.StringAt({"status", "capacity", "memory"})),
          Age(node, now),
          OrNone(node.StringAt({"status", "kernel"})),
          OrNone(node.StringAt({"status", "agentVersion"})),
          OrNone(node.StringAt({"status", "gateway"})),
          std::to_string(orphans != nullptr && orphans->is_array() ? orphans->items().size() : 0)};
}

json::Array ProjectCells(const Value& project, WallTime now) {
  std::string phase = project.StringAt({"status", "phase"});
  if (!project.StringAt({"metadata", "deletionTimestamp"}).empty()) phase = "Terminating";
  return {project.StringAt({"metadata", "name"}), phase.empty() ? std::string("Active") : phase, Age(project, now)};
}

json::Array PolicyCells(const Value& policy, WallTime now) {
  const Value* const rules = policy.FindPath({"spec", "rules"});
  return {policy.StringAt({"metadata", "name"}), policy.StringAt({"spec", "mode"}, "enforce"),
          std::to_string(rules != nullptr && rules->is_array() ? rules->items().size() : 0), Age(policy, now)};
}

}  // namespace

const std::vector<Column>& ColumnsOf(const Kind& kind) {
  static const std::vector<Column> session = {
      {"Name", "string", "name", kNameText},
      {"Phase", "string", "", "Where the session stands: Pending, Scheduled, Preparing, Running, ..."},
      {"Reason", "string", "", "Why it ended, why it waits, or why it runs under an older version of its policy"},
      {"Node", "string", "", "The node that it runs on"},
      {"Exit", "string", "", "The exit code of its command, if it was started and how it ended is known"},
      {"Age", "string", "", kAgeText},
      {"Image", "string", "", "Its root file system", 1},
      {"CPU", "string", "", "CPUs that it may use", 1},
      {"Memory", "string", "", "Memory that it may use", 1},
      {"Incarnation", "string", "", "How often it was placed on a node", 1},
      {"Scope", "string", "", "Its systemd unit on the node", 1},
      {"Policy", "string", "", "Its sandbox policy, and the version of it that is in force", 1}};
  static const std::vector<Column> node = {
      {"Name", "string", "name", kNameText},
      {"Status", "string", "", "Whether its agent is connected and can start sessions"},
      {"CPU", "string", "", "CPUs for sessions"},
      {"Memory", "string", "", "Memory for sessions"},
      {"Age", "string", "", kAgeText},
      {"Kernel", "string", "", "Version of its kernel", 1},
      {"Agent", "string", "", "Version of its isla-agentd", 1},
      {"Gateway", "string", "", "The islad that its agent is connected to", 1},
      {"Orphans", "string", "", "Containers on it that no session knows", 1}};
  static const std::vector<Column> project = {{"Name", "string", "name", kNameText},
                                              {"Status", "string", "", "Active, or Terminating"},
                                              {"Age", "string", "", kAgeText}};
  static const std::vector<Column> policy = {{"Name", "string", "name", kNameText},
                                             {"Mode", "string", "", "enforce, or warn or learn: nothing is refused"},
                                             {"Rules", "string", "", "How many rules it has of its own"},
                                             {"Age", "string", "", kAgeText}};
  if (&kind == &SessionKind()) return session;
  if (&kind == &SandboxPolicyKind()) return policy;
  return &kind == &NodeKind() ? node : project;
}

json::Array CellsOf(const Kind& kind, const Value& object, WallTime now) {
  if (&kind == &SessionKind()) return SessionCells(object, now);
  if (&kind == &SandboxPolicyKind()) return PolicyCells(object, now);
  return &kind == &NodeKind() ? NodeCells(object, now) : ProjectCells(object, now);
}

}  // namespace isla::api
