// From go to the exit record: what is reported, and that nothing is left, whoever dies when.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "tests/e2e/container/harness.h"

namespace isla::shim {
namespace {

using testing::HasSubstr;

std::vector<std::string> Shell(const std::string& script) { return {"/bin/sh", "-c", script}; }

TEST(Life, OutputExitCodeAndTimesAreRecorded) {
  TestContainer container(Shell("echo out; echo err >&2; exit 3"));
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "exited") << record.step << " " << record.message;
  EXPECT_EQ(record.exit_code, 3);
  EXPECT_EQ(record.signal, 0);
  EXPECT_GT(record.started_at_ns, 0);
  EXPECT_GE(record.finished_at_ns, record.started_at_ns);
  EXPECT_GT(record.peak_memory_bytes, 0);
  EXPECT_GT(record.cpu_time_usec, 0);
  EXPECT_EQ(record.oom_kills, 0);
  EXPECT_EQ(record.log_dropped_bytes, 0);
  EXPECT_EQ(container.Output("stdout"), "out\n");
  EXPECT_EQ(container.Output("stderr"), "err\n");
}

TEST(Life, TheRecordIsThereWhenTheExitIsTold) {
  TestContainer container(Shell("printf unfinished"));
  container.Start();
  ASSERT_TRUE(container.Event("exited"));
  EXPECT_EQ(container.Record().cause, "exited");
  EXPECT_EQ(container.Output(), "unfinished") << "and so is all of the log";
  EXPECT_EQ(container.WaitShim(), 0);
  for (const char* left : {"/shim.sock", "/root"}) {
    EXPECT_NE(access((container.run_dir() + left).c_str(), F_OK), 0) << left;
  }
  EXPECT_NE(access(container.LeafFolder("memory", "payload").c_str(), F_OK), 0) << "the payload's cgroup is gone";
}

TEST(Life, RunningNamesTheProcesses) {
  TestContainer container({"sleep", "60"});
  container.Start();
  const StatusOr<std::string> text = ReadFile(container.run_dir() + "/running");
  ASSERT_TRUE(text.ok());
  const StatusOr<json::Value> running = json::Parse(*text);
  ASSERT_TRUE(running.ok());
  EXPECT_EQ(running->Int64At({"shimPid"}), container.shim_pid());
  EXPECT_GT(running->Int64At({"shimStartTicks"}).value_or(0), 0);
  const pid_t init = static_cast<pid_t>(running->Int64At({"initPid"}).value_or(0));
  EXPECT_EQ(ReadFile(fmt::format("/proc/{}/comm", init)).value_or(""), "isla-init\n");
  struct stat st {};
  ASSERT_EQ(stat((container.run_dir() + "/shim.sock").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST(Life, SleepEndsOnSigtermAtOnce) {
  TestContainer container({"sleep", "60"});
  container.Start();
  const auto begin = std::chrono::steady_clock::now();
  container.Stop(10'000);
  ASSERT_TRUE(container.Event("exited"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  const ExitRecord record = container.Record();
  EXPECT_EQ(record.cause, "stopped");
  EXPECT_EQ(record.signal, SIGTERM);
  EXPECT_EQ(record.exit_code, 143);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Life, AGracefulEndAfterAStopIsStoppedWithItsExitCode) {
  TestContainer container(Shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done"));
  container.Start();
  for (int i = 0; i < 500 && container.Output().empty(); ++i) usleep(5000);
  container.Stop(5'000);
  ASSERT_TRUE(container.Event("exited"));
  EXPECT_EQ(container.Record().cause, "stopped");
  EXPECT_EQ(container.Record().exit_code, 5);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Life, WhatIgnoresSigtermIsKilledAtTheEndOfTheGracePeriod) {
  TestContainer container(Shell("trap '' TERM; sh -c 'trap \"\" TERM; sleep 60' & echo ready; wait; sleep 60"));
  container.Start();
  for (int i = 0; i < 500 && container.Output().empty(); ++i) usleep(5000);
  container.Stop(60'000);
  container.Stop(100);  // a shorter grace wins
  ASSERT_TRUE(container.Event("exited"));
  const ExitRecord record = container.Record();
  EXPECT_EQ(record.cause, "stopped");
  EXPECT_EQ(record.signal, SIGKILL);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Life, ATimeoutIsATimeout) {
  TestContainer container({"sleep", "60"});
  container.request().timeout_msec = 50;
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "timeout");
  EXPECT_EQ(record.signal, SIGTERM);
}

TEST(Life, ASignalOfItsOwnIsASignal) {
  TestContainer container(Shell("kill -SEGV $$"));
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "signal");
  EXPECT_EQ(record.signal, SIGSEGV);
  EXPECT_EQ(record.exit_code, 139);
}

TEST(Life, SigtermToTheShimStopsThePayloadAndWritesTheRecord) {
  TestContainer container({"sleep", "60"});
  container.Start();
  kill(container.shim_pid(), SIGTERM);
  EXPECT_EQ(container.WaitShim(), 0);
  EXPECT_EQ(container.Record().cause, "stopped");
}

TEST(Life, StoppingTheScopeInSystemdIsAStop) {
  if (!HasSystemd()) GTEST_SKIP() << "needs systemd";
  TestContainer container({"/bin/sh", "-c", "sleep 60"});
  container.Start();
  ASSERT_EQ(std::system(("systemctl stop " + container.request().scope).c_str()), 0);
  EXPECT_EQ(container.WaitShim(), 0);
  EXPECT_EQ(container.Record().cause, "stopped");
  EXPECT_EQ(container.Record().signal, SIGTERM);
}

TEST(Life, AnAgentThatComesBackFindsTheStateAndCanStop) {
  TestContainer container({"sleep", "60"});
  container.Start();
  container.CloseControl();
  container.Reconnect();
  const auto state = container.Event("state");
  ASSERT_TRUE(state);
  EXPECT_EQ(state->StringAt({"state"}), "running");
  container.Send(json::Value::MakeObject({{"command", "nonsense"}}));
  container.Send("not even an object");
  container.Send(json::Value::MakeObject({{"command", "state"}}));
  EXPECT_TRUE(container.Event("state"));
  container.Stop(1000);
  EXPECT_TRUE(container.Event("exited"));
  EXPECT_EQ(container.WaitShim(), 0);
  EXPECT_EQ(container.Record().cause, "stopped");
}

TEST(Life, EndOfFileBeforeGoLeavesNothing) {
  TestContainer container({"true"});
  container.Spawn();
  container.CloseControl();
  EXPECT_EQ(container.WaitShim(), 0);
  for (const char* left : {"/shim.sock", "/root", "/exit", "/running"}) {
    EXPECT_NE(access((container.run_dir() + left).c_str(), F_OK), 0) << left;
  }
  EXPECT_NE(access(container.request().log_path.c_str(), F_OK), 0);
}

TEST(Life, AStopBeforeGoIsRecordedAndNothingRuns) {
  TestContainer container(Shell("echo ran"));
  container.Spawn();
  container.MakeScope();
  container.Stop(1000);
  EXPECT_TRUE(container.Event("exited"));
  EXPECT_EQ(container.WaitShim(), 0);
  EXPECT_EQ(container.Record().cause, "stopped");
  EXPECT_EQ(container.Record().started_at_ns, 0);
  EXPECT_EQ(container.Output(), "");
}

TEST(Life, AKilledShimTakesItsContainerAlong) {
  TestContainer container({"sleep", "60"});
  container.Start();
  const StatusOr<json::Value> running = json::Parse(ReadFile(container.run_dir() + "/running").value_or(""));
  ASSERT_TRUE(running.ok());
  const pid_t init = static_cast<pid_t>(*running->Int64At({"initPid"}));
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, init, 0)));
  ASSERT_TRUE(pidfd.valid());
  kill(container.shim_pid(), SIGKILL);
  container.WaitShim();
  pollfd end = {pidfd.get(), POLLIN, 0};
  EXPECT_EQ(poll(&end, 1, 5000), 1) << "PID 1 of the container, and so the container, lives on";
  EXPECT_NE(access((container.run_dir() + "/exit").c_str(), F_OK), 0) << "nobody made an end up";
}

TEST(Life, WhatThePayloadLeavesBehindDies) {
  TestContainer container(Shell("sleep 1234.5 & exit 0"));
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "exited");
  EXPECT_EQ(record.exit_code, 0);
}

TEST(Life, StartErrorsNameTheStep) {
  {
    TestContainer container({"/no/such/program"});
    const ExitRecord record = container.Run();
    EXPECT_EQ(record.cause, "start-error");
    EXPECT_EQ(record.step, "execute /no/such/program");
    EXPECT_EQ(record.error, ENOENT);
    EXPECT_TRUE(record.at_command);
    EXPECT_EQ(record.started_at_ns, 0);
  }
  {
    TestContainer container({"true"});
    container.request().mounts.push_back({"/no/such/folder", "/data", true});
    const ExitRecord record = container.Run();
    EXPECT_EQ(record.cause, "start-error");
    EXPECT_EQ(record.step, "open /no/such/folder");
    EXPECT_EQ(record.error, ENOENT);
    EXPECT_FALSE(record.at_command);
  }
  {
    TestContainer container({"true"});
    container.request().init_path = "/no/such/init";
    const ExitRecord record = container.Run();
    EXPECT_EQ(record.cause, "start-error");
    EXPECT_THAT(record.message, HasSubstr("/no/such/init"));
  }
}

}  // namespace
}  // namespace isla::shim
