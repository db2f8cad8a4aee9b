// The only file that includes CLI11 (4.6 s to compile).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <charconv>
#include <functional>
#include <memory>

#include "api/object/field_error.h"
#include "api/object/quantity.h"
#include "cli/command_table.h"
#include "cli/options.h"

namespace isla::cli {
namespace {

using Names = std::vector<std::string>;

/// Text of flags that are converted after parsing, so that every error reads the same.
struct Raw {
  std::string request_timeout, verbosity, dry_run, timeout, grace_period, tail, since, revision;
};

void Text(CLI::App& app, const std::string& names, std::string& value, const std::string& about) {
  app.add_option(names, value, about)->take_last();
}

void List(CLI::App& app, const std::string& names, Names& values, const std::string& about) {
  app.add_option(names, values, about)->allow_extra_args(false);
}

void Flag(CLI::App& app, const std::string& names, bool& value, const std::string& about) {
  app.add_flag(names, value, about)->take_last();
}

void AddGlobals(CLI::App& app, Options& o, Raw& raw) {
  Text(app, "-s,--server", o.connection.server, "the server: https://host:port or unix:/path");
  Text(app, "--socket", o.connection.socket, "the server's unix socket");
  Text(app, "--kubeconfig", o.connection.kubeconfig, "the config file (JSON)");
  Text(app, "--context", o.connection.context, "the context of the config file");
  Text(app, "-n,--namespace", o.ns, "the namespace");
  Text(app, "--request-timeout", raw.request_timeout,
       "how long one request may take: 5s, 1m; 0 = no limit (default 60s)");
  Text(app, "-v,--v", raw.verbosity,
       "show the calls to the server: 6 = one line each, 8 = heads, 9 = bodies");
}

void AddSelectors(CLI::App& app, Options& o) {
  Text(app, "-l,--selector", o.selector, "only objects with these labels: a=b,c!=d,e in (x,y)");
  Text(app, "--field-selector", o.field_selector,
       "only objects with these fields: metadata.name=x");
  Flag(app, "-A,--all-namespaces", o.all_namespaces, "in all namespaces");
}

void AddFiles(CLI::App& app, Options& o) {
  List(app, "-f,--filename", o.files,
       "a manifest, a folder of manifests, or - for standard input; may be repeated");
  Flag(app, "-R,--recursive", o.recursive, "folders of folders too");
}

void AddOutput(CLI::App& app, Options& o, const std::string& formats) {
  Text(app, "-o,--output", o.output, "one of: " + formats);
}

void AddArgs(CLI::App& app, Options& o) { app.add_option("args", o.args)->group(""); }

void AddDryRun(CLI::App& app, Raw& raw) {
  Text(app, "--dry-run", raw.dry_run,
       "'server': the server says what it would do; 'client': only print; 'none'");
}

void AddRun(CLI::App& app, Options& o) {
  RunOptions& r = o.run;
  Text(app, "--name", r.name, "the session's name (default: run- and five letters)");
  Text(app, "--image", r.image, "the root file system: host (default) or dir:/path");
  Text(app, "--cpu", r.cpu, "CPUs: 2, 500m");
  Text(app, "--memory", r.memory, "memory: 64Mi, 2Gi");
  Text(app, "--timeout", r.timeout, "end it after so long: 30s, 1h");
  Text(app, "--network", r.network, "none (default) or host");
  Text(app, "-w,--workdir", r.workdir, "the folder to start in");
  List(app, "-e,--env", r.env,
       "NAME=VALUE, or NAME to pass on one of this shell's; may be repeated");
  List(app, "--mount", r.mounts,
       "HOST:CONTAINER[:ro|rw]: a folder of the node (default ro); may be repeated");
  List(app, "-l,--label", r.labels, "NAME=VALUE: a label; may be repeated");
  List(app, "--node-selector", r.node_selector,
       "NAME=VALUE: only nodes with this label; may be repeated");
  Flag(app, "--rm", r.remove, "delete the session when it has ended");
  Flag(app, "-d,--detach", r.detach, "don't wait: print the session's name");
  Flag(app, "-q,--quiet", r.quiet, "print nothing but the command's output");
}

void AddCommandFlags(CLI::App& app, const std::string& command, Options& o, Raw& raw) {
  if (command == "apply" || command == "create") {
    AddFiles(app, o);
    AddDryRun(app, raw);
    AddOutput(app, o, "name, json, yaml");
  } else if (command == "get") {
    AddSelectors(app, o);
    AddOutput(app, o, "wide, json, yaml, name, jsonpath=EXPRESSION");
    Flag(app, "-w,--watch", o.watch, "go on with a row for each change");
    Flag(app, "--watch-only", o.watch_only, "only the changes from now on");
    Flag(app, "--output-watch-events", o.watch_events, "with -w: a column with the kind of change");
    Flag(app, "--no-headers", o.no_headers, "no line of headers");
    Flag(app, "--show-labels", o.show_labels, "a column with the labels");
    Flag(app, "--ignore-not-found", o.ignore_not_found, "no error if an object doesn't exist");
  } else if (command == "describe") {
    AddSelectors(app, o);
  } else if (command == "delete") {
    AddFiles(app, o);
    AddSelectors(app, o);
    AddDryRun(app, raw);
    AddOutput(app, o, "name");
    Flag(app, "--all", o.all, "every object of the type in the namespace");
    Flag(app, "--wait", o.wait, "wait until they are gone (default true)");
    Flag(app, "--now", o.now, "with one second to end (as --grace-period=1)");
    Flag(app, "--force", o.force, "without time to end (as --grace-period=0)");
    Flag(app, "--ignore-not-found", o.ignore_not_found, "no error if an object doesn't exist");
    Text(app, "--grace-period", raw.grace_period,
         "seconds from SIGTERM to SIGKILL; -1 = the object's own (default)");
    Text(app, "--timeout", raw.timeout, "how long to wait; 0 = until they are gone (default)");
  } else if (command == "logs") {
    Flag(app, "-f,--follow", o.follow, "go on until the session ends");
    Flag(app, "--timestamps", o.timestamps, "each line with its time");
    Text(app, "--tail", raw.tail, "only so many of the last lines; -1 = all (default)");
    Text(app, "--since", raw.since, "only what is younger: 30s, 2h");
  } else if (command == "wait") {
    Text(app, "--for", o.wait_for,
         "delete, condition=NAME[=VALUE], phase=PHASE[,PHASE] or jsonpath={.path}[=VALUE]");
    Text(app, "--timeout", raw.timeout,
         "how long to wait; 0 = look once, less than 0 = a week (default 30s)");
    Flag(app, "--all", o.all, "every object of the type in the namespace");
    AddSelectors(app, o);
    AddOutput(app, o, "name");
  } else if (command == "run") {
    AddRun(app, o);
    AddDryRun(app, raw);
    AddOutput(app, o, "name, json, yaml (with --dry-run or --detach)");
  } else if (command == "version") {
    Flag(app, "--client", o.client_only, "only this program's version");
    AddOutput(app, o, "json, yaml");
  } else if (command == "api-resources") {
    AddOutput(app, o, "wide, name");
    Flag(app, "--no-headers", o.no_headers, "no line of headers");
  } else if (command == "store") {
    Flag(app, "--seal", o.store.seal, "export: close the store first, so that nothing happens in it after what is exported");
    Flag(app, "--replace", o.store.replace, "import: delete what the store has, but its registered nodes");
    Flag(app, "--keep-invalid", o.store.keep_invalid, "import: take values that make no sense as they are");
    List(app, "-f,--filename", o.files, "put: the file with the value, or - for standard input");
    Text(app, "--revision", raw.revision, "put: the revision of what it replaces; 0 = the key isn't there (default)");
    Flag(app, "--force", o.force, "put: also where controllers rely on having written it themselves");
    AddDryRun(app, raw);
    AddOutput(app, o, "json; name (list)");
  } else if (command == "config") {
    Text(app, "--group", o.config.group, "the settings of this group of nodes");
    Text(app, "--node", o.config.node, "the settings of this node");
    Text(app, "--prefix", o.config.prefix, "get, list, explain: only what lies below, as agent/log");
    Flag(app, "--schema", o.config.schema, "list: the settings that exist, with their values and defaults");
    Text(app, "--resource-version", o.config.resource_version,
         "set, unset: only if the setting still has this version; 0 = only if it isn't set. Of several: "
         "NAME=VERSION,NAME=VERSION");
    Flag(app, "-w,--watch", o.watch, "list: go on with a row for each change");
    Flag(app, "--watch-only", o.watch_only, "list: only the changes from now on");
    AddDryRun(app, raw);
    AddOutput(app, o, "table, json, yaml");
    Flag(app, "--no-headers", o.no_headers, "no line of headers");
    Flag(app, "--raw", o.raw, "view: with secrets");
  }
  AddArgs(app, o);
}

/// "-n=x" is "-n x", as kubectl takes it.
Names Split(const Names& args) {
  Names out;
  for (const std::string& arg : args) {
    const bool short_with_value = arg.size() > 2 && arg[0] == '-' &&
                                  std::isalpha(static_cast<unsigned char>(arg[1])) && arg[2] == '=';
    if (short_with_value) {
      out.push_back(arg.substr(0, 2));
      out.push_back(arg.substr(3));
    } else {
      out.push_back(arg);
    }
  }
  return out;
}

Names LongFlags(const CLI::App& app) {
  Names out;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) out.push_back(name);
  }
  return out;
}

std::string FlagLine(const CLI::Option& option) {
  std::string names = option.get_snames().empty() ? "    " : "-" + option.get_snames()[0] + ", ";
  names += "--" + option.get_lnames()[0];
  if (option.get_items_expected_max() > 0) names += "=...";
  return fmt::format("    {:<30} {}\n", names, option.get_description());
}

std::string RootHelp(const CLI::App& root) {
  std::string out =
      "isla runs compute sessions on a group of machines: say in a manifest what should run, and "
      "see what does.\n\n"
      "Commands:\n";
  for (const CommandText& command : Commands()) {
    if (!command.brief.empty()) out += fmt::format("  {:<15} {}\n", command.name, command.brief);
  }
  out += "\nFlags of every command:\n";
  for (const CLI::Option* option : root.get_options()) out += FlagLine(*option);
  return out +
         "\nUsage:\n  isla [command] [flags]\n\nUse \"isla <command> --help\" for more about a "
         "command.\n";
}

std::string CommandHelp(const CLI::App& app, const CLI::App& root, const CommandText& text) {
  std::string out = fmt::format("{}\n\nExamples:\n{}\n", text.about, text.examples);
  const auto& global = LongFlags(root);
  std::string flags;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_lnames().empty()) continue;
    if (std::find(global.begin(), global.end(), option->get_lnames()[0]) == global.end())
      flags += FlagLine(*option);
  }
  if (!flags.empty()) out += "\nFlags:\n" + flags;
  return out +
         fmt::format("\nUsage:\n  isla {}\n\nUse \"isla --help\" for the flags of every command.\n",
                     text.usage);
}

std::string UnknownCommand(const std::string& word) {
  std::string out = fmt::format("error: unknown command \"{}\" for \"isla\"\n", word);
  const std::string near = api::Suggestion(word, CommandNames());
  if (!near.empty()) out += fmt::format("\nDid you mean this?\n\t{}\n", near);
  return out + "\nRun 'isla --help' for usage.\n";
}

std::string UnknownFlag(const std::string& flag, const CLI::App& app) {
  std::string out;
  if (flag.starts_with("--")) {
    const std::string name = flag.substr(
        2, flag.find('=') == std::string::npos ? std::string::npos : flag.find('=') - 2);
    out = fmt::format("error: unknown flag: --{}\n", name);
    const std::string near = api::Suggestion(name, LongFlags(app));
    if (!near.empty()) out += fmt::format("Did you mean --{}?\n", near);
  } else {
    out = fmt::format("error: unknown shorthand flag: '{}' in {}\n", flag.substr(1, 1), flag);
  }
  return out + fmt::format("See 'isla {} --help' for usage.\n", app.get_name());
}

/// The end of parsing: what to print, and the exit code.
struct Stop {
  std::string out;
  std::string err;
  int code = 1;
};

std::string BadValue(std::string_view value, std::string_view flag, std::string_view why) {
  return fmt::format("error: invalid argument \"{}\" for \"{}\" flag: {}\n", value, flag, why);
}

/// Go's durations; a bare number is seconds; with a minus in front too.
std::optional<Duration> ToDuration(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  int64_t seconds = 0;
  const auto bare = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (bare.ec == std::errc() && bare.ptr == text.data() + text.size()) {
    if (seconds > 10LL * 365 * 86400) return std::nullopt;
    return std::chrono::seconds(negative ? -seconds : seconds);
  }
  const auto parsed = api::ParseDuration(text);
  if (!parsed.ok()) return std::nullopt;
  return negative ? -*parsed : *parsed;
}

std::optional<int64_t> ToNumber(std::string_view text) {
  int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string Convert(const Raw& raw, Options& o) {
  std::string error;
  const auto duration = [&error](const std::string& text, std::string_view flag) -> Duration {
    const auto value = ToDuration(text);
    if (!value) error = BadValue(text, flag, "not a duration such as 30s or 1h30m");
    return value.value_or(Duration::zero());
  };
  const auto number = [&error](const std::string& text, std::string_view flag,
                               int64_t least) -> int64_t {
    const auto value = ToNumber(text);
    if (!value || *value < least)
      error = BadValue(text, flag, fmt::format("not a whole number from {}", least));
    return value.value_or(0);
  };
  if (!raw.request_timeout.empty()) {
    o.request_timeout = duration(raw.request_timeout, "--request-timeout");
    if (o.request_timeout <= Duration::zero()) o.request_timeout = std::chrono::hours(24 * 365);
  }
  if (!raw.timeout.empty()) o.timeout = duration(raw.timeout, "--timeout");
  if (!raw.since.empty()) {
    o.since = duration(raw.since, "--since");
    if (error.empty() && o.since <= Duration::zero())
      error = BadValue(raw.since, "--since", "must be greater than 0");
  }
  if (!raw.verbosity.empty()) o.verbosity = static_cast<int>(number(raw.verbosity, "-v, --v", 0));
  if (!raw.grace_period.empty()) o.grace_period = number(raw.grace_period, "--grace-period", -1);
  if (!raw.tail.empty()) o.tail = number(raw.tail, "--tail", -1);
  if (!raw.revision.empty()) o.store.revision = number(raw.revision, "--revision", 0);
  if (raw.dry_run == "server")
    o.dry_run = DryRun::kServer;
  else if (raw.dry_run == "client")
    o.dry_run = DryRun::kClient;
  else if (!raw.dry_run.empty() && raw.dry_run != "none")
    error = fmt::format(
        "error: Invalid dry-run value ({}). Must be \"none\", \"server\", or \"client\".\n",
        raw.dry_run);
  return error;
}

/// One command's parser, alone: as subcommands of one parser, their names couldn't be names of
/// objects (CLI11 2.1 looks for subcommands among the arguments of another).
std::unique_ptr<CLI::App> AppOf(const std::string& command, Options& options, Raw& raw) {
  auto app = std::make_unique<CLI::App>("", command);
  app->set_help_flag("-h,--help", "help about this command");
  app->allow_extras();
  AddGlobals(*app, options, raw);
  AddCommandFlags(*app, command, options, raw);
  return app;
}

/// The flags in front of the command; what follows is left over.
std::unique_ptr<CLI::App> RootApp(Options& options, Raw& raw) {
  auto app = std::make_unique<CLI::App>("", "isla");
  app->set_help_flag("-h,--help", "help");
  app->prefix_command();
  AddGlobals(*app, options, raw);
  return app;
}

std::string HelpOf(const std::string& command) {
  Options options;
  Raw raw;
  const auto root = RootApp(options, raw);
  const CommandText* text = FindCommand(command);
  if (text == nullptr || text->about.empty()) return RootHelp(*root);
  return CommandHelp(*AppOf(command, options, raw), *root, *text);
}

/// False: `stop` says how it ended.
bool ParseInto(CLI::App& app, const std::string& command, Names args, Stop& stop) {
  std::reverse(args.begin(), args.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(args));
    return true;
  } catch (const CLI::CallForHelp&) {
    stop.out = HelpOf(command);
    stop.code = 0;
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string what = error.what();
    stop.err = fmt::format("error: flag needs an argument: {}\n", what.substr(0, what.find(':')));
  } catch (const CLI::ParseError& error) {
    stop.err = fmt::format("error: {}\n", error.what());
  }
  return false;
}

void Help(const Names& args, Stop& stop) {
  if (!args.empty() && FindCommand(args[0]) == nullptr) {
    stop.err = UnknownCommand(args[0]);
    return;
  }
  stop.out = HelpOf(args.empty() ? "" : args[0]);
  stop.code = 0;
}

/// `rest`: everything behind a "--", which CLI11 never sees.
std::optional<Options> Parse(const Names& args, const Names& rest, Stop& stop) {
  Options options;
  Raw raw;
  const auto root = RootApp(options, raw);
  if (!ParseInto(*root, "", args, stop)) return std::nullopt;
  Names left = root->remaining();
  if (left.empty()) {
    Help({}, stop);
    return std::nullopt;
  }
  if (FindCommand(left[0]) == nullptr) {
    stop.err = left[0].starts_with('-') && left[0].size() > 1 ? UnknownFlag(left[0], *root)
                                                              : UnknownCommand(left[0]);
    return std::nullopt;
  }
  options.command = left[0];
  stop.code = FailureCode(options.command);
  if (std::find(left.begin(), left.end(), "--dry-run") != left.end()) {
    stop.err =
        "error: --dry-run flag without a value was specified. A value must be set: \"none\", "
        "\"server\", or \"client\".\n";
    return std::nullopt;
  }
  left.erase(left.begin());
  const auto app = AppOf(options.command, options, raw);
  if (!ParseInto(*app, options.command, left, stop)) return std::nullopt;
  if (const Names extra = app->remaining(); !extra.empty()) {
    stop.err = UnknownFlag(extra[0], *app);
    return std::nullopt;
  }
  if (options.command == "help") {
    Help(options.args, stop);
    return std::nullopt;
  }
  stop.err = Convert(raw, options);
  if (!stop.err.empty()) return std::nullopt;
  Names& to = options.command == "run" ? options.run.command : options.args;
  if (options.command == "run") to = std::exchange(options.args, {});
  to.insert(to.end(), rest.begin(), rest.end());
  return options;
}

}  // namespace

std::vector<std::string> CommandNames() {
  Names out;
  for (const CommandText& command : Commands()) {
    if (!command.brief.empty()) out.emplace_back(command.name);
  }
  return out;
}

std::vector<std::string> FlagNames(const std::string& command) {
  if (FindCommand(command) == nullptr) return {};
  Options options;
  Raw raw;
  Names out = LongFlags(*AppOf(command, options, raw));
  for (std::string& name : out) name = "--" + name;
  return out;
}

int FailureCode(std::string_view command) {
  // Else it would be taken for the status of the command that is run.
  return command == "run" ? kRunFailed : 1;
}

std::optional<Options> ParseCommandLine(const std::vector<std::string>& args, Io& io,
                                        int& exit_code) {
  if (!args.empty() && args[0] == "__complete") {
    // Its words are those of another command line.
    Options options;
    options.command = "__complete";
    options.args.assign(args.begin() + 1, args.end());
    return options;
  }
  Stop stop;
  const auto dashes = std::find(args.begin(), args.end(), "--");
  const Names before(args.begin(), dashes);
  const Names behind(dashes == args.end() ? dashes : dashes + 1, args.end());
  std::optional<Options> options = Parse(Split(before), behind, stop);
  if (options) return options;
  if (!stop.out.empty()) io.Out(stop.out);
  if (!stop.err.empty()) io.Err(stop.err);
  exit_code = stop.code;
  return std::nullopt;
}

}  // namespace isla::cli
