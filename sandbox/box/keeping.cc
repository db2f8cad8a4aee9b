#include "sandbox/box/keeping.h"

#include <sys/resource.h>
#include <unistd.h>

#include "sandbox/box/describe.h"
#include "sandbox/view/view_files.h"

namespace isla::sandbox {
namespace {

using runner::NetBy;

class Maker {
 public:
  Maker(const RunFlags& flags, const SandboxPolicy& policy, runner::Request& request) : flags_(flags), policy_(policy), request_(request) {}

  StatusOr<Keeping> Run() {
    out_.asked = {request_.memory_bytes, request_.cpu_millis, request_.tasks};
    out_.limits = Smaller(out_.asked, policy_.sections.resources);
    // What a view shows is what there is in the end.
    request_.memory_bytes = out_.limits.memory_bytes;
    request_.cpu_millis = out_.limits.cpu_millis;
    request_.tasks = out_.limits.tasks;
    if (request_.cpu_millis != 0) request_.cpus = view::WholeCpus(static_cast<int64_t>(request_.cpu_millis));
    out_.own_tasks = request_.namespaces.Flags() != 0 ? 1 : 0;
    out_.net_by = request_.namespaces.net ? NetBy::kNobody : NetBy::kSupervisor;
    const bool net = TriesNet();
    if (net || out_.limits.any()) RETURN_IF_ERROR(MakeGroup(net));
    if (net) AttachNet();
    RETURN_IF_ERROR(SetLimits());
    if (out_.group && out_.net_by != NetBy::kGroup && !limited_) out_.group.reset();
    if (out_.group) {
      request_.group = out_.group->entry();
      out_.group->set_ends_with_command(request_.namespaces.pid);
      if (!request_.namespaces.mount) out_.notes.emplace_back("without a mount namespace a command that has the rights to can leave its control group, and its limits");
    }
    if (policy_.sections.net) Fact("net", out_.net_by == NetBy::kGroup ? "the kernel" : out_.net_by == NetBy::kNobody ? "the empty network namespace" : "the supervisor (" + out_.no_net + ")");
    if (out_.group) out_.facts.push_back("control group: " + out_.group->path());
    return std::move(out_);
  }

 private:
  void Fact(std::string_view what, const std::string& by) { out_.facts.push_back(fmt::format("{}: kept by {}", what, by)); }
  void Note(std::string_view what, const std::string& why) { out_.notes.push_back(fmt::format("{}: {}", what, why)); }

  bool TriesNet() {
    if (!policy_.sections.net || request_.namespaces.net) return false;
    const runner::Namespaces& own = request_.namespaces;
    if (flags_.cgroup == "no") {
      out_.no_net = "--cgroup=no";
    } else if (!own.mount || !(own.pid || own.user)) {
      out_.no_net = "without namespaces for mounts and for processes or users a command can leave its control group";
    } else if (!flags_.audit.empty()) {
      Policy lowered = policy_.policy;
      if (!runner::LowerSections(lowered, policy_.sections, NetBy::kSupervisor).ok()) {
        Note("spec.net", "what the kernel refuses isn't in the audit");
        return true;
      }
      out_.no_net = "so that what is refused is in the audit";
    } else {
      return true;
    }
    return false;
  }

  Status MakeGroup(bool net) {
    if (flags_.cgroup == "no") {
      why_ = "--cgroup=no";
      return OkStatus();
    }
    const bool told = !flags_.cgroup.empty() && flags_.cgroup != "auto";
    ResourceLimits limits = out_.limits;
    limits.tasks += limits.tasks == 0 ? 0 : out_.own_tasks;
    StatusOr<runner::BoxGroup> group = runner::BoxGroup::Create({.unified = net && !out_.limits.any(), .programs = net, .limits = limits, .parent = told ? flags_.cgroup : ""});
    if (group.ok()) {
      out_.group.emplace(*std::move(group));
      return OkStatus();
    }
    if (told) return Annotate(group.status(), "--cgroup");
    why_ = Message(group.status());
    return OkStatus();
  }

  void AttachNet() {
    out_.no_net = why_;
    if (!out_.group) return;
    if (out_.group->unified() < 0) {
      out_.no_net = "there is no control group of version 2";
      return;
    }
    StatusOr<cgroup_net::CgroupNet> attached = cgroup_net::CgroupNet::Attach(out_.group->unified(), *policy_.sections.net);
    if (!attached.ok()) {
      out_.no_net = Message(attached.status());
      return;
    }
    out_.net.emplace(*std::move(attached));
    out_.net_by = NetBy::kGroup;
  }

  /// What a limit's setter says; without a group why there is none.
  template <typename F>
  Status Limit(F set) {
    if (!out_.group) return Errorf(Code::kFailedPrecondition, "{}", why_);
    const Status status = set(*out_.group);
    limited_ = limited_ || status.ok();
    return status;
  }

  /// A limit as who set it would call it.
  static std::string Name(std::string_view what, uint64_t limit, uint64_t asked, const std::string& flag) {
    return limit == asked ? fmt::format("--{}={}", what, flag) : fmt::format("spec.limits.{}", what);
  }

  /// What a limit is not kept by is noted; a policy's is refused with the reason instead.
  Status NotKept(std::string_view what, uint64_t of_policy, const std::string& name, std::string_view instead, const Status& why) {
    if (of_policy != 0 && flags_.cgroup != "no") {
      return Errorf(Code::kFailedPrecondition, "spec.limits.{}: {}: {} (--cgroup=no goes on without)", what, instead, Message(why));
    }
    Note(name, fmt::format("{}: {}", instead, Message(why)));
    return OkStatus();
  }

  Status SetLimits() {
    RETURN_IF_ERROR(SetMemory());
    RETURN_IF_ERROR(SetCpu());
    return SetTasks();
  }

  Status SetMemory() {
    const uint64_t bytes = out_.limits.memory_bytes;
    if (bytes == 0) return OkStatus();
    const Status status = Limit([bytes](runner::BoxGroup& group) { return group.LimitMemory(bytes); });
    if (!status.ok()) return NotKept("memory", policy_.sections.resources.memory_bytes, Name("memory", bytes, out_.asked.memory_bytes, flags_.memory), "nobody keeps it", status);
    Fact("memory", "the kernel");
    return OkStatus();
  }

  Status SetCpu() {
    const uint64_t millis = out_.limits.cpu_millis;
    if (millis == 0) return OkStatus();
    const Status status = Limit([millis](runner::BoxGroup& group) { return group.LimitCpu(millis); });
    Fact("cpus", status.ok() ? "the kernel" : fmt::format("affinity to {} whole processors ({})", request_.cpus, Message(status)));
    if (status.ok() || (millis % 1000 == 0 && policy_.sections.resources.cpu_millis == 0)) return OkStatus();
    return NotKept("cpus", policy_.sections.resources.cpu_millis, Name("cpus", millis, out_.asked.cpu_millis, flags_.cpus), fmt::format("held to {} whole processors only", request_.cpus), status);
  }

  Status SetTasks() {
    const uint64_t tasks = out_.limits.tasks;
    if (tasks == 0) return OkStatus();
    const uint64_t all = tasks + out_.own_tasks;
    const Status status = Limit([all](runner::BoxGroup& group) { return group.LimitTasks(all); });
    if (status.ok()) {
      Fact("pids", "the kernel");
      return OkStatus();
    }
    // There the kernel counts the processes of this namespace alone; of root none are.
    if (request_.namespaces.user && geteuid() != 0) {
      request_.limits.emplace_back(RLIMIT_NPROC, all);
      Fact("pids", fmt::format("RLIMIT_NPROC of the user namespace ({})", Message(status)));
      return OkStatus();
    }
    const std::string name = Name("pids", tasks, out_.asked.tasks, flags_.pids);
    if (out_.asked.tasks != 0) return Annotate(status, name);
    return NotKept("pids", policy_.sections.resources.tasks, name, "nobody keeps it", status);
  }

  const RunFlags& flags_;
  const SandboxPolicy& policy_;
  runner::Request& request_;
  Keeping out_;
  std::string why_;       // there is no group
  bool limited_ = false;  // by the group
};

}  // namespace

StatusOr<Keeping> Keep(const RunFlags& flags, const SandboxPolicy& policy, runner::Request& request) { return Maker(flags, policy, request).Run(); }

std::string SizeText(uint64_t bytes) {
  static constexpr std::pair<unsigned, const char*> kUnits[] = {{40, "TiB"}, {30, "GiB"}, {20, "MiB"}, {10, "KiB"}};
  for (const auto& [shift, unit] : kUnits) {
    if (bytes < uint64_t{1} << shift) continue;
    const double value = static_cast<double>(bytes) / static_cast<double>(uint64_t{1} << shift);
    return value == static_cast<double>(bytes >> shift) ? fmt::format("{} {}", bytes >> shift, unit) : fmt::format("{:.1f} {}", value, unit);
  }
  return fmt::format("{} bytes", bytes);
}

std::vector<std::string> KeptText(const Keeping& keeping) {
  std::vector<std::string> out = keeping.facts;
  if (keeping.limits.any()) out.push_back("limits: " + LimitsText(keeping.limits));
  if (out.empty()) out.emplace_back("limits: none; net: the policy has no rules for it");
  return out;
}

std::string MemoryOrigin(const Keeping& keeping) { return keeping.limits.memory_bytes == keeping.asked.memory_bytes ? "--memory" : "spec.limits.memory"; }

std::string OomText(const Keeping& keeping, int exit) {
  const uint64_t kills = keeping.group ? keeping.group->OomKills() : 0;
  if (kills == 0) return {};
  const std::string limit = SizeText(keeping.limits.memory_bytes);
  if (exit == 0) return fmt::format("note: the kernel killed {} of the command's processes: together they needed more than {} of memory ({})", kills, limit, MemoryOrigin(keeping));
  return fmt::format("out of memory: the command and its processes needed more than {} ({}), so the kernel killed {}", limit, MemoryOrigin(keeping), exit == 128 + 9 ? "it" : "some of them");
}

}  // namespace isla::sandbox
