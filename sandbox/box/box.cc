#include "sandbox/box/box.h"

#include <fmt/format.h>
#include <linux/seccomp.h>

#include <algorithm>

#include "api/base/did_you_mean.h"
#include "sandbox/box/call_text.h"
#include "sandbox/box/completion.h"
#include "sandbox/box/control_commands.h"
#include "sandbox/box/describe.h"
#include "sandbox/box/diff.h"
#include "sandbox/box/explain.h"
#include "sandbox/box/export.h"
#include "sandbox/box/learn_command.h"
#include "sandbox/box/mistakes.h"
#include "sandbox/box/options.h"
#include "sandbox/box/run_command.h"
#include "sandbox/box/test_table.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/names/groups.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/catalogue.h"
#include "sandbox/proof/paths.h"

namespace isla::sandbox {
namespace {

constexpr int kFine = 0, kNo = 1, kTrouble = 2;
constexpr size_t kMostBytes = size_t{4} << 20;

class Box {
 public:
  Box(const BoxOptions& options, BoxIo& io) : o_(options), io_(io) {}

  int Run() {
    if ((o_.command == "check" || o_.command == "explain" || o_.command == "diff") && !o_.output.empty() && o_.output != "json") {
      return Trouble(Errorf(Code::kInvalidArgument, "--output={} (expected json)", o_.output));
    }
    if (o_.command == "check") return CheckPolicy();
    if (o_.command == "explain") return ExplainCalls();
    if (o_.command == "test") return TestPolicy();
    if (o_.command == "diff") return DiffPolicies();
    if (o_.command == "export") return ExportPolicy();
    if (o_.command == "calls") return ShowCalls();
    if (o_.command == "run") return RunCommand(o_, io_);
    if (o_.command == "learn") return LearnCommand(o_, io_);
    if (o_.command == "completion") return Completion();
    if (o_.command == "version") {
      io_.Out(fmt::format("isla-box {}\n", ISLA_VERSION));
      return kFine;
    }
    return o_.command == "reload" ? ReloadCommand(o_, io_) : TopCommand(o_, io_);
  }

 private:
  int Trouble(const Status& status) {
    io_.Err(fmt::format("error: {}\n", Message(status)));
    return kTrouble;
  }

  /// The policy of a file; or nothing, with what is wrong written and `exit` set.
  std::optional<SandboxPolicy> Load(const std::string& path, int& exit) {
    const StatusOr<std::string> text = io_.Read(path, kMostBytes);
    if (!text.ok()) {
      exit = Trouble(text.status());
      return std::nullopt;
    }
    StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(*text, {.arch = o_.arch, .max_bytes = kMostBytes, .find_unreachable = o_.command == "check"});
    if (policy.ok()) return *std::move(policy);
    exit = o_.command == "check" ? kNo : kTrouble;
    if (o_.output == "json" && o_.command == "check") {
      io_.Out(json::Pretty(json::Value::MakeObject({{"valid", false}, {"errors", ErrorsJson(MistakesOf(policy.status()), Message(policy.status()))}})) + "\n");
      return std::nullopt;
    }
    io_.Err(MistakeLines(path, policy.status()));
    return std::nullopt;
  }

  static json::Value ErrorsJson(const FieldErrors& errors, const std::string& otherwise) {
    json::Array out;
    for (const FieldError& error : errors) {
      out.push_back(json::Value::MakeObject({{"field", error.field}, {"line", uint64_t{error.position.line}}, {"column", uint64_t{error.position.column}}, {"detail", error.detail}}));
    }
    if (errors.empty() && !otherwise.empty()) out.push_back(json::Value::MakeObject({{"detail", otherwise}}));
    return out;
  }

  // check ----------------------------------------------------------------------------------------------

  int CheckPolicy() {
    int exit = kFine;
    std::optional<SandboxPolicy> policy = Load(o_.args[0], exit);
    if (!policy) return exit;
    const FieldErrors& warnings = policy->warnings;
    const Policy& rules = policy->policy;
    const StatusOr<CompiledPolicy> compiled = CompilePolicy(rules, policy->sections, policy->name, policy->hash);
    if (!compiled.ok()) {
      io_.Err(fmt::format("{}: error: {}\n", o_.args[0], Message(compiled.status())));
      return kNo;
    }
    std::string proof = "not asked for";
    if (!o_.no_proof && rules.mode == Mode::kEnforce) {
      const Status proven = Verify(rules, compiled->filter);
      if (proven.code() == Code::kInternal) return Trouble(proven);
      proof = proven.ok() ? "proven" : "too large to prove";
    } else if (rules.mode != Mode::kEnforce) {
      proof = "only for enforce";
    }
    if (o_.output == "json") {
      CheckJson(*compiled, warnings, proof);
      return kFine;
    }
    if (StartsNothing(*compiled)) {
      io_.Err(fmt::format("{}: warning: nothing can be run under this policy: it refuses execve, the call that starts a command\n", o_.args[0]));
    }
    for (const FieldError& warning : warnings) io_.Err(MistakeLine(o_.args[0], "warning", warning));
    io_.Out(fmt::format("policy    {} ({}, {})\n", policy->name, ModeName(rules.mode), ArchName(rules.arch)));
    io_.Out(fmt::format("hash      {}\n", policy->hash));
    io_.Out(fmt::format("filter    {} instructions, and {} of the floor; that it means what the rules say: {}\n", compiled->filter.size(), compiled->floor.size(), proof));
    io_.Out(fmt::format("table     {} bytes, {} rules\n", compiled->table.size(), rules.rules.size()));
    io_.Out(fmt::format("notified  {}\n", NotifiedText(*compiled)));
    if (const std::string limits = LimitsText(compiled->sections.resources); !limits.empty()) io_.Out(fmt::format("limits    {}\n", limits));
    return kFine;
  }

  static bool StartsNothing(const CompiledPolicy& compiled) {
    const uint32_t answer = AnswerToExecve(compiled.filter, compiled.arch);
    return answer == SECCOMP_RET_ERRNO || answer == SECCOMP_RET_KILL_PROCESS || answer == SECCOMP_RET_KILL_THREAD;
  }

  static std::string NotifiedText(const CompiledPolicy& compiled) {
    if (!compiled.NeedsSupervisor()) return "nothing: no supervisor is needed";
    if (compiled.notifies_rest) return fmt::format("{} calls, and those without a name", compiled.notified.size());
    std::string out;
    size_t shown = 0;
    for (const int number : compiled.notified) {
      if (++shown > 12) return out + fmt::format(", and {} more", compiled.notified.size() - 12);
      out += fmt::format("{}{}", out.empty() ? "" : ", ", SyscallText(compiled.arch, number));
    }
    return out;
  }

  /// As a manifest has them; those that there are.
  static json::Value LimitsJson(const ResourceLimits& limits) {
    json::Value out = json::Value::MakeObject();
    if (limits.memory_bytes != 0) out.Set("memory", MemoryText(limits.memory_bytes));
    if (limits.cpu_millis != 0) out.Set("cpus", CpusText(limits.cpu_millis));
    if (limits.tasks != 0) out.Set("pids", limits.tasks);
    return out;
  }

  void CheckJson(const CompiledPolicy& compiled, const FieldErrors& warnings, const std::string& proof) {
    json::Array notified;
    for (const int number : compiled.notified) notified.emplace_back(SyscallText(compiled.arch, number));
    io_.Out(json::Pretty(json::Value::MakeObject({{"valid", true},
                                                  {"name", compiled.name},
                                                  {"hash", compiled.hash},
                                                  {"arch", std::string(ArchName(compiled.arch))},
                                                  {"mode", std::string(ModeName(compiled.mode))},
                                                  {"instructions", uint64_t{compiled.filter.size()}},
                                                  {"floorInstructions", uint64_t{compiled.floor.size()}},
                                                  {"tableBytes", uint64_t{compiled.table.size()}},
                                                  {"proof", proof},
                                                  {"notified", notified},
                                                  {"notifiesRest", compiled.notifies_rest},
                                                  {"startsNothing", StartsNothing(compiled)},
                                                  {"limits", LimitsJson(compiled.sections.resources)},
                                                  {"warnings", ErrorsJson(warnings, "")}})) + "\n");
  }

  // explain, test --------------------------------------------------------------------------------------

  int ExplainCalls() {
    int exit = kFine;
    const std::optional<SandboxPolicy> policy = Load(o_.args[0], exit);
    if (!policy) return exit;
    json::Array all;
    for (size_t i = 1; i < o_.args.size(); ++i) {
      const StatusOr<CallExample> call = ParseCall(o_.args[i], o_.arch);
      if (!call.ok()) return Trouble(Annotate(call.status(), o_.args[i]));
      const StatusOr<Explanation> explanation = Explain(*policy, *call);
      if (!explanation.ok()) return Trouble(explanation.status());
      if (o_.output == "json") all.push_back(ExplanationJson(*policy, *explanation));
      else io_.Out(ToText(*policy, *explanation));
    }
    if (o_.output == "json") io_.Out(json::Pretty(all) + "\n");
    return kFine;
  }

  static json::Value ExplanationJson(const SandboxPolicy& policy, const Explanation& explanation) {
    json::Array steps;
    for (const ExplainStep& step : explanation.steps) {
      const Rule& rule = policy.policy.rules[step.rule];
      steps.push_back(json::Value::MakeObject({{"rule", rule.name}, {"line", uint64_t{rule.position.line}}, {"holds", step.holds}, {"why", step.why}}));
    }
    return json::Value::MakeObject({{"call", explanation.call},
                                    {"action", explanation.action},
                                    {"decidedBy", explanation.decided_by},
                                    {"byFloor", explanation.by_floor},
                                    {"bySupervisor", explanation.by_supervisor},
                                    {"limits", explanation.limit},
                                    {"program", explanation.program},
                                    {"instructions", uint64_t{explanation.instructions}},
                                    {"rules", steps}});
  }

  int TestPolicy() {
    int exit = kFine;
    const std::optional<SandboxPolicy> policy = Load(o_.args[0], exit);
    if (!policy) return exit;
    const StatusOr<std::string> text = io_.Read(o_.args[1], kMostBytes);
    if (!text.ok()) return Trouble(text.status());
    const StatusOr<std::vector<TableTest>> tests = ParseTable(*text);
    if (!tests.ok()) return Trouble(Annotate(tests.status(), o_.args[1]));
    const StatusOr<std::vector<TableResult>> results = RunTable(*policy, *tests);
    if (!results.ok()) return Trouble(results.status());
    size_t failed = 0;
    for (const TableResult& result : *results) {
      if (result.passed && o_.quiet) continue;
      if (result.passed) {
        io_.Out(fmt::format("ok      {} -> {}\n", result.test.call, result.action));
        continue;
      }
      ++failed;
      const std::string by = result.test.rule.empty() ? "" : fmt::format(" by {}", result.test.rule);
      const std::string why = result.program_error.empty() ? "" : fmt::format(" ({})", result.program_error);
      io_.Out(fmt::format("FAILED  {}:{}: {}\n        expected {}{}\n        {}\n", o_.args[1], result.test.line, result.test.call, result.test.expected, by,
                          result.error.empty() ? fmt::format("got      {} by {}{}", result.action, result.rule, why) : result.error));
    }
    io_.Out(fmt::format("{} passed, {} failed\n", tests->size() - failed, failed));
    return failed == 0 ? kFine : kNo;
  }

  // diff, export ---------------------------------------------------------------------------------------

  int DiffPolicies() {
    int exit = kFine;
    const std::optional<SandboxPolicy> before = Load(o_.args[0], exit);
    if (!before) return exit;
    const std::optional<SandboxPolicy> after = Load(o_.args[1], exit);
    if (!after) return exit;
    const StatusOr<PolicyDiff> diff = Diff(*before, *after);
    if (!diff.ok()) return Trouble(diff.status());
    if (!o_.quiet && o_.output == "json") {
      io_.Out(json::Pretty(DiffJson(*diff)) + "\n");
    } else if (!o_.quiet) {
      io_.Out(ToText(*diff, o_.arch));
      io_.Out(diff->same() ? "the policies do the same\n" : fmt::format("{} changes of calls, {} of sections: {}\n", diff->calls.size(), diff->sections.size(), ReachName(diff->reach())));
    }
    return diff->same() ? kFine : kNo;
  }

  json::Value DiffJson(const PolicyDiff& diff) const {
    json::Array calls, sections, incomplete;
    for (const CallChange& change : diff.calls) {
      calls.push_back(json::Value::MakeObject({{"call", change.number >= kCallNumbers ? std::string("*") : SyscallText(o_.arch, change.number)},
                                               {"before", change.before},
                                               {"after", change.after},
                                               {"beforeRule", change.before_rule},
                                               {"afterRule", change.after_rule},
                                               {"reach", std::string(ReachName(change.reach))},
                                               {"certain", change.certain},
                                               {"example", change.example},
                                               {"when", change.when}}));
    }
    for (const SectionChange& change : diff.sections) {
      sections.push_back(json::Value::MakeObject({{"section", change.section}, {"reach", std::string(ReachName(change.reach))}, {"what", change.what}}));
    }
    for (const std::string& name : diff.incomplete) incomplete.emplace_back(name);
    return json::Value::MakeObject({{"same", diff.same()}, {"reach", std::string(ReachName(diff.reach()))}, {"calls", calls}, {"sections", sections}, {"incomplete", incomplete}});
  }

  int ExportPolicy() {
    const std::vector<std::string> notified = {"refuse", "deny", "allow", "notify"};
    const auto choice = std::find(notified.begin(), notified.end(), o_.notified);
    const std::string form = o_.output.empty() ? "oci" : o_.output;
    if (choice == notified.end()) return Trouble(Errorf(Code::kInvalidArgument, "--notified={} (expected refuse, deny, allow or notify)", o_.notified));
    if (form != "oci" && form != "bpf" && form != "listing") return Trouble(Errorf(Code::kInvalidArgument, "--output={} (expected oci, bpf or listing)", form));
    int exit = kFine;
    const std::optional<SandboxPolicy> policy = Load(o_.args[0], exit);
    if (!policy) return exit;
    const ExportOptions options = {.floor = !o_.no_floor, .notified = static_cast<Notified>(choice - notified.begin())};
    const StatusOr<std::string> bytes = Exported(policy->policy, form, options);
    if (!bytes.ok()) {
      (void)Trouble(bytes.status());
      if (bytes.status().code() == Code::kFailedPrecondition) io_.Err("Say what becomes of them: --notified=deny, allow or notify.\n");
      return kNo;
    }
    if (o_.file.empty()) {
      io_.Out(*bytes);
      return kFine;
    }
    const Status written = io_.Write(o_.file, *bytes);
    return written.ok() ? kFine : Trouble(written);
  }

  static StatusOr<std::string> Exported(const Policy& policy, const std::string& form, const ExportOptions& options) {
    if (form == "oci") {
      ASSIGN_OR_RETURN(const json::Value profile, ExportOci(policy, options));
      return json::Pretty(profile, 2) + "\n";
    }
    ASSIGN_OR_RETURN(const Program program, ExportProgram(policy, options));
    return form == "bpf" ? ToBytes(program) : Dump(program);
  }

  // calls, completion ----------------------------------------------------------------------------------

  int ShowCalls() {
    if (o_.args.empty()) {
      for (const Group& group : AllGroups()) io_.Out(fmt::format("{:<16} {} ({} calls)\n", group.name, group.about, group.calls.size()));
      return kFine;
    }
    int exit = kFine;
    for (const std::string& name : o_.args) {
      if (const std::optional<Group> group = FindGroup(name)) {
        io_.Out(fmt::format("{}: {}\n  {}\n", group->name, group->about, fmt::join(group->calls, " ")));
      } else if (const Syscall* call = FindSyscall(name)) {
        ShowCall(*call);
      } else {
        std::vector<std::string> known;
        for (const Group& each : AllGroups()) known.emplace_back(each.name);
        for (const Syscall& each : AllSyscalls()) known.emplace_back(each.name);
        io_.Err(fmt::format("error: no call or group '{}'{}\n", name, DidYouMean(name, known)));
        exit = kNo;
      }
    }
    return exit;
  }

  void ShowCall(const Syscall& call) {
    const auto number = [](int n) { return n < 0 ? std::string("none") : fmt::format("{}", n); };
    io_.Out(fmt::format("{}({})\n  numbers  x86-64 {}, arm64 {}\n", call.name, call.signature, number(call.x86_64), number(call.arm64)));
    std::string actions = "allow, log, errno, kill, deny, spoof, program";
    if (CanPerform(call.name)) actions += ", perform";
    if (CanGiveFile(call.name)) actions += ", file";
    if (CanRedirectPath(call.name)) actions += ", redirect to a path";
    if (CanRedirectAddress(call.name)) actions += ", redirect to an address";
    for (const Emulator& each : AllEmulators()) {
      if (std::find(each.calls.begin(), each.calls.end(), call.name) != each.calls.end()) actions += fmt::format(", emulate {}", each.name);
    }
    const auto& never = NeverNotified();
    if (std::binary_search(never.begin(), never.end(), call.name)) actions = "allow, log, errno, kill (never handed to the supervisor)";
    io_.Out(fmt::format("  actions  {}\n  groups  ", actions));
    for (const Group& group : AllGroups()) {
      if (std::binary_search(group.calls.begin(), group.calls.end(), call.name)) io_.Out(fmt::format(" {}", group.name));
    }
    io_.Out("\n");
  }

  int Completion() {
    if (o_.args[0] != "bash") return Trouble(Errorf(Code::kInvalidArgument, "no completion for '{}' (expected bash)", o_.args[0]));
    io_.Out(BoxCompletionScript());
    return kFine;
  }

  const BoxOptions& o_;
  BoxIo& io_;
};

}  // namespace

int BoxMain(const std::vector<std::string>& args, BoxIo& io) {
  if (!args.empty() && args[0] == "__complete") {
    io.Out(BoxComplete(std::vector<std::string>(args.begin() + 1, args.end())));
    return kFine;
  }
  const BoxParse parsed = ParseBox(args);
  io.Out(parsed.out);
  io.Err(parsed.err);
  if (parsed.exit) return *parsed.exit;
  return Box(parsed.options, io).Run();
}

}  // namespace isla::sandbox
