// How objects are shown: as they are, or as rows of a Table (what `kubectl get` asks for). Chosen from the
// Accept header; encodes lists and events from the objects' shared bytes.
#pragma once

#include <optional>
#include <string>

#include "api/base/clock.h"
#include "api/object/kind.h"
#include "api/registry/registry.h"
#include "api/server/http.h"

namespace isla::server {

struct Representation {
  enum class Include { kNone, kMetadata, kObject };
  bool table = false;
  std::string table_version = "v1";  // of meta.k8s.io: "v1" or "v1beta1"
  Include include = Include::kMetadata;
};

/// INVALID_ARGUMENT for a bad includeObject; nothing if the client accepts nothing that is served (406).
StatusOr<std::optional<Representation>> Negotiate(const Request& request);

std::string EncodeObject(const Representation& how, const api::Kind& kind, const registry::Object& object,
                         WallTime now);
std::string EncodeList(const Representation& how, const api::Kind& kind, const registry::ObjectList& list,
                       WallTime now);
/// A line of a watch. A Table's columns are in the first event only.
std::string EncodeEvent(const Representation& how, const api::Kind& kind, const registry::ObjectEvent& event,
                        bool first, WallTime now);
std::string EncodeErrorEvent(const json::Value& status);

}  // namespace isla::server
