// completion and the hidden __complete, which the script calls for every word.
#include <algorithm>

#include "cli/commands.h"
#include "cli/targets.h"

namespace isla::cli {
namespace {

constexpr std::string_view kBashScript =
    R"script(# bash completion of isla: source <(isla completion bash)
_isla() {
    local cur="${COMP_WORDS[COMP_CWORD]}" IFS=$'\n'
    # A word with a '=' is split by readline; files are the shell's own matter.
    local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    local found
    found=$(isla __complete "${words[@]}" 2>/dev/null) || found=
    if [[ $found == :files ]]; then
        COMPREPLY=($(compgen -f -- "$cur"))
        compopt -o filenames 2>/dev/null
        return
    fi
    COMPREPLY=($(compgen -W "$found" -- "$cur"))
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _isla isla
)script";

// A completion must not hang a shell.
constexpr Duration kPatience = std::chrono::seconds(2);

/// The words so far, read as loosely as they are typed.
struct Typed {
  std::string command;
  std::vector<std::string> words;  // positional, without the one being typed
  std::string last_flag;           // the flag that the word being typed is the value of
  std::string current;
  Options options;
};

bool TakesValue(const std::string& flag) {
  static const std::vector<std::string> kFlags{"-n",
                                               "--namespace",
                                               "-f",
                                               "--filename",
                                               "-o",
                                               "--output",
                                               "-l",
                                               "--selector",
                                               "--field-selector",
                                               "-s",
                                               "--server",
                                               "--socket",
                                               "--kubeconfig",
                                               "--context",
                                               "--group",
                                               "--node",
                                               "--prefix",
                                               "--resource-version",
                                               "--for",
                                               "--timeout",
                                               "--tail",
                                               "--since",
                                               "--dry-run",
                                               "--grace-period",
                                               "--request-timeout",
                                               "--revision"};
  return std::find(kFlags.begin(), kFlags.end(), flag) != kFlags.end();
}

void Remember(const std::string& flag, const std::string& value, Options& options) {
  if (flag == "-n" || flag == "--namespace") options.ns = value;
  if (flag == "-s" || flag == "--server") options.connection.server = value;
  if (flag == "--socket") options.connection.socket = value;
  if (flag == "--kubeconfig") options.connection.kubeconfig = value;
  if (flag == "--context") options.connection.context = value;
}

Typed Read(const std::vector<std::string>& args) {
  Typed typed;
  typed.options.request_timeout = kPatience;
  if (args.empty()) return typed;
  typed.current = args.back();
  for (size_t i = 0; i + 1 < args.size(); ++i) {
    const std::string& word = args[i];
    const size_t equals = word.find('=');
    // -f is --follow for logs.
    const bool value = TakesValue(word) && !(typed.command == "logs" && word == "-f");
    if (word.starts_with("-") && equals != std::string::npos) {
      Remember(word.substr(0, equals), word.substr(equals + 1), typed.options);
    } else if (value) {
      if (i + 2 == args.size())
        typed.last_flag = word;
      else
        Remember(word, args[++i], typed.options);
    } else if (!word.starts_with("-")) {
      if (typed.command.empty())
        typed.command = word;
      else
        typed.words.push_back(word);
    }
  }
  return typed;
}

std::vector<std::string> NamesOf(client::ApiClient& api, const client::Resource& resource,
                                 const std::string& ns) {
  std::vector<std::string> out;
  const auto list = api.Get(resource.CollectionPath(ns));
  const json::Value* items = list.ok() ? list->Find("items") : nullptr;
  if (items == nullptr || !items->is_array()) return out;
  for (const json::Value& item : items->items()) out.push_back(item.StringAt({"metadata", "name"}));
  return out;
}

std::vector<std::string> Objects(Context& context, client::ApiClient& api, const Typed& typed) {
  std::vector<std::string> out;
  const auto resources = api.Resources();
  if (!resources.ok()) return out;
  const auto ns_of = [&context](const client::Resource& resource) {
    return resource.namespaced ? context.ns() : "";
  };
  if (const size_t slash = typed.current.find('/'); slash != std::string::npos) {
    const std::string type = typed.current.substr(0, slash);
    const auto resource = api.Find(type);
    if (!resource.ok()) return out;
    for (const std::string& name : NamesOf(api, *resource, ns_of(*resource)))
      out.push_back(type + "/" + name);
    return out;
  }
  if (typed.command == "logs" && typed.words.empty()) {
    const auto sessions = api.Find("sessions");
    return sessions.ok() ? NamesOf(api, *sessions, context.ns()) : out;
  }
  if (!typed.words.empty()) {
    const auto resource = api.Find(typed.words[0]);
    return resource.ok() ? NamesOf(api, *resource, ns_of(*resource)) : out;
  }
  for (const client::Resource& resource : **resources) {
    out.push_back(resource.name);
    if (typed.command == "wait") out.push_back(resource.singular + "/");
  }
  return out;
}

/// The names of all settings; empty if the server can't be asked.
std::vector<std::string> SettingNames(client::ApiClient& api) {
  std::vector<std::string> out;
  const auto schema = api.Get("/apis/isla/v1/config/schema");
  const json::Value* items = schema.ok() ? schema->Find("items") : nullptr;
  if (items == nullptr || !items->is_array()) return out;
  for (const json::Value& item : items->items()) out.push_back(item.StringAt({"name"}));
  return out;
}

std::vector<std::string> ConfigWords(client::ApiClient* api, const Typed& typed) {
  if (typed.words.empty())
    return {"current-context", "explain", "get", "get-contexts", "list", "set", "unset", "view"};
  const std::string& verb = typed.words[0];
  if (api == nullptr || (verb != "get" && verb != "set" && verb != "unset" && verb != "explain")) return {};
  std::vector<std::string> names = SettingNames(*api);
  if (verb == "set") {
    for (std::string& name : names) name += "=";
  }
  return names;
}

std::vector<std::string> FlagValues(Context& context, client::ApiClient* api, const Typed& typed,
                                    bool& files) {
  const std::string& flag = typed.last_flag;
  files = flag == "-f" || flag == "--filename" || flag == "--kubeconfig" || flag == "--socket";
  if (flag == "--node" && api != nullptr) {
    const auto nodes = api->Find("nodes");
    if (nodes.ok()) return NamesOf(*api, *nodes, "");
  }
  if (flag == "--prefix" && api != nullptr) return SettingNames(*api);
  if ((flag == "-o" || flag == "--output") && typed.command == "config") return {"json", "table", "yaml"};
  if (flag == "-o" || flag == "--output") return {"json", "name", "wide", "yaml"};
  if (flag == "--dry-run") return {"client", "none", "server"};
  if (flag == "--for")
    return {"condition=Finished", "condition=Ready", "condition=Scheduled", "delete",
            "phase=Succeeded"};
  if ((flag == "-n" || flag == "--namespace") && api != nullptr) {
    const auto projects = api->Find("projects");
    if (projects.ok()) return NamesOf(*api, *projects, "");
  }
  (void)context;
  return {};
}

std::vector<std::string> StoreWords(const Typed& typed, bool& files) {
  if (typed.words.empty()) return {"export", "get", "import", "list", "put", "unseal"};
  files = typed.words.size() == 1 && (typed.words[0] == "export" || typed.words[0] == "import");
  const bool keys = typed.words.size() == 1 && !files && typed.words[0] != "unseal";
  if (!keys) return {};
  return {"bind/", "config/", "manifest-status/", "manifest/", "meta/", "node/", "nodeterm/", "run/", "spec/", "status/"};
}

bool WantsObjects(const std::string& command) {
  return command == "get" || command == "describe" || command == "delete" || command == "wait" ||
         command == "logs";
}

std::vector<std::string> Candidates(Context& context, const Typed& typed, bool& files) {
  if (typed.command.empty() && typed.last_flag.empty() && !typed.current.starts_with("-"))
    return CommandNames();
  if (typed.last_flag.empty() && typed.current.starts_with("-"))
    return FlagNames(typed.command.empty() ? "version" : typed.command);
  auto api = context.Api();
  client::ApiClient* client = api.ok() ? *api : nullptr;
  if (!typed.last_flag.empty()) return FlagValues(context, client, typed, files);
  if (typed.command == "help") return CommandNames();
  if (typed.command == "config") return ConfigWords(client, typed);
  if (typed.command == "completion") return {"bash"};
  if (typed.command == "store") return StoreWords(typed, files);
  if (WantsObjects(typed.command) && client != nullptr) return Objects(context, *client, typed);
  return {};
}

}  // namespace

int Completion(Context& context) {
  const auto& args = context.options().args;
  if (args.size() != 1 || args[0] != "bash") return context.FailText("expected 'completion bash'");
  context.Print(kBashScript);
  return 0;
}

int Complete(Context& outer) {
  // Never an error: a shell would show it in the middle of the user's line.
  const Typed typed = Read(outer.options().args);
  Context context(outer.io(), typed.options);
  bool files = false;
  const std::vector<std::string> found = Candidates(context, typed, files);
  if (files) {
    outer.Print(":files\n");
    return 0;
  }
  for (const std::string& candidate : found) {
    const bool safe = candidate.find_first_of("\n\r$`\\\"'") ==
                      std::string::npos;  // compgen -W expands its words
    if (safe && candidate.starts_with(typed.current)) outer.Print(candidate + "\n");
  }
  return 0;
}

}  // namespace isla::cli
