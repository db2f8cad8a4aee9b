// The settings over HTTP (api/config says what they are):
//
//   GET   /apis/isla/v1/config             what a scope has itself; ?watch=true: its changes
//   PATCH /apis/isla/v1/config             sets and unsets many settings of a scope at once
//   GET   /apis/isla/v1/config/effective   what holds there, and which scope it comes from
//   GET   /apis/isla/v1/config/schema      the settings that exist
//
// ?group=G or ?node=N names the scope, none the global one; ?prefix=agent/log what lies below. `config` isn't a
// kind: it has no objects with a life of their own, so discovery doesn't list it. Requests come here from
// api_handler.h, authenticated and authorised.
// Threads: any, several requests at once.
#pragma once

#include <optional>
#include <string>

#include "api/base/clock.h"
#include "api/registry/config.h"
#include "api/server/http.h"

namespace isla::server {

/// What a path of the settings names: "" the scope itself, "effective", "schema".
struct ConfigRoute {
  std::string part;
};

/// Nothing if the path isn't one of the settings'.
std::optional<ConfigRoute> ParseConfigRoute(const std::vector<std::string>& path);
/// "get", "watch", "patch"; "" = the method isn't served there.
std::string ConfigVerb(const Request& request, const ConfigRoute& route);
/// The scope as Access.name: "global", "group/gpu", "node/n1".
std::string ConfigAccessName(const Request& request);

Response HandleConfig(const Request& request, const ConfigRoute& route, const std::string& verb,
                      const registry::Caller& caller, registry::ConfigRegistry& config, const Clock& clock);

}  // namespace isla::server
