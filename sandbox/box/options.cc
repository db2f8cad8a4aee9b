#include "sandbox/box/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <sstream>
#include <string_view>

#include "api/base/did_you_mean.h"

namespace isla::sandbox {
namespace {

struct Command {
  const char* name;
  const char* about;
  const char* examples;
  size_t least, most;  // words after it
  const char* words;
};

constexpr size_t kAny = 1000;
constexpr Command kCommands[] = {
    {"check", "Check a policy: all its mistakes, rules that never decide, and what compiling makes of it",
     "  isla-box check web.json\n  isla-box check --arch=arm64 web.json\n  isla-box check /usr/share/containers/seccomp.json", 1, 1, "POLICY"},
    {"explain", "Say which rule of a policy decides a call, and why",
     "  isla-box explain web.json 'openat(AT_FDCWD, \"/etc/shadow\", O_RDONLY)'\n  isla-box explain web.json 'connect(3, \"10.0.0.1:443\") uid=1000'", 2, kAny, "POLICY CALL..."},
    {"test", "Run a table of calls and what should become of them (CALL -> ACTION, one a line)",
     "  isla-box test web.json web.calls", 2, 2, "POLICY TABLE"},
    {"diff", "Compare two policies by what they do, call by call, and say what it takes to change over",
     "  isla-box diff old.json new.json", 2, 2, "OLD NEW"},
    {"export", "Write a policy as an OCI seccomp profile (oci), as BPF bytes (bpf) or as a listing",
     "  isla-box export web.json > seccomp.json\n  isla-box export --output=bpf --file=web.bpf web.json", 1, 1, "POLICY"},
    {"calls", "Show system calls with their arguments, groups with their calls",
     "  isla-box calls\n  isla-box calls openat @file-open", 0, kAny, "[NAME|@GROUP]..."},
    {"run", "Run a command under a policy (the built-in default unless --policy says otherwise)",
     "  isla-box run -- make\n  isla-box run --policy=web.json --cpus=2 --memory=512m --audit=denied.jsonl -- ./server\n  isla-box run --unshare=net -- python3 script.py", 1, kAny, "-- COMMAND..."},
    {"learn", "Run a command, and make a least policy from what it does",
     "  isla-box learn -o make.json -- make\n  isla-box learn --merge make.json -o make.json -- make test\n  isla-box run --policy=make.json -- make", 1, kAny, "-- COMMAND..."},
    {"reload", "Give a running command another policy, other limits or another audit, as far as that can be done while it runs",
     "  isla-box reload 4711 --policy=new.json\n  isla-box reload 4711 --memory=2g --pids=500\n  isla-box reload 4711 --policy=new.json --dry-run\n  isla-box reload --rollback", 0, 1, "[PID]"},
    {"top", "Show what the supervisors of running commands are asked, by rule", "  isla-box top\n  isla-box top 4711 -o json", 0, 1, "[PID]"},
    {"completion", "Print the completion script of a shell: source <(isla-box completion bash)", "", 1, 1, "bash"},
    {"version", "Print the version", "", 0, 0, ""},
};

const Command* Find(const std::string& name) {
  const auto found = std::find_if(std::begin(kCommands), std::end(kCommands), [&name](const Command& each) { return each.name == name; });
  return found == std::end(kCommands) ? nullptr : &*found;
}

bool HasArch(const std::string& name) { return name == "check" || name == "explain" || name == "test" || name == "diff" || name == "export" || name == "calls"; }

bool RunsCommand(const std::string& name) { return name == "run" || name == "learn"; }

/// Adds flags to an app: all of them, or those that the words name. To make one takes CLI11 longer than reading all the words, and a start
/// of run waits for it.
class Flags {
 public:
  Flags(CLI::App& app, const std::vector<std::string>* words) : app_(app), words_(words) {
    const auto needs_all = [](const std::string& word) { return word.starts_with("--help") || (word.starts_with("-") && !word.starts_with("--")); };
    if (words_ != nullptr && std::any_of(words_->begin(), words_->end(), needs_all)) words_ = nullptr;
  }
  /// One value: the last one that is given.
  void Last(const char* name, std::string& to, const char* about) {
    if (Named(name)) app_.add_option(name, to, about)->take_last();
  }
  /// One value each time.
  template <typename T>
  void Each(const char* name, std::vector<T>& to, const char* about) {
    if (Named(name)) app_.add_option(name, to, about)->allow_extra_args(false);
  }
  /// The same, and values with commas between them.
  void Names(const char* name, std::vector<std::string>& to, const char* about) {
    if (Named(name)) app_.add_option(name, to, about)->delimiter(',')->allow_extra_args(false);
  }
  void Flag(const char* name, bool& to, const char* about) {
    if (Named(name)) app_.add_flag(name, to, about);
  }

 private:
  bool Named(std::string_view name) const {
    const std::string_view flag = name.substr(name.find("--"));
    return words_ == nullptr || std::any_of(words_->begin(), words_->end(), [flag](const std::string& word) { return word.starts_with(flag); });
  }

  CLI::App& app_;
  const std::vector<std::string>* words_;
};

void AddRunFlags(Flags& flags, RunFlags& o) {
  flags.Last("--cpus", o.cpus, "grant so many processors (2, 1.5): kept by a control group, and shown by a policy with view.cpus, or the default one");
  flags.Last("--memory", o.memory, "grant so much memory (512m, 2g): kept by a control group, and shown by a policy with view.memory, or the default one");
  flags.Last("--pids", o.pids, "at most so many processes and threads");
  flags.Last("--cgroup", o.cgroup, "where to make the control group: auto (default: at or above our own), no, or a folder of cgroup v2");
  flags.Flag("-v,--verbose", o.verbose, "say who keeps what: the kernel, the supervisor, nobody");
  flags.Names("--unshare", o.unshare, "namespaces of its own: user, mount, pid, ipc, uts, net, cgroup, all (default: all but net, and user unless run by root)");
  flags.Names("--share", o.share, "namespaces that stay the caller's");
  flags.Flag("--no-namespaces", o.no_namespaces, "none of its own");
  flags.Flag("--map-root", o.map_root, "be root in a user namespace (of one id: the caller's)");
  flags.Last("--root", o.root, "a folder to have as /");
  flags.Each("--bind", o.bind, "show a path of the host at another: SOURCE[:TARGET]");
  flags.Each("--ro-bind", o.ro_bind, "the same, read-only");
  flags.Each("--tmpfs", o.tmpfs, "an empty folder in memory at TARGET");
  flags.Last("--hostname", o.hostname, "the host name inside");
  flags.Last("--chdir", o.folder, "the folder to begin in (default: where we are)");
  flags.Each("--setenv", o.setenv, "NAME=VALUE in the command's environment");
  flags.Each("--unsetenv", o.unsetenv, "without NAME");
  flags.Flag("--clearenv", o.clearenv, "nothing of our environment (before --setenv)");
  flags.Each("--limit", o.limit, "a resource limit: nofile=1024, nproc, fsize, as, cpu, core, stack, memlock...");
  flags.Each("--keep-fd", o.keep, "a descriptor that the command inherits; others but 0 to 2 are closed");
  flags.Flag("--new-session", o.new_session, "without our terminal as its controlling one");
  flags.Flag("--die-with-parent", o.die_with_parent, "end when the process that started isla-box does");
  flags.Flag("--without-landlock", o.without_landlock, "run even if the kernel has no Landlock for files.allow and exec.allow");
}

/// With `words`, those of a command line, the app has what is needed to read them; else all.
std::unique_ptr<CLI::App> AppOf(const Command& command, BoxOptions& o, std::string& arch, const std::vector<std::string>* words = nullptr) {
  const std::string name = command.name;
  auto app = std::make_unique<CLI::App>(command.about, "isla-box " + name);
  Flags flags(*app, words);
  if (RunsCommand(name)) {
    app->prefix_command();
    AddRunFlags(flags, o.run);
  } else {
    app->add_option("words", o.args)->group("");
  }
  if (name == "run") {
    flags.Last("--policy", o.run.policy, "the policy's file, - for standard input (default: the built-in default policy)");
    flags.Last("--audit", o.run.audit, "a file to append the supervisor's lines to, - for standard error");
  }
  if (HasArch(name)) app->add_option("--arch", arch, "the architecture to compile for: x86-64, arm64 (default: this machine's)")->take_last();
  if (name == "check" || name == "explain" || name == "diff") app->add_option("-o,--output", o.output, "json: for programs")->take_last();
  if (name == "check") app->add_flag("--no-proof", o.no_proof, "don't prove that the program means what the rules say");
  if (name == "test") app->add_flag("-q,--quiet", o.quiet, "show only what fails");
  if (name == "diff") app->add_flag("-q,--quiet", o.quiet, "only exit with 1 if they differ");
  if (name == "export") {
    app->add_option("-o,--output", o.output, "oci (default), bpf, listing")->take_last();
    app->add_option("-f,--file", o.file, "where to write it (default: standard output)")->take_last();
    app->add_option("--notified", o.notified, "what becomes of calls that the supervisor decides: refuse (default: no export), deny, allow, notify")->take_last();
    app->add_flag("--no-floor", o.no_floor, "without what isla's floor refuses");
  }
  if (name == "reload") {
    app->add_option("--policy", o.run.policy, "the new policy's file, - for standard input")->take_last();
    app->add_option("--memory", o.run.memory, "the command may use so much memory from now on (a view shows what was granted at the start)")->take_last();
    app->add_option("--cpus", o.run.cpus, "so many processors")->take_last();
    app->add_option("--pids", o.run.pids, "so many processes and threads")->take_last();
    app->add_option("--audit", o.run.audit, "the supervisor's lines go to this file from now on")->take_last();
    app->add_flag("--rollback", o.rollback, "back to the policy of the version before");
    app->add_flag("--dry-run", o.dry_run, "only say whether it could be done, and what would change");
    app->add_flag("-q,--quiet", o.quiet, "don't show the changes");
  }
  if (name == "top") {
    app->add_option("-o,--output", o.output, "json: for programs")->take_last();
    app->add_option("-n,--count", o.count, "how often, once a second (default: once; on a terminal until interrupted)")->take_last();
  }
  if (name == "learn") {
    app->add_option("-o,--output", o.file, "where to write the policy (default: standard output, after the command's)")->take_last();
    app->add_option("--merge", o.run.merge, "an earlier policy: what it allows stays allowed")->take_last();
    app->add_option("--name", o.run.name, "the policy's name (default: the command's)")->take_last();
  }
  if (*command.examples != '\0') app->footer(std::string("Examples:\n") + command.examples);
  return app;
}

/// CLI11's text with a usage line that names the words.
std::string HelpOf(const Command& command, const CLI::App& app) {
  std::string out = app.help();
  const size_t begin = out.find("Usage:"), end = out.find('\n', begin);
  if (begin == std::string::npos) return out;
  const std::string words = *command.words == '\0' ? "" : std::string(" ") + command.words;
  return out.replace(begin, end - begin, "Usage: isla-box " + std::string(command.name) + " [flags]" + words);
}

std::string Overview() {
  std::string out = "isla-box: sandbox policies: run commands under them, check, explain, test, compare, export\n\nUsage: isla-box COMMAND [flags] [words]\n\nCommands:\n";
  for (const Command& command : kCommands) {
    std::string name = command.name;
    name.resize(12, ' ');
    out += "  " + name + command.about + "\n";
  }
  return out + "\n'isla-box COMMAND --help' shows a command's flags, with examples. The language of policies: sandbox/README.md.\n";
}

/// "unknown flag '--polcy'; did you mean '--policy'?"
std::string UnknownFlag(const std::string& command, const std::string& word) {
  const std::string flag = word.substr(0, word.find('='));
  return "unknown flag '" + flag + "'" + DidYouMean(flag, BoxFlags(command));
}

BoxParse Usage(const std::string& command, const std::string& what) {
  BoxParse out;
  // Below run's, so that it isn't taken for the command's own.
  out.exit = RunsCommand(command) ? 125 : 2;
  out.err = "error: " + what + "\nSee 'isla-box " + (command.empty() ? "" : command + " ") + "--help'.\n";
  return out;
}

}  // namespace

std::vector<std::string> BoxCommands() {
  std::vector<std::string> out;
  for (const Command& command : kCommands) out.emplace_back(command.name);
  return out;
}

std::vector<std::string> BoxFlags(const std::string& name) {
  std::vector<std::string> out;
  const Command* command = Find(name);
  if (command == nullptr) return {"--help"};
  BoxOptions options;
  std::string arch;
  const auto app = AppOf(*command, options, arch);
  for (const CLI::Option* option : app->get_options()) {
    for (const std::string& each : option->get_lnames()) out.push_back("--" + each);
  }
  return out;
}

BoxParse ParseBox(const std::vector<std::string>& args) {
  BoxParse out;
  if (args.empty() || args[0] == "help" || args[0] == "--help" || args[0] == "-h") {
    if (args.size() > 1 && args[0] == "help") return ParseBox({args[1], "--help"});
    out.exit = args.empty() ? 2 : 0;
    (args.empty() ? out.err : out.out) = Overview();
    return out;
  }
  const std::string name = args[0] == "--version" ? "version" : args[0];
  const Command* command = Find(name);
  if (command == nullptr) {
    return Usage("", "unknown command '" + name + "'" + DidYouMean(name, BoxCommands()));
  }
  std::string arch;
  // What follows "--" is the command's, whatever it looks like.
  const bool runs = RunsCommand(name);
  const auto end = runs ? std::find(args.begin() + 1, args.end(), "--") : args.end();
  std::vector<std::string> flags(args.begin() + 1, end);
  const auto app = AppOf(*command, out.options, arch, &flags);
  std::reverse(flags.begin(), flags.end());
  try {
    app->parse(flags);
  } catch (const CLI::CallForHelp&) {
    out.exit = 0;
    out.out = HelpOf(*command, *app);
    return out;
  } catch (const CLI::ParseError& error) {
    return Usage(name, error.what());
  }
  out.options.command = name;
  if (!arch.empty()) {
    const auto found = ArchOfName(arch);
    if (!found) return Usage(name, "unknown architecture '" + arch + "' (expected x86-64 or arm64)");
    out.options.arch = *found;
  }
  if (runs) {
    out.options.args = app->remaining();
    if (end != args.end()) out.options.args.insert(out.options.args.end(), end + 1, args.end());
    out.options.run.command = out.options.args;
    if (!out.options.args.empty() && end != args.end() && out.options.args.size() != static_cast<size_t>(args.end() - end - 1)) {
      const std::string& first = out.options.args[0];
      return Usage(name, first.starts_with("-") ? UnknownFlag(name, first) : "unexpected '" + first + "' before '--'");
    }
    // Else it would be looked for as a program.
    if (!out.options.args.empty() && end == args.end() && out.options.args[0].starts_with("-")) return Usage(name, UnknownFlag(name, out.options.args[0]));
  }
  if (out.options.args.size() < command->least || out.options.args.size() > command->most) {
    if (runs) return Usage(name, "say what to run: isla-box " + name + " [flags] -- COMMAND...");
    return Usage(name, std::string("expected ") + (command->most == 0 ? "no words" : command->words));
  }
  return out;
}

}  // namespace isla::sandbox
