#include "api/server/config_handler.h"

#include <charconv>
#include <set>
#include <utility>

#include "api/base/log.h"
#include "api/object/kind.h"
#include "api/server/request_options.h"
#include "api/server/representation.h"
#include "api/server/status_json.h"

namespace isla::server {
namespace {

using config::Scope;
using config::ScopeKind;
using json::Value;

const Logger& ServerLog() {
  static const Logger log("server");
  return log;
}

StatusOr<Scope> ScopeOf(const Request& request) {
  const auto group = request.Param("group");
  const auto node = request.Param("node");
  if (group && node) return Error(Code::kInvalidArgument, "a scope is a group or a node, not both");
  Scope scope = group ? Scope::Group(*group) : node ? Scope::Node(*node) : Scope::Global();
  RETURN_IF_ERROR(config::CheckScope(scope));
  return scope;
}

StatusOr<store::Revision> ToRevision(const std::string& what, std::string_view text) {
  store::Revision revision = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), revision);
  if (error != std::errc() || end != text.data() + text.size() || revision < 0) {
    return Errorf(Code::kInvalidArgument, "{}: Invalid value: '{}': must be a revision", what, text.substr(0, 100));
  }
  return revision;
}

Value ScopeJson(const Scope& scope) {
  Value out = Value::MakeObject({{"kind", config::KindName(scope.kind)}});
  if (!scope.name.empty()) out.Set("name", scope.name);
  return out;
}

Value MetadataJson(const std::string& name, const config::Leaf& leaf) {
  return Value::MakeObject({{"name", name}, {"resourceVersion", std::to_string(leaf.revision)}});
}

Value LeafJson(const std::string& name, const config::Leaf& leaf) {
  Value out = Value::MakeObject({{"metadata", MetadataJson(name, leaf)}, {"value", leaf.value}});
  if (!leaf.error.empty()) out.Set("error", leaf.error);
  return out;
}

Value Document(const char* kind, const Scope& scope, store::Revision revision) {
  return Value::MakeObject({{"kind", kind},
                            {"apiVersion", "isla/v1"},
                            {"metadata", Value::MakeObject({{"resourceVersion", std::to_string(revision)}})},
                            {"scope", ScopeJson(scope)}});
}

Value ValuesJson(const Scope& scope, const registry::ConfigValues& values) {
  Value out = Document("Config", scope, values.revision);
  Value items = Value::MakeArray();
  std::map<std::string, Value> good;
  for (const auto& [name, leaf] : values.leaves) {
    items.Append(LeafJson(name, leaf));
    if (leaf.error.empty()) good[name] = leaf.value;
  }
  out.Set("items", std::move(items));
  out.Set("tree", config::Tree(good));
  return out;
}

Value EffectiveJson(const Scope& scope, const registry::ConfigExplained& explained) {
  Value out = Document("EffectiveConfig", scope, explained.revision);
  if (scope.kind == ScopeKind::kNode) out.Set("group", explained.group);
  Value items = Value::MakeArray();
  std::map<std::string, Value> good;
  for (const config::Effective& effective : explained.settings) {
    Value item = Value::MakeObject({{"name", effective.setting->name}});
    if (effective.value) {
      item.Set("value", *effective.value);
      good[std::string(effective.setting->name)] = *effective.value;
    }
    item.Set("source", effective.from ? config::ScopeText(*effective.from) : effective.value ? "default" : "none");
    if (const auto fallback = effective.setting->Default()) item.Set("default", *fallback);
    Value others = Value::MakeArray();
    for (const config::Origin& origin : effective.others) {
      Value other = Value::MakeObject({{"source", config::ScopeText(origin.scope)}, {"value", origin.value}});
      if (!origin.error.empty()) other.Set("error", origin.error);
      others.Append(std::move(other));
    }
    if (!others.items().empty()) item.Set("overridden", std::move(others));
    items.Append(std::move(item));
  }
  out.Set("items", std::move(items));
  out.Set("tree", config::Tree(good));
  return out;
}

Response Json(const Value& value) {
  Response response;
  response.body = json::Serialize(value);
  return response;
}

StatusOr<registry::ConfigChange> ReadChange(const Request& request) {
  ASSIGN_OR_RETURN(const registry::WriteOptions options, ParseWriteOptions(request, {}));
  ASSIGN_OR_RETURN(Value body, json::Parse(request.body));
  if (!body.is_object()) return Errorf(Code::kInvalidArgument, "the body must be a JSON object, not {}", body.type_name());
  registry::ConfigChange change;
  change.dry_run = options.dry_run;
  for (json::Member& member : body.members()) {
    const bool values = member.name == "values";
    if (!values && member.name != "preconditions") {
      return Errorf(Code::kInvalidArgument, "the body has values and preconditions, not '{}'", member.name.substr(0, 100));
    }
    if (!member.value.is_object()) {
      return Errorf(Code::kInvalidArgument, "{} must be a JSON object of settings", member.name);
    }
    for (json::Member& leaf : member.value.members()) {
      if (values) {
        if (leaf.value.is_null()) change.values[leaf.name] = std::nullopt;
        else change.values[leaf.name] = std::move(leaf.value);
      } else if (leaf.value.is_string()) {
        ASSIGN_OR_RETURN(change.preconditions[leaf.name],
                         ToRevision("preconditions." + leaf.name.substr(0, 200), leaf.value.as_string()));
      } else {
        return Errorf(Code::kInvalidArgument, "preconditions.{}: Invalid type: expected a resourceVersion as a string, not {}",
                      leaf.name.substr(0, 200), leaf.value.type_name());
      }
    }
  }
  return change;
}

/// A watch as lines of JSON, one an event, in the shape of an object's watch.
class ConfigStream final : public BodyStream {
 public:
  ConfigStream(std::unique_ptr<registry::ConfigWatch> watch, std::optional<Duration> timeout, const Clock& clock)
      : watch_(std::move(watch)), clock_(clock) {
    if (timeout) end_ = clock_.Monotonic() + *timeout;
  }
  void Notify(std::function<void()> ready) override { watch_->Notify(std::move(ready)); }
  std::optional<Duration> WakeAfter() const override {
    if (!end_) return std::nullopt;
    return *end_ - clock_.Monotonic();
  }
  bool MayEndAnywhere() const override { return true; }
  StatusOr<std::string> Next() override {
    if (ended_ || (end_ && clock_.Monotonic() >= *end_)) return Error(Code::kOutOfRange, "the end");
    const auto events = watch_->Next(Duration::zero());
    if (!events.ok()) {
      if (events.status().code() == Code::kDeadlineExceeded) return events.status();
      ended_ = true;
      if (events.status().code() == Code::kCancelled) return Error(Code::kOutOfRange, "the end");
      return EncodeErrorEvent(ErrorObject(events.status(), {}));
    }
    std::string out;
    for (const registry::ConfigEvent& event : *events) {
      out += Encode(event);
    }
    if (out.empty()) return Error(Code::kDeadlineExceeded, "nothing yet");
    return out;
  }

 private:
  static std::string Encode(const registry::ConfigEvent& event) {
    using Type = registry::ConfigEvent::Type;
    const bool deleted = event.type == Type::kDeleted;
    const char* type = deleted ? "DELETED" : event.type == Type::kAdded ? "ADDED" : "MODIFIED";
    Value object = deleted ? Value::MakeObject({{"metadata", MetadataJson(event.name, event.leaf)}})
                           : LeafJson(event.name, event.leaf);
    return json::Serialize(Value::MakeObject({{"type", type}, {"object", std::move(object)}})) + "\n";
  }

  const std::unique_ptr<registry::ConfigWatch> watch_;
  const Clock& clock_;
  std::optional<MonotonicTime> end_;
  bool ended_ = false;
};

Response Watch(const Request& request, const Scope& scope, registry::ConfigRegistry& config, const Clock& clock) {
  store::Revision from = 0;
  if (const auto text = request.Param("resourceVersion"); text && !text->empty()) {
    const auto revision = ToRevision("resourceVersion", *text);
    if (!revision.ok()) return ErrorResponse(revision.status(), {});
    from = *revision;
  }
  std::optional<Duration> timeout;
  if (const auto text = request.Param("timeoutSeconds"); text && !text->empty()) {
    const auto seconds = ToRevision("timeoutSeconds", *text);
    if (!seconds.ok()) return StatusResponse(400, "timeoutSeconds: Invalid value: must be a number of seconds");
    if (*seconds > 0) timeout = std::chrono::seconds(std::min<int64_t>(*seconds, 10 * 365 * 86400));
  }
  auto watch = config.Watch(scope, request.Param("prefix").value_or(""), from);
  if (!watch.ok()) return ErrorResponse(watch.status(), {});
  Response response;
  response.stream = std::make_unique<ConfigStream>(std::move(*watch), timeout, clock);
  return response;
}

Response Patch(const Request& request, const Scope& scope, const registry::Caller& caller,
               registry::ConfigRegistry& config) {
  const std::string type = MediaType(request);
  if (type != "application/merge-patch+json") {
    return StatusResponse(415, "the body must be application/merge-patch+json, not '" + type + "'");
  }
  const auto change = ReadChange(request);
  if (!change.ok()) return ErrorResponse(change.status(), {});
  const auto written = config.Write(scope, *change);
  if (!written.ok()) return ErrorResponse(written.status(), {});
  if (!written->changed.empty() && !change->dry_run) {
    std::string what;
    for (const std::string& name : written->changed) {
      const auto leaf = written->values.leaves.find(name);
      what += (what.empty() ? "" : ", ") + name +
              (leaf == written->values.leaves.end() ? " unset" : "=" + json::Serialize(leaf->second.value));
    }
    ServerLog().Info("configuration changed", "scope={} user='{}' revision={} changed='{}'", config::ScopeText(scope),
                     caller.user, written->values.revision, what);
  }
  Value out = ValuesJson(scope, written->values);
  Value changed = Value::MakeArray();
  for (const std::string& name : written->changed) changed.Append(name);
  out.Set("changed", std::move(changed));
  Response response = Json(out);
  for (const std::string& warning : written->warnings) {
    response.headers.emplace_back("Warning", fmt::format("299 - \"{}\"", warning));
  }
  return response;
}

}  // namespace

std::optional<ConfigRoute> ParseConfigRoute(const std::vector<std::string>& path) {
  if (path.size() < 4 || path[0] != "apis" || path[1] != api::kGroup || path[2] != api::kVersion) return std::nullopt;
  if (path[3] != "config" || path.size() > 5) return std::nullopt;
  ConfigRoute route;
  if (path.size() == 5) route.part = path[4];
  if (!route.part.empty() && route.part != "effective" && route.part != "schema") return std::nullopt;
  return route;
}

std::string ConfigVerb(const Request& request, const ConfigRoute& route) {
  if (request.method == "GET") return route.part.empty() && WantsWatch(request) ? "watch" : "get";
  return request.method == "PATCH" && route.part.empty() ? "patch" : "";
}

std::string ConfigAccessName(const Request& request) {
  const auto scope = ScopeOf(request);
  return scope.ok() ? config::ScopeText(*scope) : "";
}

Response HandleConfig(const Request& request, const ConfigRoute& route, const std::string& verb,
                      const registry::Caller& caller, registry::ConfigRegistry& config, const Clock& clock) {
  std::set<std::string> params = {"group", "node"};
  if (route.part == "schema") params.clear();
  if (verb == "patch") params.insert({"dryRun", "fieldValidation", "fieldManager"});
  else if (route.part != "schema") params.insert("prefix");
  if (route.part.empty() && verb != "patch") params.insert({"watch", "resourceVersion", "timeoutSeconds", "allowWatchBookmarks"});
  if (const Status ok = CheckParams(request, params); !ok.ok()) return ErrorResponse(ok, {});
  if (const std::string watch = request.Param("watch").value_or("false"); verb != "watch" && watch != "false" && watch != "0") {
    return StatusResponse(400, "watch: Invalid value: must be true or false");
  }
  if (route.part == "schema") {
    return Json(Value::MakeObject({{"kind", "ConfigSchema"}, {"apiVersion", "isla/v1"}, {"items", config::SchemaJson()}}));
  }
  const auto scope = ScopeOf(request);
  if (!scope.ok()) return ErrorResponse(scope.status(), {});
  if (verb == "patch") return Patch(request, *scope, caller, config);
  if (verb == "watch") return Watch(request, *scope, config, clock);
  const std::string prefix = request.Param("prefix").value_or("");
  if (route.part == "effective") {
    const auto explained = config.Explain(*scope, prefix);
    return explained.ok() ? Json(EffectiveJson(*scope, *explained)) : ErrorResponse(explained.status(), {});
  }
  const auto values = config.Read(*scope, prefix);
  return values.ok() ? Json(ValuesJson(*scope, *values)) : ErrorResponse(values.status(), {});
}

}  // namespace isla::server
