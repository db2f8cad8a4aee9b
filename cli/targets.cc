#include "cli/targets.h"

#include <algorithm>

#include "api/client/url.h"
#include "api/object/field_error.h"

namespace isla::cli {
namespace {

/// As api::AllKinds has them (the tests hold them against it): that table carries the messages' descriptors, which take longer
/// to make than a call takes.
struct KnownKind {
  std::string_view kind, resource, singular;
  bool namespaced;
};
constexpr KnownKind kKnownKinds[] = {
    {"Session", "sessions", "session", true}, {"Project", "projects", "project", false}, {"Node", "nodes", "node", false},
    {"SandboxPolicy", "sandboxpolicies", "sandboxpolicy", true}};
constexpr std::string_view kKnownVersion = "isla/v1", kKnownGroup = "isla";

std::vector<std::string> SplitCommas(const std::string& text) {
  std::vector<std::string> out;
  size_t start = 0;
  for (size_t comma; (comma = text.find(',', start)) != std::string::npos; start = comma + 1) {
    if (comma > start) out.push_back(text.substr(start, comma - start));
  }
  if (start < text.size()) out.push_back(text.substr(start));
  return out;
}

/// A type, a category, or NOT_FOUND with a suggestion.
StatusOr<std::vector<client::Resource>> TypesOf(client::ApiClient& api, const std::string& word) {
  auto found = api.Find(word);
  if (found.ok()) return std::vector<client::Resource>{std::move(found).value()};
  if (found.status().code() != Code::kNotFound ||
      client::FaultOf(found.status()) != client::Fault::kNone) {
    return found.status();
  }
  ASSIGN_OR_RETURN(const std::vector<client::Resource>* all, api.Resources());
  std::vector<client::Resource> out;
  std::vector<std::string> names;
  for (const client::Resource& resource : *all) {
    names.insert(names.end(), {resource.name, resource.singular});
    const auto& in = resource.categories;
    if (std::find(in.begin(), in.end(), word) != in.end() && resource.Can("list"))
      out.push_back(resource);
  }
  if (!out.empty()) return out;
  const std::string near = api::Suggestion(word, names);
  if (near.empty()) return found.status();
  return Errorf(Code::kNotFound, "{} (did you mean \"{}\"?)", Message(found.status()), near);
}

StatusOr<std::vector<Target>> FromPaths(client::ApiClient& api,
                                        const std::vector<std::string>& args) {
  std::vector<Target> out;
  for (const std::string& arg : args) {
    const size_t slash = arg.find('/');
    if (slash == std::string::npos) {
      return Errorf(Code::kInvalidArgument,
                    "there is no need to specify a resource type as a separate argument when "
                    "passing arguments in "
                    "resource/name form (e.g. 'isla get resource/<resource_name>' instead of 'isla "
                    "get resource "
                    "resource/<resource_name>'");
    }
    if (arg.find('/', slash + 1) != std::string::npos) {
      return Error(Code::kInvalidArgument,
                   "arguments in resource/name form may not have more than one slash");
    }
    const std::string type = arg.substr(0, slash);
    const std::string name = arg.substr(slash + 1);
    if (type.empty() || name.empty()) {
      return Error(Code::kInvalidArgument,
                   "arguments in resource/name form must have a single resource and name");
    }
    ASSIGN_OR_RETURN(client::Resource resource, api.Find(type));
    if (out.empty() || out.back().resource.name != resource.name)
      out.push_back({std::move(resource), {}, true});
    out.back().names.push_back(name);
  }
  return out;
}

}  // namespace

StatusOr<std::vector<Target>> ParseTargets(Context& context, const std::vector<std::string>& args,
                                           std::string_view default_type) {
  ASSIGN_OR_RETURN(client::ApiClient * api, context.Api());
  if (args.empty()) return Error(Code::kInvalidArgument, "Required resource not specified.");
  const bool paths = std::any_of(args.begin(), args.end(), [](const std::string& arg) {
    return arg.find('/') != std::string::npos;
  });
  if (paths) return FromPaths(*api, args);
  if (!default_type.empty() && args.size() == 1) {
    ASSIGN_OR_RETURN(client::Resource resource, api->Find(std::string(default_type)));
    return std::vector<Target>{{std::move(resource), args, true}};
  }
  std::vector<Target> out;
  for (const std::string& word : SplitCommas(args[0])) {
    ASSIGN_OR_RETURN(std::vector<client::Resource> types, TypesOf(*api, word));
    for (client::Resource& type : types) {
      const bool twice = std::any_of(out.begin(), out.end(), [&type](const Target& target) {
        return target.resource.name == type.name;
      });
      if (!twice) out.push_back({std::move(type), {args.begin() + 1, args.end()}, false});
    }
  }
  if (out.empty()) return Error(Code::kInvalidArgument, "Required resource not specified.");
  return out;
}

StatusOr<client::Resource> ResourceOfKind(client::ApiClient& api, const std::string& api_version,
                                          const std::string& kind) {
  for (const KnownKind& known : kKnownKinds) {
    if (api_version != kKnownVersion || kind != known.kind) continue;
    client::Resource resource;
    resource.group_version = kKnownVersion;
    resource.group = kKnownGroup;
    resource.name = known.resource;
    resource.singular = known.singular;
    resource.kind = known.kind;
    resource.namespaced = known.namespaced;
    return resource;
  }
  return api.FindKind(api_version, kind);
}

std::string NsFor(const Target& target, const Context& context) {
  return target.resource.namespaced ? context.ScopeNs() : "";
}

StatusOr<json::Value> ListTarget(Context& context, const Target& target, std::string_view accept) {
  ASSIGN_OR_RETURN(client::ApiClient * api, context.Api());
  const Options& options = context.options();
  return api->Get(target.resource.CollectionPath(NsFor(target, context)) +
                      client::Query({{"labelSelector", options.selector},
                                     {"fieldSelector", options.field_selector}}),
                  accept);
}

std::string PathName(const client::Resource& resource, std::string_view name) {
  return fmt::format("{}/{}", resource.QualifiedSingular(), name);
}

}  // namespace isla::cli
