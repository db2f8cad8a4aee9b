#include "cli/three_way.h"

#include "cli/go_json.h"

namespace isla::cli {
namespace {

bool SameNumber(const json::Value& a, const json::Value& b) {
  if (a.number_text() == b.number_text()) return true;
  const auto x = a.ToInt64();
  const auto y = b.ToInt64();
  if (x && y) return *x == *y;
  return a.ToDouble() == b.ToDouble();
}

bool Same(const json::Value& a, const json::Value& b) {
  if (a.type() != b.type()) return false;
  if (a.is_number()) return SameNumber(a, b);
  if (a.is_array()) {
    if (a.items().size() != b.items().size()) return false;
    for (size_t i = 0; i < a.items().size(); ++i) {
      if (!Same(a.items()[i], b.items()[i])) return false;
    }
    return true;
  }
  if (a.is_object()) {
    if (a.members().size() != b.members().size()) return false;
    for (const json::Member& member : a.members()) {
      const json::Value* other = b.Find(member.name);
      if (other == nullptr || !Same(member.value, *other)) return false;
    }
    return true;
  }
  return a == b;
}

/// Keeps of a merge patch only its removals (`nulls`), or everything but those. An empty object set
/// on purpose is a value.
json::Value Filtered(const json::Value& patch, bool nulls) {
  json::Value out = json::Value::MakeObject();
  for (const json::Member& member : patch.members()) {
    if (member.value.is_null()) {
      if (nulls) out.Set(member.name, json::Value());
    } else if (!member.value.is_object()) {
      if (!nulls) out.Set(member.name, member.value);
    } else if (member.value.members().empty()) {
      if (!nulls) out.Set(member.name, member.value);
    } else {
      json::Value inner = Filtered(member.value, nulls);
      if (!inner.members().empty()) out.Set(member.name, std::move(inner));
    }
  }
  return out;
}

/// The members of both patches; where both have an object, merged.
void Join(json::Value& into, const json::Value& from) {
  for (const json::Member& member : from.members()) {
    json::Value* there = into.Find(member.name);
    if (there != nullptr && there->is_object() && member.value.is_object())
      Join(*there, member.value);
    else
      into.Set(member.name, member.value);
  }
}

}  // namespace

json::Value WithLastApplied(json::Value manifest) {
  json::Value& metadata = manifest.Member("metadata");
  json::Value* annotations = metadata.Find("annotations");
  if (annotations == nullptr || !annotations->is_object()) {
    metadata.Set("annotations", json::Value::MakeObject());
    annotations = metadata.Find("annotations");
  }
  annotations->Remove(kLastApplied);
  const std::string text = GoJson(manifest) + "\n";
  manifest.Member("metadata").Member("annotations").Set(kLastApplied, text);
  return manifest;
}

json::Value CreateMergePatch(const json::Value& from, const json::Value& to) {
  json::Value patch = json::Value::MakeObject();
  for (const json::Member& member : to.members()) {
    const json::Value* before = from.Find(member.name);
    if (before == nullptr || before->type() != member.value.type()) {
      patch.Set(member.name, member.value);
    } else if (member.value.is_object()) {
      json::Value inner = CreateMergePatch(*before, member.value);
      if (!inner.members().empty()) patch.Set(member.name, std::move(inner));
    } else if (!Same(*before, member.value)) {
      patch.Set(member.name, member.value);
    }
  }
  for (const json::Member& member : from.members()) {
    if (to.Find(member.name) == nullptr) patch.Set(member.name, json::Value());
  }
  return patch;
}

json::Value ThreeWayMergePatch(const json::Value& original, const json::Value& modified,
                               const json::Value& current) {
  json::Value patch = json::Value::MakeObject();
  if (original.is_object()) patch = Filtered(CreateMergePatch(original, modified), /*nulls=*/true);
  Join(patch, Filtered(CreateMergePatch(current, modified), /*nulls=*/false));
  return patch;
}

json::Value LastAppliedOf(const json::Value& current) {
  const std::string text = current.StringAt({"metadata", "annotations", kLastApplied});
  if (text.empty()) return json::Value();
  json::Limits limits;
  limits.max_bytes = size_t{1} << 20;
  auto parsed = json::Parse(text, limits);
  return parsed.ok() && parsed->is_object() ? std::move(parsed).value() : json::Value();
}

}  // namespace isla::cli
