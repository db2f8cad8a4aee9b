#include "sandbox/box/control_clerk.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "api/base/memfd.h"
#include "api/base/packet.h"
#include "api/base/read_descriptor.h"
#include "sandbox/box/control_message.h"
#include "sandbox/box/describe.h"
#include "sandbox/box/diff.h"
#include "sandbox/table/rule_table.h"

namespace isla::sandbox {
namespace {

constexpr size_t kMostPacket = 64 * 1024;
constexpr size_t kMostAbout = size_t{32} << 20;

json::Value Refusal(const std::string& error, const std::string& changes = {}) {
  json::Value out = json::Value::MakeObject({{"ok", false}, {"error", error}});
  if (!changes.empty()) out.Set("changes", changes);
  return out;
}

/// What of a change keeps it from being done live, for people; "" if nothing.
std::string Obstacles(const PolicyDiff& diff) {
  PolicyDiff bad;
  bad.incomplete = diff.incomplete;
  for (const CallChange& change : diff.calls) {
    if (change.reach != Reach::kLive) bad.calls.push_back(change);
  }
  for (const SectionChange& change : diff.sections) {
    if (change.reach != Reach::kLive) bad.sections.push_back(change);
  }
  return ToText(bad, kNativeArch);
}

std::optional<uint64_t> NumberOf(const json::Value& object, const char* name) {
  const std::optional<int64_t> value = object.Int64At({name});
  return value && *value > 0 ? std::optional(static_cast<uint64_t>(*value)) : std::nullopt;
}

bool IsSet(const json::Value& object, const char* name) {
  const json::Value* const value = object.Find(name);
  return value != nullptr && value->is_bool() && value->as_bool();
}

class Clerk {
 public:
  Clerk(const RunState& state, const Keeping& keeping, supervisor::Keeper* keeper, int run) : state_(state), keeping_(keeping), keeper_(keeper), run_(run) {}

  json::Value Answer(const json::Value& request) {
    const std::string command = request.is_object() ? request.StringAt({"command"}) : std::string();
    if (command == "status") return StatusOfRun();
    if (command == "reload") return Reload(request);
    if (command == "rollback") return Rollback();
    return Refusal(fmt::format("unknown command '{}'", command));
  }

 private:
  /// As it runs: with the sections that are kept by rules.
  StatusOr<SandboxPolicy> Lowered(const PolicyVersion& version) const {
    StatusOr<SandboxPolicy> out = version.text.empty() ? StatusOr<SandboxPolicy>(state_.start()) : DecodeSandboxPolicy(version.text, {.max_bytes = kMostPolicyBytes, .find_unreachable = false});
    RETURN_IF_ERROR(out);
    RETURN_IF_ERROR(runner::LowerSections(out->policy, out->sections, keeping_.net_by));
    return out;
  }

  json::Value StatusOfRun() const {
    json::Array command, rules, versions, kept;
    for (const std::string& word : state_.command) command.emplace_back(word);
    for (const PolicyVersion& each : state_.earlier) versions.emplace_back(each.name);
    versions.emplace_back(state_.current.name);
    for (const std::string& fact : KeptText(keeping_)) kept.emplace_back(fact);
    std::string name = "default";
    if (const StatusOr<SandboxPolicy> policy = Lowered(state_.current); policy.ok()) {
      name = policy->name;
      for (const supervisor::RuleCount& count : keeper_ == nullptr ? std::vector<supervisor::RuleCount>() : keeper_->counters().Read()) {
        if (count.rule >= policy->policy.rules.size()) continue;
        const Rule& rule = policy->policy.rules[count.rule];
        rules.push_back(json::Value::MakeObject({{"rule", rule.name}, {"action", rule.action.ToText()}, {"calls", count.calls}, {"last", std::string(supervisor::VerdictName(count.last))}}));
      }
    }
    const bool supervised = keeper_ != nullptr && keeper_->running();
    return json::Value::MakeObject({{"ok", true},
                                    {"pid", static_cast<int>(getppid())},
                                    {"command", command},
                                    {"policy", name},
                                    {"version", state_.current.name},
                                    {"versions", versions},
                                    {"kept", kept},
                                    {"supervisor", supervised ? static_cast<int>(keeper_->pid()) : -1},
                                    {"undecided", keeper_ == nullptr ? uint64_t{0} : keeper_->counters().undecided()},
                                    {"rules", rules}});
  }

  json::Value Reload(const json::Value& request) {
    Proposal proposal;
    std::string changes;
    if (const json::Value* const text = request.Find("policy"); text != nullptr && text->is_string()) {
      const Status status = Compare({fmt::format("{}-", state_.count + 1), text->as_string(), {}}, proposal, changes);
      if (!status.ok()) return Refusal(Message(status), changes);
      changes = std::move(changes_);
    }
    changes += AskedLimits(request, proposal);
    if (const std::string audit = request.StringAt({"audit"}); !audit.empty()) {
      if (keeper_ == nullptr) return Refusal("audit: nothing is audited: the kernel decides all calls of its policy");
      if (audit.front() != '/') return Refusal(fmt::format("audit: '{}' is no absolute path", audit));
      proposal.audit = audit;
      changes += fmt::format("audit: to '{}'  [live]\n", audit);
    }
    return Propose(std::move(proposal), changes, IsSet(request, "dryRun"));
  }

  json::Value Rollback() {
    if (state_.earlier.empty()) return Refusal("there is no version before this one");
    Proposal proposal;
    proposal.back = true;
    std::string obstacles;
    const Status status = Compare(state_.earlier.back(), proposal, obstacles);
    if (!status.ok()) return Refusal(Message(status), obstacles);
    return Propose(std::move(proposal), changes_, false);
  }

  /// Of the request's numbers, into the proposal; each a line of the changes. The policy's own limits go on to hold.
  std::string AskedLimits(const json::Value& request, Proposal& proposal) const {
    proposal.memory_bytes = NumberOf(request, "memoryBytes");
    proposal.cpu_millis = NumberOf(request, "cpuMillis");
    proposal.tasks = NumberOf(request, "tasks");
    const ResourceLimits& policy = (proposal.version ? proposal.version->sections : state_.current.sections).resources;
    std::string out;
    const auto add = [&out](std::string_view name, const std::optional<uint64_t>& asked, const std::string& text, uint64_t most, const std::string& most_text) {
      if (asked) out += fmt::format("{}: {}{}  [live]\n", name, text, most != 0 && most < *asked ? fmt::format(", but no more than spec.limits.{} ({})", name, most_text) : "");
    };
    add("memory", proposal.memory_bytes, SizeText(proposal.memory_bytes.value_or(0)), policy.memory_bytes, SizeText(policy.memory_bytes));
    add("cpus", proposal.cpu_millis, CpusText(proposal.cpu_millis.value_or(0)), policy.cpu_millis, CpusText(policy.cpu_millis));
    add("pids", proposal.tasks, PidsText(proposal.tasks.value_or(0)), policy.tasks, PidsText(policy.tasks));
    return out;
  }

  /// A limit that the policy has and this run can't: it has no control group that could keep it.
  void MarkLimits(PolicyDiff& diff) const {
    static constexpr std::pair<std::string_view, const char*> kControllers[] = {{"limits.memory", "memory"}, {"limits.cpus", "cpu"}, {"limits.pids", "pids"}};
    for (SectionChange& change : diff.sections) {
      for (const auto& [section, controller] : kControllers) {
        if (change.section != section || (keeping_.group && keeping_.group->CanLimit(controller))) continue;
        change.reach = Reach::kRestart;
        change.what += fmt::format(": the run has no control group with the controller '{}'", controller);
      }
    }
  }

  /// Fills in the proposal, and changes_. An error comes with `obstacles`, if changes are the reason.
  Status Compare(PolicyVersion version, Proposal& proposal, std::string& obstacles) {
    const StatusOr<SandboxPolicy> now = Lowered(state_.current);
    RETURN_IF_ERROR(now);
    // An empty text is that of the start.
    StatusOr<SandboxPolicy> wanted = !proposal.back && version.text.empty() ? StatusOr<SandboxPolicy>(Error(Code::kInvalidArgument, "the policy is empty")) : Lowered(version);
    RETURN_IF_ERROR(wanted);
    StatusOr<PolicyDiff> diff = Diff(*now, *wanted);
    RETURN_IF_ERROR(diff);
    MarkLimits(*diff);
    changes_ = ToText(*diff, kNativeArch);
    obstacles = Obstacles(*diff);
    if (!obstacles.empty()) return Error(Code::kFailedPrecondition, "these changes can't be made while it runs: its filter can't be taken off, only what it hands to the supervisor is decided anew, and a control group can't be had later");
    if (!proposal.back) version.name += wanted->hash.substr(0, 8);
    version.sections = wanted->sections;
    ASSIGN_OR_RETURN(proposal.table, RuleTable::Build(wanted->policy, wanted->sections.program ? &*wanted->sections.program : nullptr));
    proposal.version = std::move(version);
    return OkStatus();
  }

  json::Value Propose(Proposal proposal, const std::string& changes, bool dry_run) {
    json::Value out = json::Value::MakeObject({{"ok", true}, {"version", !dry_run && proposal.version ? proposal.version->name : state_.current.name}, {"changes", changes}});
    if (dry_run) return out;
    proposal.base = state_.changes;
    if (const Status status = SendProposal(run_, proposal); !status.ok()) return Refusal(Message(status));
    const StatusOr<json::Value> done = ReadMessage(run_);
    if (!done.ok()) return Refusal("the run has ended, or is busy");
    return IsSet(*done, "ok") ? out : Refusal(done->StringAt({"error"}), changes);
  }

  const RunState& state_;
  const Keeping& keeping_;
  supervisor::Keeper* const keeper_;
  const int run_;
  std::string changes_;
};

}  // namespace

Status SendProposal(int socket, const Proposal& proposal) {
  json::Value packet = json::Value::MakeObject({{"base", proposal.base}, {"back", proposal.back}, {"audit", proposal.audit}});
  for (const auto& [name, value] : {std::pair("memoryBytes", proposal.memory_bytes), std::pair("cpuMillis", proposal.cpu_millis), std::pair("tasks", proposal.tasks)}) {
    if (value) packet.Set(name, *value);
  }
  // In one descriptor: what there is to say of the version, then its table.
  json::Value about;
  if (proposal.version) {
    packet.Set("version", proposal.version->name);
    about = json::Value::MakeObject({{"text", proposal.version->text}, {"sections", ToJson(proposal.version->sections)}});
  }
  const std::string about_text = json::Serialize(about);
  packet.Set("aboutBytes", about_text.size());
  ASSIGN_OR_RETURN(const UniqueFd parts, SealedMemfd("isla-box-proposal", about_text + proposal.table));
  const std::string text = json::Serialize(packet);
  return SendPacket(socket, text, parts.get()) == static_cast<ssize_t>(text.size()) ? OkStatus() : FromErrno(errno, "propose it to the run");
}

StatusOr<Proposal> ReceiveProposal(int socket) {
  std::string text(kMostPacket, '\0');
  UniqueFd parts;
  const ssize_t got = ReceivePacket(socket, text.data(), text.size(), parts, MSG_DONTWAIT);
  if (got <= 0) return Error(Code::kUnavailable, "the clerk ended");
  if (!parts.valid()) return Error(Code::kInvalidArgument, "a proposal without its parts");
  ASSIGN_OR_RETURN(const json::Value packet, json::Parse(std::string_view(text).substr(0, static_cast<size_t>(got)), {kMostPacket, 4}));
  Proposal out;
  out.base = static_cast<uint64_t>(packet.Int64At({"base"}).value_or(-1));
  out.back = IsSet(packet, "back");
  out.audit = packet.StringAt({"audit"});
  out.memory_bytes = NumberOf(packet, "memoryBytes");
  out.cpu_millis = NumberOf(packet, "cpuMillis");
  out.tasks = NumberOf(packet, "tasks");
  if (packet.Find("version") == nullptr) return out;
  ASSIGN_OR_RETURN(const std::string bytes, ReadDescriptor(parts.get(), kMostAbout + kMaxTableBytes));
  const std::optional<uint64_t> about_bytes = NumberOf(packet, "aboutBytes");
  if (!about_bytes || *about_bytes > std::min(bytes.size(), kMostAbout) || bytes.size() - *about_bytes > kMaxTableBytes) return Error(Code::kInvalidArgument, "a proposal of another size than it says");
  ASSIGN_OR_RETURN(const json::Value about, json::Parse(std::string_view(bytes).substr(0, *about_bytes), {.max_bytes = kMostAbout}));
  const json::Value* const sections = about.Find("sections");
  if (sections == nullptr) return Error(Code::kInvalidArgument, "a proposal without sections");
  PolicyVersion version = {packet.StringAt({"version"}), about.StringAt({"text"}), {}};
  ASSIGN_OR_RETURN(version.sections, SectionsFromJson(*sections));
  out.table = bytes.substr(*about_bytes);
  out.version = std::move(version);
  return out;
}

void ClerkMain(const RunState& state, const Keeping& keeping, supervisor::Keeper* keeper, UniqueFd peer, UniqueFd run) {
  // By default it ends the process; the run sees that, and so does the peer.
  alarm(kMostSeconds);
  const StatusOr<json::Value> request = ReadMessage(peer.get());
  // One that only looked whether somebody listens.
  if (!request.ok()) _exit(0);
  (void)WriteMessage(peer.get(), Clerk(state, keeping, keeper, run.get()).Answer(*request));
  _exit(0);
}

}  // namespace isla::sandbox
