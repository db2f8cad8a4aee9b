// The options of requests, from the query and from bodies: read strictly, so that nothing that a client asked
// for is silently not done (an ignored dryRun deletes for real).
#pragma once

#include <optional>
#include <set>
#include <string>

#include "api/registry/registry.h"
#include "api/server/http.h"
#include "api/server/log_source.h"

namespace isla::server {

/// INVALID_ARGUMENT for a parameter that isn't one of `known`, or is given twice: what is misspelt, or contradicts itself, would
/// mean something else.
Status CheckParams(const Request& request, const std::set<std::string>& known);
/// dryRun, given any number of times: one is enough, since one that is overlooked would write.
StatusOr<bool> QueryDryRun(const Request& request);

struct ListQuery {
  bool watch = false;
  registry::ListOptions options;
  store::Revision revision = 0;  // of a watch
  bool bookmarks = false;
  std::optional<Duration> timeout;
};

/// Whether it is a watch; what ParseListQuery refuses is none.
bool WantsWatch(const Request& request);
StatusOr<ListQuery> ParseListQuery(const Request& request, const api::Kind& kind);

/// dryRun and fieldValidation.
StatusOr<registry::WriteOptions> ParseWriteOptions(const Request& request, const registry::Caller& caller);

/// From the body (DeleteOptions) and the query; both may say dryRun.
StatusOr<registry::DeleteOptions> ParseDeleteOptions(const Request& request, const registry::Caller& caller);

Status ParseLogQuery(const Request& request, LogRequest& log);

/// "application/json" of "application/json; charset=utf-8".
std::string MediaType(const Request& request);

}  // namespace isla::server
