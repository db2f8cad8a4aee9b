// apply and create.
#include "api/client/api_error.h"
#include "api/client/url.h"
#include "api/object/field_error.h"
#include "api/object/object.h"
#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/manifest.h"
#include "cli/output.h"
#include "cli/targets.h"
#include "cli/three_way.h"

namespace isla::cli {
namespace {

// As kubectl names itself, so that either can take over the other's objects.
constexpr std::string_view kApplyManager = "kubectl-client-side-apply";
constexpr std::string_view kCreateManager = "kubectl-create";

/// An object that is on its way: what the manifest says, and where it goes.
struct Outgoing {
  const Manifest* manifest = nullptr;
  client::Resource resource;
  std::string ns;
  json::Value object;
};

std::string Suffix(DryRun dry_run) {
  switch (dry_run) {
    case DryRun::kServer:
      return " (server dry run)";
    case DryRun::kClient:
      return " (dry run)";
    case DryRun::kNone:
      return "";
  }
  return "";
}

std::string WriteQuery(std::string_view manager, DryRun dry_run) {
  return client::Query({{"dryRun", dry_run == DryRun::kServer ? "All" : ""},
                        {"fieldManager", std::string(manager)},
                        {"fieldValidation", "Strict"}});
}

StatusOr<Outgoing> Prepare(Context& context, client::ApiClient& api, const Manifest& manifest) {
  Outgoing out;
  out.manifest = &manifest;
  out.object = manifest.object;
  auto resource = ResourceOfKind(api, manifest.object.StringAt({"apiVersion"}), manifest.kind());
  if (!resource.ok()) {
    if (resource.status().code() != Code::kNotFound || client::ApiErrorOf(resource.status()))
      return resource.status();
    std::vector<std::string> kinds;
    ASSIGN_OR_RETURN(const auto* all, api.Resources());
    for (const client::Resource& known : *all) kinds.push_back(known.kind);
    const std::string near = api::Suggestion(manifest.kind(), kinds);
    return Errorf(
        Code::kNotFound, "unable to recognize \"{}\": {}{}{}", manifest.source,
        Message(resource.status()), manifest.Place("kind"),
        near.empty() || near == manifest.kind() ? "" : fmt::format("; did you mean \"{}\"?", near));
  }
  out.resource = std::move(resource).value();
  json::Value* metadata = out.object.Find("metadata");
  if (metadata != nullptr && !metadata->is_object()) {
    return Errorf(Code::kInvalidArgument,
                  "unable to decode \"{}\": metadata: expected an object, not a {}{}",
                  manifest.source, metadata->type_name(), manifest.Place("metadata"));
  }
  if (!out.resource.namespaced) return out;
  const std::string own = manifest.object.StringAt({"metadata", "namespace"});
  if (!own.empty() && !context.options().ns.empty() && own != context.options().ns) {
    return Errorf(Code::kInvalidArgument,
                  "the namespace from the provided object \"{}\" does not match the namespace "
                  "\"{}\". You must pass "
                  "'--namespace={}' to perform this operation.{}",
                  own, context.options().ns, own, manifest.Place("metadata.namespace"));
  }
  out.ns = own.empty() ? context.ns() : own;
  if (own.empty()) out.object.Member("metadata").Set("namespace", out.ns);
  return out;
}

/// How it went with one manifest.
enum class Outcome { kDone, kFailed, kNoServer };

Outcome Fail(Context& context, const Status& status) {
  context.Fail(status);
  return client::FaultOf(status) != client::Fault::kNone ? Outcome::kNoServer : Outcome::kFailed;
}

Outcome PrintResult(Context& context, const Outgoing& out, const json::Value& object,
                std::string_view what) {
  const std::string& format = context.options().output;
  std::string name = object.StringAt({"metadata", "name"});
  if (name.empty()) name = out.manifest->name();
  if (format.empty()) {
    context.Print(fmt::format("{} {}{}\n", PathName(out.resource, name), what,
                              Suffix(context.options().dry_run)));
    return Outcome::kDone;
  }
  const auto text = FormatObject(object, out.resource, format);
  if (!text.ok()) return Fail(context, text.status());
  context.Print(*text);
  return Outcome::kDone;
}

Outcome FailFor(Context& context, const Outgoing& out, const Status& status, std::string_view verb) {
  if (client::FaultOf(status) != client::Fault::kNone) return Fail(context, status);
  const Manifest& manifest = *out.manifest;
  return Fail(context, WithSource(status, fmt::format("error when {} \"{}\"", verb, manifest.source),
                                  [&manifest](const std::string& field) { return manifest.Place(field); }));
}

StatusOr<json::Value> Post(client::ApiClient& api, const Outgoing& out, std::string_view manager,
                           DryRun dry_run) {
  if (dry_run == DryRun::kClient) return out.object;
  return api.Post(out.resource.CollectionPath(out.ns) + WriteQuery(manager, dry_run), out.object);
}

void WarnOf(Context& context, const Outgoing& out, const json::Value& current) {
  const std::string name = out.resource.name + "/" + out.manifest->name();
  if (!current.StringAt({"metadata", "deletionTimestamp"}).empty()) {
    context.Complain(
        fmt::format("Warning: Detected changes to resource {} which is currently being deleted.\n",
                    out.manifest->name()));
  }
  if (current.FindPath({"metadata", "annotations", kLastApplied}) == nullptr) {
    context.Complain(
        fmt::format("Warning: resource {} is missing the {} annotation which is required by isla "
                    "apply. isla apply should only be used "
                    "on resources created declaratively by isla apply or kubectl apply. The "
                    "missing annotation will be patched "
                    "automatically.\n",
                    name, kLastApplied));
  }
}

Outcome ApplyExisting(Context& context, client::ApiClient& api, const Outgoing& out,
                  const json::Value& current) {
  const DryRun dry_run = context.options().dry_run;
  const json::Value patch = ThreeWayMergePatch(LastAppliedOf(current), out.object, current);
  if (patch.members().empty()) return PrintResult(context, out, current, "unchanged");
  WarnOf(context, out, current);
  if (dry_run == DryRun::kClient)
    return PrintResult(context, out, api::MergePatch(current, patch), "configured");
  const std::string path = out.resource.ObjectPath(out.ns, out.manifest->name());
  const auto patched = api.MergePatch(path + WriteQuery(kApplyManager, dry_run), patch);
  if (!patched.ok()) return FailFor(context, out, patched.status(), "applying patch to");
  return PrintResult(context, out, *patched, "configured");
}

/// What is applied is new, as a rule, so the first call creates it; only if that is refused the object is looked for.
Outcome ApplyOne(Context& context, client::ApiClient& api, const Manifest& manifest) {
  auto prepared = Prepare(context, api, manifest);
  if (!prepared.ok()) return Fail(context, prepared.status());
  Outgoing out = std::move(prepared).value();
  if (manifest.name().empty()) {
    context.FailText(fmt::format(
        "error when applying \"{}\": metadata.name is missing{}: apply needs a name ('isla "
        "create' takes metadata.generateName)",
        manifest.source, manifest.Place("metadata.name")));
    return Outcome::kFailed;
  }
  out.object = WithLastApplied(std::move(out.object));
  const DryRun dry_run = context.options().dry_run;
  StatusOr<json::Value> created = Error(Code::kAlreadyExists, "not tried");
  for (int attempt = 0;; ++attempt) {
    if (dry_run != DryRun::kClient) {
      created = Post(api, out, kApplyManager, dry_run);
      if (created.ok()) return PrintResult(context, out, *created, "created");
      if (!client::ApiErrorOf(created.status())) return FailFor(context, out, created.status(), "creating");
    }
    const auto current = api.Get(out.resource.ObjectPath(out.ns, manifest.name()));
    if (current.ok()) return ApplyExisting(context, api, out, *current);
    if (current.status().code() != Code::kNotFound || !client::ApiErrorOf(current.status())) {
      return FailFor(context, out, current.status(), "retrieving current configuration of");
    }
    if (dry_run == DryRun::kClient) return PrintResult(context, out, out.object, "created");
    // It was there, and went in between: once more.
    const bool went = created.status().code() == Code::kAlreadyExists;
    if (!went || attempt > 0) return FailFor(context, out, created.status(), "creating");
  }
}

Outcome CreateOne(Context& context, client::ApiClient& api, const Manifest& manifest) {
  auto prepared = Prepare(context, api, manifest);
  if (!prepared.ok()) return Fail(context, prepared.status());
  const auto created = Post(api, *prepared, kCreateManager, context.options().dry_run);
  if (!created.ok()) return FailFor(context, *prepared, created.status(), "creating");
  return PrintResult(context, *prepared, *created, "created");
}

int ForEach(Context& context, std::string_view command,
            Outcome (*action)(Context& context, client::ApiClient& api, const Manifest& manifest)) {
  const Options& options = context.options();
  if (!options.args.empty()) {
    return context.FailText(fmt::format(
        "Unexpected args: [{}]\nSee 'isla {} -h' for help and examples", options.args[0], command));
  }
  if (options.files.empty())
    return context.FailText("must specify -f (a file, a folder, or - for standard input)");
  const std::string bad = CheckFormat(options.output, {"json", "name", "yaml"});
  if (!bad.empty()) return context.FailText(bad);
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  const Manifests manifests = ReadManifests(options.files, options.recursive, context.io());
  if (manifests.empty()) return context.FailText(fmt::format("no objects passed to {}", command));
  int code = 0;
  for (const auto& manifest : manifests) {
    const Outcome outcome = manifest.ok() ? action(context, **api, *manifest) : Fail(context, manifest.status());
    if (outcome != Outcome::kDone) code = 1;
    if (outcome == Outcome::kNoServer) break;  // said once, not for every manifest
  }
  return code;
}

}  // namespace

int Apply(Context& context) { return ForEach(context, "apply", ApplyOne); }
int Create(Context& context) { return ForEach(context, "create", CreateOne); }

}  // namespace isla::cli
