// isla-supervisor as it is deployed: a process of its own, killed while it works, kept by a Keeper.
#include "sandbox/supervisor/keeper.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/unit/supervisor/harness.h"

namespace isla::supervisor {
namespace {

using sandbox::Action;

std::string Table(Action action) {
  sandbox::Policy policy;
  const sandbox::RuleId rule = policy.AddRule("answer", std::move(action));
  policy.Append(SYS_getpriority, rule);
  const StatusOr<std::string> table = sandbox::RuleTable::Build(policy);
  ISLA_CHECK_OK(table);
  return *table;
}

Action Spoof(int64_t value) {
  Action action = Action::Of(Action::Kind::kSpoof);
  action.value = value;
  return action;
}

Keeper Keep(Prey& prey, std::string table, UniqueFd audit = {}) {
  const char* const bin = std::getenv("ISLA_BIN_DIR");
  Handover handover;
  handover.listener = prey.DupListener();
  handover.wait_killable = prey.wait_killable();
  prey.TakeListener();  // closes the other
  KeeperOptions options;
  options.program = std::string(bin != nullptr ? bin : "build/bin") + "/isla-supervisor";
  options.config.policy_version = "v1";
  options.config.calls_per_second = 0;
  options.table = std::move(table);
  options.audit = std::move(audit);
  StatusOr<Keeper> keeper = Keeper::Create(std::move(handover), std::move(options));
  ISLA_CHECK_OK(keeper);
  return *std::move(keeper);
}

/// Until the supervisor has ended.
Keeper::Ended Await(Keeper& keeper) {
  pollfd ended = {keeper.pidfd(), POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 30'000), 1);
  return keeper.Reap(Clock::Real());
}

TEST(Keeper, ItsProgramsSeeOnlyDelaysWhileSupervisorsAreKilled) {
  Prey prey({.notified = {SYS_getpriority}}, {"same", "20000", "42"});
  Keeper keeper = Keep(prey, Table(Spoof(42)));
  int deaths = 0;
  for (;;) {
    ASSERT_TRUE(keeper.Spawn().ok());
    pollfd ended = {keeper.pidfd(), POLLIN, 0};
    if (deaths < 8 && poll(&ended, 1, 3 + deaths) == 0) keeper.Kill();
    const Keeper::Ended end = Await(keeper);
    if (end.done) break;
    EXPECT_EQ(end.respawn_after.count(), 0);
    ++deaths;
  }
  EXPECT_EQ(prey.Wait(), "20000");
  EXPECT_GT(deaths, 0);
}

TEST(Keeper, ANewTableHoldsForTheRunningAndForTheNextSupervisor) {
  Prey prey({.notified = {SYS_getpriority}}, {"until", "44", "42"});
  Keeper keeper = Keep(prey, Table(Spoof(42)));
  ASSERT_TRUE(keeper.Spawn().ok());
  EXPECT_EQ(prey.ReadLine(), "here");
  EXPECT_EQ(keeper.Replace("not a table", "v2").code(), Code::kInvalidArgument);
  sandbox::Policy foreign;
  foreign.arch = sandbox::kNativeArch == sandbox::Arch::kX86_64 ? sandbox::Arch::kArm64 : sandbox::Arch::kX86_64;
  EXPECT_EQ(keeper.Replace(sandbox::RuleTable::Build(foreign).value(), "v2").code(), Code::kInvalidArgument)
      << "no supervisor could begin with it";
  EXPECT_TRUE(keeper.Replace(Table(Spoof(42)), "v3").ok());
  keeper.Kill();
  EXPECT_FALSE(Await(keeper).done);
  EXPECT_TRUE(keeper.Replace(Table(Spoof(44)), "v4").ok()) << "while there is none";
  ASSERT_TRUE(keeper.Spawn().ok());
  EXPECT_EQ(prey.Wait(), "ok");
  EXPECT_TRUE(Await(keeper).done);
}

TEST(Keeper, AProgramComesAndChangesWithItsTable) {
  const auto asks = [](const std::string& source) {
    sandbox::Policy policy;
    policy.Append(SYS_getpriority, policy.AddRule("asks", Action::Of(Action::Kind::kProgram, "f")));
    const sandbox::ProgramSection program = {source, 1u << 20, std::chrono::seconds(1), EREMOTE};
    return sandbox::RuleTable::Build(policy, &program).value();
  };
  Prey prey({.notified = {SYS_getpriority}}, {"until", "45", "42"});
  Keeper keeper = Keep(prey, asks("function f() return {spoof = 42} end"));
  ASSERT_TRUE(keeper.Spawn().ok());
  EXPECT_EQ(prey.ReadLine(), "here");
  EXPECT_TRUE(keeper.Replace(asks("local n = 41 function f() return {spoof = n + 1} end"), "v2").ok());
  keeper.Kill();
  EXPECT_FALSE(Await(keeper).done);
  ASSERT_TRUE(keeper.Spawn().ok()) << "its successor has the program, too";
  EXPECT_TRUE(keeper.Replace(asks("function f() return {spoof = 45} end"), "v3").ok());
  EXPECT_EQ(prey.Wait(), "ok");
  EXPECT_TRUE(Await(keeper).done);
}

TEST(Keeper, TheAuditIsWrittenToItsDescriptor) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const UniqueFd lines(fds[0]);
  Prey prey({.notified = {SYS_getpriority}}, {"once", "7"});
  Keeper keeper = Keep(prey, Table(Action::Of(Action::Kind::kDeny)), UniqueFd(fds[1]));
  ASSERT_TRUE(keeper.Spawn().ok());
  EXPECT_EQ(prey.Wait(), "-1 EPERM");
  EXPECT_TRUE(Await(keeper).done);
  char text[4096] = {};
  ASSERT_GT(read(lines.get(), text, sizeof text - 1), 0);
  EXPECT_THAT(std::string(text), testing::HasSubstr("\"policyVersion\":\"v1\",\"rule\":\"answer\""));
  EXPECT_THAT(std::string(text), testing::HasSubstr("\"verdict\":\"errno EPERM\""));
}

TEST(ProcessConfig, ComesBackAsItWasAndMistakesAreRefused) {
  ProcessConfig config;
  config.wait_killable = true;
  config.policy_version = "v9";
  config.cpus = 3;
  config.memory_bytes = uint64_t{1} << 40;
  config.hostname = "h";
  config.deadline = std::chrono::milliseconds(77);
  const json::Value value = ToJson(config);
  const StatusOr<ProcessConfig> again = ProcessConfigFromJson(value);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(json::Serialize(ToJson(*again)), json::Serialize(value));
  EXPECT_FALSE(ProcessConfigFromJson(json::Value::MakeObject({{"cpus", "x"}})).ok());
  EXPECT_FALSE(ProcessConfigFromJson(json::Value::MakeObject({{"deadlineMsec", 0}})).ok());
  EXPECT_FALSE(ProcessConfigFromJson(json::Value::MakeArray()).ok());
}

}  // namespace
}  // namespace isla::supervisor
