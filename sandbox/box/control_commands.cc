#include "sandbox/box/control_commands.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>

#include "api/base/clock.h"
#include "sandbox/box/control.h"
#include "sandbox/box/mistakes.h"
#include "sandbox/box/run_flags.h"
#include "sandbox/manifest/sandbox_policy.h"

namespace isla::sandbox {
namespace {

constexpr int kFine = 0, kNo = 1, kTrouble = 2;
constexpr size_t kMostBytes = size_t{4} << 20;
constexpr int kEveryMs = 1000;
constexpr int kStatusMs = 5000;

int Trouble(const Status& status, BoxIo& io) {
  io.Err(fmt::format("error: {}\n", Message(status)));
  return kTrouble;
}

/// A pid, or the only run there is.
StatusOr<int> TargetOf(const std::vector<std::string>& words, const std::string& folder) {
  if (words.empty()) {
    const std::vector<int> runs = ListRuns(folder);
    if (runs.size() == 1) return runs[0];
    return Errorf(Code::kInvalidArgument, "{}", runs.empty() ? "nothing runs under a supervisor" : "say which run: isla-box top lists them");
  }
  int pid = 0;
  const auto [end, error] = std::from_chars(words[0].data(), words[0].data() + words[0].size(), pid);
  if (error != std::errc() || end != words[0].data() + words[0].size() || pid <= 0) return Errorf(Code::kInvalidArgument, "'{}' is no pid of an isla-box", words[0]);
  return pid;
}

uint64_t Whole(const json::Value& object, std::string_view name) { return static_cast<uint64_t>(object.Int64At({name}).value_or(0)); }

std::map<std::string, uint64_t> CallsByRule(const json::Value& status) {
  std::map<std::string, uint64_t> out;
  const json::Value* const rules = status.Find("rules");
  for (size_t i = 0; rules != nullptr && i < rules->items().size(); ++i) out[rules->items()[i].StringAt({"rule"})] = Whole(rules->items()[i], "calls");
  return out;
}

/// Of reload.
StatusOr<json::Value> ReloadRequest(const BoxOptions& options, BoxIo& io) {
  const RunFlags& flags = options.run;
  const bool grant = !flags.memory.empty() || !flags.cpus.empty() || !flags.pids.empty() || !flags.audit.empty();
  if (options.rollback && (grant || !flags.policy.empty() || options.dry_run)) return Error(Code::kInvalidArgument, "--rollback goes with nothing else");
  if (options.rollback) return json::Value::MakeObject({{"command", "rollback"}});
  if (!grant && flags.policy.empty()) return Error(Code::kInvalidArgument, "say what is to change: --policy, --memory, --cpus, --pids, --audit, or --rollback");
  json::Value out = json::Value::MakeObject({{"command", "reload"}, {"dryRun", options.dry_run}});
  if (!flags.policy.empty()) {
    ASSIGN_OR_RETURN(const std::string text, io.Read(flags.policy, kMostBytes));
    out.Set("policy", text);
  }
  if (!flags.memory.empty()) {
    ASSIGN_OR_RETURN(const uint64_t bytes, ParseMemory(flags.memory));
    if (bytes == 0) return Error(Code::kInvalidArgument, "--memory=0 (expected 512m, 2g)");
    out.Set("memoryBytes", bytes);
  }
  if (!flags.cpus.empty()) {
    ASSIGN_OR_RETURN(const uint64_t millis, ParseCpuMillis(flags.cpus));
    out.Set("cpuMillis", millis);
  }
  if (!flags.pids.empty()) {
    ASSIGN_OR_RETURN(const uint64_t tasks, ParseTasks(flags.pids));
    out.Set("tasks", tasks);
  }
  if (!flags.audit.empty()) {
    // The run has a folder of its own.
    std::error_code error;
    const std::filesystem::path path = std::filesystem::absolute(flags.audit, error);
    if (error || flags.audit == "-") return Errorf(Code::kInvalidArgument, "--audit={} (expected a file)", flags.audit);
    out.Set("audit", path.string());
  }
  return out;
}

}  // namespace

std::string TopText(const json::Value& now, const json::Value* before, double seconds) {
  std::string command;
  if (const json::Value* const words = now.Find("command"); words != nullptr && words->is_array()) {
    for (const json::Value& word : words->items()) command += (command.empty() ? "" : " ") + (word.is_string() ? word.as_string() : std::string());
  }
  // Of a command's own words nothing may speak to the terminal.
  std::replace_if(command.begin(), command.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  std::string out = fmt::format("{}  policy {}  version {}  supervisor {}\n{}\n", Whole(now, "pid"), now.StringAt({"policy"}), now.StringAt({"version"}), now.Int64At({"supervisor"}).value_or(-1), command.substr(0, 200));
  const json::Value* const kept = now.Find("kept");
  for (size_t i = 0; kept != nullptr && kept->is_array() && i < kept->items().size(); ++i) {
    if (kept->items()[i].is_string()) out += "  " + kept->items()[i].as_string() + "\n";
  }
  const std::map<std::string, uint64_t> earlier = before != nullptr ? CallsByRule(*before) : std::map<std::string, uint64_t>();
  out += fmt::format("  {:>12} {:>10}  {:<10} {:<24} {}\n", "CALLS", "PER SECOND", "LAST", "RULE", "ACTION");
  std::vector<json::Value> rules = now.Find("rules") != nullptr ? now.Find("rules")->items() : json::Array();
  std::stable_sort(rules.begin(), rules.end(), [](const json::Value& a, const json::Value& b) { return Whole(a, "calls") > Whole(b, "calls"); });
  for (const json::Value& rule : rules) {
    const std::string name = rule.StringAt({"rule"});
    const uint64_t calls = Whole(rule, "calls");
    std::string rate = "-";
    if (before != nullptr && seconds > 0) {
      const auto found = earlier.find(name);
      // After a reload they begin anew.
      const uint64_t then = found == earlier.end() || found->second > calls ? 0 : found->second;
      rate = fmt::format("{:.1f}", static_cast<double>(calls - then) / seconds);
    }
    out += fmt::format("  {:>12} {:>10}  {:<10} {:<24} {}\n", calls, rate, rule.StringAt({"last"}), name, rule.StringAt({"action"}));
  }
  if (const uint64_t undecided = Whole(now, "undecided"); undecided > 0) out += fmt::format("  {:>12} {:>10}  {:<10} {}\n", undecided, "", "", "decided by no rule: unreadable, throttled");
  return out;
}

int ReloadCommand(const BoxOptions& options, BoxIo& io) {
  const StatusOr<std::string> folder = ControlFolder();
  if (!folder.ok()) return Trouble(folder.status(), io);
  const StatusOr<int> pid = TargetOf(options.args, *folder);
  if (!pid.ok()) return Trouble(pid.status(), io);
  const StatusOr<json::Value> request = ReloadRequest(options, io);
  if (!request.ok()) return Trouble(request.status(), io);
  if (!options.run.policy.empty()) {
    // The run would refuse it, too, but doesn't know the file's name.
    const Status wrong = DecodeSandboxPolicy(request->StringAt({"policy"}), {.max_bytes = kMostBytes, .find_unreachable = false}).status();
    if (!wrong.ok()) {
      io.Err(MistakeLines(options.run.policy, wrong) + "refused: the policy is wrong\n");
      return kNo;
    }
  }
  const StatusOr<json::Value> answer = AskRun(*folder, *pid, *request);
  if (!answer.ok()) return Trouble(answer.status(), io);
  const json::Value* const ok = answer->Find("ok");
  const std::string changes = answer->StringAt({"changes"});
  if (ok == nullptr || !ok->is_bool() || !ok->as_bool()) {
    io.Err(fmt::format("refused: {}\n{}", answer->StringAt({"error"}), changes));
    return kNo;
  }
  if (!options.quiet) io.Out(fmt::format("{}{} {}\n", changes, options.dry_run ? "would be live; the version stays" : "version", answer->StringAt({"version"})));
  return kFine;
}

int TopCommand(const BoxOptions& options, BoxIo& io) {
  const StatusOr<std::string> folder = ControlFolder();
  if (!folder.ok()) return Trouble(folder.status(), io);
  const bool json_wanted = options.output == "json", terminal = !json_wanted && isatty(STDOUT_FILENO) == 1;
  if (!options.output.empty() && !json_wanted) return Trouble(Errorf(Code::kInvalidArgument, "--output={} (expected json)", options.output), io);
  std::map<int, json::Value> before;
  MonotonicTime last{};
  const int rounds = options.count > 0 ? options.count : terminal ? INT32_MAX : 1;
  for (int round = 0; round < rounds; ++round) {
    if (round > 0) (void)poll(nullptr, 0, kEveryMs);
    std::vector<int> runs;
    if (options.args.empty()) {
      runs = ListRuns(*folder);
    } else {
      const StatusOr<int> pid = TargetOf(options.args, *folder);
      if (!pid.ok()) return Trouble(pid.status(), io);
      runs = {*pid};
    }
    const MonotonicTime now = Clock::Real().Monotonic();
    const double seconds = std::chrono::duration<double>(now - last).count();
    std::string text = terminal ? "\x1b[H\x1b[2J" : "";
    json::Array all;
    for (const int pid : runs) {
      const StatusOr<json::Value> status = AskRun(*folder, pid, json::Value::MakeObject({{"command", "status"}}), kStatusMs);
      if (!status.ok() && !options.args.empty()) return Trouble(status.status(), io);
      if (!status.ok() || status->Find("rules") == nullptr) continue;  // it has just ended, or begins
      const auto found = before.find(pid);
      text += TopText(*status, found == before.end() ? nullptr : &found->second, seconds) + "\n";
      all.push_back(*status);
      before[pid] = *status;
    }
    if (runs.empty()) text += "nothing runs under a supervisor\n";
    io.Out(json_wanted ? json::Pretty(all) + "\n" : text);
    last = now;
  }
  return kFine;
}

}  // namespace isla::sandbox
