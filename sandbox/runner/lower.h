// Sections of a policy that the supervisor enforces, as rules of calls: for runs where the kernel's better means aren't there.
//
//   net          NetBy::kSupervisor: connect and bind are performed on copied addresses, and decided by the section's rules first. TCP's fast open and
//                SCTP's ways around them are closed. What the supervisor can't look at is datagrams with an address: a section that
//                restricts `send` is refused, unless the policy lets nobody send, or there is no network at all
//                NetBy::kGroup: the kernel asks the group's programs about every address, so only protocols that they aren't asked
//                about are closed: all but TCP, UDP, UDP-Lite
//   files.allow  Landlock holds the command; calls that are performed for it are held to the same paths by rules
//
// A rule of the policy that refuses or rewrites a call still decides first; of those that let it go on the section decides before.
#pragma once

#include "api/base/status.h"
#include "sandbox/policy/policy.h"
#include "sandbox/policy/sections.h"

namespace isla::runner {

/// Who enforces `net`.
enum class NetBy {
  kNobody,      // it needs nobody: the network namespace is empty
  kSupervisor,
  kGroup,       // programs of the control group (sandbox/cgroup_net)
};

/// FAILED_PRECONDITION names the field that can't be enforced.
Status LowerSections(sandbox::Policy& policy, const sandbox::Sections& sections, NetBy net_by);

}  // namespace isla::runner
