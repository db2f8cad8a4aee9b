// config get, set, unset, list, explain: the settings of the cluster, its groups and nodes. What exists, what is
// right and what holds is the server's to say; nothing here knows a setting.
#include <algorithm>

#include "api/client/url.h"
#include "api/client/watch.h"
#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/error_text.h"
#include "cli/name_watch.h"
#include "cli/output.h"
#include "cli/table.h"

namespace isla::cli {
namespace {

constexpr std::string_view kPath = "/apis/isla/v1/config";

client::Parameters Selected(const Options& options, const std::string& prefix) {
  return {{"group", options.config.group}, {"node", options.config.node}, {"prefix", prefix}};
}

std::string Target(const Options& options, std::string_view part, const std::string& prefix) {
  client::Parameters parameters = Selected(options, prefix);
  if (options.dry_run == DryRun::kServer) parameters.emplace_back("dryRun", "All");
  return fmt::format("{}{}{}", kPath, part, client::Query(parameters));
}

std::string ScopeText(const Options& options) {
  if (!options.config.group.empty()) return "group " + options.config.group;
  return options.config.node.empty() ? "global" : "node " + options.config.node;
}

/// The items of an answer; none if it has none.
json::Array ItemsOf(const json::Value& answer) {
  const json::Value* items = answer.Find("items");
  return items != nullptr && items->is_array() ? items->items() : json::Array();
}

std::string Cell(const json::Value& item, std::string_view name) {
  const json::Value* value = item.Find(name);
  return value == nullptr ? "" : CellText(*value);
}

std::string Joined(const json::Value* list) {
  std::string out;
  if (list == nullptr || !list->is_array()) return out;
  for (const json::Value& item : list->items()) out += (out.empty() ? "" : ",") + CellText(item);
  return out;
}

int PrintJson(Context& context, const json::Value& value) {
  const auto text = FormatObject(value, {}, context.options().output);
  if (!text.ok()) return context.Fail(text.status());
  context.Print(*text);
  return 0;
}

bool Tabular(const Options& options) { return options.output.empty() || options.output == "table"; }

void PrintRows(Context& context, std::vector<std::vector<std::string>> rows, std::vector<std::string> header) {
  if (!context.options().no_headers) rows.insert(rows.begin(), std::move(header));
  if (!rows.empty()) context.Print(Columns().Format(rows));
}

/// Of what is set in a scope; names and versions are metadata, as those of objects.
std::string NameOf(const json::Value& item) { return item.StringAt({"metadata", "name"}); }

std::vector<std::string> RowOf(const json::Value& item) {
  const std::string error = Cell(item, "error");
  return {NameOf(item), Cell(item, "value"), item.StringAt({"metadata", "resourceVersion"}),
          error.empty() ? "" : "ignored: " + error};
}

/// One setting's value alone, for scripts; several as a table, or as a tree.
int GetValues(Context& context, client::ApiClient& api) {
  const Options& options = context.options();
  const bool named = options.args.size() == 2 && options.config.prefix.empty();
  if (!named && (options.args.size() != 1 || options.config.prefix.empty()))
    return context.FailText("expected 'config get NAME', one setting or what lies above some");
  const std::string& name = named ? options.args[1] : options.config.prefix;
  const auto answer = api.Get(Target(options, "", name));
  if (!answer.ok()) return context.Fail(answer.status());
  const json::Array items = ItemsOf(*answer);
  if (items.empty()) {
    return context.FailText(fmt::format("{} is not set in the scope {}; 'isla config explain {}' shows what holds", name,
                                        ScopeText(options), name));
  }
  const bool one = items.size() == 1 && NameOf(items[0]) == name;
  if (Tabular(options) && !one) {
    std::vector<std::vector<std::string>> rows;
    for (const json::Value& item : items) rows.push_back(RowOf(item));
    PrintRows(context, std::move(rows), {"NAME", "VALUE", "RESOURCEVERSION", "NOTE"});
    return 0;
  }
  for (const json::Value& item : items) {
    if (const std::string error = Cell(item, "error"); !error.empty())
      context.Complain(fmt::format("Warning: {} is ignored: {}\n", Printable(NameOf(item)), Printable(error)));
  }
  if (Tabular(options)) {
    context.Print(Printable(Cell(items[0], "value")) + "\n");
    return 0;
  }
  const json::Value* shown = one ? items[0].Find("value") : answer->Find("tree");
  return PrintJson(context, shown == nullptr ? *answer : *shown);
}

int ListSchema(Context& context, client::ApiClient& api) {
  const auto answer = api.Get(std::string(kPath) + "/schema");
  if (!answer.ok()) return context.Fail(answer.status());
  if (!Tabular(context.options())) return PrintJson(context, *answer);
  std::vector<std::vector<std::string>> rows;
  for (const json::Value& item : ItemsOf(*answer)) {
    rows.push_back({Cell(item, "name"), Cell(item, "expected"), Cell(item, "default"), Joined(item.Find("scopes")),
                    Cell(item, "description") + "; applies " + Cell(item, "applies")});
  }
  PrintRows(context, std::move(rows), {"NAME", "VALUE", "DEFAULT", "SCOPES", "DESCRIPTION"});
  return 0;
}

/// The rows of a list that goes on.
class ListPrinter {
 public:
  explicit ListPrinter(Context& context) : context_(context) {}

  /// `items`: of the list that the watch goes on from.
  int Begin(const json::Array& items) {
    if (!Tabular(context_.options())) {
      for (const json::Value& item : items) {
        if (const int code = PrintEvent(client::WatchEvent::Type::kAdded, item); code != 0) return code;
      }
      return 0;
    }
    std::vector<std::vector<std::string>> rows;
    if (!context_.options().no_headers) rows.push_back({"NAME", "VALUE", "RESOURCEVERSION", "NOTE"});
    for (const json::Value& item : items) rows.push_back(RowOf(item));
    if (!rows.empty()) context_.Print(columns_.Format(rows));
    return 0;
  }
  int Change(const client::WatchEvent& event) {
    if (!Tabular(context_.options())) return PrintEvent(event.type, event.object);
    std::vector<std::string> row = RowOf(event.object);
    if (event.type == client::WatchEvent::Type::kDeleted) row = {row[0], "", row[2], "unset"};
    context_.Print(columns_.Format({row}));
    return 0;
  }

 private:
  int PrintEvent(client::WatchEvent::Type type, const json::Value& item) {
    return PrintJson(context_, json::Value::MakeObject({{"type", client::WatchTypeName(type)}, {"object", item}}));
  }

  Context& context_;
  Columns columns_;
};

/// What is set, and then each change of it.
int FollowList(Context& context, client::ApiClient& api) {
  const Options& options = context.options();
  client::WatchSpec spec;
  spec.collection = kPath;
  spec.parameters = Selected(options, options.config.prefix);
  spec.on_outage = [&context](const std::string& why) { TellOutage(context, why); };
  const auto list = client::Watch::List(api, spec);
  if (!list.ok()) return context.Fail(list.status());
  ListPrinter printer(context);
  if (const int code = printer.Begin(options.watch_only ? json::Array() : ItemsOf(*list)); code != 0) return code;
  context.io().Flush();
  client::Watch watch(api, std::move(spec), *list);
  for (;;) {
    const auto events = watch.Next(kForever);
    if (!events.ok()) return context.Fail(events.status());
    for (const client::WatchEvent& event : *events) {
      if (const int code = printer.Change(event); code != 0) return code;
    }
    context.io().Flush();
  }
}

int List(Context& context, client::ApiClient& api) {
  const Options& options = context.options();
  if (options.args.size() != 1) return context.FailText("expected 'config list' without names; --prefix selects some");
  if (options.config.schema) return ListSchema(context, api);
  if (options.watch || options.watch_only) return FollowList(context, api);
  const auto answer = api.Get(Target(options, "", options.config.prefix));
  if (!answer.ok()) return context.Fail(answer.status());
  if (!Tabular(options)) return PrintJson(context, *answer);
  std::vector<std::vector<std::string>> rows;
  for (const json::Value& item : ItemsOf(*answer)) rows.push_back(RowOf(item));
  if (rows.empty()) {
    context.Complain(fmt::format("Nothing is set in the scope {}.\n", ScopeText(options)));
    return 0;
  }
  PrintRows(context, std::move(rows), {"NAME", "VALUE", "RESOURCEVERSION", "NOTE"});
  return 0;
}

/// "global: info; group/gpu: 7 (ignored: ...)".
std::string Overridden(const json::Value& item) {
  std::string out;
  const json::Value* list = item.Find("overridden");
  if (list == nullptr || !list->is_array()) return out;
  for (const json::Value& other : list->items()) {
    out += fmt::format("{}{}: {}", out.empty() ? "" : "; ", Cell(other, "source"), Cell(other, "value"));
    if (const std::string error = Cell(other, "error"); !error.empty()) out += " (ignored: " + error + ")";
  }
  return out;
}

int Explain(Context& context, client::ApiClient& api) {
  const Options& options = context.options();
  if (options.args.size() > 2) return context.FailText("expected 'config explain [NAME]'");
  const std::string name = options.args.size() == 2 ? options.args[1] : options.config.prefix;
  const auto answer = api.Get(Target(options, "/effective", name));
  if (!answer.ok()) return context.Fail(answer.status());
  if (!Tabular(options)) return PrintJson(context, *answer);
  std::vector<std::vector<std::string>> rows;
  for (const json::Value& item : ItemsOf(*answer)) {
    rows.push_back({Cell(item, "name"), item.Find("value") == nullptr ? "<none>" : Cell(item, "value"), Cell(item, "source"),
                    item.Find("default") == nullptr ? "<none>" : Cell(item, "default"), Overridden(item)});
  }
  PrintRows(context, std::move(rows), {"NAME", "VALUE", "SOURCE", "DEFAULT", "OVERRIDDEN"});
  return 0;
}

/// What is JSON is taken as it is, anything else as a string.
json::Value ReadValue(const std::string& text) {
  auto value = json::Parse(text);
  return value.ok() && !value->is_null() ? *std::move(value) : json::Value(text);
}

/// Of --resource-version: a version for the one setting, or NAME=VERSION,... "" or what is wrong.
std::string ReadVersions(const std::string& text, const json::Value& values, json::Value& versions) {
  versions = json::Value::MakeObject();
  if (text.find('=') == std::string::npos) {
    if (values.members().size() != 1) return "--resource-version of several settings is NAME=VERSION,NAME=VERSION";
    versions.Set(values.members()[0].name, text);
    return "";
  }
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string one = text.substr(at, comma - at);
    const size_t equals = one.find('=');
    if (equals == std::string::npos) return fmt::format("--resource-version: '{}' is not NAME=VERSION", one);
    const std::string name = one.substr(0, equals);
    if (values.Find(name) == nullptr) return fmt::format("--resource-version: '{}' isn't one that is to be changed", name);
    if (versions.Find(name) != nullptr) return fmt::format("--resource-version: '{}' is given twice", name);
    versions.Set(name, one.substr(equals + 1));
    at = comma + 1;
  }
  return "";
}

int Write(Context& context, client::ApiClient& api, json::Value values) {
  const Options& options = context.options();
  json::Value body = json::Value::MakeObject();
  if (!options.config.resource_version.empty()) {
    json::Value versions;
    const std::string wrong = ReadVersions(options.config.resource_version, values, versions);
    if (!wrong.empty()) return context.FailText(wrong);
    body.Set("preconditions", std::move(versions));
  }
  body.Set("values", values);
  const auto answer = api.MergePatch(Target(options, "", ""), body);
  if (!answer.ok()) return context.Fail(answer.status());
  if (!Tabular(options)) return PrintJson(context, *answer);
  std::vector<std::string> changed;
  const json::Value* list = answer->Find("changed");
  if (list != nullptr && list->is_array()) {
    for (const json::Value& item : list->items()) changed.push_back(CellText(item));
  }
  for (const json::Member& member : values.members()) {
    const bool did = std::find(changed.begin(), changed.end(), member.name) != changed.end();
    context.Print(fmt::format("{} {}{}\n", member.name, !did ? "unchanged" : member.value.is_null() ? "unset" : "set",
                              options.dry_run == DryRun::kServer ? " (server dry run)" : ""));
  }
  return 0;
}

int Set(Context& context, client::ApiClient& api) {
  const auto& args = context.options().args;
  if (args.size() < 2) return context.FailText("expected 'config set NAME=VALUE...'");
  json::Value values = json::Value::MakeObject();
  for (size_t i = 1; i < args.size(); ++i) {
    const size_t equals = args[i].find('=');
    if (equals == std::string::npos || equals == 0) {
      return context.FailText(fmt::format("'{}' is not NAME=VALUE", args[i]));
    }
    const std::string name = args[i].substr(0, equals);
    if (values.Find(name) != nullptr) return context.FailText(fmt::format("'{}' is given twice", name));
    values.Set(name, ReadValue(args[i].substr(equals + 1)));
  }
  return Write(context, api, std::move(values));
}

int Unset(Context& context, client::ApiClient& api) {
  const auto& args = context.options().args;
  if (args.size() < 2) return context.FailText("expected 'config unset NAME...'");
  json::Value values = json::Value::MakeObject();
  for (size_t i = 1; i < args.size(); ++i) {
    if (args[i].find('=') != std::string::npos) return context.FailText(fmt::format("'{}' has a value: unset takes names alone", args[i]));
    values.Set(args[i], json::Value());
  }
  return Write(context, api, std::move(values));
}

}  // namespace

int Config(Context& context) {
  const Options& options = context.options();
  const std::string what = options.args.empty() ? "" : options.args[0];
  if (what == "view" || what == "get-contexts" || what == "current-context") return ConfigFile(context);
  int (*command)(Context&, client::ApiClient&) = what == "get"       ? GetValues
                                                 : what == "set"     ? Set
                                                 : what == "unset"   ? Unset
                                                 : what == "list"    ? List
                                                 : what == "explain" ? Explain
                                                                     : nullptr;
  if (command == nullptr) {
    return context.FailText(
        "expected 'config get', 'set', 'unset', 'list' or 'explain' for the settings of the cluster, or 'config view', "
        "'current-context' or 'get-contexts' for this user's config file, which is changed with an editor");
  }
  if (const std::string bad = CheckFormat(options.output, {"json", "table", "yaml"}); !bad.empty())
    return context.FailText(bad);
  if (!options.config.group.empty() && !options.config.node.empty())
    return context.FailText("--group and --node are two scopes: name one");
  if (options.dry_run == DryRun::kClient) return context.FailText("config has --dry-run=server only");
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  return command(context, **api);
}

}  // namespace isla::cli
