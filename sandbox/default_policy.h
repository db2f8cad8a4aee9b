// The floor, which no policy can lift, and the policy of a session that names none.
//
// The floor denies what reaches the kernel's own configuration or has no business in a container (DESIGN:
// modules, kexec, bpf, io_uring, the mount API, new namespaces, ptrace...); see sandbox/README.md for the list
// with its reasons. The default policy is the group @container (groups.h), what ordinary programs use (compilers, Python, Node.js, git
// run under it); every other call gets ENOSYS, so that programs fall back as on an older kernel.
#pragma once

#include "api/base/status.h"
#include "sandbox/bpf/bpf.h"
#include "sandbox/compiled_policy.h"
#include "sandbox/policy/policy.h"
#include "sandbox/policy/sections.h"

namespace isla::sandbox {

/// Its default is allow: the floor alone restricts nothing else. Its rules are decided by arguments, none by a
/// supervisor.
Policy FloorPolicy(Arch arch);

/// Without the floor: see UnderFloor().
Policy DefaultPolicy(Arch arch);

/// The default policy under the floor, as the program that a container's processes carry. Pure, about
/// 0.3 ms: compile once, keep the bytes.
StatusOr<Program> CompileDefaultPolicy();

/// What a view asks of the supervisor, as rules named "view...": to be appended before a base that allows the calls.
void AddViewRules(const ViewSection& view, json::Position position, Policy& policy);

/// What a list of what may be executed (exec.allow, the execute rights of files.allow) asks of the filter: Landlock knows no path of a file in memory, so
/// one that could be executed isn't made (memfd_create without MFD_NOEXEC_SEAL: EACCES, as with the sysctl vm.memfd_noexec=2). To be appended after
/// the policy's own rules, so that one of these may still allow the call, and before the base.
void AddExecRules(std::string_view field, json::Position position, Policy& policy);

/// TCP connects by sendto, sendmsg and sendmmsg, too, with MSG_FASTOPEN: `refusal` refuses that before each rule of theirs that may let them go on. What refuses
/// them anyway goes on to do so; programs connect first then, as on a kernel without it.
void RefuseFastOpen(RuleId refusal, Policy& policy);

/// What deciding about connect asks of the filter: RefuseFastOpen(), as by a kernel without it (EOPNOTSUPP), also of the base, which is
/// to be added after this.
void AddConnectRules(json::Position position, Policy& policy);

/// The default policy with a view: its sections, and the rules that answer for it. Not under the floor.
struct ViewedPolicy {
  Policy policy;
  Sections sections;
};
ViewedPolicy DefaultWithView(bool cpus, bool memory, Arch arch);

/// What a session gets that names no policy: the default policy under the floor, as one filter, with processors and memory shown as granted.
/// Its name is its hash.
StatusOr<CompiledPolicy> CompileDefaultWithView();

}  // namespace isla::sandbox
