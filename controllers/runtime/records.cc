#include "controllers/runtime/records.h"

#include <algorithm>
#include <utility>

#include "api/base/stored_json.h"
#include "api/base/uuid.h"

namespace isla::controllers {
namespace {

/// Reads members of one object; the first wrong type is kept as the error.
class Reader {
 public:
  Reader(const json::Value& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) Fail("", "an object", object);
  }

  void String(std::string_view name, std::string& out) {
    const json::Value* value = object_.Find(name);
    if (value == nullptr || value->is_null()) return;
    if (!value->is_string()) return Fail(name, "a string", *value);
    out = value->as_string();
  }
  void Int(std::string_view name, int64_t& out) {
    const json::Value* value = object_.Find(name);
    if (value == nullptr || value->is_null()) return;
    const std::optional<int64_t> number = value->ToInt64();
    if (!number) return Fail(name, "an integer", *value);
    out = *number;
  }
  void Count(std::string_view name, int64_t& out) {
    Int(name, out);
    if (out < 0 && status_.ok()) status_ = Errorf(Code::kInvalidArgument, "{}{}: negative", where_, name);
  }
  void Bool(std::string_view name, bool& out) {
    const json::Value* value = object_.Find(name);
    if (value == nullptr || value->is_null()) return;
    if (!value->is_bool()) return Fail(name, "a boolean", *value);
    out = value->as_bool();
  }
  /// Null if it isn't there.
  const json::Value* Object(std::string_view name) {
    const json::Value* value = object_.Find(name);
    if (value == nullptr || value->is_null()) return nullptr;
    if (!value->is_object()) {
      Fail(name, "an object", *value);
      return nullptr;
    }
    return value;
  }
  const json::Array& Array(std::string_view name) {
    static const json::Array kNone;
    const json::Value* value = object_.Find(name);
    if (value == nullptr || value->is_null()) return kNone;
    if (!value->is_array()) {
      Fail(name, "an array", *value);
      return kNone;
    }
    return value->items();
  }
  void Merge(const Status& status) {
    if (status_.ok()) status_ = status;
  }
  const Status& status() const { return status_; }

 private:
  void Fail(std::string_view name, std::string_view expected, const json::Value& value) {
    if (!status_.ok()) return;
    status_ = Errorf(Code::kInvalidArgument, "{}{}: expected {}, not {}", where_, name, expected, value.type_name());
  }

  const json::Value& object_;
  std::string where_;
  Status status_;
};

/// An object that may be missing: what `read` makes of it, and its errors under its name.
template <typename T, typename Read>
void ReadMember(Reader& in, std::string_view name, std::optional<T>& out, Read read) {
  const json::Value* const value = in.Object(name);
  if (value == nullptr) return;
  Reader from(*value, fmt::format("{}.", name));
  read(from, out.emplace());
  in.Merge(from.status());
}

void ReadResources(const json::Value* value, std::string where, Resources& out, Reader& parent) {
  if (value == nullptr) return;
  Reader in(*value, std::move(where));
  in.Count("cpuMillis", out.cpu_millis);
  in.Count("memoryBytes", out.memory_bytes);
  in.Count("tasks", out.tasks);
  parent.Merge(in.status());
}

json::Value ResourcesTree(const Resources& resources) {
  return json::Value::MakeObject({{"cpuMillis", resources.cpu_millis},
                                  {"memoryBytes", resources.memory_bytes},
                                  {"tasks", resources.tasks}});
}

Status ReadContainer(const json::Value& value, BindContainer& out) {
  Reader in(value, "containers[].");
  std::string desired = "Run";
  in.String("name", out.name);
  in.String("role", out.role);
  in.Int("index", out.index);
  in.String("uid", out.uid);
  in.Int("incarnation", out.incarnation);
  in.String("node", out.node);
  in.String("nodeUid", out.node_uid);
  in.String("desired", desired);
  in.Int("gracePeriodMsec", out.grace_period_msec);
  in.Bool("released", out.released);
  if (value.is_object()) {
    ReadResources(in.Object("resources"), "containers[].resources.", out.resources, in);
    if (const json::Value* launch = in.Object("launch")) out.launch = *launch;
  }
  in.String("policyHash", out.policy_hash);
  in.String("hash", out.hash);
  RETURN_IF_ERROR(in.status());
  if (desired != "Run" && desired != "Stop") {
    return Errorf(Code::kInvalidArgument, "containers[].desired: '{}' is neither Run nor Stop", desired);
  }
  out.desired = desired == "Stop" ? Desired::kStop : Desired::kRun;
  if (out.uid.empty() || out.node.empty() || out.incarnation <= 0) {
    return Error(Code::kInvalidArgument, "containers[]: no uid, node or incarnation");
  }
  out.tree = value;
  return OkStatus();
}

void SetUnlessEmpty(json::Value& tree, std::string_view name, const std::string& text) {
  if (text.empty()) {
    tree.Remove(name);
  } else {
    tree.Set(name, text);
  }
}

json::Value ContainerTree(const BindContainer& container) {
  json::Value tree = container.tree;
  tree.Set("name", container.name);
  tree.Set("role", container.role);
  tree.Set("index", container.index);
  tree.Set("uid", container.uid);
  tree.Set("incarnation", container.incarnation);
  tree.Set("node", container.node);
  tree.Set("nodeUid", container.node_uid);
  tree.Set("desired", container.desired == Desired::kStop ? "Stop" : "Run");
  tree.Set("gracePeriodMsec", container.grace_period_msec);
  tree.Set("released", container.released);
  tree.Set("resources", ResourcesTree(container.resources));
  tree.Set("launch", container.launch);
  SetUnlessEmpty(tree, "policyHash", container.policy_hash);
  tree.Set("hash", container.hash);
  return tree;
}

}  // namespace

void BindContainer::WantPolicy(const std::string& version) {
  policy_hash = version;
  hash = Sha256Hex(json::Serialize(launch) + version);
}

StatusOr<Bind> DecodeBind(std::string_view bytes) {
  ASSIGN_OR_RETURN(json::Value tree, json::Parse(bytes, kStoredJson));
  Bind bind;
  Reader in(tree, "");
  RETURN_IF_ERROR(in.status());
  in.String("uid", bind.uid);
  in.Int("generation", bind.generation);
  in.Int("incarnation", bind.incarnation);
  in.Int("epoch", bind.epoch);
  if (const json::Value* value = in.Object("verdict")) {
    Verdict verdict;
    Reader inner(*value, "verdict.");
    inner.String("reason", verdict.reason);
    inner.String("message", verdict.message);
    inner.String("at", verdict.at);
    in.Merge(inner.status());
    bind.verdict = std::move(verdict);
  }
  for (const json::Value& value : in.Array("containers")) {
    BindContainer container;
    in.Merge(ReadContainer(value, container));
    bind.containers.push_back(std::move(container));
  }
  for (const json::Value& value : in.Array("avoid")) {
    Avoid avoid;
    Reader inner(value, "avoid[].");
    inner.String("node", avoid.node);
    inner.Count("count", avoid.count);
    inner.String("at", avoid.at);
    in.Merge(inner.status());
    bind.avoid.push_back(std::move(avoid));
  }
  RETURN_IF_ERROR(in.status());
  if (bind.uid.empty()) return Error(Code::kInvalidArgument, "uid: missing");
  bind.tree = std::move(tree);
  return bind;
}

std::string Encode(const Bind& bind) {
  json::Value tree = bind.tree;
  tree.Set("uid", bind.uid);
  tree.Set("generation", bind.generation);
  tree.Set("incarnation", bind.incarnation);
  tree.Set("epoch", bind.epoch);
  if (bind.verdict) {
    tree.Set("verdict", json::Value::MakeObject({{"reason", bind.verdict->reason},
                                                 {"message", bind.verdict->message},
                                                 {"at", bind.verdict->at}}));
  } else {
    tree.Remove("verdict");
  }
  json::Array containers;
  for (const BindContainer& container : bind.containers) containers.push_back(ContainerTree(container));
  tree.Set("containers", std::move(containers));
  if (bind.avoid.empty()) {
    tree.Remove("avoid");
  } else {
    json::Array avoid;
    for (const Avoid& entry : bind.avoid) {
      avoid.push_back(
          json::Value::MakeObject({{"node", entry.node}, {"count", entry.count}, {"at", entry.at}}));
    }
    tree.Set("avoid", std::move(avoid));
  }
  return json::Serialize(tree);
}

std::string_view RunStateName(RunState state) {
  switch (state) {
    case RunState::kAccepted: return "Accepted";
    case RunState::kCreated: return "Created";
    case RunState::kRunning: return "Running";
    case RunState::kExited: return "Exited";
    case RunState::kGone: return "Gone";
  }
  return "";
}

StatusOr<Run> DecodeRun(std::string_view bytes) {
  ASSIGN_OR_RETURN(const json::Value tree, json::Parse(bytes, kStoredJson));
  Run run;
  Reader in(tree, "");
  RETURN_IF_ERROR(in.status());
  std::string state;
  in.Int("sequence", run.sequence);
  in.String("namespace", run.ns);
  in.String("session", run.session);
  in.String("sessionUid", run.session_uid);
  in.String("state", state);
  in.String("scope", run.scope);
  in.String("acceptedAt", run.accepted_at);
  in.String("createdAt", run.created_at);
  in.String("startedAt", run.started_at);
  ReadMember(in, "nack", run.nack, [](Reader& from, RunNack& nack) {
    from.String("reason", nack.reason);
    from.String("message", nack.message);
  });
  ReadMember(in, "exit", run.exit, [](Reader& from, RunExit& exit) {
    from.Int("exitCode", exit.exit_code);
    from.Int("signal", exit.signal);
    from.String("cause", exit.cause);
    from.String("reason", exit.reason);
    from.String("message", exit.message);
    from.Int("oomKills", exit.oom_kills);
    from.String("finishedAt", exit.finished_at);
    from.Int("peakMemoryBytes", exit.peak_memory_bytes);
    from.Int("cpuTimeUsec", exit.cpu_time_usec);
  });
  ReadMember(in, "policy", run.policy, [](Reader& from, RunPolicy& policy) {
    from.String("inForce", policy.in_force);
    from.String("refused", policy.refused);
    from.String("reason", policy.reason);
    from.String("message", policy.message);
  });
  RETURN_IF_ERROR(in.status());
  for (const RunState known :
       {RunState::kAccepted, RunState::kCreated, RunState::kRunning, RunState::kExited, RunState::kGone}) {
    if (state != RunStateName(known)) continue;
    run.state = known;
    return run;
  }
  return Errorf(Code::kInvalidArgument, "state: unknown state '{}'", state);
}

std::string Encode(const Run& run) {
  json::Value tree = json::Value::MakeObject({{"sequence", run.sequence},
                                              {"namespace", run.ns},
                                              {"session", run.session},
                                              {"sessionUid", run.session_uid},
                                              {"state", RunStateName(run.state)}});
  SetUnlessEmpty(tree, "scope", run.scope);
  SetUnlessEmpty(tree, "acceptedAt", run.accepted_at);
  SetUnlessEmpty(tree, "createdAt", run.created_at);
  SetUnlessEmpty(tree, "startedAt", run.started_at);
  if (run.nack) {
    tree.Set("nack",
             json::Value::MakeObject({{"reason", run.nack->reason}, {"message", run.nack->message}}));
  }
  if (run.exit) {
    json::Value exit = json::Value::MakeObject({{"exitCode", run.exit->exit_code}});
    if (run.exit->signal != 0) exit.Set("signal", run.exit->signal);
    SetUnlessEmpty(exit, "cause", run.exit->cause);
    SetUnlessEmpty(exit, "reason", run.exit->reason);
    SetUnlessEmpty(exit, "message", run.exit->message);
    if (run.exit->oom_kills != 0) exit.Set("oomKills", run.exit->oom_kills);
    SetUnlessEmpty(exit, "finishedAt", run.exit->finished_at);
    if (run.exit->peak_memory_bytes != 0) exit.Set("peakMemoryBytes", run.exit->peak_memory_bytes);
    if (run.exit->cpu_time_usec != 0) exit.Set("cpuTimeUsec", run.exit->cpu_time_usec);
    tree.Set("exit", std::move(exit));
  }
  if (run.policy) {
    json::Value policy = json::Value::MakeObject({{"inForce", run.policy->in_force}});
    SetUnlessEmpty(policy, "refused", run.policy->refused);
    SetUnlessEmpty(policy, "reason", run.policy->reason);
    SetUnlessEmpty(policy, "message", run.policy->message);
    tree.Set("policy", std::move(policy));
  }
  return json::Serialize(tree);
}

StatusOr<Node> DecodeNode(std::string_view bytes) {
  ASSIGN_OR_RETURN(json::Value tree, json::Parse(bytes, kStoredJson));
  Node node;
  Reader in(tree, "");
  RETURN_IF_ERROR(in.status());
  in.String("uid", node.uid);
  in.String("bootId", node.boot_id);
  in.Bool("connected", node.connected);
  in.String("gateway", node.gateway);
  in.Int("term", node.term);
  in.String("agentVersion", node.agent_version);
  in.String("kernel", node.kernel);
  in.String("createdAt", node.created_at);
  ReadResources(in.Object("capacity"), "capacity.", node.capacity, in);
  if (const json::Value* labels = in.Object("labels")) {
    for (const json::Member& member : labels->members()) {
      if (member.value.is_string()) node.labels[member.name] = member.value.as_string();
    }
  }
  for (const json::Value& feature : in.Array("features")) {
    if (feature.is_string()) node.features.push_back(feature.as_string());
  }
  for (const json::Value& value : in.Array("orphans")) {
    Orphan orphan;
    Reader inner(value, "orphans[].");
    inner.String("uid", orphan.uid);
    inner.Int("incarnation", orphan.incarnation);
    inner.String("state", orphan.state);
    in.Merge(inner.status());
    node.orphans.push_back(std::move(orphan));
  }
  in.String("lastChange", node.last_change);
  RETURN_IF_ERROR(in.status());
  node.tree = std::move(tree);
  return node;
}

std::string Encode(const Node& node) {
  json::Value tree = node.tree;
  tree.Set("uid", node.uid);
  tree.Set("bootId", node.boot_id);
  tree.Set("connected", node.connected);
  tree.Set("gateway", node.gateway);
  tree.Set("term", node.term);
  tree.Set("agentVersion", node.agent_version);
  tree.Set("kernel", node.kernel);
  tree.Set("createdAt", node.created_at);
  tree.Set("capacity", ResourcesTree(node.capacity));
  json::Value labels = json::Value::MakeObject();
  for (const auto& [name, value] : node.labels) labels.Set(name, value);
  tree.Set("labels", std::move(labels));
  json::Array features;
  for (const std::string& feature : node.features) features.push_back(feature);
  tree.Set("features", std::move(features));
  json::Array orphans;
  for (const Orphan& orphan : node.orphans) {
    orphans.push_back(json::Value::MakeObject(
        {{"uid", orphan.uid}, {"incarnation", orphan.incarnation}, {"state", orphan.state}}));
  }
  tree.Set("orphans", std::move(orphans));
  tree.Set("lastChange", node.last_change);
  return json::Serialize(tree);
}

StatusOr<NodeTerm> DecodeNodeTerm(std::string_view bytes) {
  ASSIGN_OR_RETURN(const json::Value tree, json::Parse(bytes, kStoredJson));
  NodeTerm term;
  Reader in(tree, "");
  RETURN_IF_ERROR(in.status());
  in.Count("term", term.term);
  in.String("owner", term.owner);
  RETURN_IF_ERROR(in.status());
  return term;
}

std::string Encode(const NodeTerm& term) {
  return json::Serialize(json::Value::MakeObject({{"term", term.term}, {"owner", term.owner}}));
}

StatusOr<GatewayRecord> DecodeGateway(std::string_view bytes) {
  ASSIGN_OR_RETURN(const json::Value tree, json::Parse(bytes, kStoredJson));
  GatewayRecord gateway;
  Reader in(tree, "");
  RETURN_IF_ERROR(in.status());
  in.String("address", gateway.address);
  in.String("api", gateway.api);
  in.Int("pid", gateway.pid);
  RETURN_IF_ERROR(in.status());
  return gateway;
}

std::string Encode(const GatewayRecord& gateway) {
  return json::Serialize(json::Value::MakeObject(
      {{"address", gateway.address}, {"api", gateway.api}, {"pid", gateway.pid}}));
}

StatusOr<ManifestVerdict> DecodeManifestVerdict(std::string_view bytes) {
  ASSIGN_OR_RETURN(const json::Value tree, json::Parse(bytes, kStoredJson));
  ManifestVerdict verdict;
  Reader in(tree, "");
  RETURN_IF_ERROR(in.status());
  in.Int("revision", verdict.revision);
  in.String("verdict", verdict.verdict);
  in.String("message", verdict.message);
  in.String("at", verdict.at);
  RETURN_IF_ERROR(in.status());
  return verdict;
}

std::string Encode(const ManifestVerdict& verdict) {
  return json::Serialize(json::Value::MakeObject({{"revision", verdict.revision},
                                                  {"verdict", verdict.verdict},
                                                  {"message", verdict.message},
                                                  {"at", verdict.at}}));
}

namespace {

std::string NodeTime(int64_t ns) {
  return ns == 0 ? std::string() : RecordTime(WallTime(std::chrono::nanoseconds(ns)));
}

RunState FromProto(isla::v1::ContainerState state) {
  switch (state) {
    case isla::v1::CREATED: return RunState::kCreated;
    case isla::v1::RUNNING: return RunState::kRunning;
    case isla::v1::EXITED: return RunState::kExited;
    case isla::v1::GONE: return RunState::kGone;
    default: return RunState::kAccepted;
  }
}

}  // namespace

Run RunFromReport(const isla::v1::Report& report) {
  Run run;
  run.sequence = static_cast<int64_t>(report.sequence());
  run.ns = report.session_namespace();
  run.session = report.session();
  run.session_uid = report.session_uid();
  run.state = FromProto(report.state());
  run.scope = report.scope();
  run.accepted_at = NodeTime(report.accepted_at_ns());
  run.created_at = NodeTime(report.created_at_ns());
  run.started_at = NodeTime(report.started_at_ns());
  if (report.has_nack()) run.nack = RunNack{report.nack().reason(), report.nack().message()};
  if (report.has_exit()) {
    const isla::v1::ExitInfo& info = report.exit();
    run.exit = RunExit{info.exit_code(),
                       info.signal(),
                       info.cause(),
                       info.reason(),
                       info.message(),
                       info.oom_kills(),
                       NodeTime(info.finished_at_ns()),
                       info.peak_memory_bytes(),
                       info.cpu_time_usec()};
  }
  if (report.has_sandbox_policy()) {
    const isla::v1::PolicyReport& policy = report.sandbox_policy();
    run.policy = RunPolicy{policy.in_force(), policy.refused(), policy.reason(), policy.message()};
  }
  return run;
}

std::string_view StateName(isla::v1::ContainerState state) { return RunStateName(FromProto(state)); }

std::string RecordTime(WallTime time) { return FormatRfc3339(time, 6); }

int64_t NextIncarnation(const Bind* bind, int64_t epoch) {
  return std::max(bind == nullptr ? 1 : bind->incarnation + 1, (epoch - 1) * kIncarnationsOfAnEpoch + 1);
}

}  // namespace isla::controllers
