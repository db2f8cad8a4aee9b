#include <algorithm>

#include "api/base/json_internal.h"
#include "api/object/object.h"

namespace isla::api {
namespace {

/// Positions of a stored text would point a person at lines that they never wrote.
void ForgetPositions(json::Value& value) {
  value.set_position({});
  if (value.is_array()) {
    for (json::Value& item : value.items()) ForgetPositions(item);
  } else if (value.is_object()) {
    for (json::Member& member : value.members()) {
      member.position = {};
      ForgetPositions(member.value);
    }
  }
}

/// `target` becomes what the patch makes of it. Linear (times a logarithm) in the sizes of both.
void Merge(json::Value& target, const json::Value& patch) {
  if (!patch.is_object()) {
    target = patch;
    return;
  }
  if (!target.is_object()) target = json::Object();
  target.set_position(patch.position());
  json::Object& members = target.members();
  std::vector<bool> removed(members.size(), false);
  json::Object added;
  {
    const json::MemberIndex index(members);
    for (const json::Member& change : patch.members()) {
      const json::Member* found = index.Find(change.name);
      if (found == nullptr) {
        if (change.value.is_null()) continue;
        added.push_back({change.name, {}, change.position});
        Merge(added.back().value, change.value);
        continue;
      }
      const auto at = static_cast<size_t>(found - members.data());
      if (change.value.is_null()) {
        removed[at] = true;
      } else {
        Merge(members[at].value, change.value);
        members[at].position = change.position;
      }
    }
  }
  json::Object out;
  out.reserve(members.size() + added.size());
  for (size_t i = 0; i < members.size(); ++i) {
    if (!removed[i]) out.push_back(std::move(members[i]));
  }
  std::move(added.begin(), added.end(), std::back_inserter(out));
  members = std::move(out);
}

}  // namespace

json::Value MergePatch(const json::Value& target, const json::Value& patch) {
  json::Value out = target;
  ForgetPositions(out);
  Merge(out, patch);
  return out;
}

bool SpecDiffers(const json::Value& a, const json::Value& b) {
  static const json::Value kNone = json::Object();
  const json::Value* spec_a = a.Find("spec");
  const json::Value* spec_b = b.Find("spec");
  return !((spec_a == nullptr ? kNone : *spec_a) == (spec_b == nullptr ? kNone : *spec_b));
}

}  // namespace isla::api
