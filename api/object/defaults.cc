// Defaults are only added: what a person typed stays as typed, or each later `kubectl apply` would find a
// difference. For the same reason nothing is added inside arrays (a merge patch replaces them whole, so a
// client would send the array again for ever): those defaults are filled in by the typed view, ToSession.
#include <array>

#include "api/object/object.h"

namespace isla::api {
namespace {

struct Default {
  std::string_view parent;  // a member of spec, or "" for spec itself
  std::string_view name;
  json::Value value;
};

const std::array<Default, 9>& SessionDefaults() {
  static const std::array<Default, 9> defaults = {{{"", "type", "batch"},
                                                   {"", "image", "host"},
                                                   {"", "workingDir", "/"},
                                                   {"resources", "cpu", "1"},
                                                   {"resources", "memory", "256Mi"},
                                                   {"resources", "tasks", 512},
                                                   {"", "terminationGracePeriod", "30s"},
                                                   {"", "network", "none"},
                                                   {"sandbox", "policy", "default"}}};
  return defaults;
}

/// The member as an object, made if it is missing or null; null pointer if it is something else.
json::Value* ObjectAt(json::Value& parent, std::string_view name) {
  json::Value* found = parent.Find(name);
  if (found == nullptr) return &parent.Set(name, json::Object());
  if (found->is_null()) *found = json::Object();
  return found->is_object() ? found : nullptr;
}

}  // namespace

void ApplyDefaults(const Kind& kind, json::Value& object) {
  if (!object.is_object() || &kind != &SessionKind()) return;
  json::Value* spec = ObjectAt(object, "spec");
  if (spec == nullptr) return;
  for (const Default& each : SessionDefaults()) {
    json::Value* parent = each.parent.empty() ? spec : ObjectAt(*spec, each.parent);
    if (parent == nullptr) continue;
    const json::Value* found = parent->Find(each.name);
    if (found == nullptr || found->is_null()) parent->Set(each.name, each.value);
  }
}

StatusOr<isla::v1::Session> ToSession(const json::Value& object) {
  isla::v1::Session session;
  json::Value complete = object;
  ApplyDefaults(SessionKind(), complete);
  RETURN_IF_ERROR(ToMessage(complete, session));
  const json::Value* mounts = complete.FindPath({"spec", "mounts"});
  for (int i = 0; i < session.spec().mounts_size(); ++i) {
    const json::Value* read_only = mounts->items()[static_cast<size_t>(i)].Find("readOnly");
    if (read_only == nullptr || read_only->is_null()) session.mutable_spec()->mutable_mounts(i)->set_read_only(true);
  }
  return session;
}

}  // namespace isla::api
