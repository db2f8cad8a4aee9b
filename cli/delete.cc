// delete.
#include <algorithm>
#include <map>

#include "api/client/api_error.h"
#include "api/client/url.h"
#include "api/client/watch.h"
#include "cli/commands.h"
#include "cli/manifest.h"
#include "cli/name_watch.h"
#include "cli/output.h"
#include "cli/targets.h"

namespace isla::cli {
namespace {

/// One object to delete; its uid once the server has taken the order.
struct Victim {
  client::Resource resource;
  std::string ns;
  std::string name;
  std::string uid;
  bool gone = false;
};

std::string CheckFlags(const Options& options) {
  if (options.force && options.grace_period > 0) {
    return "--force and --grace-period greater than 0 cannot be specified together";
  }
  if (options.now && options.grace_period != -1)
    return "--now and --grace-period cannot be specified together";
  if (!options.files.empty() && !options.args.empty())
    return "when paths, URLs, or stdin is provided as input, you may not specify resource "
           "arguments as well";
  if (!options.files.empty() && (options.all || !options.selector.empty())) {
    return "-f can't be used together with --all or a selector";
  }
  return CheckFormat(options.output, {"name"});
}

json::Value DeleteOptionsOf(const Options& options) {
  json::Value body = json::Value::MakeObject(
      {{"kind", "DeleteOptions"}, {"apiVersion", "v1"}, {"propagationPolicy", "Background"}});
  int64_t grace = options.grace_period;
  if (options.now) grace = 1;
  // 0 is for those who say --force, as in kubectl: a slip of the hand shouldn't kill.
  if (grace == 0 && !options.force) grace = 1;
  if (options.force) grace = 0;
  if (grace >= 0) body.Set("gracePeriodSeconds", grace);
  if (options.dry_run == DryRun::kServer) body.Set("dryRun", json::Value::MakeArray({"All"}));
  return body;
}

StatusOr<std::vector<Victim>> VictimsOfArgs(Context& context) {
  const Options& options = context.options();
  ASSIGN_OR_RETURN(const std::vector<Target> targets, ParseTargets(context, options.args));
  const bool selected = options.all || !options.selector.empty() || !options.field_selector.empty();
  std::vector<Victim> out;
  for (const Target& target : targets) {
    if (target.names.empty() && !selected) {
      return Error(Code::kInvalidArgument, "resource(s) were provided, but no name was specified");
    }
    if (!target.names.empty() && selected) {
      return Error(Code::kInvalidArgument, "name cannot be provided when a selector is specified");
    }
    if (!target.names.empty() && options.all_namespaces && target.resource.namespaced) {
      return Error(Code::kInvalidArgument,
                   "a resource cannot be retrieved by name across all namespaces");
    }
    const std::string ns = NsFor(target, context);
    for (const std::string& name : target.names)
      out.push_back({target.resource, ns, name, "", false});
    if (!target.names.empty()) continue;
    ASSIGN_OR_RETURN(const json::Value list, ListTarget(context, target, "application/json"));
    const json::Value* items = list.Find("items");
    if (items == nullptr || !items->is_array())
      return Error(Code::kInternal, "the server's answer is not a list");
    for (const json::Value& item : items->items()) {
      out.push_back({target.resource,
                     target.resource.namespaced ? item.StringAt({"metadata", "namespace"}) : "",
                     item.StringAt({"metadata", "name"}), "", false});
    }
  }
  return out;
}

/// Objects of manifests; what can't be read is reported, and counts as an error in `code`.
std::vector<Victim> VictimsOfFiles(Context& context, client::ApiClient& api, int& code) {
  std::vector<Victim> out;
  for (const auto& manifest :
       ReadManifests(context.options().files, context.options().recursive, context.io())) {
    if (!manifest.ok()) {
      code = context.Fail(manifest.status());
      continue;
    }
    auto resource = ResourceOfKind(api, manifest->object.StringAt({"apiVersion"}), manifest->kind());
    if (!resource.ok() || manifest->name().empty()) {
      code = context.Fail(
          resource.ok()
              ? Errorf(Code::kInvalidArgument, "\"{}\": metadata.name is missing", manifest->source)
              : Annotate(resource.status(),
                         fmt::format("unable to recognize \"{}\"", manifest->source)));
      continue;
    }
    const std::string own = manifest->object.StringAt({"metadata", "namespace"});
    const std::string ns = !resource->namespaced                          ? ""
                           : own.empty() || !context.options().ns.empty() ? context.ns()
                                                                          : own;
    out.push_back({std::move(resource).value(), ns, manifest->name(), "", false});
  }
  return out;
}

/// Gives the order. 0, or 1 with the error said.
int Order(Context& context, client::ApiClient& api, const json::Value& body, Victim& victim) {
  const Options& options = context.options();
  if (options.dry_run != DryRun::kClient) {
    // In the query too, for a server that reads only there: it must never delete for real.
    const std::string query =
        client::Query({{"dryRun", options.dry_run == DryRun::kServer ? "All" : ""}});
    const auto answer =
        api.Delete(victim.resource.ObjectPath(victim.ns, victim.name) + query, body);
    if (!answer.ok()) {
      if (options.ignore_not_found && answer.status().code() == Code::kNotFound &&
          client::ApiErrorOf(answer.status())) {
        victim.gone = true;
        return 0;
      }
      victim.gone = true;
      return context.Fail(answer.status());
    }
    victim.gone = answer->StringAt({"kind"}) == "Status";
    victim.uid = answer->StringAt({"metadata", "uid"});
  }
  if (options.output == "name") {
    context.Print(PathName(victim.resource, victim.name) + "\n");
    return 0;
  }
  const char* suffix = options.dry_run == DryRun::kServer   ? " (server dry run)"
                       : options.dry_run == DryRun::kClient ? " (dry run)"
                                                            : "";
  context.Print(fmt::format("{} \"{}\" {}deleted{}\n", victim.resource.QualifiedSingular(),
                            victim.name, options.force ? "force " : "", suffix));
  return 0;
}

/// Waits for the end of all objects of one type in one namespace, by one watch.
Status AwaitGone(Context& context, client::ApiClient& api,
                 const std::vector<const Victim*>& victims, MonotonicTime deadline) {
  client::WatchSpec spec;
  spec.collection = victims[0]->resource.CollectionPath(victims[0]->ns);
  if (victims.size() == 1) spec.field_selector = "metadata.name=" + victims[0]->name;
  spec.on_outage = [&context](const std::string& why) { TellOutage(context, why); };
  std::map<std::string, const Victim*> left;
  ASSIGN_OR_RETURN(const json::Value list, client::Watch::List(api, spec));
  std::map<std::string, std::string> present;  // name -> uid
  if (const json::Value* items = list.Find("items"); items != nullptr && items->is_array()) {
    for (const json::Value& item : items->items()) {
      present[item.StringAt({"metadata", "name"})] = item.StringAt({"metadata", "uid"});
    }
  }
  for (const Victim* victim : victims) {
    const auto there = present.find(victim->name);
    if (there != present.end() && (victim->uid.empty() || there->second == victim->uid))
      left[victim->name] = victim;
  }
  client::Watch watch(api, spec, list);
  while (!left.empty()) {
    const auto events = watch.Next(deadline - Clock::Real().Monotonic());
    if (events.status().code() == Code::kDeadlineExceeded) {
      return Errorf(Code::kDeadlineExceeded, "timed out waiting for the condition on {}/{}",
                    left.begin()->second->resource.name, left.begin()->first);
    }
    RETURN_IF_ERROR(events);
    for (const client::WatchEvent& event : *events) {
      const auto it = left.find(event.object.StringAt({"metadata", "name"}));
      if (it == left.end()) continue;
      const std::string uid = event.object.StringAt({"metadata", "uid"});
      const bool another = !it->second->uid.empty() && uid != it->second->uid;
      if (event.type == client::WatchEvent::Type::kDeleted || another) left.erase(it);
    }
  }
  return OkStatus();
}

Status AwaitAll(Context& context, client::ApiClient& api, const std::vector<Victim>& victims) {
  const Duration wait = context.options().timeout.value_or(Duration::zero());
  const MonotonicTime deadline =
      Clock::Real().Monotonic() + (wait > Duration::zero() ? wait : kForever);
  std::map<std::string, std::vector<const Victim*>> groups;
  for (const Victim& victim : victims) {
    if (!victim.gone) groups[victim.resource.CollectionPath(victim.ns)].push_back(&victim);
  }
  for (const auto& [path, group] : groups)
    RETURN_IF_ERROR(AwaitGone(context, api, group, deadline));
  return OkStatus();
}

}  // namespace

int Delete(Context& context) {
  const Options& options = context.options();
  if (const std::string bad = CheckFlags(options); !bad.empty()) return context.FailText(bad);
  if (options.files.empty() && options.args.empty()) {
    return context.FailText("You must provide one or more resources by argument or filename.");
  }
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  const auto resources = (*api)->Resources();
  if (!resources.ok()) return context.Fail(resources.status());
  int code = 0;
  std::vector<Victim> victims;
  if (!options.files.empty()) {
    victims = VictimsOfFiles(context, **api, code);
  } else {
    auto found = VictimsOfArgs(context);
    if (!found.ok()) return context.Fail(found.status());
    victims = std::move(found).value();
    if (victims.empty()) context.Complain("No resources found\n");
  }
  if (options.force && !victims.empty()) {
    context.Complain(
        "Warning: Immediate deletion leaves no time to end in good order; isla still waits for the "
        "proof that nothing runs any more.\n");
  }
  const json::Value body = DeleteOptionsOf(options);
  for (Victim& victim : victims) code = std::max(code, Order(context, **api, body, victim));
  context.io().Flush();
  if (!options.wait || options.dry_run != DryRun::kNone) return code;
  const Status gone = AwaitAll(context, **api, victims);
  return gone.ok() ? code : context.Fail(gone);
}

}  // namespace isla::cli
