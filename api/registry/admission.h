// The door: what a manifest must be to become, or change, an object; and what the server adds to it. Pure
// functions over JSON trees; the transactions are registry.cc's. Private to api/registry.
#pragma once

#include <string>

#include "api/base/clock.h"
#include "api/base/json.h"
#include "api/base/status.h"
#include "api/base/uuid.h"
#include "api/object/kind.h"
#include "api/registry/registry.h"

namespace isla::registry {

/// An object is at most this many bytes when it is stored.
inline constexpr size_t kMaxObjectBytes = size_t{256} << 10;

/// True for what may be part of a key: not empty, no '/', no control characters, at most 253 bytes.
bool IsKeyPart(const std::string& text);
/// The same, and not "_".
bool IsNamespace(const std::string& text);

/// The finalizer that objects of this kind get at creation; "" = none.
std::string FinalizerOf(const api::Kind& kind);

/// The object to store: schema checked, defaults added, validated, stamped (uid, generation 1,
/// creationTimestamp, createdBy, finalizer; a name if it has only generateName). INVALID_ARGUMENT otherwise,
/// with field errors where fields are at fault.
StatusOr<json::Value> PrepareCreate(const api::Kind& kind, const std::string& ns, json::Value manifest,
                                    const Caller& caller, WallTime now, Random& random);

struct UpdateInput {
  const json::Value& stored;  // as spec/ has it
  bool frozen = false;        // it has been scheduled
  bool patched = false;       // the manifest is the stored object with a merge patch: what is missing was removed
};

/// The object to store in place of `stored`; equal to it if nothing changes.
StatusOr<json::Value> PrepareUpdate(const api::Kind& kind, const std::string& ns, const std::string& name,
                                    json::Value manifest, const UpdateInput& input);

/// `stored` with the mark of deletion; equal to it if it has one and the grace period doesn't get shorter.
/// grace_period_seconds -1 = the object's own.
json::Value MarkDeleted(const api::Kind& kind, const json::Value& stored, WallTime now,
                        int64_t grace_period_seconds);

/// metadata.resourceVersion of a manifest or patch; "" if it has none.
std::string ResourceVersionOf(const json::Value& manifest);

/// Forgets the positions of a tree that was read from the store: they mean nothing to a user.
void ClearPositions(json::Value& value);

}  // namespace isla::registry
