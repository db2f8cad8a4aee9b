#include "sandbox/supervisor/supervisor.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>

#include "tests/unit/supervisor/harness.h"

namespace isla::supervisor {
namespace {

using testing::HasSubstr;

std::shared_ptr<FakeDecider> AddsSeven() {
  return std::make_shared<FakeDecider>(0, [](const NotifiedCall& call) { return Spoofs(static_cast<int64_t>(call.arguments[1]) + 7); });
}

TEST(Supervisor, AnswersEachCallWithItsOwnValue) {
  Prey prey({.notified = {SYS_getpriority}}, {"ask", "2000"});
  Watched supervisor(prey, AddsSeven(), {.calls_per_second = 0});
  EXPECT_EQ(prey.Wait(), "2000");
  supervisor->WaitForEnd();
  EXPECT_EQ(supervisor->counters().received, 2000u);
  EXPECT_EQ(supervisor->counters().rewritten, 2000u);
  EXPECT_EQ(supervisor->workers(), 0u) << "nothing could block, so nobody else was needed";
}

TEST(Supervisor, EachReceivedCallOfASignalStormIsAnsweredOnce) {
  struct Seen {
    Mutex mu;
    std::map<uint64_t, int> times GUARDED_BY(mu);
  };
  const auto seen = std::make_shared<Seen>();
  const auto decider = std::make_shared<FakeDecider>(0, [seen](const NotifiedCall& call) {
    const MutexLock lock(seen->mu);
    ++seen->times[call.arguments[1]];
    return Spoofs(static_cast<int64_t>(call.arguments[1]) + 7);
  });
  Prey prey({.notified = {SYS_getpriority}}, {"storm", "3000", "3"});
  if (!prey.wait_killable()) GTEST_SKIP();
  Watched supervisor(prey, decider, {.calls_per_second = 0});
  long right = 0, interrupted = 0, wrong = 0;
  const std::string printed = prey.Wait();
  ASSERT_EQ(std::sscanf(printed.c_str(), "%ld %ld %ld", &right, &interrupted, &wrong), 3) << printed;
  EXPECT_EQ(right + interrupted, 9000);
  EXPECT_EQ(wrong, 0);
  supervisor->Stop();
  const MutexLock lock(seen->mu);
  EXPECT_EQ(seen->times.size(), static_cast<size_t>(right)) << "calls interrupted before the receive were never seen";
  for (const auto& [token, times] : seen->times) EXPECT_EQ(times, 1) << token;
  EXPECT_EQ(supervisor->counters().received, static_cast<uint64_t>(right));
  EXPECT_EQ(supervisor->counters().gone, 0u);
}

TEST(Supervisor, ServesProcessesThatComeAndGo) {
  Prey prey({.notified = {SYS_getpriority}}, {"fork-ask", "60"});
  Watched supervisor(prey, AddsSeven());
  EXPECT_EQ(prey.Wait(), "60");
}

TEST(Supervisor, CallsAreDecidedByThePolicyOfTheirArrival) {
  Prey prey({.notified = {SYS_getpriority}}, {"ask", "20000"});
  Watched supervisor(prey, AddsSeven(), {.calls_per_second = 0});
  for (int i = 0; i < 200; ++i) {
    supervisor->Replace(AddsSeven());
    usleep(100);
  }
  EXPECT_EQ(prey.Wait(), "20000");
}

TEST(Supervisor, ANewPolicyHoldsForTheNextCall) {
  Prey prey({.notified = {SYS_getpriority}}, {"ask", "100000"});
  Watched supervisor(prey, AddsSeven(), {.calls_per_second = 0});
  while (supervisor->counters().received < 10) usleep(100);
  supervisor->Replace(std::make_shared<FakeDecider>(0, [](const NotifiedCall&) { return Does(Decision::Kind::kKill); }));
  EXPECT_EQ(prey.Wait(), "signal 9");
}

TEST(Supervisor, MoreCallsThanTheBoundAreTurnedAway) {
  Prey prey({.notified = {SYS_getpriority}}, {"ask", "300"});
  Watched supervisor(prey, AddsSeven(), {.calls_per_second = 100}, {.lines_per_second = 5});
  const long right = std::atol(prey.Wait().c_str());
  EXPECT_GE(right, 100);
  EXPECT_LT(right, 300);
  supervisor->Stop();
  EXPECT_EQ(supervisor->counters().throttled, 300u - static_cast<uint64_t>(right));
  EXPECT_THAT(supervisor.AuditText(), HasSubstr("\"verdict\":\"throttled\""));
}

TEST(Supervisor, KillsTheProcessAndTellsWhich) {
  Prey prey({.notified = {SYS_getpriority}}, {"once", "5"});
  Watched supervisor(prey, std::make_shared<FakeDecider>(0, [](const NotifiedCall&) { return Does(Decision::Kind::kKill); }));
  EXPECT_EQ(prey.Wait(), "signal 9");
  supervisor->WaitForEnd();
  supervisor->Stop();
  const std::string audit = supervisor.AuditText();
  EXPECT_THAT(audit, HasSubstr("\"syscall\":\"getpriority\""));
  EXPECT_THAT(audit, HasSubstr("supervisor_prey"));
  EXPECT_THAT(audit, HasSubstr("\"a1\":\"0x5\""));
}

TEST(Supervisor, DenialsAreAlwaysWrittenDownAllowedCallsAreNot) {
  Prey denied({.notified = {SYS_getpriority}}, {"once", "5"});
  Watched strict(denied, std::make_shared<FakeDecider>(0, [](const NotifiedCall&) { return Fails(EACCES); }));
  EXPECT_EQ(denied.Wait(), "-1 EACCES");
  strict->Stop();
  EXPECT_THAT(strict.AuditText(), HasSubstr("\"policyVersion\":\"v1\",\"rule\":\"default\""));

  Prey allowed({.notified = {SYS_getppid}}, {"parent"});
  Watched lenient(allowed, std::make_shared<FakeDecider>(0, [](const NotifiedCall&) { return Continues(); }));
  EXPECT_EQ(allowed.Wait(), std::to_string(getpid()));
  lenient->Stop();
  EXPECT_EQ(lenient.AuditText(), "");
  EXPECT_EQ(lenient->counters().continued, 1u);
}

TEST(Supervisor, EndsWithItsLastProcessAndLeavesNoThread) {
  Prey prey({.notified = {SYS_getpriority}}, {"once", "1"});
  Watched supervisor(prey, AddsSeven());
  prey.Wait();
  supervisor->WaitForEnd();
  supervisor->Stop();
  supervisor->Stop();
}

TEST(Supervisor, StopsWhileACallerIsStillThere) {
  Prey prey({.notified = {SYS_getpriority}}, {"storm", "100000000", "1"});
  Watched supervisor(prey, AddsSeven(), {.calls_per_second = 0});
  while (supervisor->counters().received < 10) usleep(100);
  supervisor->Stop();
}

}  // namespace
}  // namespace isla::supervisor
