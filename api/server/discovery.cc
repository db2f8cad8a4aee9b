#include "api/server/discovery.h"

#include "api/base/json.h"
#include "api/object/kind.h"

namespace isla::server {

namespace {

using json::Value;

/// kubectl wants semver here, and complains of a minor version far from its own.
constexpr const char* kGitVersion = "v1.32.0-isla.1";

Value Strings(const std::vector<std::string>& texts) {
  Value array = Value::MakeArray();
  for (const std::string& text : texts) array.Append(text);
  return array;
}

Value Version() {
  return Value::MakeObject({{"major", "1"},
                            {"minor", "32"},
                            {"gitVersion", kGitVersion},
                            {"gitCommit", ""},
                            {"gitTreeState", ""},
                            {"buildDate", ""},
                            {"goVersion", ""},
                            {"compiler", "g++"},
                            {"platform", "linux/amd64"}});
}

Value Group() {
  const Value version = Value::MakeObject({{"groupVersion", api::kApiVersion}, {"version", api::kVersion}});
  return Value::MakeObject({{"kind", "APIGroup"},
                            {"apiVersion", "v1"},
                            {"name", api::kGroup},
                            {"versions", Value::MakeArray({version})},
                            {"preferredVersion", version}});
}

Value Groups() {
  Value group = Group();
  group.Remove("kind");
  group.Remove("apiVersion");
  return Value::MakeObject({{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", Value::MakeArray({group})}});
}

Value ResourceList(std::string_view group_version, Value resources) {
  return Value::MakeObject({{"kind", "APIResourceList"},
                            {"apiVersion", "v1"},
                            {"groupVersion", group_version},
                            {"resources", std::move(resources)}});
}

Value Resources() {
  Value resources = Value::MakeArray();
  for (const api::Kind& kind : api::AllKinds()) {
    Value resource = Value::MakeObject({{"name", kind.resource},
                                        {"singularName", kind.singular},
                                        {"namespaced", kind.namespaced},
                                        {"kind", kind.kind},
                                        {"verbs", Strings(kind.verbs)}});
    if (!kind.short_names.empty()) resource.Set("shortNames", Strings(kind.short_names));
    if (!kind.categories.empty()) resource.Set("categories", Strings(kind.categories));
    resources.Append(std::move(resource));
    const auto subresource = [&resources, &kind](const char* name) {
      resources.Append(Value::MakeObject({{"name", kind.resource + "/" + name},
                                          {"singularName", ""},
                                          {"namespaced", kind.namespaced},
                                          {"kind", kind.kind},
                                          {"verbs", Value::MakeArray({"get"})}}));
    };
    subresource("status");
    if (kind.kind == "Session") subresource("log");
  }
  return resources;
}

}  // namespace

std::optional<Response> Discovery(const std::vector<std::string>& path) {
  std::string joined;
  for (const std::string& part : path) joined += "/" + part;
  Value body;
  if (joined.empty()) {
    body = Value::MakeObject({{"paths", Value::MakeArray({"/api", "/api/v1", "/apis", "/apis/isla", "/apis/isla/v1",
                                                          "/healthz", "/livez", "/metrics", "/readyz", "/version"})}});
  } else if (joined == "/version") {
    body = Version();
  } else if (joined == "/api") {
    // Not "v1": its list is empty, and `kubectl api-resources` calls an empty list an error.
    body = Value::MakeObject({{"kind", "APIVersions"}, {"versions", Value::MakeArray()}});
  } else if (joined == "/api/v1") {
    body = ResourceList("v1", Value::MakeArray());
  } else if (joined == "/apis") {
    body = Groups();
  } else if (joined == "/apis/isla") {
    body = Group();
  } else if (joined == "/apis/isla/v1") {
    body = ResourceList(api::kApiVersion, Resources());
  } else {
    return std::nullopt;
  }
  Response response;
  response.body = json::Serialize(body);
  return response;
}

}  // namespace isla::server
