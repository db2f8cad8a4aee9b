// The API over HTTP: authenticates, authorises, routes, and turns requests into calls of the registry.
//
//   /version /api /apis ...                                          discovery
//   /openapi/v2                                                      what makes kubectl trust dry runs
//   /healthz /livez /readyz /metrics                                 text
//   /apis/isla/v1/[namespaces/NS/]RESOURCE                           list, watch, create
//   /apis/isla/v1/[namespaces/NS/]RESOURCE/NAME                      get, update, patch, delete
//   /apis/isla/v1/[namespaces/NS/]RESOURCE/NAME/status               get
//   /apis/isla/v1/namespaces/NS/sessions/NAME/log                    text
//   /apis/isla/v1/config[/effective|/schema]                         settings: config_handler.h
//   /apis/isla/v1/store/...                                          the store itself: store_handler.h
// Threads: any, several requests at once.
#pragma once

#include <optional>
#include <string>

#include "api/base/clock.h"
#include "api/base/metrics.h"
#include "api/registry/registry.h"
#include "api/server/auth.h"
#include "api/server/http.h"
#include "api/server/log_source.h"
#include "api/server/server.h"
#include "api/server/store_admin.h"
#include "api/server/store_handler.h"

namespace isla::server {

/// What a path under /apis/isla/v1 names.
struct Route {
  const api::Kind* kind = nullptr;
  std::string ns;           // "" = all namespaces, or a cluster-wide kind
  std::string name;         // "" = the collection
  std::string subresource;  // "" = none
};

struct ApiContext {
  registry::Registry& registry;
  LogSource& logs;
  Metrics& metrics;
  const Clock& clock;
  ReadyCheck ready;
  std::string token;  // of the bearer; "" = none is accepted
  Duration bookmark_interval;
  StoreAdmin* store = nullptr;  // null: its endpoints aren't there
};

class ApiHandler final : public HttpHandler {
 public:
  explicit ApiHandler(ApiContext context) : context_(std::move(context)) {}

  bool IsQuick(const Request& request) const override;
  Response Handle(const Request& request) override;
  Upload BeginUpload(const Request& request) override;
  Response UploadError(const Status& status) const override;
  Response Error(int status, const std::string& message) const override;

 private:
  struct Call {  // a request on a resource, with who makes it
    const Request& request;
    Route route;
    registry::Caller caller;
    std::string verb;
  };

  /// Who asks; nothing: he didn't say so that he is believed.
  std::optional<registry::Caller> CallerOf(const Request& request) const;
  Response Dispatch(const Request& request, std::string& verb, std::string& resource);
  Response Store(const Request& request, const StoreRoute& route, const registry::Caller& caller, std::string& verb,
                 std::string& resource);
  Response Text(const std::string& path);
  Response Resource(Call& call);
  Response Get(const Call& call);
  Response List(const Call& call);
  Response Log(const Call& call);
  Response Create(const Call& call);
  Response Update(const Call& call);
  Response Patch(const Call& call);
  Response Delete(const Call& call);
  Response Shown(const Call& call, int status, const registry::ObjectPtr& object);

  const ApiContext context_;
};

}  // namespace isla::server
