// Validation: what the schema can't say. Metadata and the small kinds are here, sessions in validate_session.cc.
#include "api/object/field.h"
#include "api/object/names.h"
#include "api/object/object.h"
#include "api/object/validate_session.h"

namespace isla::api {
namespace {

using SyntaxCheck = std::string (*)(std::string_view);

void CheckText(const Field& field, SyntaxCheck check, FieldErrors& errors) {
  if (!field.is_string()) return;
  if (const std::string wrong = check(field.text()); !wrong.empty()) errors.push_back(field.Bad(wrong));
}

/// A generated name is the prefix and five characters more, and must be a good name then.
std::string CheckNamePrefix(std::string_view prefix) {
  constexpr size_t kSuffix = 5;
  if (prefix.size() > 63 - kSuffix) return fmt::format("must be no more than {} bytes", 63 - kSuffix);
  return CheckDnsLabel(std::string(prefix) + std::string(kSuffix, 'x'));
}

void CheckName(const Kind& kind, const Field& metadata, FieldErrors& errors) {
  const Field name = metadata.Get("name"), prefix = metadata.Get("generateName");
  if (!name.text().empty()) {
    // Names of sessions and projects become parts of the names of systemd units: labels only.
    CheckText(name, &kind == &NodeKind() ? CheckDnsSubdomain : CheckDnsLabel, errors);
  } else if (prefix.text().empty()) {
    errors.push_back(name.Missing("name or generateName is required"));
  }
  if (!prefix.text().empty()) CheckText(prefix, CheckNamePrefix, errors);
  const Field ns = metadata.Get("namespace");
  if (ns.text().empty()) return;
  if (kind.namespaced) CheckText(ns, CheckDnsLabel, errors);
  else errors.push_back(Forbidden(ns.path(), ns.value(), fmt::format("a {} is in no namespace", kind.kind)));
}

}  // namespace

void CheckLabels(const Field& labels, FieldErrors& errors) {
  if (!labels.is_object()) return;
  for (const json::Member& member : labels.value().members()) {
    if (IsFull(errors)) return;
    const Field entry = labels.Entry(member);
    if (const std::string wrong = CheckLabelKey(member.name); !wrong.empty()) {
      FieldError error = Invalid(labels.path(), member.name, wrong);
      error.position = member.position;
      errors.push_back(std::move(error));
    }
    CheckText(entry, CheckLabelValue, errors);
  }
}

namespace {

void CheckMetadata(const Kind& kind, const Field& metadata, FieldErrors& errors) {
  CheckName(kind, metadata, errors);
  CheckLabels(metadata.Get("labels"), errors);
  if (const Field annotations = metadata.Get("annotations"); annotations.is_object()) {
    for (const json::Member& member : annotations.value().members()) {
      if (IsFull(errors)) return;
      if (const std::string wrong = CheckLabelKey(member.name); !wrong.empty()) {
        FieldError error = Invalid(annotations.path(), member.name, wrong);
        error.position = member.position;
        errors.push_back(std::move(error));
      }
    }
  }
  const Field finalizers = metadata.Get("finalizers");
  for (size_t i = 0; i < finalizers.size() && !IsFull(errors); ++i) {
    CheckText(finalizers.Item(i), CheckLabelKey, errors);
  }
}

void CheckProject(const Field& spec, FieldErrors& errors) {
  constexpr size_t kMostBytes = 4096;
  const Field description = spec.Get("description");
  if (description.text().size() > kMostBytes) {
    errors.push_back(TooLong(description.path(), description.value(), fmt::format("{} bytes", kMostBytes)));
  }
}

}  // namespace

FieldErrors Validate(const Kind& kind, const json::Value& object) {
  FieldErrors errors;
  const Field root(object);
  CheckMetadata(kind, root.Get("metadata"), errors);
  if (&kind == &SessionKind()) CheckSession(root.Get("spec"), errors);
  if (&kind == &ProjectKind()) CheckProject(root.Get("spec"), errors);
  return errors;
}

}  // namespace isla::api
