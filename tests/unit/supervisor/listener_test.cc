#include "sandbox/supervisor/listener.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/supervisor/features.h"
#include "sandbox/supervisor/load.h"
#include "tests/unit/supervisor/harness.h"

namespace isla::supervisor {
namespace {

using Received = Listener::Received;

seccomp_notif ReceiveOne(const Listener& listener) {
  seccomp_notif notification{};
  EXPECT_EQ(listener.Receive(&notification), Received::kCall);
  return notification;
}

TEST(KernelFeatures, AreProbedWithoutLeavingAFilterBehind) {
  const StatusOr<KernelFeatures> features = ProbeKernel();
  ASSERT_TRUE(features.ok()) << ToString(features.status());
  EXPECT_GE(features->notification_bytes, sizeof(seccomp_notif));
  EXPECT_TRUE(features->add_fd || !features->add_fd_and_reply);
  EXPECT_EQ(prctl(PR_GET_SECCOMP), prctl(PR_GET_SECCOMP));
  EXPECT_THAT(features->ToText(), testing::HasSubstr("waitKillable="));
  std::printf("%s\n", features->ToText().c_str());
}

TEST(Listener, AnswersWithValuesErrorsAndTheCallItself) {
  Prey prey({.notified = {SYS_getpriority, SYS_getppid}}, {"ask", "1"});
  const Listener listener = prey.TakeListener();
  const seccomp_notif first = ReceiveOne(listener);
  EXPECT_EQ(first.data.nr, SYS_getpriority);
  EXPECT_EQ(first.data.args[1], 1u);
  EXPECT_TRUE(listener.IsValid(first.id));
  EXPECT_EQ(listener.Reply(first.id, 8), 0);
  EXPECT_FALSE(listener.IsValid(first.id));
  EXPECT_EQ(listener.Reply(first.id, 8), ENOENT) << "answered twice";
  EXPECT_EQ(prey.Wait(), "1");

  Prey failing({.notified = {SYS_getpriority}}, {"once", "1"});
  const Listener second = failing.TakeListener();
  EXPECT_EQ(second.Fail(ReceiveOne(second).id, ENOTDIR), 0);
  EXPECT_EQ(failing.Wait(), "-1 ENOTDIR");

  Prey going_on({.notified = {SYS_getppid}}, {"parent"});
  const Listener third = going_on.TakeListener();
  EXPECT_EQ(third.Continue(ReceiveOne(third).id), 0);
  EXPECT_EQ(going_on.Wait(), std::to_string(getpid()));
}

TEST(Listener, TellsThatTheLastProcessEnded) {
  Prey prey({.notified = {SYS_getpriority}}, {"parent"});
  const Listener listener = prey.TakeListener();
  prey.Wait();
  const StatusOr<KernelFeatures> features = ProbeKernel();
  // Kernels before 6.11 would block here: the supervisor watches for the hang-up besides.
  if (!features.ok() || !features->sync_wake_up) GTEST_SKIP();
  seccomp_notif notification{};
  EXPECT_EQ(listener.Receive(&notification), Received::kEnd);
}

TEST(Listener, TheCallOfAKilledProcessIsGone) {
  Prey prey({.notified = {SYS_getpriority}}, {"once", "1"});
  const Listener listener = prey.TakeListener();
  const seccomp_notif call = ReceiveOne(listener);
  prey.Kill(SIGKILL);
  prey.Wait();
  EXPECT_FALSE(listener.IsValid(call.id));
  EXPECT_EQ(listener.Reply(call.id, 1), ENOENT);
  EXPECT_EQ(listener.AddFd(call.id, 0, true), -ENOENT);
}

TEST(Listener, ASignalAfterTheReceiveWaitsForTheAnswer) {
  Prey prey({.notified = {SYS_getpriority}}, {"storm", "1", "1"});
  if (!prey.wait_killable()) GTEST_SKIP();
  const Listener listener = prey.TakeListener();
  // Received in the end, though signals interrupt the waiting before.
  seccomp_notif call{};
  Received received = Received::kNothing;
  for (int i = 0; i < 1000 && received != Received::kCall; ++i) {
    call = {};
    received = listener.Receive(&call);
    if (received == Received::kEnd) GTEST_SKIP() << "the storm was faster";
  }
  ASSERT_EQ(received, Received::kCall);
  usleep(20'000);  // some two hundred signals
  EXPECT_TRUE(listener.IsValid(call.id));
  EXPECT_EQ(listener.Reply(call.id, static_cast<int64_t>(call.data.args[1]) + 7), 0);
  EXPECT_EQ(prey.Wait(), "1 0 0");
}

TEST(Load, RefusesFiltersThatWouldNotifyTheHandoverItself) {
  EXPECT_TRUE(CheckHandover(Notifying({SYS_openat, SYS_connect, SYS_sendmsg, SYS_futex}), 5).ok());
  for (const int number : {SYS_write, SYS_read, SYS_execve, SYS_exit_group}) {
    const Status status = CheckHandover(Notifying({number}), 5);
    EXPECT_EQ(status.code(), Code::kFailedPrecondition) << number;
  }
}

TEST(Load, OneListenerIsAllTheKernelAllows) {
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const sandbox::Program program = Notifying({SYS_getpriority});
    const Loaded first = LoadWithListener(program), second = LoadWithListener(program);
    _exit(first.error == 0 && second.error == EBUSY ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace isla::supervisor
