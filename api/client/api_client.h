// The API over HTTP: discovery, and reading and writing objects as JSON trees. What the server
// refuses is a Status with an ApiError in it (api_error.h); what doesn't reach it carries a Fault
// (http.h); an answer that isn't the JSON it should be is INTERNAL. One thread; calls block.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"
#include "api/client/http.h"

namespace isla::client {

/// A kind of object as the server's discovery tells it.
struct Resource {
  std::string group_version;  // "isla/v1"
  std::string group;          // "isla"; "" for v1
  std::string name;           // "sessions"
  std::string singular;       // "session"
  std::string kind;           // "Session"
  bool namespaced = true;
  std::vector<std::string> short_names;
  std::vector<std::string> categories;
  std::vector<std::string> verbs;

  bool Can(std::string_view verb) const;
  /// "/apis/isla/v1/namespaces/NS/sessions"; `ns` "" = all namespaces.
  std::string CollectionPath(const std::string& ns) const;
  std::string ObjectPath(const std::string& ns, const std::string& name) const;
  /// "session.isla", as messages name it.
  std::string QualifiedSingular() const;
};

inline constexpr std::string_view kAcceptTable =
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// Bounds of what the server may answer.
inline constexpr json::Limits kAnswerLimits{.max_bytes = size_t{64} << 20, .max_depth = 100};

class ApiClient {
 public:
  /// `warn` gets the text of each Warning header. Both must outlive the client.
  ApiClient(HttpClient& http, std::function<void(const std::string&)> warn);

  /// One call; a body is sent as `content_type` if it is there. 429 and 503 with Retry-After are
  /// tried again, for 10 s at most.
  StatusOr<json::Value> Call(const std::string& method, const std::string& target,
                             const json::Value* body = nullptr,
                             std::string_view content_type = "application/json",
                             std::string_view accept = "application/json");
  StatusOr<json::Value> Get(const std::string& target,
                            std::string_view accept = "application/json");
  StatusOr<json::Value> Post(const std::string& target, const json::Value& body);
  StatusOr<json::Value> MergePatch(const std::string& target, const json::Value& patch);
  StatusOr<json::Value> Delete(const std::string& target, const json::Value& options);

  /// Everything the server has, asked once. Subresources are left out.
  StatusOr<const std::vector<Resource>*> Resources();
  /// By plural, singular, short name or kind, any letter case, with or without ".isla" behind.
  /// NOT_FOUND "the server doesn't have a resource type \"foo\"", with a suggestion.
  StatusOr<Resource> Find(const std::string& word);
  /// NOT_FOUND "no matches for kind \"X\" in version \"Y\"".
  StatusOr<Resource> FindKind(const std::string& api_version, const std::string& kind);

  HttpClient& http() { return http_; }
  void Warn(const std::vector<std::string>& warnings) const;

 private:
  StatusOr<std::vector<std::string>> GroupVersions();

  HttpClient& http_;
  const std::function<void(const std::string&)> warn_;
  std::optional<std::vector<Resource>> resources_;
};

/// Reads an answer: INTERNAL with what is wrong if it isn't a JSON object.
StatusOr<json::Value> ParseAnswer(const std::string& body);

}  // namespace isla::client
