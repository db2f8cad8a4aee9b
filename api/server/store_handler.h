// The store's own endpoints, for administrators (kMastersGroup):
//
//   GET  /apis/isla/v1/store/export                                      api/archive/README.md, a line a key; streamed
//   POST /apis/isla/v1/store/import?dryRun=All&replace=B&keepInvalid=B   such a file; lines of progress, then the result
//   POST /apis/isla/v1/store/seal, .../unseal
//   GET  /apis/isla/v1/store/keys?prefix=S&after=S&limit=N               keys and revisions, without values
//   GET  /apis/isla/v1/store/keys/KEY                                    one key with its value
//   PUT  /apis/isla/v1/store/keys/KEY?revision=N&force=B&dryRun=All      the body is the value
// An option that isn't known is refused: one that is silently not done could cost a store.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/registry/registry.h"
#include "api/server/http.h"
#include "api/server/store_admin.h"

namespace isla::server {

struct StoreRoute {
  std::string part;  // "export", "import", "seal", "unseal", "keys"
  std::string key;   // of keys/KEY
};

/// Nothing for any other path.
std::optional<StoreRoute> ParseStoreRoute(const std::vector<std::string>& path);
/// "get", "list", "create", "update"; "" if the route doesn't have the method.
std::string StoreVerb(const Request& request, const StoreRoute& route);
/// Are an import's parameters right? For before its body is read.
Status CheckImport(const Request& request);
std::string StoreMethods(const StoreRoute& route);

Response HandleStore(const Request& request, const StoreRoute& route, const registry::Caller& caller, StoreAdmin& admin);

}  // namespace isla::server
