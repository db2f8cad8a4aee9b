#include "api/registry/admission.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "api/object/object.h"
#include "api/object/quantity.h"
#include "api/registry/policy_check.h"

namespace isla::registry {

namespace {

/// Members of metadata that only the server writes; a user's are replaced by the stored ones.
constexpr std::array<std::string_view, 7> kServerFields = {
    "uid", "generation", "creationTimestamp", "createdBy", "deletionTimestamp", "deletionGracePeriodSeconds",
    "finalizers"};

std::string Generated(const std::string& prefix, Random& random) {
  constexpr std::string_view kLetters = "bcdfghjklmnpqrstvwxz2456789";  // as Kubernetes: no words by chance
  std::array<uint8_t, 5> bytes{};
  random.Fill(bytes.data(), bytes.size());
  std::string name = prefix.substr(0, 58);
  for (const uint8_t byte : bytes) name += kLetters[byte % kLetters.size()];
  return name;
}

std::string NameOf(const json::Value& manifest) { return manifest.StringAt({"metadata", "name"}); }

bool SameError(const api::FieldError& a, const api::FieldError& b) {
  return a.reason == b.reason && a.field == b.field && a.detail == b.detail;
}

Status CheckShape(const json::Value& manifest) {
  if (!manifest.is_object()) {
    return Errorf(Code::kInvalidArgument, "the body must be a JSON object, not {}", manifest.type_name());
  }
  return OkStatus();
}

/// The namespace of the manifest must be the request's, or absent (then it is set).
Status SettleNamespace(const api::Kind& kind, const std::string& ns, json::Value& metadata) {
  const std::string given = metadata.StringAt({"namespace"});
  if (kind.namespaced) {
    if (!given.empty() && given != ns) {
      return Errorf(Code::kInvalidArgument,
                    "the namespace of the provided object does not match the namespace sent on the request: '{}' "
                    "and '{}'", given, ns);
    }
    metadata.Set("namespace", ns);
    return OkStatus();
  }
  if (!given.empty()) {
    return Errorf(Code::kInvalidArgument, "{} have no namespace, but metadata.namespace is '{}'", kind.resource,
                  given);
  }
  metadata.Remove("namespace");
  return OkStatus();
}

api::FieldErrors ValidateObject(const api::Kind& kind, const json::Value& object) {
  api::FieldErrors errors = api::Validate(kind, object);
  if (&kind != &api::SandboxPolicyKind() || !errors.empty()) return errors;
  return CheckSandboxPolicy(object);
}

bool IsAtOrBelow(const std::string& field, const std::string& top) {
  return field.starts_with(top) && (field.size() == top.size() || field[top.size()] == '.' || field[top.size()] == '[');
}

std::string ParentOf(const std::string& field) {
  const size_t dot = field.rfind('.');
  return dot == std::string::npos ? std::string() : field.substr(0, dot);
}

/// What a schema error explains already: values at or below what has the wrong type, and fields that are missing where there is one of another name
/// (FieldValueInvalid: what isn't known isn't of a wrong type).
bool Explains(const api::FieldError& schema, const api::FieldError& value) {
  if (IsAtOrBelow(value.field, schema.field)) return true;
  return schema.reason == "FieldValueInvalid" && value.reason == "FieldValueRequired" && ParentOf(schema.field) == ParentOf(value.field);
}

/// The error of a manifest that isn't of its schema, with what else is wrong in it: it would be told only after the first are mended.
/// `name` is its name if it may go without.
Status SchemaError(const api::Kind& kind, const std::string& name, json::Value manifest, api::FieldErrors errors) {
  json::Value* const metadata = manifest.Find("metadata");
  if (!name.empty() && metadata != nullptr && metadata->is_object() && metadata->StringAt({"name"}).empty()) metadata->Set("name", name);
  api::ApplyDefaults(kind, manifest);
  const size_t of_schema = errors.size();
  for (api::FieldError& error : api::Validate(kind, manifest)) {
    const auto end = errors.begin() + static_cast<ptrdiff_t>(of_schema);
    if (std::none_of(errors.begin(), end, [&error](const api::FieldError& schema) { return Explains(schema, error); })) errors.push_back(std::move(error));
  }
  return api::InvalidObject(kind.kind, name, errors);
}

Status CheckSize(const api::Kind& kind, const std::string& name, const json::Value& object) {
  const size_t size = json::Serialize(object).size();
  if (size <= kMaxObjectBytes) return OkStatus();
  return api::InvalidObject(kind.kind, name,
                            {{"FieldValueTooLong", "spec",
                              fmt::format("Too long: the object has {} bytes, more than {}", size, kMaxObjectBytes),
                              {}}});
}

}  // namespace

bool IsKeyPart(const std::string& text) {
  return !text.empty() && text.size() <= 253 && std::none_of(text.begin(), text.end(), [](char c) {
    return c == '/' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

bool IsNamespace(const std::string& text) { return IsKeyPart(text) && text != store::kClusterWide; }

std::string FinalizerOf(const api::Kind& kind) {
  if (kind.kind == "Session") return "isla/session";
  if (kind.kind == "Project") return "isla/project";
  return {};
}

StatusOr<json::Value> PrepareCreate(const api::Kind& kind, const std::string& ns, json::Value manifest,
                                    const Caller& caller, WallTime now, Random& random) {
  RETURN_IF_ERROR(CheckShape(manifest));
  manifest.Remove("status");  // the server's; a user's is ignored
  if (const api::FieldErrors errors = api::CheckSchema(kind, manifest); !errors.empty()) {
    return SchemaError(kind, NameOf(manifest), manifest, errors);
  }
  json::Value& metadata = manifest.Member("metadata");
  RETURN_IF_ERROR(SettleNamespace(kind, ns, metadata));
  if (!ResourceVersionOf(manifest).empty()) {
    return Error(Code::kInvalidArgument, "resourceVersion should not be set on objects to be created");
  }
  const std::string prefix = metadata.StringAt({"generateName"});
  if (metadata.StringAt({"name"}).empty() && !prefix.empty()) metadata.Set("name", Generated(prefix, random));

  const std::string finalizer = FinalizerOf(kind);
  json::Value finalizers = json::Value::MakeArray();
  if (!finalizer.empty()) finalizers.Append(finalizer);
  api::FieldErrors errors;
  const json::Value* given = metadata.Find("finalizers");
  if (given != nullptr && !given->is_null() && !(given->is_array() && given->items().empty()) &&
      !(*given == finalizers)) {
    errors.push_back(api::Forbidden("metadata.finalizers", *given, "finalizers are set by the server"));
  }
  for (const char* name : {"resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"}) {
    metadata.Remove(name);
  }
  metadata.Set("uid", NewUuid(random));
  metadata.Set("generation", 1);
  // Exact in the store, whole seconds in the API (JoinObject): the history of the status begins with it.
  metadata.Set("creationTimestamp", FormatRfc3339(now, 6));
  metadata.Set("createdBy", caller.user);
  if (finalizer.empty()) {
    metadata.Remove("finalizers");
  } else {
    metadata.Set("finalizers", finalizers);
  }
  api::ApplyDefaults(kind, manifest);
  for (api::FieldError& error : ValidateObject(kind, manifest)) errors.push_back(std::move(error));
  const std::string name = NameOf(manifest);
  if (errors.empty() && !IsKeyPart(name)) {
    errors.push_back(api::Required("metadata.name", "name or generateName is required"));
  }
  if (!errors.empty()) return api::InvalidObject(kind.kind, name, errors);
  RETURN_IF_ERROR(CheckSize(kind, name, manifest));
  return manifest;
}

namespace {

/// Puts the stored values of the server's fields in place of the manifest's; complains about those that a user
/// may have meant.
api::FieldErrors KeepServerFields(const json::Value& stored, bool patched, json::Value& metadata) {
  api::FieldErrors errors;
  const json::Value empty;
  for (const std::string_view name : kServerFields) {
    const json::Value* before = stored.FindPath({"metadata", name});
    const json::Value* given = metadata.Find(name);
    const bool guarded = name == "uid" || name == "createdBy" || name == "finalizers";
    const bool absent = given == nullptr || given->is_null();
    const bool changed = absent ? (patched && before != nullptr) : (before == nullptr || !(*before == *given));
    if (guarded && changed) {
      const std::string field = "metadata." + std::string(name);
      const json::Value& value = given == nullptr ? empty : *given;
      errors.push_back(name == "finalizers"
                           ? api::Forbidden(field, value, "finalizers are set and removed by the server")
                           : api::Invalid(field, value, "field is immutable"));
    }
    if (before != nullptr) {
      metadata.Set(name, *before);
    } else {
      metadata.Remove(name);
    }
  }
  return errors;
}

}  // namespace

StatusOr<json::Value> PrepareUpdate(const api::Kind& kind, const std::string& ns, const std::string& name,
                                    json::Value manifest, const UpdateInput& input) {
  RETURN_IF_ERROR(CheckShape(manifest));
  manifest.Remove("status");
  // Fields that a newer islad stored aren't the user's fault: only what is wrong beyond them counts.
  const api::FieldErrors old_errors = api::CheckSchema(kind, input.stored);
  api::FieldErrors errors = api::CheckSchema(kind, manifest);
  std::erase_if(errors, [&old_errors](const api::FieldError& error) {
    return std::any_of(old_errors.begin(), old_errors.end(),
                       [&error](const api::FieldError& old) { return SameError(error, old); });
  });
  if (!errors.empty()) return SchemaError(kind, name, manifest, errors);

  json::Value& metadata = manifest.Member("metadata");
  const std::string given = metadata.StringAt({"name"});
  if (!given.empty() && given != name) {
    return Errorf(Code::kInvalidArgument, "the name of the object ('{}') does not match the name on the URL ('{}')",
                  given, name);
  }
  metadata.Set("name", name);
  RETURN_IF_ERROR(SettleNamespace(kind, ns, metadata));
  for (const char* field : {"resourceVersion", "selfLink"}) metadata.Remove(field);
  errors = KeepServerFields(input.stored, input.patched, metadata);
  api::ApplyDefaults(kind, manifest);
  for (api::FieldError& error : ValidateObject(kind, manifest)) errors.push_back(std::move(error));
  for (api::FieldError& error : api::ValidateUpdate(kind, input.stored, manifest, input.frozen)) {
    errors.push_back(std::move(error));
  }
  if (!errors.empty()) return api::InvalidObject(kind.kind, name, errors);
  if (api::SpecDiffers(input.stored, manifest)) {
    const int64_t generation = input.stored.Int64At({"metadata", "generation"}).value_or(0);
    metadata.Set("generation", generation + 1);
  }
  RETURN_IF_ERROR(CheckSize(kind, name, manifest));
  return manifest;
}

json::Value MarkDeleted(const api::Kind& kind, const json::Value& stored, WallTime now,
                        int64_t grace_period_seconds) {
  json::Value object = stored;
  json::Value& metadata = object.Member("metadata");
  if (metadata.Find("deletionTimestamp") == nullptr) {
    metadata.Set("deletionTimestamp", FormatRfc3339(now));
    metadata.Set("generation", stored.Int64At({"metadata", "generation"}).value_or(0) + 1);
    if (grace_period_seconds < 0 && kind.kind == "Session") {
      const auto own = api::ParseDuration(stored.StringAt({"spec", "terminationGracePeriod"}, "30s"));
      grace_period_seconds =
          std::chrono::ceil<std::chrono::seconds>(own.ok() ? *own : std::chrono::seconds(30)).count();
    }
    if (grace_period_seconds >= 0) metadata.Set("deletionGracePeriodSeconds", grace_period_seconds);
    return object;
  }
  const auto present = metadata.Int64At({"deletionGracePeriodSeconds"});
  if (grace_period_seconds >= 0 && (!present || grace_period_seconds < *present)) {
    metadata.Set("deletionGracePeriodSeconds", grace_period_seconds);
  }
  return object;
}

std::string ResourceVersionOf(const json::Value& manifest) {
  return manifest.StringAt({"metadata", "resourceVersion"});
}

void ClearPositions(json::Value& value) {
  value.set_position({});
  if (value.is_array()) {
    for (json::Value& item : value.items()) ClearPositions(item);
  } else if (value.is_object()) {
    for (json::Member& member : value.members()) {
      member.position = {};
      ClearPositions(member.value);
    }
  }
}

}  // namespace isla::registry
