#include "api/server/api_handler.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "api/base/log.h"
#include "api/server/config_handler.h"
#include "api/server/discovery.h"
#include "api/server/openapi_v2.h"
#include "api/server/representation.h"
#include "api/server/request_options.h"
#include "api/server/status_json.h"
#include "api/server/streams.h"

namespace isla::server {

namespace {

const Logger& ServerLog() {
  static const Logger log("server");
  return log;
}

Response NoSuchPath() { return StatusResponse(404, "the server could not find the requested resource"); }

Response MethodNotAllowed(const std::string& allow) {
  Response response = StatusResponse(405, "the server does not allow this method on the requested resource");
  response.headers.emplace_back("Allow", allow);
  return response;
}

bool HasVerb(const api::Kind& kind, std::string_view verb) {
  return std::find(kind.verbs.begin(), kind.verbs.end(), verb) != kind.verbs.end();
}

/// The methods of a route, as Allow has them.
std::string Allowed(const Route& route) {
  std::string allow = "GET";
  if (!route.subresource.empty()) return allow;
  const auto add = [&allow, &route](const char* verb, const char* method) {
    if (HasVerb(*route.kind, verb)) allow += std::string(", ") + method;
  };
  if (route.name.empty()) {
    if (route.kind->namespaced && route.ns.empty()) return allow;
    add("create", "POST");
    return allow;
  }
  add("update", "PUT");
  add("patch", "PATCH");
  add("delete", "DELETE");
  return allow;
}

/// Of /apis/isla/v1/...; nothing if it names nothing that is served.
std::optional<Route> ParseRoute(const std::vector<std::string>& path) {
  if (path.size() < 4 || path[0] != "apis" || path[1] != api::kGroup || path[2] != api::kVersion) return std::nullopt;
  Route route;
  size_t at = 3;
  bool in_namespace = false;
  if (path[at] == "namespaces" && path.size() >= 6) {
    in_namespace = true;
    route.ns = path[4];
    at = 5;
  }
  for (const api::Kind& kind : api::AllKinds()) {
    if (kind.resource == path[at]) route.kind = &kind;
  }
  if (route.kind == nullptr || path.size() > at + 3) return std::nullopt;
  if (path.size() > at + 1) route.name = path[at + 1];
  if (path.size() > at + 2) route.subresource = path[at + 2];
  // An object of a namespaced kind has a namespace; those of a cluster-wide kind have none.
  if (route.kind->namespaced ? !in_namespace && !route.name.empty() : in_namespace) return std::nullopt;
  const bool log = route.subresource == "log" && route.kind->kind == api::SessionKind().kind;
  if (!route.subresource.empty() && route.subresource != "status" && !log) return std::nullopt;
  return route;
}

/// The verb of a method on a route; "" if there is none.
std::string VerbOf(const std::string& method, const Route& route) {
  if (method == "GET") return route.name.empty() ? "list" : "get";
  if (!route.subresource.empty()) return {};
  if (method == "POST") return route.name.empty() && (!route.kind->namespaced || !route.ns.empty()) ? "create" : "";
  if (route.name.empty()) return {};
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return "delete";
  return {};
}

Response BadBody(const Status& status) {
  return StatusResponse(400, "the body is not valid JSON: " + Message(status));
}

}  // namespace

bool ApiHandler::IsQuick(const Request& request) const {
  return !ParseRoute(request.path).has_value() && !ParseConfigRoute(request.path).has_value() && !ParseStoreRoute(request.path).has_value();
}

/// The body of an import is larger than memory. Who may not import doesn't get to fill the disk either, and
/// what is asked wrongly is told before the upload.
HttpHandler::Upload ApiHandler::BeginUpload(const Request& request) {
  Upload upload;
  const auto route = ParseStoreRoute(request.path);
  if (!route || route->part != "import" || context_.store == nullptr || StoreVerb(request, *route).empty()) return upload;
  const std::optional<registry::Caller> caller = CallerOf(request);
  Status status = caller ? Authorize(*caller, {"create", "store/import", "", ""}) : isla::Error(Code::kUnauthenticated, "Unauthorized");
  if (status.ok()) status = CheckImport(request);
  if (status.ok()) {
    StatusOr<std::shared_ptr<BodySink>> sink = context_.store->BeginUpload(*caller);
    status = sink.status();
    if (sink.ok()) upload.sink = *std::move(sink);
  }
  if (!status.ok()) upload.refusal = ErrorResponse(status, {});
  return upload;
}

Response ApiHandler::UploadError(const Status& status) const {
  // A disk that is full is neither the client's fault nor ours.
  if (status.code() == Code::kResourceExhausted) return StatusResponse(507, Message(status));
  return ErrorResponse(status, {});
}

Response ApiHandler::Error(int status, const std::string& message) const { return StatusResponse(status, message); }

Response ApiHandler::Handle(const Request& request) {
  const MonotonicTime begin = context_.clock.Monotonic();
  std::string verb = "get";
  std::string resource;
  Response response = Dispatch(request, verb, resource);
  const double seconds = std::chrono::duration<double>(context_.clock.Monotonic() - begin).count();
  context_.metrics.AddCounter("isla_http_requests_total", "Requests by verb, resource and code.",
                              {{"verb", verb}, {"resource", resource}, {"code", std::to_string(response.status)}})
      .Increment();
  context_.metrics.AddHistogram("isla_http_request_duration_seconds",
                                "From the whole request to its answer; of watches and logs to their first byte.",
                                {{"verb", verb}, {"resource", resource}})
      .Observe(seconds);
  if (response.status == 500) {
    ServerLog().Error("a request failed by a fault of this program", "method={} target='{}' answer='{}'",
                      request.method, request.target, response.body);
  }
  ServerLog().Debug("request", "method={} target='{}' code={} seconds={:.6f}", request.method, request.target,
              response.status, seconds);
  return response;
}

std::optional<registry::Caller> ApiHandler::CallerOf(const Request& request) const {
  if (request.peer) return request.peer;
  if (TokenMatches(request.Header("authorization"), context_.token)) return CallerOfToken();
  return std::nullopt;
}

Response ApiHandler::Store(const Request& request, const StoreRoute& route, const registry::Caller& caller,
                           std::string& verb, std::string& resource) {
  resource = "store/" + route.part;
  verb = StoreVerb(request, route);
  if (verb.empty()) {
    verb = "other";
    return MethodNotAllowed(StoreMethods(route));
  }
  if (const Status ok = Authorize(caller, {verb, resource, "", route.key}); !ok.ok()) return ErrorResponse(ok, {});
  return HandleStore(request, route, caller, *context_.store);
}

Response ApiHandler::Dispatch(const Request& request, std::string& verb, std::string& resource) {
  const std::optional<registry::Caller> who = CallerOf(request);
  if (!who) return StatusResponse(401, "Unauthorized");
  const registry::Caller& caller = *who;
  if (const auto store = ParseStoreRoute(request.path); store && context_.store != nullptr) {
    return Store(request, *store, caller, verb, resource);
  }
  if (const auto config = ParseConfigRoute(request.path)) {
    resource = config->part.empty() ? "config" : "config/" + config->part;
    verb = ConfigVerb(request, *config);
    if (verb.empty()) {
      verb = "other";
      return MethodNotAllowed(config->part.empty() ? "GET, PATCH" : "GET");
    }
    const Access access{verb, resource, "", ConfigAccessName(request)};
    if (const Status ok = Authorize(caller, access); !ok.ok()) return ErrorResponse(ok, {});
    return HandleConfig(request, *config, verb, caller, context_.registry.config(), context_.clock);
  }
  const std::optional<Route> route = ParseRoute(request.path);
  if (!route) {
    if (const Status ok = Authorize(caller, {"get", "", "", request.target}); !ok.ok()) return ErrorResponse(ok, {});
    std::optional<Response> found = Discovery(request.path);
    if (!found && request.path == std::vector<std::string>{"openapi", "v2"}) {
      found.emplace();
      found->content_type = kOpenApiV2Type;
      found->body = OpenApiV2();
    }
    if (!found && request.path.size() == 1) {
      Response text = Text(request.path[0]);
      if (text.status != 404) found = std::move(text);
    }
    if (!found) return NoSuchPath();
    if (request.method != "GET" && request.method != "HEAD") return MethodNotAllowed("GET");
    return std::move(*found);
  }
  resource = route->kind->resource;
  if (!route->subresource.empty()) resource += "/" + route->subresource;
  Call call{request, *route, caller, VerbOf(request.method, *route)};
  if (call.verb.empty()) {
    verb = "other";
    return MethodNotAllowed(Allowed(*route));
  }
  if (call.verb == "list" && WantsWatch(request)) call.verb = "watch";
  verb = call.verb;
  if (!HasVerb(*route->kind, verb)) return MethodNotAllowed(Allowed(*route));
  const Access access{verb, resource, route->ns, route->name};
  if (const Status ok = Authorize(call.caller, access); !ok.ok()) return ErrorResponse(ok, {route->kind, route->name});
  return Resource(call);
}

Response ApiHandler::Text(const std::string& path) {
  Response response;
  response.content_type = "text/plain; charset=utf-8";
  response.body = "ok";
  if (path == "healthz" || path == "livez") return response;
  if (path == "metrics") {
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = context_.metrics.Serialize();
    return response;
  }
  if (path == "readyz") {
    const Status ready = context_.ready ? context_.ready() : OkStatus();
    if (ready.ok()) return response;
    response.status = 503;
    response.headers.emplace_back("Retry-After", "1");
    response.body = "not ready: " + Message(ready) + "\n";
    return response;
  }
  return NoSuchPath();
}

Response ApiHandler::Resource(Call& call) {
  if (call.verb == "create") return Create(call);
  if (call.verb == "update") return Update(call);
  if (call.verb == "patch") return Patch(call);
  if (call.verb == "delete") return Delete(call);
  if (call.verb == "get") return call.route.subresource == "log" ? Log(call) : Get(call);
  return List(call);
}

Response ApiHandler::Shown(const Call& call, int status, const registry::ObjectPtr& object) {
  const auto how = Negotiate(call.request);
  if (!how.ok()) return ErrorResponse(how.status(), {call.route.kind, call.route.name});
  if (!how->has_value()) return StatusResponse(406, "only application/json is served");
  Response response;
  response.status = status;
  response.body = EncodeObject(**how, *call.route.kind, *object, context_.clock.Wall());
  return response;
}

Response ApiHandler::Get(const Call& call) {
  const auto object = context_.registry.Get(*call.route.kind, call.route.ns, call.route.name);
  if (!object.ok()) return ErrorResponse(object.status(), {call.route.kind, call.route.name});
  return Shown(call, 200, *object);
}

Response ApiHandler::List(const Call& call) {
  const api::Kind& kind = *call.route.kind;
  const auto query = ParseListQuery(call.request, kind);
  if (!query.ok()) return ErrorResponse(query.status(), {});
  if (query->watch) {
    const auto how = Negotiate(call.request);
    if (!how.ok()) return ErrorResponse(how.status(), {});
    if (!how->has_value()) return StatusResponse(406, "only application/json is served");
    WatchStreamOptions options;
    options.how = **how;
    options.revision = query->revision;
    options.timeout = query->timeout;
    if (query->bookmarks) options.bookmark_interval = context_.bookmark_interval;
    auto watch = context_.registry.Watch(kind, call.route.ns, query->options, query->revision);
    Response response;
    if (watch.ok()) {
      response.stream = MakeWatchStream(std::move(*watch), kind, options, context_.clock);
    } else if (watch.status().code() == Code::kOutOfRange) {
      response.stream = MakeErrorStream(watch.status(), kind);  // as Kubernetes: 200, then an ERROR of 410
    } else {
      return ErrorResponse(watch.status(), {});
    }
    return response;
  }
  const auto how = Negotiate(call.request);
  if (!how.ok()) return ErrorResponse(how.status(), {});
  if (!how->has_value()) return StatusResponse(406, "only application/json is served");
  const auto list = context_.registry.List(kind, call.route.ns, query->options);
  if (!list.ok()) return ErrorResponse(list.status(), {});
  Response response;
  response.body = EncodeList(**how, kind, *list, context_.clock.Wall());
  return response;
}

Response ApiHandler::Log(const Call& call) {
  const Subject subject{call.route.kind, call.route.name};
  LogRequest log;
  log.ns = call.route.ns;
  log.session = call.route.name;
  if (const Status ok = ParseLogQuery(call.request, log); !ok.ok()) return ErrorResponse(ok, subject);
  const auto object = context_.registry.Get(*call.route.kind, log.ns, log.session);
  if (!object.ok()) return ErrorResponse(object.status(), subject);
  log.object = *object;
  auto stream = context_.logs.Open(log);
  if (!stream.ok()) {
    if (stream.status().code() == Code::kFailedPrecondition) return StatusResponse(400, Message(stream.status()));
    if (stream.status().code() == Code::kNotFound) return StatusResponse(404, Message(stream.status()));
    return ErrorResponse(stream.status(), subject);
  }
  Response response;
  response.content_type = "text/plain; charset=utf-8";
  response.stream = MakeLogStream(std::move(*stream));
  return response;
}

Response ApiHandler::Create(const Call& call) {
  const auto options = ParseWriteOptions(call.request, call.caller);
  if (!options.ok()) return ErrorResponse(options.status(), {});
  const std::string type = MediaType(call.request);
  if (!type.empty() && type != "application/json") {
    return StatusResponse(415, "the body must be application/json, not '" + type + "'");
  }
  auto body = json::Parse(call.request.body);
  if (!body.ok()) return BadBody(body.status());
  std::string name = body->StringAt({"metadata", "name"});
  if (name.empty()) name = body->StringAt({"metadata", "generateName"});
  const auto object = context_.registry.Create(*call.route.kind, call.route.ns, std::move(*body), *options);
  if (!object.ok()) return ErrorResponse(object.status(), {call.route.kind, name});
  return Shown(call, 201, *object);
}

Response ApiHandler::Update(const Call& call) {
  const Subject subject{call.route.kind, call.route.name};
  const auto options = ParseWriteOptions(call.request, call.caller);
  if (!options.ok()) return ErrorResponse(options.status(), {});
  const std::string type = MediaType(call.request);
  if (!type.empty() && type != "application/json") {
    return StatusResponse(415, "the body must be application/json, not '" + type + "'");
  }
  auto body = json::Parse(call.request.body);
  if (!body.ok()) return BadBody(body.status());
  const auto object =
      context_.registry.Update(*call.route.kind, call.route.ns, call.route.name, std::move(*body), *options);
  return object.ok() ? Shown(call, 200, *object) : ErrorResponse(object.status(), subject);
}

Response ApiHandler::Patch(const Call& call) {
  const Subject subject{call.route.kind, call.route.name};
  const auto options = ParseWriteOptions(call.request, call.caller);
  if (!options.ok()) return ErrorResponse(options.status(), {});
  const std::string type = MediaType(call.request);
  if (type != "application/merge-patch+json") {
    return StatusResponse(415, "the body of the request was in an unknown format - accepted media types include: "
                               "application/merge-patch+json");
  }
  const auto patch = json::Parse(call.request.body);
  if (!patch.ok()) return BadBody(patch.status());
  const auto object =
      context_.registry.MergePatch(*call.route.kind, call.route.ns, call.route.name, *patch, *options);
  return object.ok() ? Shown(call, 200, *object) : ErrorResponse(object.status(), subject);
}

Response ApiHandler::Delete(const Call& call) {
  const Subject subject{call.route.kind, call.route.name};
  const auto options = ParseDeleteOptions(call.request, call.caller);
  if (!options.ok()) return ErrorResponse(options.status(), {});
  const auto result = context_.registry.Delete(*call.route.kind, call.route.ns, call.route.name, *options);
  if (!result.ok()) return ErrorResponse(result.status(), subject);
  if (!result->gone) return Shown(call, 200, result->object);
  Response response;
  response.body = json::Serialize(json::Value::MakeObject(
      {{"kind", "Status"},
       {"apiVersion", "v1"},
       {"metadata", json::Value::MakeObject()},
       {"status", "Success"},
       {"details", json::Value::MakeObject({{"name", call.route.name},
                                            {"group", api::kGroup},
                                            {"kind", call.route.kind->resource},
                                            {"uid", result->object->StringAt({"metadata", "uid"})}})}}));
  return response;
}

}  // namespace isla::server
