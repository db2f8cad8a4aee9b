#include "api/object/kind.h"

#include <algorithm>

#include "api/base/status.h"
#include "isla/v1/objects.pb.h"

namespace isla::api {
namespace {

const std::vector<std::string>& ReadVerbs() {
  static const std::vector<std::string> verbs = {"get", "list", "watch"};
  return verbs;
}

const std::vector<std::string>& AllVerbs() {
  static const std::vector<std::string> verbs = {"create", "delete", "get", "list", "patch", "update", "watch"};
  return verbs;
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

bool IsCalled(const Kind& kind, const std::string& lower) {
  return lower == kind.singular || lower == kind.resource || lower == Lower(kind.kind) ||
         std::find(kind.short_names.begin(), kind.short_names.end(), lower) != kind.short_names.end();
}

const Kind& Named(std::string_view name) {
  const Kind* kind = FindKind(name);
  ISLA_CHECK(kind != nullptr);
  return *kind;
}

}  // namespace

const std::vector<Kind>& AllKinds() {
  static const std::vector<Kind> kinds = {
      {.kind = "Session",
       .resource = "sessions",
       .singular = "session",
       .short_names = {"se", "sess"},
       .categories = {"all"},
       .verbs = AllVerbs(),
       .namespaced = true,
       .descriptor = isla::v1::Session::descriptor()},
      {.kind = "Node",
       .resource = "nodes",
       .singular = "node",
       .short_names = {"no"},
       .categories = {},
       .verbs = ReadVerbs(),
       .namespaced = false,
       .descriptor = isla::v1::Node::descriptor()},
      {.kind = "Project",
       .resource = "projects",
       .singular = "project",
       .short_names = {"proj"},
       .categories = {},
       .verbs = AllVerbs(),
       .namespaced = false,
       .descriptor = isla::v1::Project::descriptor()},
      {.kind = "SandboxPolicy",
       .resource = "sandboxpolicies",
       .singular = "sandboxpolicy",
       .short_names = {"sbp"},
       .categories = {},
       .verbs = AllVerbs(),
       .namespaced = true,
       .descriptor = isla::v1::SandboxPolicy::descriptor()},
  };
  return kinds;
}

const Kind* FindKind(std::string_view word) {
  std::string lower = Lower(word);
  for (const std::string_view suffix : {".v1.isla", ".isla"}) {
    if (!lower.ends_with(suffix)) continue;
    lower.resize(lower.size() - suffix.size());
    break;
  }
  for (const Kind& kind : AllKinds()) {
    if (IsCalled(kind, lower)) return &kind;
  }
  return nullptr;
}

const Kind& SessionKind() {
  static const Kind& kind = Named("session");
  return kind;
}
const Kind& ProjectKind() {
  static const Kind& kind = Named("project");
  return kind;
}
const Kind& NodeKind() {
  static const Kind& kind = Named("node");
  return kind;
}
const Kind& SandboxPolicyKind() {
  static const Kind& kind = Named("sandboxpolicy");
  return kind;
}

}  // namespace isla::api
