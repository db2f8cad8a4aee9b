// Policies for other programs: as a seccomp profile of the OCI runtime specification (runc, crun, podman, Docker), as the
// bytes of the BPF program (bwrap --seccomp, seccomp(2)), as its listing.
//
// The profile is made from all paths through the program, so it means the same, call by call. Every condition is
// written with SCMP_CMP_EQ and SCMP_CMP_MASKED_EQ alone: what the order of rules or an inequality says becomes
// bit patterns that exclude each other. libseccomp keeps no order, and 2.5.4 gets inequalities wrong.
#pragma once

#include <string>

#include "api/base/json.h"
#include "api/base/status.h"
#include "sandbox/bpf/bpf.h"
#include "sandbox/policy/policy.h"

namespace isla::sandbox {

/// What becomes of calls that the supervisor would decide: other runtimes have none.
enum class Notified : uint8_t {
  kRefuse,  // no export: the error names them
  kDeny,    // EPERM
  kAllow,
  kNotify,  // SCMP_ACT_NOTIFY: whoever listens there must decide
};

struct ExportOptions {
  bool floor = true;  // what isla's floor refuses is refused in the profile
  Notified notified = Notified::kRefuse;
};

/// The object that stands at linux.seccomp of a config.json. FAILED_PRECONDITION if calls need the supervisor and
/// `notified` is kRefuse; RESOURCE_EXHAUSTED if a call's conditions are too many bit patterns.
StatusOr<json::Value> ExportOci(const Policy& policy, const ExportOptions& options);

/// The program: floor and policy in one, or the policy alone. FAILED_PRECONDITION as above; kNotify and kRefuse only
/// leave USER_NOTIF in it, kDeny and kAllow replace it.
StatusOr<Program> ExportProgram(const Policy& policy, const ExportOptions& options);

}  // namespace isla::sandbox
