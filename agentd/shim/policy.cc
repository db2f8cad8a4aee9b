#include "agentd/shim/policy.h"

#include <algorithm>

#include "api/base/program_room.h"
#include "sandbox/bpf/evaluator.h"
#include "sandbox/cgroup_net/net_program.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/catalogue.h"

namespace isla::shim {

StatusOr<sandbox::CompiledPolicy> ParsePolicy(std::string_view bytes) {
  // No instruction begins like this: 'I' | 'S' << 8 is no operation.
  if (!bytes.starts_with("ISLAPOL")) {  // of any format
    sandbox::CompiledPolicy bare;
    ASSIGN_OR_RETURN(bare.filter, sandbox::FromBytes(bytes));
    RETURN_IF_ERROR(sandbox::Check(bare.filter));
    return bare;
  }
  ASSIGN_OR_RETURN(sandbox::CompiledPolicy policy, sandbox::CompiledPolicy::FromBytes(bytes));
  if (policy.arch != sandbox::kNativeArch) {
    return Errorf(Code::kInvalidArgument, "the policy is compiled for {}", sandbox::ArchName(policy.arch));
  }
  RETURN_IF_ERROR(CheckHonoured(policy));
  return policy;
}

Status CheckHonoured(const sandbox::CompiledPolicy& policy) {
  const sandbox::Sections& has = policy.sections;
  if (has.program && has.program->memory_bytes > kMostProgramMemory) {
    return Errorf(Code::kUnimplemented, "spec.program.memory of the sandbox policy '{}' is more than the {} MiB that containers have for programs", policy.name, kMostProgramMemory >> 20);
  }
  for (const cgroup_net::Hook& hook : cgroup_net::kHooks) {
    if (has.net) RETURN_IF_ERROR(Annotate(cgroup_net::Compile(*has.net, hook).status(), fmt::format("sandbox policy '{}': spec", policy.name)));
  }
  return OkStatus();
}

int64_t ProgramRoom(const sandbox::CompiledPolicy& policy) {
  if (!policy.sections.program) return 0;
  return ProgramRoomOf(policy.sections.program->memory_bytes);
}

bool Performs(const sandbox::CompiledPolicy& policy) {
  return std::any_of(policy.notified.begin(), policy.notified.end(),
                     [&policy](int number) { return sandbox::CanPerform(sandbox::SyscallName(policy.arch, number)); });
}

}  // namespace isla::shim
