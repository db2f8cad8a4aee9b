// The supervisor is killed at every step that a call goes through, over and over; the one that keeps the listener and the
// journal starts another each time. The calling programs see delays, and nothing else.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <random>

#include "tests/unit/supervisor/harness.h"

namespace isla::supervisor {
namespace {

using Kind = Decision::Kind;

unsigned Seed() {
  const char* const given = std::getenv("ISLA_SEED");
  return given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : 20260207u;
}

std::shared_ptr<FakeDecider> AddsSeven() {
  return std::make_shared<FakeDecider>(0, [](const NotifiedCall& call) { return Spoofs(static_cast<int64_t>(call.arguments[1]) + 7); });
}
std::shared_ptr<FakeDecider> PerformsAll() {
  return std::make_shared<FakeDecider>(sandbox::kFactPath0, [](const NotifiedCall&) { return Does(Kind::kPerform); });
}

/// What shim and box do: keeps the listener and the journal, starts supervisors.
class Keeper {
 public:
  explicit Keeper(Prey& prey) : listener_(prey.DupListener()), wait_killable_(prey.wait_killable()) {
    prey.TakeListener();  // closes the other: what is left is ours
    StatusOr<Journal> journal = Journal::Create(64);
    ISLA_CHECK_OK(journal);
    journal_.Reset(fcntl(journal->fd(), F_DUPFD_CLOEXEC, 3));
  }

  /// Runs one in a process of its own until it ends, and does the other thing meanwhile. True if it was killed.
  bool RunOne(const std::shared_ptr<const Decider>& decider, std::function<void(TestStep)> at_step,
              const std::function<void(pid_t)>& meanwhile = {}) const {
    const pid_t child = fork();
    if (child == 0) _exit(Supervise(decider, std::move(at_step)));
    if (meanwhile) meanwhile(child);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0) << status;
    return WIFSIGNALED(status);
  }

 private:
  int Supervise(const std::shared_ptr<const Decider>& decider, std::function<void(TestStep)> at_step) const {
    StatusOr<Journal> journal = Journal::Open(UniqueFd(fcntl(journal_.get(), F_DUPFD_CLOEXEC, 3)));
    if (!journal.ok()) return 1;
    Audit audit(UniqueFd(), {}, Clock::Real());
    Supervisor supervisor(Listener(UniqueFd(fcntl(listener_.get(), F_DUPFD_CLOEXEC, 3)), wait_killable_), *std::move(journal), decider,
                          audit, Clock::Real(), {.calls_per_second = 0, .at_step_for_test = std::move(at_step)});
    if (!supervisor.Start().ok()) return 2;
    supervisor.WaitForEnd();
    return 0;
  }

  UniqueFd listener_, journal_;
  bool wait_killable_;
};

/// Dies the n-th time that it comes by `step`.
std::function<void(TestStep)> DiesAt(TestStep step, int times) {
  const auto left = std::make_shared<std::atomic<int>>(times);
  return [step, left](TestStep now) {
    if (now == step && --*left == 0) raise(SIGKILL);
  };
}

/// Supervises until the prey is done; kills the supervisor at `step` again and again, never in its first call alone.
int KillUntilDone(Prey& prey, const std::shared_ptr<const Decider>& decider, TestStep step, unsigned seed) {
  const Keeper keeper(prey);
  std::mt19937 random(seed);
  int deaths = 0;
  // The last may live, so that the test ends.
  while (keeper.RunOne(decider, deaths < 40 ? DiesAt(step, 1 + static_cast<int>(random() % 5)) : std::function<void(TestStep)>())) {
    ++deaths;
    if (random() % 8 == 0) usleep(20'000);  // nobody there for a while
  }
  return deaths;
}

class KilledAt : public testing::TestWithParam<TestStep> {};

TEST_P(KilledAt, EveryCallHasItsOneAnswer) {
  const unsigned seed = Seed();
  RecordProperty("seed", static_cast<int>(seed));
  Prey prey({.notified = {SYS_getpriority}}, {"ask", "300"});
  const int deaths = KillUntilDone(prey, AddsSeven(), GetParam(), seed);
  EXPECT_EQ(prey.Wait(), "300") << "seed " << seed;
  const bool never = GetParam() == TestStep::kPerformed || GetParam() == TestStep::kDescriptorAdded;
  EXPECT_EQ(deaths, never ? 0 : 40) << "seed " << seed;
}

TEST_P(KilledAt, OpenedFilesAreTheRightOnesAndNoneIsLeft) {
  const unsigned seed = Seed();
  const TestFolder folder;
  const std::string file = folder.Write("file", "text");
  Prey prey({.notified = {SYS_openat}}, {"opens", file, "250"});
  EXPECT_EQ(KillUntilDone(prey, PerformsAll(), GetParam(), seed), 40) << "seed " << seed;
  EXPECT_EQ(prey.Wait(), "right=250 left=0") << "seed " << seed;
}

TEST_P(KilledAt, FilesAreMadeOnceAndSocketsBound) {
  const unsigned seed = Seed();
  const TestFolder folder;
  Prey prey({.notified = {SYS_openat, SYS_bind}}, {"makes", folder.path(), "150"});
  EXPECT_EQ(KillUntilDone(prey, std::make_shared<FakeDecider>(sandbox::kFactPath0 | sandbox::kFactAddress, [](const NotifiedCall&) {
                            return Does(Kind::kPerform);
                          }), GetParam(), seed), 40) << "seed " << seed;
  EXPECT_EQ(prey.Wait(), "files=150 sockets=150") << "seed " << seed;
}

std::string StepName(const testing::TestParamInfo<TestStep>& info) {
  constexpr const char* kNames[] = {"Received", "Decided", "Performed", "DescriptorAdded", "Answered"};
  return kNames[static_cast<size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Steps, KilledAt,
                         testing::Values(TestStep::kReceived, TestStep::kDecided, TestStep::kPerformed, TestStep::kDescriptorAdded,
                                         TestStep::kAnswered),
                         StepName);

TEST(SupervisorCrash, ACallThatKillsItsSupervisorsIsRefusedInTheEnd) {
  Prey prey({.notified = {SYS_getpriority}}, {"ask", "20"});
  const Keeper keeper(prey);
  const auto poisoned = std::make_shared<FakeDecider>(0, [](const NotifiedCall& call) {
    if (call.arguments[1] == 13) raise(SIGKILL);
    return Spoofs(static_cast<int64_t>(call.arguments[1]) + 7);
  });
  int deaths = 0;
  while (keeper.RunOne(poisoned, {})) ++deaths;
  EXPECT_EQ(deaths, 4) << "the first, and three that tried again";
  EXPECT_EQ(prey.Wait(), "19");
}

TEST(SupervisorCrash, KilledAtAnyMomentOfAnOpenTheCallerGetsItsFileAndNoOther) {
  const unsigned seed = Seed();
  const TestFolder folder;
  const std::string file = folder.Write("file", "text");
  Prey prey({.notified = {SYS_openat}}, {"opens", file, "1500"});
  const Keeper keeper(prey);
  std::mt19937 random(seed);
  int deaths = 0;
  for (bool killed = true; killed; deaths += killed ? 1 : 0) {
    int fds[2];
    ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
    const UniqueFd told(fds[0]);
    UniqueFd tell(fds[1]);
    // Some calls later, so that none is taken up so often that it is given up; and then at any moment.
    const auto left = std::make_shared<std::atomic<int>>(2 + static_cast<int>(random() % 4));
    const auto at_step = [left, fd = tell.get()](TestStep now) {
      if (now == TestStep::kReceived && --*left == 0) (void)!write(fd, "x", 1);
    };
    const auto kill_it = [&told, &tell, &random](pid_t child) {
      tell.Reset();
      char byte = 0;
      if (read(told.get(), &byte, 1) != 1) return;
      usleep(static_cast<useconds_t>(random() % 400));
      kill(child, SIGKILL);
    };
    killed = deaths < 60 ? keeper.RunOne(PerformsAll(), at_step, kill_it) : keeper.RunOne(PerformsAll(), {});
  }
  EXPECT_EQ(prey.Wait(), "right=1500 left=0") << "seed " << seed;
  EXPECT_GT(deaths, 0);
}

TEST(SupervisorCrash, WithManyThreadsWaiting) {
  Prey prey({.notified = {SYS_getpriority}}, {"threads", "8", "50"});
  EXPECT_EQ(KillUntilDone(prey, AddsSeven(), TestStep::kReceived, Seed()), 40);
  EXPECT_EQ(prey.Wait(), "400");
}

}  // namespace
}  // namespace isla::supervisor
