#include "api/server/store_handler.h"

#include <charconv>

#include "api/base/base64.h"
#include "api/base/utf8.h"
#include "api/server/request_options.h"
#include "api/server/status_json.h"

namespace isla::server {
namespace {

constexpr size_t kDefaultLimit = 500;
constexpr size_t kMostKeys = 5000;

StatusOr<bool> BoolParam(const Request& request, const std::string& name) {
  const std::string value = request.Param(name).value_or("false");
  if (value != "true" && value != "false") return Errorf(Code::kInvalidArgument, "{}: '{}' is neither true nor false", name, value);
  return value == "true";
}

StatusOr<int64_t> NumberParam(const Request& request, const std::string& name, int64_t fallback, int64_t least, int64_t most) {
  const auto text = request.Param(name);
  if (!text) return fallback;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size() || number < least || number > most) {
    return Errorf(Code::kInvalidArgument, "{}: '{}' is no number from {} to {}", name, *text, least, most);
  }
  return number;
}

/// {"name": text}, or {"nameBase64": ...} for what isn't UTF-8.
void SetBytes(json::Value& object, const std::string& name, const std::string& bytes) {
  if (FindBadUtf8(bytes) == std::string::npos) {
    object.Set(name, bytes);
  } else {
    object.Set(name + "Base64", EncodeBase64(bytes));
  }
}

json::Value KeyObject(const StoreKey& key) {
  json::Value object = json::Value::MakeObject();
  SetBytes(object, "key", key.key);
  object.Set("class", key.key_class);
  object.Set("createRevision", key.kv.create_revision);
  object.Set("modRevision", key.kv.mod_revision);
  if (key.kv.lease != 0) object.Set("lease", key.kv.lease);
  return object;
}

Response Answer(const json::Value& value) {
  Response response;
  response.body = json::Serialize(value);
  return response;
}

Response Failed(const Status& status) { return ErrorResponse(status, {}); }

Response Stream(StatusOr<std::unique_ptr<BodyStream>> stream) {
  if (!stream.ok()) return Failed(stream.status());
  Response response;
  response.content_type = "application/x-ndjson";
  response.stream = *std::move(stream);
  return response;
}

StatusOr<StoreImport> ParseImport(const Request& request) {
  RETURN_IF_ERROR(CheckParams(request, {"dryRun", "replace", "keepInvalid"}));
  StoreImport options;
  ASSIGN_OR_RETURN(options.dry_run, QueryDryRun(request));
  ASSIGN_OR_RETURN(options.replace, BoolParam(request, "replace"));
  ASSIGN_OR_RETURN(options.keep_invalid, BoolParam(request, "keepInvalid"));
  return options;
}

Response Import(const Request& request, const registry::Caller& caller, StoreAdmin& admin) {
  const auto options = ParseImport(request);
  if (!options.ok()) return Failed(options.status());
  if (request.upload == nullptr) return StatusResponse(400, "the body must be an export of a store, and there is none");
  return Stream(admin.Import(caller, request.upload, *options));
}

StatusOr<json::Value> ListKeys(const Request& request, StoreAdmin& admin) {
  RETURN_IF_ERROR(CheckParams(request, {"prefix", "after", "limit"}));
  ASSIGN_OR_RETURN(const int64_t limit, NumberParam(request, "limit", kDefaultLimit, 1, kMostKeys));
  ASSIGN_OR_RETURN(const StoreKeys keys, admin.ListKeys(request.Param("prefix").value_or(""), request.Param("after").value_or(""),
                                                        static_cast<size_t>(limit)));
  json::Value items = json::Value::MakeArray();
  for (const StoreKey& key : keys.keys) {
    json::Value item = KeyObject(key);
    item.Set("bytes", static_cast<uint64_t>(key.kv.value.size()));
    items.Append(std::move(item));
  }
  return json::Value::MakeObject({{"revision", keys.revision}, {"more", keys.more}, {"items", std::move(items)}});
}

StatusOr<json::Value> GetKey(const Request& request, const std::string& key, StoreAdmin& admin) {
  RETURN_IF_ERROR(CheckParams(request, {}));
  ASSIGN_OR_RETURN(const StoreKey found, admin.GetKey(key));
  json::Value object = KeyObject(found);
  SetBytes(object, "value", found.kv.value);
  return object;
}

StatusOr<json::Value> PutKey(const Request& request, const std::string& key, const registry::Caller& caller,
                             StoreAdmin& admin) {
  RETURN_IF_ERROR(CheckParams(request, {"revision", "force", "dryRun"}));
  StorePut options;
  ASSIGN_OR_RETURN(options.revision, NumberParam(request, "revision", 0, 0, INT64_MAX));
  ASSIGN_OR_RETURN(options.force, BoolParam(request, "force"));
  ASSIGN_OR_RETURN(options.dry_run, QueryDryRun(request));
  ASSIGN_OR_RETURN(const StoreKey put, admin.PutKey(caller, key, request.body, options));
  return KeyObject(put);
}

}  // namespace

std::optional<StoreRoute> ParseStoreRoute(const std::vector<std::string>& path) {
  if (path.size() < 5 || path[0] != "apis" || path[1] != "isla" || path[2] != "v1" || path[3] != "store") return std::nullopt;
  StoreRoute route{path[4], {}};
  const bool known = route.part == "export" || route.part == "import" || route.part == "seal" || route.part == "unseal" ||
                     route.part == "keys";
  if (!known || (path.size() > 5 && route.part != "keys")) return std::nullopt;
  for (size_t i = 5; i < path.size(); ++i) route.key += (i == 5 ? "" : "/") + path[i];
  return route;
}

Status CheckImport(const Request& request) { return ParseImport(request).status(); }

std::string StoreVerb(const Request& request, const StoreRoute& route) {
  if (route.part == "export") return request.method == "GET" ? "get" : "";
  if (route.part != "keys") return request.method == "POST" ? "create" : "";
  if (route.key.empty()) return request.method == "GET" ? "list" : "";
  if (request.method == "PUT") return "update";
  return request.method == "GET" ? "get" : "";
}

std::string StoreMethods(const StoreRoute& route) {
  if (route.part == "export") return "GET";
  if (route.part != "keys") return "POST";
  return route.key.empty() ? "GET" : "GET, PUT";
}

Response HandleStore(const Request& request, const StoreRoute& route, const registry::Caller& caller, StoreAdmin& admin) {
  if (route.part == "export") {
    if (const Status ok = CheckParams(request, {}); !ok.ok()) return Failed(ok);
    return Stream(admin.Export(caller));
  }
  if (route.part == "import") return Import(request, caller, admin);
  StatusOr<json::Value> answer = json::Value();
  if (route.part == "seal" || route.part == "unseal") {
    if (const Status ok = CheckParams(request, {}); !ok.ok()) return Failed(ok);
    answer = route.part == "seal" ? admin.Seal(caller) : admin.Unseal(caller);
  } else if (route.key.empty()) {
    answer = ListKeys(request, admin);
  } else {
    answer = request.method == "PUT" ? PutKey(request, route.key, caller, admin) : GetKey(request, route.key, admin);
  }
  return answer.ok() ? Answer(*answer) : Failed(answer.status());
}

}  // namespace isla::server
