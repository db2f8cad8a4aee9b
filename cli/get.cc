// get, with and without -w.
#include "api/client/api_error.h"
#include "api/client/url.h"
#include "api/client/watch.h"
#include "cli/commands.h"
#include "cli/name_watch.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/targets.h"

namespace isla::cli {
namespace {

bool Tabular(const Options& options) { return options.output.empty() || options.output == "wide"; }

TableStyle StyleOf(const Options& options, const client::Resource& resource, bool several) {
  TableStyle style;
  style.wide = options.output == "wide";
  style.headers = !options.no_headers;
  style.ns = options.all_namespaces && resource.namespaced;
  style.labels = options.show_labels;
  if (several) style.name_prefix = PathName(resource, "");
  return style;
}

/// What one type has to show: a Table or objects, and the errors of names that couldn't be had.
struct Shown {
  json::Value table;
  json::Array objects;
  std::vector<Status> errors;
};

void AddAnswer(json::Value answer, bool table, bool list, Shown& shown) {
  if (table) {
    json::Value* rows = answer.Find("rows");
    json::Value* have = shown.table.Find("rows");
    if (have == nullptr || !have->is_array() || rows == nullptr || !rows->is_array()) {
      if (shown.table.is_null()) shown.table = std::move(answer);
      return;
    }
    for (json::Value& row : rows->items()) have->Append(std::move(row));
    return;
  }
  if (!list) {
    shown.objects.push_back(std::move(answer));
    return;
  }
  json::Value* items = answer.Find("items");
  if (items == nullptr || !items->is_array()) return;
  for (json::Value& item : items->items()) shown.objects.push_back(std::move(item));
}

StatusOr<Shown> Fetch(Context& context, client::ApiClient& api, const Target& target) {
  Shown shown;
  const bool table = Tabular(context.options());
  const std::string_view accept = table ? client::kAcceptTable : "application/json";
  if (target.names.empty()) {
    ASSIGN_OR_RETURN(json::Value answer, ListTarget(context, target, accept));
    AddAnswer(std::move(answer), table, true, shown);
    return shown;
  }
  for (const std::string& name : target.names) {
    auto answer = api.Get(target.resource.ObjectPath(NsFor(target, context), name), accept);
    if (answer.ok()) {
      AddAnswer(std::move(answer).value(), table, false, shown);
    } else if (!client::ApiErrorOf(answer.status())) {
      return answer.status();
    } else if (answer.status().code() != Code::kNotFound || !context.options().ignore_not_found) {
      shown.errors.push_back(answer.status());
    }
  }
  return shown;
}

int PrintObjects(Context& context, const std::vector<Target>& targets, std::vector<Shown>& all) {
  const std::string& format = context.options().output;
  const bool single = targets.size() == 1 && targets[0].names.size() == 1;
  if (format == "name") {
    for (size_t i = 0; i < all.size(); ++i) {
      for (const json::Value& object : all[i].objects) {
        context.Print(PathName(targets[i].resource, object.StringAt({"metadata", "name"})) + "\n");
      }
    }
    return 0;
  }
  json::Array items;
  for (Shown& shown : all) {
    for (json::Value& object : shown.objects) items.push_back(std::move(object));
  }
  if (single && items.empty()) return 0;  // its error was said, or ignored
  const json::Value value = single ? std::move(items[0]) : ListOf(std::move(items));
  const auto text = FormatObject(value, targets[0].resource, format);
  if (!text.ok()) return context.Fail(text.status());
  context.Print(*text);
  return 0;
}

int PrintTables(Context& context, const std::vector<Target>& targets,
                const std::vector<Shown>& all) {
  bool any = false;
  bool errors = false;
  for (size_t i = 0; i < all.size(); ++i) {
    errors = errors || !all[i].errors.empty();
    if (RowCount(all[i].table) == 0) {
      // An answer that isn't a Table must not read as "nothing there".
      if (all[i].table.is_null() || all[i].table.StringAt({"kind"}) == "Table") continue;
    }
    const auto lines = TableLines(
        all[i].table, StyleOf(context.options(), targets[i].resource, targets.size() > 1));
    if (!lines.ok()) return context.Fail(lines.status());
    if (any) context.Print("\n");
    context.Print(Columns().Format(*lines));
    any = true;
  }
  const bool named = !targets[0].names.empty();
  if (any || errors || named) return 0;
  const bool scoped = targets[0].resource.namespaced && !context.options().all_namespaces;
  context.Complain(scoped ? fmt::format("No resources found in {} namespace.\n", context.ns())
                          : "No resources found\n");
  return 0;
}

/// Prints the events of one type for as long as it is let.
class Follower {
 public:
  Follower(Context& context, client::ApiClient& api, const Target& target)
      : context_(context), api_(api), target_(target), table_(Tabular(context.options())) {
    style_ = StyleOf(context.options(), target.resource, false);
    spec_.collection = target.resource.CollectionPath(NsFor(target, context));
    spec_.label_selector = context.options().selector;
    spec_.field_selector = context.options().field_selector;
    spec_.table = table_;
    spec_.on_outage = [&context](const std::string& why) { TellOutage(context, why); };
    if (!target.names.empty()) spec_.field_selector = "metadata.name=" + target.names[0];
  }

  int Run() {
    const auto list = client::Watch::List(api_, spec_);
    if (!list.ok()) return context_.Fail(list.status());
    if (!target_.names.empty() && Empty(*list)) {
      // The error of a name that isn't there is the server's to write.
      const auto object =
          api_.Get(target_.resource.ObjectPath(NsFor(target_, context_), target_.names[0]));
      if (!object.ok()) return context_.Fail(object.status());
    }
    if (!context_.options().watch_only) {
      const Status printed = PrintList(*list);
      if (!printed.ok()) return context_.Fail(printed);
    }
    client::Watch watch(api_, spec_, *list);
    for (;;) {
      const auto events = watch.Next(kForever);
      if (!events.ok()) return context_.Fail(events.status());
      for (const client::WatchEvent& event : *events) {
        const Status printed = Print(event.object, std::string(client::WatchTypeName(event.type)));
        if (!printed.ok()) return context_.Fail(printed);
      }
    }
  }

 private:
  static bool Empty(const json::Value& list) {
    const json::Value* items = list.Find("items");
    return RowCount(list) == 0 &&
           (items == nullptr || !items->is_array() || items->items().empty());
  }

  Status PrintList(const json::Value& list) {
    if (table_) return RowCount(list) == 0 ? OkStatus() : Print(list, "ADDED");
    const json::Value* items = list.Find("items");
    if (items == nullptr || !items->is_array())
      return Error(Code::kInternal, "the server's answer is not a list");
    for (const json::Value& item : items->items()) RETURN_IF_ERROR(Print(item, "ADDED"));
    return OkStatus();
  }

  Status Print(const json::Value& object, const std::string& event) {
    const bool events = context_.options().watch_events;
    if (!table_) {
      const json::Value shown =
          events ? json::Value::MakeObject({{"type", event}, {"object", object}}) : object;
      ASSIGN_OR_RETURN(const std::string text,
                       FormatObject(shown, target_.resource, context_.options().output));
      const bool yaml = context_.options().output == "yaml";
      context_.Print(yaml && !std::exchange(first_, false) ? "---\n" + text : text);
    } else {
      style_.event = events ? event : "";
      ASSIGN_OR_RETURN(const auto lines, TableLines(object, style_));
      style_.headers = false;
      context_.Print(columns_.Format(lines));
    }
    context_.io().Flush();
    return OkStatus();
  }

  Context& context_;
  client::ApiClient& api_;
  const Target& target_;
  const bool table_;
  TableStyle style_;
  client::WatchSpec spec_;
  Columns columns_;
  bool first_ = true;
};

std::string CheckArgs(const Options& options) {
  if (options.args.empty()) {
    return "Required resource not specified.\nSee 'isla get -h' for help and examples";
  }
  return CheckFormat(options.output, {"json", "name", "wide", "yaml", "jsonpath"});
}

std::string CheckTargets(const Options& options, const std::vector<Target>& targets) {
  const bool named = !targets[0].names.empty();
  if (named && (!options.selector.empty() || !options.field_selector.empty())) {
    return "name cannot be provided when a selector is specified";
  }
  if (named && options.all_namespaces)
    return "a resource cannot be retrieved by name across all namespaces";
  if (!options.watch && !options.watch_only) return "";
  if (targets.size() > 1) return "you may only specify a single resource type";
  if (targets[0].names.size() > 1)
    return "only one name can be watched: name none and use -l to watch several";
  return "";
}

}  // namespace

int Get(Context& context) {
  const Options& options = context.options();
  if (options.args.empty()) {
    context.Complain(
        "You must specify the type of resource to get. Use \"isla api-resources\" for a complete "
        "list of supported "
        "resources.\n\n");
  }
  if (const std::string bad = CheckArgs(options); !bad.empty()) return context.FailText(bad);
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  const auto targets = ParseTargets(context, options.args);
  if (!targets.ok()) return context.Fail(targets.status());
  if (const std::string bad = CheckTargets(options, *targets); !bad.empty())
    return context.FailText(bad);
  if (options.watch || options.watch_only) return Follower(context, **api, (*targets)[0]).Run();

  std::vector<Shown> all;
  for (const Target& target : *targets) {
    auto shown = Fetch(context, **api, target);
    if (!shown.ok()) return context.Fail(shown.status());
    all.push_back(std::move(shown).value());
  }
  int code =
      Tabular(options) ? PrintTables(context, *targets, all) : PrintObjects(context, *targets, all);
  for (const Shown& shown : all) {
    for (const Status& error : shown.errors) code = context.Fail(error);
  }
  return code;
}

}  // namespace isla::cli
