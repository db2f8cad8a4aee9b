#include "cli/name_watch.h"

#include <strings.h>

#include "cli/error_text.h"

namespace isla::cli {
namespace {

client::WatchSpec SpecOf(Context& context, const client::Resource& resource, const std::string& ns,
                         const std::string& name) {
  client::WatchSpec spec;
  spec.collection = resource.CollectionPath(ns);
  spec.field_selector = "metadata.name=" + name;
  spec.on_outage = [&context](const std::string& why) { TellOutage(context, why); };
  return spec;
}

}  // namespace

void TellOutage(Context& context, const std::string& why) {
  context.io().Flush();
  context.Complain(fmt::format("Warning: {}; trying again until it is back\n", Printable(why)));
}

NameWatch::NameWatch(Context&, client::ApiClient& api, const client::WatchSpec& spec,
                     const json::Value& list)
    : watch_(std::make_unique<client::Watch>(api, spec, list)) {
  const json::Value* items = list.Find("items");
  if (items != nullptr && items->is_array() && !items->items().empty()) See(items->items()[0]);
}

StatusOr<NameWatch> NameWatch::Open(Context& context, const client::Resource& resource,
                                    const std::string& ns, const std::string& name) {
  ASSIGN_OR_RETURN(client::ApiClient * api, context.Api());
  const client::WatchSpec spec = SpecOf(context, resource, ns, name);
  ASSIGN_OR_RETURN(const json::Value list, client::Watch::List(*api, spec));
  return NameWatch(context, *api, spec, list);
}

NameWatch NameWatch::From(Context& context, const client::Resource& resource, const std::string& ns,
                          json::Value object) {
  const auto api = context.Api();
  ISLA_CHECK_OK(api);  // it has just been used
  const client::WatchSpec spec =
      SpecOf(context, resource, ns, object.StringAt({"metadata", "name"}));
  json::Value list = json::Value::MakeObject();
  list.Member("metadata").Set("resourceVersion", object.StringAt({"metadata", "resourceVersion"}));
  list.Set("items", json::Value::MakeArray({std::move(object)}));
  return NameWatch(context, **api, spec, list);
}

void NameWatch::See(const json::Value& object) {
  const std::string uid = object.StringAt({"metadata", "uid"});
  if (uid_.empty()) uid_ = uid;
  if (uid == uid_)
    object_ = object;
  else
    object_.reset();
}

Status NameWatch::Next(Duration wait) {
  ASSIGN_OR_RETURN(const std::vector<client::WatchEvent> events, watch_->Next(wait));
  for (const client::WatchEvent& event : events) {
    if (event.type == client::WatchEvent::Type::kDeleted)
      object_.reset();
    else
      See(event.object);
  }
  return OkStatus();
}

std::string PhaseOf(const json::Value& object) { return object.StringAt({"status", "phase"}); }

bool IsFinal(const std::string& phase) {
  return phase == "Succeeded" || phase == "Failed" || phase == "Cancelled";
}

bool HasStarted(const json::Value& object) {
  const std::string phase = PhaseOf(object);
  return phase == "Running" || phase == "Terminating" || IsFinal(phase);
}

const json::Value* ConditionOf(const json::Value& object, std::string_view type) {
  const json::Value* conditions = object.FindPath({"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return nullptr;
  for (const json::Value& condition : conditions->items()) {
    const std::string name = condition.StringAt({"type"});
    if (name.size() == type.size() && strncasecmp(name.data(), type.data(), type.size()) == 0)
      return &condition;
  }
  return nullptr;
}

std::string PendingReason(const json::Value& object) {
  const std::string phase = PhaseOf(object);
  std::string reason = object.StringAt({"status", "reason"});
  std::string message = object.StringAt({"status", "message"});
  const json::Value* scheduled = ConditionOf(object, "Scheduled");
  if (scheduled != nullptr && scheduled->StringAt({"status"}) != "True") {
    reason = scheduled->StringAt({"reason"}, reason);
    message = scheduled->StringAt({"message"}, message);
  }
  std::string text = phase.empty() ? "no controller has seen it yet" : phase;
  if (!reason.empty()) text += ": " + reason;
  if (!message.empty()) text += ": " + message;
  return Printable(text);
}

}  // namespace isla::cli
