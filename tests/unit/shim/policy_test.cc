#include "agentd/shim/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agentd/shim/supervision.h"
#include "api/base/program_room.h"
#include "sandbox/default_policy.h"
#include "sandbox/manifest/sandbox_policy.h"

namespace isla::shim {
namespace {

using testing::HasSubstr;

sandbox::CompiledPolicy Compiled(const std::string& members) {
  const StatusOr<sandbox::CompiledPolicy> policy = sandbox::CompileManifest(
      R"({"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {"name": "p"}, "spec": {"base": {"groups": ["@container"]})" + members + "}}");
  ISLA_CHECK_OK(policy);
  return *policy;
}

TEST(ParsePolicy, TheDefaultOneComesBackAndNeedsASupervisor) {
  const auto policy = sandbox::CompileDefaultWithView();
  ASSERT_TRUE(policy.ok()) << ToString(policy.status());
  const auto again = ParsePolicy(policy->ToBytes());
  ASSERT_TRUE(again.ok()) << ToString(again.status());
  EXPECT_TRUE(again->NeedsSupervisor());
  EXPECT_TRUE(again->floor.empty()) << "it is one filter, the floor in it";
  EXPECT_EQ(again->notified.size(), 2u);
  EXPECT_FALSE(Performs(*again));
}

TEST(ParsePolicy, AFilterAloneIsAPolicyWithoutASupervisor) {
  const auto program = sandbox::CompileDefaultPolicy();
  ASSERT_TRUE(program.ok());
  const auto policy = ParsePolicy(sandbox::ToBytes(*program));
  ASSERT_TRUE(policy.ok()) << ToString(policy.status());
  EXPECT_FALSE(policy->NeedsSupervisor());
  EXPECT_EQ(policy->filter.size(), program->size());
}

TEST(ParsePolicy, DamagedBytesAreRefused) {
  std::string bytes = Compiled("").ToBytes();
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  EXPECT_FALSE(ParsePolicy(bytes).ok());
  EXPECT_FALSE(ParsePolicy("ISLAPOL9").ok());
  EXPECT_FALSE(ParsePolicy("").ok());
}

TEST(CheckHonoured, WhatIsNotHonouredIsNamedNeverIgnored) {
  const sandbox::CompiledPolicy large = Compiled(R"(, "program": {"source": "function f() end", "memory": "33Mi"})");
  EXPECT_EQ(CheckHonoured(large).code(), Code::kUnimplemented);
  EXPECT_THAT(Message(CheckHonoured(large)), HasSubstr("spec.program.memory of the sandbox policy 'p' is more than the 32 MiB"));
  EXPECT_FALSE(ParsePolicy(large.ToBytes()).ok());
  EXPECT_EQ(ProgramRoom(large), (33 << 20) + (33 << 18));
  EXPECT_EQ(ProgramRoom(Compiled("")), 0);
  EXPECT_EQ(ProgramRoom(Compiled(R"(, "program": {"source": "function f() end"})")), ProgramRoomOf(kDefaultProgramBytes)) << "as the scheduler counts it";
  EXPECT_TRUE(CheckHonoured(Compiled(R"(, "files": {"allow": [{"path": "/usr", "access": ["read"]}]}, "program": {"source": "function f() end"})")).ok());
  const sandbox::CompiledPolicy led = Compiled(R"(, "net": {"rules": [{"to": "10.0.0.0/8", "action": {"redirect": "[::1]:80"}}]})");
  EXPECT_EQ(CheckHonoured(led).code(), Code::kInvalidArgument);
  EXPECT_THAT(Message(CheckHonoured(led)), HasSubstr("sandbox policy 'p': spec: net.rules[0].action.redirect"));
  EXPECT_TRUE(CheckHonoured(Compiled(R"(, "net": {"default": "deny"})")).ok());
  EXPECT_TRUE(CheckHonoured(Compiled(R"(, "files": {"mask": ["/proc/x"]}, "exec": {"allow": ["/usr"]}, "program": {"source": "function f() end"})")).ok());
  EXPECT_TRUE(CheckHonoured(Compiled(R"(, "view": {"cpus": "granted"}, "limits": {"callsPerSecond": 5}, "audit": {"oneOfAllowed": 3})")).ok());
}

TEST(SupervisorConfig, ComesFromGrantAndPolicy) {
  LaunchRequest request;
  request.hostname = "box";
  request.cpu_millis = 1500;
  request.memory_bytes = 1 << 30;
  request.tasks = 9;
  const supervisor::ProcessConfig plain = SupervisorConfig(request, Compiled(R"(, "limits": {"callsPerSecond": 5, "deadline": "2s"})"));
  EXPECT_EQ(plain.cpus, 0u);
  EXPECT_EQ(plain.memory_bytes, 0u);
  EXPECT_EQ(plain.calls_per_second, 5u);
  EXPECT_EQ(plain.deadline, std::chrono::seconds(2));
  EXPECT_TRUE(plain.user_namespace);
  EXPECT_EQ(plain.uid, 65536u);
  EXPECT_EQ(plain.capabilities, supervisor::SupervisorCapabilities(false));
  const supervisor::ProcessConfig granted = SupervisorConfig(
      request, Compiled(R"(, "view": {"cpus": "granted", "memory": "granted"}, "rules": [{"syscalls": ["openat"], "action": "perform"}])"));
  EXPECT_EQ(granted.cpus, 2u);
  EXPECT_EQ(granted.memory_bytes, uint64_t{1} << 30);
  EXPECT_EQ(granted.tasks, 9u);
  EXPECT_EQ(granted.capabilities, supervisor::SupervisorCapabilities(true));
}

TEST(LimitsUnder, APolicyTakesAwayAndNeverAdds) {
  const Limits granted = {1500, 1 << 30, 64};
  EXPECT_EQ(LimitsUnder(granted, Compiled("").sections), granted);
  EXPECT_EQ(LimitsUnder(granted, Compiled(R"(, "limits": {"memory": "512Mi", "cpus": 4})").sections), (Limits{1500, 1 << 29, 64}));
  EXPECT_EQ(LimitsUnder(granted, Compiled(R"(, "limits": {"memory": "2Gi", "cpus": "500m", "pids": 8})").sections), (Limits{500, 1 << 30, 8}));
}

TEST(TakesRestart, LimitsOfResourcesAreLive) {
  EXPECT_EQ(TakesRestart(Compiled(""), Compiled(R"(, "limits": {"memory": "512Mi", "cpus": 4, "pids": 9})")), "");
}

}  // namespace
}  // namespace isla::shim
