// What can be done with an object that is a JSON tree: check it strictly at the door, add defaults, validate,
// compare with what it was, patch, and view it as a typed message. Pure functions, no I/O, any thread.
//
// Order at the door (create): CheckSchema -> ApplyDefaults -> Validate. On update also ValidateUpdate. Every
// function collects all errors. Objects read back from the store are not checked strictly (fields of a newer
// islad are kept and ignored): ToSession and the like are for those.
#pragma once

#include <string>
#include <string_view>

#include "api/base/json.h"
#include "api/base/status.h"
#include "api/object/field_error.h"
#include "api/object/kind.h"
#include "isla/v1/objects.pb.h"

namespace isla::api {

/// Unknown and misspelt fields, wrong types, wrong apiVersion or kind. Knows the fields of Kubernetes'
/// metadata that tools send and we don't use (managedFields, selfLink, ownerReferences): accepted.
FieldErrors CheckSchema(const Kind& kind, const json::Value& object);

/// Adds the fields that are missing (or null) and have a default; changes nothing that is there, and adds
/// nothing inside arrays (see defaults.cc).
void ApplyDefaults(const Kind& kind, json::Value& object);

/// Names, labels, quantities, durations, paths, limits; the object has passed CheckSchema.
FieldErrors Validate(const Kind& kind, const json::Value& object);

/// The mutability table: what may change from `before` to `after` (spec and metadata; status isn't looked at).
/// `frozen`: the session is scheduled already.
FieldErrors ValidateUpdate(const Kind& kind, const json::Value& before, const json::Value& after, bool frozen);

/// RFC 7396. What came from `target` has no position in the result: only the patch is a text of the user's.
json::Value MergePatch(const json::Value& target, const json::Value& patch);

/// Typed views. Unknown fields are ignored; INVALID_ARGUMENT if a known one has the wrong type. ToSession
/// fills in every default that the JSON lacks, so that "" never means "host" and a mount is read-only unless
/// it says otherwise.
StatusOr<isla::v1::Session> ToSession(const json::Value& object);
StatusOr<isla::v1::Project> ToProject(const json::Value& object);
StatusOr<isla::v1::Node> ToNode(const json::Value& object);
StatusOr<isla::v1::SessionStatus> ToSessionStatus(const json::Value& status);
/// Any message as JSON: lowerCamelCase, fields at their proto3 default are left out.
json::Value FromMessage(const google::protobuf::Message& message);
/// The reverse: unknown fields are ignored, INVALID_ARGUMENT for a wrong type.
Status ToMessage(const json::Value& value, google::protobuf::Message& message);

/// True if spec (and so generation) differs.
bool SpecDiffers(const json::Value& a, const json::Value& b);

}  // namespace isla::api
