// The mutability table of README.md in code, and its only use.
#include <array>

#include "api/object/field.h"
#include "api/object/object.h"

namespace isla::api {
namespace {

enum class Rule {
  kFixed,           // set when the object is made
  kServer,          // the server's: a client may leave it out, but not say something else
  kUntilScheduled,  // the user's, until the session is bound to a node
};

struct Row {
  std::string_view kind;  // "" = every kind
  std::array<std::string_view, 2> path;
  Rule rule;
};

/// What isn't here may change at any time (labels, annotations, a project's spec) or is the registry's own
/// matter (resourceVersion is a precondition, generation and status are what the server makes them).
constexpr std::array<Row, 13> kTable = {{{"", {"apiVersion", ""}, Rule::kFixed},
                                         {"", {"kind", ""}, Rule::kFixed},
                                         {"", {"metadata", "name"}, Rule::kFixed},
                                         {"", {"metadata", "namespace"}, Rule::kServer},
                                         {"", {"metadata", "generateName"}, Rule::kServer},
                                         {"", {"metadata", "uid"}, Rule::kServer},
                                         {"", {"metadata", "creationTimestamp"}, Rule::kServer},
                                         {"", {"metadata", "createdBy"}, Rule::kServer},
                                         {"", {"metadata", "deletionTimestamp"}, Rule::kServer},
                                         {"", {"metadata", "deletionGracePeriodSeconds"}, Rule::kServer},
                                         {"", {"metadata", "finalizers"}, Rule::kServer},
                                         {"Session", {"spec", ""}, Rule::kUntilScheduled},
                                         {"Node", {"spec", ""}, Rule::kServer}}};

bool Same(const Field& a, const Field& b) {
  if (!a.present() || !b.present()) return a.present() == b.present();
  return a.value() == b.value();
}

void AddChange(const Field& before, const Field& after, std::string_view why, FieldErrors& errors) {
  static const json::Value kAbsent;
  FieldError error = Forbidden(after.path(), after.present() ? after.value() : kAbsent, why);
  if (!after.present()) error.detail += " (it was removed)";
  else if (!before.present()) error.detail += " (it was added)";
  errors.push_back(std::move(error));
}

/// Names the innermost members that differ, not the whole spec.
void AddDifferences(const Field& before, const Field& after, std::string_view why, FieldErrors& errors) {
  if (IsFull(errors) || Same(before, after)) return;
  if (!before.is_object() || !after.is_object()) return AddChange(before, after, why, errors);
  for (const json::Member& member : after.value().members()) {
    AddDifferences(before.Get(member.name), after.Get(member.name), why, errors);
  }
  for (const json::Member& member : before.value().members()) {
    if (after.Get(member.name).present()) continue;
    if (after.value().Find(member.name) != nullptr) continue;  // null: seen above
    AddDifferences(before.Get(member.name), after.Get(member.name), why, errors);
  }
}

Field At(const json::Value& object, const std::array<std::string_view, 2>& path) {
  const Field first = Field(object).Get(path[0]);
  return path[1].empty() ? first : first.Get(path[1]);
}

}  // namespace

FieldErrors ValidateUpdate(const Kind& kind, const json::Value& before, const json::Value& after, bool frozen) {
  FieldErrors errors;
  for (const Row& row : kTable) {
    if (!row.kind.empty() && row.kind != kind.kind) continue;
    const Field old = At(before, row.path), changed = At(after, row.path);
    switch (row.rule) {
      case Rule::kFixed:
        if (!Same(old, changed)) AddChange(old, changed, "can't be changed", errors);
        break;
      case Rule::kServer:
        if (changed.present() && !Same(old, changed)) AddChange(old, changed, "is set by the server only", errors);
        break;
      case Rule::kUntilScheduled:
        if (frozen) AddDifferences(old, changed, "can't be changed once the session is scheduled", errors);
        break;
    }
  }
  return errors;
}

}  // namespace isla::api
