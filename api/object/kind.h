// The kinds that the API serves: one table, from which discovery, routing, keys, tables and the CLI's
// completion come.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Descriptor;
}

namespace isla::api {

inline constexpr std::string_view kGroup = "isla";
inline constexpr std::string_view kVersion = "v1";
inline constexpr std::string_view kApiVersion = "isla/v1";

struct Kind {
  std::string kind;      // "Session"
  std::string resource;  // "sessions"
  std::string singular;  // "session": also the kind's name in keys
  std::vector<std::string> short_names;
  std::vector<std::string> categories;
  std::vector<std::string> verbs;  // what the API really does with it
  bool namespaced = true;
  const google::protobuf::Descriptor* descriptor = nullptr;
};

/// Every kind, in the order they are shown.
const std::vector<Kind>& AllKinds();
/// By kind, resource, singular or short name, any letter case, also with the group ("sessions.isla",
/// "session.v1.isla"); null pointer if none.
const Kind* FindKind(std::string_view word);
const Kind& SessionKind();
const Kind& ProjectKind();
const Kind& NodeKind();
const Kind& SandboxPolicyKind();

}  // namespace isla::api
