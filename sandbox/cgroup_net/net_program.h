// A policy's `net` section as BPF programs of a control group: the kernel asks them at every connect, bind and datagram with an
// address, of all processes in the group and below. They see the address that the kernel uses, so no thread can change it after; they
// cost some 30 ns; and nothing is notified.
//
//   Compile(net, hook)    pure: one program for each hook
//   CgroupNet::Attach     loads and attaches them (cgroup_net.h)
//
// What they mean is NetSection::Decide() of the address, with two things added:
//   - connecting or sending to 0.0.0.0 or :: reaches the loopback; so it is decided about, and made, as 127.0.0.1 or ::1
//   - a redirect of an IPv4 socket has to lead to IPv4. One of IPv6 may lead to IPv4, as a mapped address
//
// No hook sees what raw and ping sockets send, nor protocols but TCP, UDP and UDP-Lite: the filter has to close those
// (sandbox/runner/lower.h, agentd/shim).
#pragma once

#include <linux/bpf.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "api/base/status.h"
#include "sandbox/policy/sections.h"

namespace isla::cgroup_net {

struct Hook {
  std::string_view name;
  sandbox::NetOperation operation;
  bool ipv6;
  bpf_attach_type attach_type;
};
inline constexpr std::array<Hook, 6> kHooks = {{
    {"connect4", sandbox::NetOperation::kConnect, false, BPF_CGROUP_INET4_CONNECT},
    {"connect6", sandbox::NetOperation::kConnect, true, BPF_CGROUP_INET6_CONNECT},
    {"bind4", sandbox::NetOperation::kBind, false, BPF_CGROUP_INET4_BIND},
    {"bind6", sandbox::NetOperation::kBind, true, BPF_CGROUP_INET6_BIND},
    {"sendmsg4", sandbox::NetOperation::kSend, false, BPF_CGROUP_UDP4_SENDMSG},
    {"sendmsg6", sandbox::NetOperation::kSend, true, BPF_CGROUP_UDP6_SENDMSG},
}};

/// INVALID_ARGUMENT names the rule that can't be ("net.rules[2].action: ...").
StatusOr<std::vector<bpf_insn>> Compile(const sandbox::NetSection& net, const Hook& hook);

}  // namespace isla::cgroup_net
