// Sections as rules of calls: what the supervisor enforces of net and files.allow.
#include "sandbox/runner/lower.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/runner/program_path.h"

namespace isla::runner {
namespace {

using sandbox::NotifiedCall;
using sandbox::SandboxPolicy;

SandboxPolicy Decoded(const std::string& spec) {
  const StatusOr<SandboxPolicy> policy =
      sandbox::DecodeSandboxPolicy(R"({"apiVersion":"isla/v1","kind":"SandboxPolicy","metadata":{"name":"t"},"spec":{"base":{"groups":["@container"]})" + (spec.empty() ? "" : "," + spec) + "}}");
  EXPECT_TRUE(policy.ok()) << ToString(policy.status());
  return policy.ok() ? *policy : SandboxPolicy();
}

SandboxPolicy Lowered(const std::string& spec) {
  SandboxPolicy policy = Decoded(spec);
  EXPECT_TRUE(LowerSections(policy.policy, policy.sections, NetBy::kSupervisor).ok());
  return policy;
}

NotifiedCall Call(const char* name, std::array<uint64_t, 6> arguments = {}) {
  NotifiedCall call;
  call.number = *sandbox::SyscallNumber(sandbox::kNativeArch, name);
  call.arguments = arguments;
  return call;
}

std::string Of(const SandboxPolicy& policy, NotifiedCall call) { return policy.policy.ActionOf(policy.policy.Decide(call)).ToText(); }

std::string Connect(const SandboxPolicy& policy, const std::string& address, const char* name = "connect") {
  NotifiedCall call = Call(name);
  sandbox::SocketAddress other;
  other.family = AF_UNIX;
  call.address = sandbox::AddressFromText(address).value_or(other);
  call.known = sandbox::kFactAddress;
  return Of(policy, call);
}

std::string Open(const SandboxPolicy& policy, const char* path, uint64_t flags) {
  NotifiedCall call = Call("openat", {0, 0, flags});
  call.paths[0] = path;
  call.known = sandbox::kFactPath0;
  return Of(policy, call);
}

constexpr const char* kSends = R"({"operations":["send"],"action":"allow"})";

TEST(LowerSections, WithoutSectionsNothingChanges) {
  const SandboxPolicy before = Decoded(""), after = Lowered("");
  EXPECT_EQ(before.policy.rules.size(), after.policy.rules.size());
  EXPECT_EQ(Of(after, Call("connect")), "allow");
}

TEST(LowerNet, TheFirstRuleThatMatchesDecides) {
  const SandboxPolicy policy = Lowered(R"("net":{"default":"deny","rules":[)" + std::string(kSends) +
                                       R"(,{"operations":["connect"],"to":"10.0.0.1","action":"deny"},{"operations":["connect"],"to":"10.0.0.0/8","ports":"80-443","action":"allow"},
      {"operations":["connect"],"to":"192.0.2.1","action":{"redirect":"127.0.0.1:8080"}},{"operations":["bind"],"ports":8000,"action":"allow"}]})");
  EXPECT_EQ(Connect(policy, "10.0.0.2:80"), "perform");
  EXPECT_EQ(Connect(policy, "[::ffff:10.0.0.2]:80"), "perform");
  EXPECT_EQ(Connect(policy, "10.0.0.1:80"), "deny");
  EXPECT_EQ(Connect(policy, "10.0.0.2:22"), "deny");
  EXPECT_EQ(Connect(policy, "[2001:db8::1]:80"), "deny");
  EXPECT_EQ(Connect(policy, "192.0.2.1:5"), "redirect 127.0.0.1:8080");
  EXPECT_EQ(Connect(policy, "unix"), "perform") << "not an internet address: the section says nothing of it";
  EXPECT_EQ(Connect(policy, "0.0.0.0:8000", "bind"), "perform");
  EXPECT_EQ(Connect(policy, "0.0.0.0:8001", "bind"), "deny");
}

TEST(LowerNet, RulesOfThePolicyThatRefuseComeFirst) {
  const SandboxPolicy policy = Lowered(R"("rules":[{"syscalls":["connect"],"when":"addr.port == 25","action":{"errno":"EACCES"}},{"syscalls":["connect"],"action":"perform"}],"net":{"rules":[)" + std::string(kSends) +
                                       R"(,{"operations":["connect"],"to":"10.0.0.0/8","action":"deny"}]})");
  EXPECT_EQ(Connect(policy, "10.0.0.1:25"), "errno 13");
  EXPECT_EQ(Connect(policy, "10.0.0.1:26"), "deny");
  EXPECT_EQ(Connect(policy, "11.0.0.1:26"), "perform");
}

TEST(LowerNet, AFunctionOfThePolicyDecidesOnlyWhatTheSectionLeaves) {
  const SandboxPolicy policy = Lowered(R"("program":{"source":"function f() return 'perform' end"},"rules":[{"syscalls":["connect"],"action":{"program":"f"}}],"net":{"default":"deny","rules":[)" + std::string(kSends) +
                                       R"(,{"operations":["connect"],"to":"10.0.0.0/8","action":"allow"}]})");
  EXPECT_EQ(Connect(policy, "10.0.0.1:1"), "program f");
  EXPECT_EQ(Connect(policy, "11.0.0.1:1"), "deny");
}

TEST(LowerNet, WaysAroundConnectAreClosed) {
  const SandboxPolicy policy = Lowered(R"("net":{"default":"deny","rules":[)" + std::string(kSends) + "]}");
  EXPECT_EQ(Of(policy, Call("sendto", {3, 0, 0, MSG_FASTOPEN})), "errno 95");
  EXPECT_EQ(Of(policy, Call("sendto", {3, 0, 0, MSG_NOSIGNAL})), "allow");
  EXPECT_EQ(Of(policy, Call("sendmsg", {3, 0, MSG_FASTOPEN | MSG_NOSIGNAL})), "errno 95");
  EXPECT_EQ(Of(policy, Call("socket", {AF_INET, SOCK_STREAM, IPPROTO_SCTP})), "errno 93");
  EXPECT_EQ(Of(policy, Call("socket", {AF_INET6, SOCK_STREAM, IPPROTO_TCP})), "allow");
  EXPECT_EQ(Of(policy, Call("socket", {AF_UNIX, SOCK_STREAM, 77})), "allow");
  EXPECT_EQ(Of(policy, Call("socket", {AF_INET, SOCK_SEQPACKET | SOCK_CLOEXEC, 0})), "errno 93") << "SCTP by default";
  EXPECT_EQ(Of(policy, Call("socket", {AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0})), "allow");
}

TEST(LowerNet, WhereTheGroupDecidesOnlyOtherProtocolsAreClosed) {
  SandboxPolicy policy = Decoded(R"("net":{"default":"deny","rules":[{"to":"10.0.0.0/8","action":"allow"}]})");
  ASSERT_TRUE(LowerSections(policy.policy, policy.sections, NetBy::kGroup).ok());
  EXPECT_EQ(Of(policy, Call("connect", {3})), "allow");
  EXPECT_EQ(Of(policy, Call("sendto", {3, 0, 0, MSG_FASTOPEN})), "allow");
  EXPECT_EQ(Of(policy, Call("socket", {AF_INET, SOCK_STREAM, IPPROTO_TCP})), "allow");
  EXPECT_EQ(Of(policy, Call("socket", {AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0})), "allow");
  EXPECT_EQ(Of(policy, Call("socket", {AF_INET, SOCK_DGRAM, IPPROTO_ICMP})), "errno 93") << "ping sends without asking";
  EXPECT_EQ(Of(policy, Call("socket", {AF_INET, SOCK_STREAM, IPPROTO_MPTCP})), "errno 93");
  EXPECT_EQ(Of(policy, Call("socket", {AF_INET, SOCK_SEQPACKET, 0})), "errno 93");
}

TEST(LowerNet, RestrictedDatagramsAreRefusedUnlessNobodyCanSend) {
  const auto lower = [](const std::string& spec, bool has_network) {
    SandboxPolicy policy = Decoded(spec);
    return LowerSections(policy.policy, policy.sections, has_network ? NetBy::kSupervisor : NetBy::kNobody);
  };
  const std::string closed = R"("net":{"default":"deny"})", mute = R"("rules":[{"syscalls":["sendto","sendmsg","sendmmsg"],"action":{"errno":"EPERM"}}],)";
  EXPECT_EQ(Message(lower(closed, true)).find("spec.net.default"), 0u);
  EXPECT_EQ(Message(lower(R"("net":{"rules":[{"to":"10.0.0.0/8","action":"deny"}]})", true)).find("spec.net.rules[0]"), 0u);
  EXPECT_EQ(lower(closed, true).code(), Code::kFailedPrecondition);
  EXPECT_TRUE(lower(closed, false).ok());
  EXPECT_TRUE(lower(mute + closed, true).ok());
  EXPECT_TRUE(lower(R"("net":{"default":"allow","rules":[{"operations":["connect"],"to":"10.0.0.0/8","action":"deny"}]})", true).ok());
}

TEST(LowerFiles, PerformedOpensAreHeldToTheSamePaths) {
  const SandboxPolicy policy = Lowered(R"("rules":[{"syscalls":["openat"],"action":"perform"}],"files":{"allow":[{"path":"/r","access":["read"]},{"path":"/w","access":["write"]},{"path":"/c","access":["create","write"]}]})");
  EXPECT_EQ(Open(policy, "/r/x", O_RDONLY), "perform");
  EXPECT_EQ(Open(policy, "/rx", O_RDONLY), "errno 13");
  EXPECT_EQ(Open(policy, "/r/x", O_RDWR), "errno 13");
  EXPECT_EQ(Open(policy, "/r/x", O_RDONLY | O_TRUNC), "errno 13");
  EXPECT_EQ(Open(policy, "/w/x", O_WRONLY), "perform");
  EXPECT_EQ(Open(policy, "/w/x", O_RDONLY), "errno 13");
  EXPECT_EQ(Open(policy, "/c/x", O_WRONLY | O_CREAT), "perform");
  EXPECT_EQ(Open(policy, "/r/x", O_RDONLY | O_CREAT), "errno 13");
  EXPECT_EQ(Open(policy, "/etc/shadow", O_RDONLY), "errno 13");
}

TEST(LowerFiles, WhatTheKernelDecidesIsLandlocksAlone) {
  const SandboxPolicy policy = Lowered(R"("files":{"allow":[{"path":"/r","access":["read"]}]})");
  EXPECT_EQ(policy.policy.Needs(Call("openat").number), 0);
  EXPECT_EQ(Of(policy, Call("openat")), "allow");
}

TEST(FindProgram, IsTheShellsChoice) {
  EXPECT_EQ(FindProgram("sh", {"PATH=/nowhere:/bin"}).path, "/bin/sh");
  EXPECT_EQ(FindProgram("/bin/sh", {}).error, 0);
  EXPECT_EQ(FindProgram("sh", {"PATH=/nowhere"}).error, ENOENT);
  EXPECT_EQ(FindProgram("", {}).error, ENOENT);
  EXPECT_EQ(FindProgram("passwd", {"PATH=/etc:/nowhere"}).error, EACCES);
  EXPECT_EQ(FindProgram("/etc", {}).error, EISDIR);
  EXPECT_EQ(FindProgram("sh", {"HOME=/"}).error, 0) << "without a PATH there is one";
}

}  // namespace
}  // namespace isla::runner
