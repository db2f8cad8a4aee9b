// run: a session from the command line, followed to its end.
#include <algorithm>
#include <tuple>

#include "api/client/api_error.h"
#include "api/client/url.h"
#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/follow.h"
#include "cli/name_watch.h"
#include "cli/output.h"
#include "cli/targets.h"

namespace isla::cli {
namespace {

constexpr int kExitTimeout = 124;
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;
constexpr int kExitInterrupted = 130;
constexpr Duration kExplainAfter = std::chrono::seconds(2);

StatusOr<std::pair<std::string, std::string>> Pair(const std::string& text, std::string_view flag) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return Errorf(Code::kInvalidArgument,
                  "invalid argument \"{}\" for \"{}\" flag: expected NAME=VALUE", text, flag);
  }
  return std::pair{text.substr(0, equals), text.substr(equals + 1)};
}

StatusOr<json::Value> EnvOf(Context& context) {
  json::Value list = json::Value::MakeArray();
  for (const std::string& entry : context.options().run.env) {
    std::string name = entry;
    std::string value;
    if (entry.find('=') == std::string::npos) {
      const auto own = context.io().Env(entry);
      if (!own) continue;  // as docker does
      value = *own;
    } else {
      ASSIGN_OR_RETURN(std::tie(name, value), Pair(entry, "--env"));
    }
    list.Append(json::Value::MakeObject({{"name", name}, {"value", value}}));
  }
  return list;
}

/// HOST:CONTAINER[:ro|rw]
StatusOr<json::Value> MountsOf(const std::vector<std::string>& mounts) {
  json::Value list = json::Value::MakeArray();
  for (const std::string& text : mounts) {
    std::string rest = text;
    bool read_only = true;
    if (rest.ends_with(":ro") || rest.ends_with(":rw")) {
      read_only = rest.ends_with(":ro");
      rest.resize(rest.size() - 3);
    }
    const size_t colon = rest.find(':');
    const bool good = colon != std::string::npos && rest.starts_with('/') &&
                      rest.compare(colon + 1, 1, "/") == 0 &&
                      rest.find(':', colon + 1) == std::string::npos;
    if (!good) {
      return Errorf(Code::kInvalidArgument,
                    "invalid argument \"{}\" for \"--mount\" flag: expected "
                    "/HOST/FOLDER:/CONTAINER/FOLDER[:ro|rw]",
                    text);
    }
    json::Value mount = json::Value::MakeObject(
        {{"hostPath", rest.substr(0, colon)}, {"mountPath", rest.substr(colon + 1)}});
    if (!read_only) mount.Set("readOnly", false);
    list.Append(std::move(mount));
  }
  return list;
}

StatusOr<json::Value> MapOf(const std::vector<std::string>& pairs, std::string_view flag) {
  json::Value map = json::Value::MakeObject();
  for (const std::string& text : pairs) {
    ASSIGN_OR_RETURN(const auto pair, Pair(text, flag));
    map.Set(pair.first, pair.second);
  }
  return map;
}

/// The manifest that the flags say. What isn't said is left to the server's defaults.
StatusOr<json::Value> ManifestOf(Context& context) {
  const RunOptions& run = context.options().run;
  json::Value object = json::Value::MakeObject({{"apiVersion", "isla/v1"}, {"kind", "Session"}});
  json::Value& metadata = object.Member("metadata");
  if (run.name.empty())
    metadata.Set("generateName", "run-");
  else
    metadata.Set("name", run.name);
  metadata.Set("namespace", context.ns());
  ASSIGN_OR_RETURN(json::Value labels, MapOf(run.labels, "--label"));
  if (!labels.members().empty()) metadata.Set("labels", std::move(labels));
  json::Value command = json::Value::MakeArray();
  for (const std::string& word : run.command) command.Append(word);
  json::Value spec = json::Value::MakeObject({{"type", "batch"}, {"command", std::move(command)}});
  const auto set = [](json::Value& where, std::string_view name, const std::string& value) {
    if (!value.empty()) where.Set(name, value);
  };
  set(spec, "image", run.image);
  set(spec, "workingDir", run.workdir);
  set(spec, "timeout", run.timeout);
  set(spec, "network", run.network);
  json::Value resources = json::Value::MakeObject();
  set(resources, "cpu", run.cpu);
  set(resources, "memory", run.memory);
  if (!resources.members().empty()) spec.Set("resources", std::move(resources));
  ASSIGN_OR_RETURN(json::Value env, EnvOf(context));
  if (!env.items().empty()) spec.Set("env", std::move(env));
  ASSIGN_OR_RETURN(json::Value mounts, MountsOf(run.mounts));
  if (!mounts.items().empty()) spec.Set("mounts", std::move(mounts));
  ASSIGN_OR_RETURN(json::Value nodes, MapOf(run.node_selector, "--node-selector"));
  if (!nodes.members().empty()) spec.Set("nodeSelector", std::move(nodes));
  object.Set("spec", std::move(spec));
  return object;
}

const json::Value* FirstContainer(const json::Value& object) {
  const json::Value* containers = object.FindPath({"status", "containers"});
  return containers != nullptr && containers->is_array() && !containers->items().empty()
             ? &containers->items()[0]
             : nullptr;
}

/// How a session that has ended is told to the shell: its exit code, and what to say if the command
/// itself didn't.
struct Ending {
  int code = 0;
  std::string text;
};

/// As docker and a shell tell; nothing for a session that was started.
std::optional<int> NotStarted(const std::string& reason) {
  if (reason == "CommandNotFound") return kExitNotFound;
  if (reason == "CommandNotExecutable") return kExitNotExecutable;
  return reason == "StartError" ? std::optional<int>(kRunFailed) : std::nullopt;
}

Ending EndingOf(const json::Value& object, const std::string& path) {
  const std::string phase = PhaseOf(object);
  const std::string reason = object.StringAt({"status", "reason"});
  const std::string message = object.StringAt({"status", "message"});
  const json::Value* container = FirstContainer(object);
  auto exit_code = object.Int64At({"status", "exitCode"}).value_or(0);
  int64_t signal = 0;
  if (container != nullptr) {
    signal = container->Int64At({"signal"}).value_or(0);
    if (exit_code == 0) exit_code = container->Int64At({"exitCode"}).value_or(0);
  }
  std::string why = reason;
  if (!message.empty()) why += (why.empty() ? "" : ": ") + message;
  Ending ending;
  if (phase == "Succeeded") return ending;
  if (const auto code = NotStarted(reason))
    return {*code, fmt::format("error: {} could not be started: {}", path, message)};
  if (reason == "Timeout") return {kExitTimeout, fmt::format("error: {} was ended: {}", path, why)};
  if (signal > 0 && signal < 128)
    return {static_cast<int>(128 + signal),
            fmt::format("error: {} was ended by signal {}: {}", path, signal, why)};
  if (phase == "Failed" && exit_code > 0 && exit_code < 256) {
    // A command that fails speaks for itself.
    const bool plain = reason.empty() || reason == "Error";
    return {static_cast<int>(exit_code),
            plain ? "" : fmt::format("error: {} failed: {}", path, why)};
  }
  return {kRunFailed, fmt::format("error: {} is {}: {}", path, phase, why)};
}

class Runner {
 public:
  Runner(Context& context, client::ApiClient& api, client::Resource resource)
      : context_(context), api_(api), resource_(std::move(resource)) {}

  int Run() {
    auto manifest = ManifestOf(context_);
    if (!manifest.ok()) return context_.Fail(manifest.status());
    const Options& options = context_.options();
    if (options.dry_run == DryRun::kClient) return Print(*manifest, "created (dry run)");
    const std::string query =
        client::Query({{"dryRun", options.dry_run == DryRun::kServer ? "All" : ""},
                       {"fieldManager", "isla-run"},
                       {"fieldValidation", "Strict"}});
    auto created = api_.Post(resource_.CollectionPath(context_.ns()) + query, *manifest);
    if (created.status().code() == Code::kCancelled) {
      context_.FailText("interrupted while the session was being created; 'isla get sessions' shows whether it was");
      return kExitInterrupted;
    }
    if (!created.ok()) return context_.Fail(created.status());
    if (options.dry_run == DryRun::kServer) return Print(*created, "created (server dry run)");
    if (options.run.detach) return Print(*created, "created");
    name_ = created->StringAt({"metadata", "name"});
    path_ = PathName(resource_, name_);
    Say(path_ + " created");
    int code = Follow(std::move(created).value());
    if (options.run.remove && !left_) code = Remove(code);
    return code;
  }

 private:
  int Print(const json::Value& object, std::string_view what) {
    const std::string& format = context_.options().output;
    if (format.empty()) {
      std::string name = object.StringAt({"metadata", "name"});
      if (name.empty()) name = object.StringAt({"metadata", "generateName"});
      context_.Print(fmt::format("{} {}\n", PathName(resource_, name), what));
      return 0;
    }
    const auto text = FormatObject(object, resource_, format);
    if (!text.ok()) return context_.Fail(text.status());
    context_.Print(*text);
    return 0;
  }

  /// For people: not with --quiet.
  void Say(const std::string& text) {
    if (context_.options().run.quiet) return;
    context_.io().Flush();
    context_.Complain(text + "\n");
  }

  /// After CANCELLED, which is Ctrl-C or SIGTERM: this program ends at once, the session doesn't.
  int Leave() {
    left_ = true;
    const std::string ns = context_.ns() == "default" ? "" : " -n " + context_.ns();
    context_.io().Flush();
    context_.Complain(fmt::format(
        "\n{} goes on{}; to follow it: isla{} logs -f {}; to delete it: isla{} delete session {}\n", path_,
        context_.options().run.remove ? ", and is not removed when it ends" : "", ns, name_, ns, name_));
    return kExitInterrupted;
  }

  int Follow(json::Value created) {
    NameWatch watch = NameWatch::From(context_, resource_, context_.ns(), std::move(created));
    Status status = AwaitStart(watch);
    if (status.ok() && watch.object() != nullptr) status = Output(watch);
    while (status.ok() && watch.object() != nullptr && !IsFinal(PhaseOf(*watch.object()))) {
      status = watch.Next(kForever);
    }
    if (status.code() == Code::kCancelled) return Leave();
    if (!status.ok()) return context_.Fail(status);
    if (watch.object() == nullptr) return context_.FailText(path_ + " was deleted");
    const Ending ending = EndingOf(*watch.object(), path_);
    context_.io().Flush();
    if (!ending.text.empty()) context_.Complain(Printable(ending.text) + "\n");
    return ending.code;
  }

  /// Until there may be output; says why that takes long.
  Status AwaitStart(NameWatch& watch) {
    const MonotonicTime explain = Clock::Real().Monotonic() + kExplainAfter;
    std::string said;
    while (watch.object() != nullptr && !HasStarted(*watch.object())) {
      const Duration left =
          std::max<Duration>(explain - Clock::Real().Monotonic(), Duration::zero());
      const Status status = watch.Next(said.empty() ? left : kForever);
      if (!status.ok() && status.code() != Code::kDeadlineExceeded) return status;
      if (Clock::Real().Monotonic() < explain || watch.object() == nullptr ||
          HasStarted(*watch.object()))
        continue;
      const std::string reason = PendingReason(*watch.object());
      if (reason != said) Say(fmt::format("{} is waiting: {}", path_, reason));
      said = reason;
    }
    return OkStatus();
  }

  Status Output(const NameWatch& watch) {
    // It never ran: there is no log to ask for.
    const json::Value* container = FirstContainer(*watch.object());
    if (IsFinal(PhaseOf(*watch.object())) &&
        (container == nullptr || container->StringAt({"startedAt"}).empty())) {
      return OkStatus();
    }
    client::LogOptions log;
    log.follow = true;
    Follower follower(context_, api_, {resource_, context_.ns(), name_}, log);
    const Status status = follower.Run();
    if (status.ok() || status.code() == Code::kCancelled) return status;
    // The output can't be had, but the exit code still can.
    context_.Fail(status);
    return OkStatus();
  }

  int Remove(int code) {
    const json::Value body = json::Value::MakeObject(
        {{"kind", "DeleteOptions"}, {"apiVersion", "v1"}, {"propagationPolicy", "Background"}});
    const auto answer = api_.Delete(resource_.ObjectPath(context_.ns(), name_), body);
    if (answer.ok()) {
      if (answer->StringAt({"kind"}) == "Status") return code;
      const std::string uid = answer->StringAt({"metadata", "uid"});
      auto watch = NameWatch::Open(context_, resource_, context_.ns(), name_);
      Status status = watch.ok() ? OkStatus() : watch.status();
      while (status.ok() && watch->object() != nullptr &&
             watch->object()->StringAt({"metadata", "uid"}) == uid) {
        status = watch->Next(kForever);
      }
      if (status.ok()) return code;
      if (status.code() == Code::kCancelled) {
        context_.Complain(fmt::format("\n{} has ended and is being deleted; that goes on\n", path_));
        return code;
      }
      context_.Fail(status);
    } else if (answer.status().code() != Code::kNotFound) {
      context_.Fail(answer.status());
    }
    return code;
  }

  Context& context_;
  client::ApiClient& api_;
  const client::Resource resource_;
  std::string name_;
  std::string path_;
  bool left_ = false;
};

}  // namespace

int Run(Context& context) {
  const RunOptions& run = context.options().run;
  if (run.command.empty()) {
    return context.FailText(
        "a command is required: isla run [flags] -- COMMAND [args...]\nSee 'isla run -h' for help "
        "and examples");
  }
  const std::string& format = context.options().output;
  if (const std::string bad = CheckFormat(format, {"json", "name", "yaml"}); !bad.empty()) {
    return context.FailText(bad);
  }
  if (run.detach && run.remove) return context.FailText("--rm and --detach cannot be specified together");
  if (!run.detach && context.options().dry_run == DryRun::kNone) context.io().CatchInterrupts();
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  auto resource = ResourceOfKind(**api, "isla/v1", "Session");
  if (resource.status().code() == Code::kCancelled) return kExitInterrupted;  // nothing was asked for
  if (!resource.ok()) return context.Fail(resource.status());
  return Runner(context, **api, std::move(resource).value()).Run();
}

}  // namespace isla::cli
