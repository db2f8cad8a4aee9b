// Which objects a command line means: "sessions", "session x y", "session/x node/y",
// "sessions,nodes", "all".
#pragma once

#include <string>
#include <vector>

#include "api/base/status.h"
#include "api/client/api_client.h"
#include "cli/context.h"

namespace isla::cli {

/// One type with names, or with none: all its objects.
struct Target {
  client::Resource resource;
  std::vector<std::string> names;
  bool named_by_path = false;  // written as type/name
};

/// In the order written; a type repeated as type/name joins the one before it. `usage` is the
/// command, for the error's text. `default_type`: what a single bare word names ("" = none): `logs
/// x` is `logs session/x`.
StatusOr<std::vector<Target>> ParseTargets(Context& context, const std::vector<std::string>& args,
                                           std::string_view default_type = {});

/// The resource of a manifest's kind. Those of isla/v1 are known here, so that no round trip is needed to apply one;
/// others are looked for among what the server has. NOT_FOUND: it doesn't have it.
StatusOr<client::Resource> ResourceOfKind(client::ApiClient& api, const std::string& api_version,
                                          const std::string& kind);

/// The namespace for an object of the target: "" for what has none.
std::string NsFor(const Target& target, const Context& context);

/// The names of a target: those given, or all that the server lists under the selectors of the
/// options.
StatusOr<json::Value> ListTarget(Context& context, const Target& target, std::string_view accept);

/// "session.isla/x".
std::string PathName(const client::Resource& resource, std::string_view name);

}  // namespace isla::cli
