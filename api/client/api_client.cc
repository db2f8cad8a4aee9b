#include "api/client/api_client.h"

#include <algorithm>
#include <cctype>

#include "api/client/api_error.h"
#include "api/client/url.h"

namespace isla::client {
namespace {

constexpr int kMaxTries = 10;
constexpr auto kMaxRetrying = std::chrono::seconds(10);

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::vector<std::string> Strings(const json::Value* list) {
  std::vector<std::string> out;
  if (list == nullptr || !list->is_array()) return out;
  for (const json::Value& item : list->items()) {
    if (item.is_string()) out.push_back(item.as_string());
  }
  return out;
}

std::vector<Resource> ResourcesOf(const json::Value& list, const std::string& group_version) {
  std::vector<Resource> out;
  const json::Value* entries = list.Find("resources");
  if (entries == nullptr || !entries->is_array()) return out;
  for (const json::Value& entry : entries->items()) {
    Resource resource;
    resource.name = entry.StringAt({"name"});
    if (resource.name.empty() || resource.name.find('/') != std::string::npos) continue;
    resource.group_version = group_version;
    const size_t slash = group_version.find('/');
    if (slash != std::string::npos) resource.group = group_version.substr(0, slash);
    resource.kind = entry.StringAt({"kind"});
    resource.singular = entry.StringAt({"singularName"}, Lower(resource.kind));
    const json::Value* namespaced = entry.Find("namespaced");
    resource.namespaced = namespaced != nullptr && namespaced->is_bool() && namespaced->as_bool();
    resource.short_names = Strings(entry.Find("shortNames"));
    resource.categories = Strings(entry.Find("categories"));
    resource.verbs = Strings(entry.Find("verbs"));
    out.push_back(std::move(resource));
  }
  return out;
}

bool Answers(const Resource& resource, const std::string& word) {
  return word == Lower(resource.name) || word == Lower(resource.singular) ||
         word == Lower(resource.kind) ||
         std::find(resource.short_names.begin(), resource.short_names.end(), word) !=
             resource.short_names.end();
}

}  // namespace

bool Resource::Can(std::string_view verb) const {
  return std::find(verbs.begin(), verbs.end(), verb) != verbs.end();
}

std::string Resource::CollectionPath(const std::string& ns) const {
  std::string path = (group.empty() ? "/api/" : "/apis/") + group_version;
  if (namespaced && !ns.empty()) path += "/namespaces/" + Escape(ns);
  return path + "/" + name;
}

std::string Resource::ObjectPath(const std::string& ns, const std::string& object) const {
  return CollectionPath(ns) + "/" + Escape(object);
}

std::string Resource::QualifiedSingular() const {
  return group.empty() ? singular : singular + "." + group;
}

StatusOr<json::Value> ParseAnswer(const std::string& body) {
  auto parsed = json::Parse(body, kAnswerLimits);
  if (!parsed.ok()) {
    return Errorf(Code::kInternal, "the server's answer is not JSON: {}", Message(parsed.status()));
  }
  if (!parsed->is_object()) {
    return Errorf(Code::kInternal, "the server's answer is not a JSON object but a {}",
                  parsed->type_name());
  }
  return parsed;
}

ApiClient::ApiClient(HttpClient& http, std::function<void(const std::string&)> warn)
    : http_(http), warn_(std::move(warn)) {}

void ApiClient::Warn(const std::vector<std::string>& warnings) const {
  for (const std::string& text : warnings) {
    if (warn_) warn_(text);
  }
}

StatusOr<json::Value> ApiClient::Call(const std::string& method, const std::string& target,
                                      const json::Value* body, std::string_view content_type,
                                      std::string_view accept) {
  HttpRequest request;
  request.method = method;
  request.target = target;
  request.accept = std::string(accept);
  if (body != nullptr) {
    request.body = json::Serialize(*body);
    request.content_type = std::string(content_type);
  }
  const MonotonicTime give_up = Clock::Real().Monotonic() + kMaxRetrying;
  for (int attempt = 1;; ++attempt) {
    ASSIGN_OR_RETURN(const HttpResponse response, http_.Do(request));
    Warn(response.warnings);
    if (response.status >= 200 && response.status < 300) return ParseAnswer(response.body);
    const bool later =
        (response.status == 429 || response.status == 503) && response.retry_after.has_value();
    if (!later || attempt >= kMaxTries ||
        Clock::Real().Monotonic() + *response.retry_after > give_up) {
      return ErrorOfResponse(response);
    }
    RETURN_IF_ERROR(
        http_.Pause(std::max<Duration>(*response.retry_after, std::chrono::milliseconds(50))));
  }
}

StatusOr<json::Value> ApiClient::Get(const std::string& target, std::string_view accept) {
  return Call("GET", target, nullptr, "", accept);
}

StatusOr<json::Value> ApiClient::Post(const std::string& target, const json::Value& body) {
  return Call("POST", target, &body);
}

StatusOr<json::Value> ApiClient::MergePatch(const std::string& target, const json::Value& patch) {
  return Call("PATCH", target, &patch, "application/merge-patch+json");
}

StatusOr<json::Value> ApiClient::Delete(const std::string& target, const json::Value& options) {
  return Call("DELETE", target, &options);
}

StatusOr<std::vector<std::string>> ApiClient::GroupVersions() {
  ASSIGN_OR_RETURN(const json::Value groups, Get("/apis"));
  std::vector<std::string> out;
  const json::Value* list = groups.Find("groups");
  if (list == nullptr || !list->is_array()) return out;
  for (const json::Value& group : list->items()) {
    std::string preferred = group.StringAt({"preferredVersion", "groupVersion"});
    if (!preferred.empty()) out.push_back(std::move(preferred));
  }
  return out;
}

StatusOr<const std::vector<Resource>*> ApiClient::Resources() {
  if (resources_) return &*resources_;
  // isla's own group is asked for directly: one round trip less than through /apis.
  std::vector<Resource> found;
  auto own = Get("/apis/isla/v1");
  if (own.ok()) {
    found = ResourcesOf(*own, "isla/v1");
  } else if (own.status().code() != Code::kNotFound) {
    return own.status();
  } else {
    ASSIGN_OR_RETURN(const std::vector<std::string> versions, GroupVersions());
    for (const std::string& version : versions) {
      ASSIGN_OR_RETURN(const json::Value list, Get("/apis/" + version));
      for (Resource& resource : ResourcesOf(list, version)) found.push_back(std::move(resource));
    }
  }
  resources_ = std::move(found);
  return &*resources_;
}

StatusOr<Resource> ApiClient::Find(const std::string& word) {
  ASSIGN_OR_RETURN(const std::vector<Resource>* resources, Resources());
  std::string wanted = Lower(word);
  if (const size_t dot = wanted.find('.'); dot != std::string::npos) {
    // sessions.isla or sessions.v1.isla
    const std::string suffix = wanted.substr(dot + 1);
    wanted = wanted.substr(0, dot);
    for (const Resource& resource : *resources) {
      const size_t slash = resource.group_version.find('/');
      const std::string version =
          slash == std::string::npos ? "" : resource.group_version.substr(slash + 1);
      const bool same = suffix == resource.group || suffix == version + "." + resource.group;
      if (same && Answers(resource, wanted)) return resource;
    }
  } else {
    for (const Resource& resource : *resources) {
      if (Answers(resource, wanted)) return resource;
    }
  }
  return Errorf(Code::kNotFound, "the server doesn't have a resource type \"{}\"", word);
}

StatusOr<Resource> ApiClient::FindKind(const std::string& api_version, const std::string& kind) {
  ASSIGN_OR_RETURN(const std::vector<Resource>* resources, Resources());
  for (const Resource& resource : *resources) {
    if (resource.group_version == api_version && resource.kind == kind) return resource;
  }
  return Errorf(Code::kNotFound, "no matches for kind \"{}\" in version \"{}\"", kind, api_version);
}

}  // namespace isla::client
