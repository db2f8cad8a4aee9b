// From the bytes of spec/ and status/ to the typed records of cluster_state.h.
#include "api/base/program_room.h"
#include "api/base/stored_json.h"
#include "api/base/uuid.h"
#include "api/object/check_types.h"
#include "api/object/object.h"
#include "api/object/quantity.h"
#include "api/registry/stored.h"
#include "controllers/runtime/cluster_state.h"

namespace isla::controllers {
namespace {

Status ReadMeta(const json::Value& object, ObjectMeta& meta) {
  const json::Value* metadata = object.Find("metadata");
  if (metadata == nullptr || !metadata->is_object()) return Error(Code::kInvalidArgument, "metadata: missing");
  meta.uid = metadata->StringAt({"uid"});
  if (meta.uid.empty()) return Error(Code::kInvalidArgument, "metadata.uid: missing");
  meta.generation = metadata->Int64At({"generation"}).value_or(0);
  meta.created_at = metadata->StringAt({"creationTimestamp"});
  meta.deletion_timestamp = metadata->StringAt({"deletionTimestamp"});
  meta.deletion_grace_seconds = metadata->Int64At({"deletionGracePeriodSeconds"}).value_or(-1);
  if (const json::Value* finalizers = metadata->Find("finalizers"); finalizers != nullptr && finalizers->is_array()) {
    for (const json::Value& finalizer : finalizers->items()) {
      if (finalizer.is_string()) meta.finalizers.push_back(finalizer.as_string());
    }
  }
  return OkStatus();
}

/// The tree of a key of spec/ that the API can serve.
StatusOr<json::Value> ParseStored(const api::Kind& kind, const store::KeyValue& kv) {
  StatusOr<json::Value> tree = json::Parse(kv.value, kStoredJson);
  const Status status = tree.ok() ? registry::CheckStored(kind, kv.key, *tree) : tree.status();
  if (!status.ok()) return Errorf(Code::kInvalidArgument, "{}{}", registry::kUnreadable, Message(status));
  return tree;
}

Duration ParsedDuration(const std::string& text, Duration fallback) {
  if (text.empty()) return fallback;
  const StatusOr<std::chrono::nanoseconds> parsed = api::ParseDuration(text);
  return parsed.ok() ? *parsed : fallback;
}

/// What means something of a session that can't run, too: it may run already, from before.
void ReadWishes(const json::Value& object, SessionSpec& spec) {
  if (const json::Value* selector = object.FindPath({"spec", "nodeSelector"}); selector != nullptr && selector->is_object()) {
    for (const json::Member& member : selector->members()) {
      if (member.value.is_string()) spec.node_selector.emplace_back(member.name, member.value.as_string());
    }
  }
  spec.policy = object.StringAt({"spec", "sandbox", "policy"}, spec.policy);
  spec.timeout = ParsedDuration(object.StringAt({"spec", "timeout"}), spec.timeout);
  spec.termination_grace_period = ParsedDuration(object.StringAt({"spec", "terminationGracePeriod"}), spec.termination_grace_period);
}

StatusOr<Resources> ReadResources(const json::Value& object) {
  const StatusOr<int64_t> cpu = api::ParseCpuMillis(object.StringAt({"spec", "resources", "cpu"}));
  if (!cpu.ok()) return Annotate(cpu.status(), "spec.resources.cpu");
  const StatusOr<int64_t> memory = api::ParseBytes(object.StringAt({"spec", "resources", "memory"}));
  if (!memory.ok()) return Annotate(memory.status(), "spec.resources.memory");
  return Resources{*cpu, *memory, object.Int64At({"spec", "resources", "tasks"}).value_or(0)};
}

/// Of the policy's program. A size that can't be read isn't let in by the API, and its node refuses it: any number will do.
int64_t ProgramRoom(const json::Value& policy) {
  const json::Value* const spec = policy.Find("spec");
  const json::Value* const program = spec == nullptr ? nullptr : spec->Find("program");
  if (program == nullptr || !program->is_object()) return 0;
  const json::Value* const memory = program->Find("memory");
  if (memory == nullptr) return ProgramRoomOf(kDefaultProgramBytes);
  const StatusOr<int64_t> bytes = memory->is_number() ? api::ParseBytes(memory->number_text()) : api::ParseBytes(memory->is_string() ? memory->as_string() : "");
  return ProgramRoomOf(bytes.ok() ? *bytes : kDefaultProgramBytes);
}

/// Garbage that was put straight into the store must not reach a node: what the door would refuse can't run.
/// It is an object all the same, that has a status and can be deleted. `object` has passed CheckTypes.
Status CheckRunnable(json::Value& object, SessionSpec& spec) {
  if (!IsUuid(spec.meta.uid)) return Errorf(Code::kInvalidArgument, "metadata.uid: '{}' is no UUID", spec.meta.uid);
  api::ApplyDefaults(api::SessionKind(), object);
  ReadWishes(object, spec);
  const api::FieldErrors errors = api::Validate(api::SessionKind(), object);
  if (!errors.empty()) return api::InvalidObject("Session", object.StringAt({"metadata", "name"}), errors);
  ASSIGN_OR_RETURN(spec.asked, ReadResources(object));
  return OkStatus();
}

}  // namespace

StatusOr<SessionSpec> DecodeSessionSpec(std::string_view bytes) {
  SessionSpec spec;
  ASSIGN_OR_RETURN(json::Value tree, json::Parse(bytes, kStoredJson));
  RETURN_IF_ERROR(ReadMeta(tree, spec.meta));
  spec.valid = api::CheckTypes(api::SessionKind(), tree);
  if (spec.valid.ok()) spec.valid = CheckRunnable(tree, spec);
  return spec;
}

StatusOr<SessionSpec> DecodeStoredSession(const store::KeyValue& kv) {
  SessionSpec spec;
  ASSIGN_OR_RETURN(json::Value tree, ParseStored(api::SessionKind(), kv));
  RETURN_IF_ERROR(ReadMeta(tree, spec.meta));
  spec.valid = CheckRunnable(tree, spec);
  return spec;
}

StatusOr<isla::v1::Session> DecodeSession(std::string_view bytes) {
  ASSIGN_OR_RETURN(const json::Value tree, json::Parse(bytes, kStoredJson));
  return api::ToSession(tree);
}

StatusOr<ProjectSpec> DecodeStoredProject(const store::KeyValue& kv) {
  ProjectSpec spec;
  ASSIGN_OR_RETURN(const json::Value tree, ParseStored(api::ProjectKind(), kv));
  RETURN_IF_ERROR(ReadMeta(tree, spec.meta));
  return spec;
}

StatusOr<PolicySpec> DecodeStoredPolicy(const store::KeyValue& kv) {
  PolicySpec policy;
  ASSIGN_OR_RETURN(const json::Value tree, ParseStored(api::SandboxPolicyKind(), kv));
  RETURN_IF_ERROR(ReadMeta(tree, policy.meta));
  // Labels and the server's fields make no other version of it.
  const json::Value* const spec = tree.Find("spec");
  policy.text = json::Serialize(json::Value::MakeObject({{"apiVersion", tree.StringAt({"apiVersion"})},
                                                         {"kind", tree.StringAt({"kind"})},
                                                         {"metadata", json::Value::MakeObject({{"name", tree.StringAt({"metadata", "name"})}})},
                                                         {"spec", spec != nullptr ? *spec : json::Value::MakeObject()}}));
  policy.hash = Sha256Hex(policy.text);
  policy.program_room = ProgramRoom(tree);
  return policy;
}

StatusOr<StatusRecord> DecodeStatusRecord(std::string_view bytes) {
  ASSIGN_OR_RETURN(const json::Value tree, json::Parse(bytes, kStoredJson));
  StatusRecord record;
  record.uid = tree.StringAt({"uid"});
  record.observed_generation = tree.Int64At({"observedGeneration"}).value_or(0);
  const json::Value* status = tree.Find("status");
  if (record.uid.empty() || status == nullptr || !status->is_object()) {
    return Error(Code::kInvalidArgument, "no uid or no status");
  }
  record.status = *status;
  return record;
}

std::string MainContainerUid(const std::string& session_uid) {
  const StatusOr<std::string> uid = DerivedUuid(session_uid, "main/0");
  return uid.ok() ? *uid : std::string();
}

std::pair<std::string, std::string> SplitKey(const std::string& key) {
  const size_t slash = key.find('/');
  if (slash == std::string::npos) return {key, {}};
  return {key.substr(0, slash), key.substr(slash + 1)};
}

}  // namespace isla::controllers
