// version, api-resources, and the config file (config view and its kin).
#include <algorithm>

#include "api/client/config.h"
#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/output.h"
#include "cli/table.h"

namespace isla::cli {
namespace {

constexpr std::string_view kClientVersion = "v" ISLA_VERSION;

std::string Joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ",") + word;
  return out;
}

/// The file with its secrets and certificates replaced.
json::Value Redacted(json::Value config) {
  for (const auto& [list, body, secrets] :
       {std::tuple{"users", "user",
                   std::vector<std::string>{"token", "client-key-data", "client-certificate-data",
                                            "password"}},
        std::tuple{"clusters", "cluster",
                   std::vector<std::string>{"certificate-authority-data"}}}) {
    json::Value* entries = config.Find(list);
    if (entries == nullptr || !entries->is_array()) continue;
    for (json::Value& entry : entries->items()) {
      json::Value* inside = entry.Find(body);
      if (inside == nullptr || !inside->is_object()) continue;
      for (const std::string& name : secrets) {
        if (inside->Find(name) == nullptr) continue;
        inside->Set(name, name.ends_with("-data") && name != "client-key-data" ? "DATA+OMITTED"
                                                                               : "REDACTED");
      }
    }
  }
  return config;
}

int ConfigView(Context& context, const std::string& path) {
  if (path.empty()) {
    context.Complain(fmt::format("No config file; using the socket {}\n", client::kMachineSocket));
    return 0;
  }
  auto config = client::ReadConfigFile(path);
  if (!config.ok()) return context.Fail(config.status());
  if (!config->is_object()) return context.FailText("not an object");
  context.Print(
      json::Pretty(context.options().raw ? *config : Redacted(std::move(config).value())) + "\n");
  return 0;
}

int ConfigContexts(Context& context, const std::string& path) {
  if (path.empty()) return context.FailText("there is no config file");
  const auto config = client::ReadConfigFile(path);
  if (!config.ok()) return context.Fail(config.status());
  const std::string current = config->StringAt({"current-context"});
  std::vector<std::vector<std::string>> rows{
      {"CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"}};
  const json::Value* contexts = config->Find("contexts");
  if (contexts != nullptr && contexts->is_array()) {
    for (const json::Value& entry : contexts->items()) {
      const std::string name = entry.StringAt({"name"});
      rows.push_back({name == current ? "*" : "", name, entry.StringAt({"context", "cluster"}),
                      entry.StringAt({"context", "user"}),
                      entry.StringAt({"context", "namespace"})});
    }
  }
  context.Print(Columns().Format(rows));
  return 0;
}

}  // namespace

int Version(Context& context) {
  const Options& options = context.options();
  if (const std::string bad = CheckFormat(options.output, {"json", "yaml"}); !bad.empty())
    return context.FailText(bad);
  json::Value all = json::Value::MakeObject();
  all.Set("clientVersion", json::Value::MakeObject({{"gitVersion", kClientVersion}}));
  Status failed;
  std::string server;
  if (!options.client_only) {
    auto api = context.Api();
    if (!api.ok()) return context.Fail(api.status());
    auto version = (*api)->Get("/version");
    if (version.ok()) {
      server = version->StringAt({"gitVersion"}, "<unknown>");
      all.Set("serverVersion", std::move(version).value());
    }
    failed = version.status();
  }
  if (options.output.empty()) {
    context.Print(fmt::format("Client Version: {}\n", kClientVersion));
    if (!server.empty()) context.Print(fmt::format("Server Version: {}\n", server));
  } else {
    const auto text = FormatObject(all, {}, options.output);
    if (!text.ok()) return context.Fail(text.status());
    context.Print(*text);
  }
  return failed.ok() ? 0 : context.Fail(failed);
}

int ApiResources(Context& context) {
  const Options& options = context.options();
  if (const std::string bad = CheckFormat(options.output, {"name", "wide"}); !bad.empty())
    return context.FailText(bad);
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  const auto resources = (*api)->Resources();
  if (!resources.ok()) return context.Fail(resources.status());
  std::vector<std::vector<std::string>> rows;
  if (!options.no_headers) {
    rows.push_back({"NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"});
    if (options.output == "wide") rows.back().insert(rows.back().end(), {"VERBS", "CATEGORIES"});
  }
  for (const client::Resource& resource : **resources) {
    if (options.output == "name") {
      context.Print(resource.group.empty() ? resource.name + "\n"
                                           : resource.name + "." + resource.group + "\n");
      continue;
    }
    rows.push_back({resource.name, Joined(resource.short_names), resource.group_version,
                    resource.namespaced ? "true" : "false", resource.kind});
    if (options.output == "wide")
      rows.back().insert(rows.back().end(), {Joined(resource.verbs), Joined(resource.categories)});
  }
  if (options.output != "name") context.Print(Columns().Format(rows));
  return 0;
}

int ConfigFile(Context& context) {
  const Options& options = context.options();
  const auto env = [&context](const std::string& name) { return context.io().Env(name); };
  const std::string path = client::FindConfigFile(options.connection, env);
  const std::string what = options.args.size() == 1 ? options.args[0] : "";
  if (what == "view") return ConfigView(context, path);
  if (what == "get-contexts") return ConfigContexts(context, path);
  if (what != "current-context") {
    return context.FailText(
        "expected 'config view', 'config current-context' or 'config get-contexts'; the file "
        "itself is changed with an editor");
  }
  if (path.empty()) return context.FailText("current-context is not set");
  const auto config = client::ReadConfigFile(path);
  if (!config.ok()) return context.Fail(config.status());
  const std::string current = config->StringAt({"current-context"});
  if (current.empty()) return context.FailText("current-context is not set");
  context.Print(current + "\n");
  return 0;
}

}  // namespace isla::cli
