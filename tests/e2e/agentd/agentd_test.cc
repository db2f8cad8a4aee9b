// isla-agentd as a process, with the real systemd and isla-shim, told by a gateway that the test plays. Runs in
// a cell (tests/cluster/cell.sh) as root.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <thread>

#include "agentd/key.h"
#include "api/base/json.h"
#include "api/base/unique_fd.h"
#include "api/base/uuid.h"
#include "tests/cluster/process.h"
#include "tests/e2e/agentd/fake_gateway.h"

namespace isla::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class AgentdTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists("/run/systemd/private")) GTEST_SKIP() << "needs a systemd: run it in a cell";
    char folder[] = "/tmp/agentd-e2e-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    gateway_ = std::make_unique<FakeGateway>(folder_);
    const std::string bin = std::getenv("ISLA_BIN_DIR") != nullptr
                                ? std::getenv("ISLA_BIN_DIR")
                                : fs::read_symlink("/proc/self/exe").parent_path().parent_path().string() + "/bin";
    agentd_ = std::make_unique<Daemon>(
        "isla-agentd",
        std::vector<std::string>{bin + "/isla-agentd", "--node=n1", "--gateway=" + gateway_->target(),
                                 "--state-dir=" + State(), "--run-dir=" + RunDir(),
                                 "--node-config=" + folder_ + "/node.json", "--log-level=debug"},
        "/", folder_ + "/agentd.log");
    StartAgent();
  }

  void TearDown() override {
    if (agentd_ == nullptr) return;
    if (HasFailure()) std::fprintf(stderr, "%s\n", agentd_->Log().c_str());
    agentd_->Kill9();
    testing::RunCommand({"systemctl", "kill", "--signal=KILL", "isla.slice"});
    testing::RunCommand({"systemctl", "stop", "isla.slice"});
    agentd_.reset();
    gateway_.reset();
    fs::remove_all(folder_);
  }

  std::string State() const { return folder_ + "/state"; }
  std::string RunDir() const { return folder_ + "/run"; }

  void StartAgent() {
    agentd_->Start();
    ASSERT_TRUE(gateway_->WaitServed(++served_)) << agentd_->Log();
  }

  FakeGateway::Key NewKey() { return {NewUuid(), 1}; }

  static std::string ScopeOf(const FakeGateway::Key& key) { return agent::ScopeName({key.first, key.second}); }
  static std::string NameOf(const FakeGateway::Key& key) { return agent::Name({key.first, key.second}); }

  FakeGateway::Key StartContainer(std::vector<std::string> argv) {
    const auto key = NewKey();
    const auto ack = gateway_->Run(key, MakeLaunch(std::move(argv)));
    EXPECT_TRUE(ack.has_value() && ack->refused().empty() && ack->nacks().empty());
    const auto report = gateway_->WaitState(key, isla::v1::RUNNING);
    EXPECT_TRUE(report.has_value()) << "not running";
    return key;
  }

  int64_t ShimPid(const FakeGateway::Key& key) {
    const auto bytes = ReadFile(RunDir() + "/" + NameOf(key) + "/running");
    const auto record = json::Parse(bytes.ok() ? *bytes : "{}");
    return record.ok() ? record->Int64At({"shimPid"}).value_or(0) : 0;
  }

  bool HasScope(const FakeGateway::Key& key) {
    return testing::RunCommand({"systemctl", "is-active", "--quiet", ScopeOf(key)}).exit_code == 0;
  }

  /// No trace of a container: unit, control group in any hierarchy, folder.
  void ExpectNothingLeft(const FakeGateway::Key& key) {
    EXPECT_FALSE(HasScope(key));
    for (const char* folder : {"/run/", "/state/logs/", "/state/overlay/"}) {
      EXPECT_FALSE(fs::exists(folder_ + folder + NameOf(key))) << folder;
    }
    const auto groups = testing::RunCommand({"find", "/sys/fs/cgroup", "-name", ScopeOf(key)});
    EXPECT_EQ(groups.out, "");
  }

  std::string folder_;
  std::unique_ptr<FakeGateway> gateway_;
  std::unique_ptr<Daemon> agentd_;
  int served_ = 0;
};

TEST_F(AgentdTest, RunsAContainerToItsEndAndLeavesNothing) {
  const auto key = NewKey();
  const auto ack = gateway_->Run(key, MakeLaunch({"/bin/sh", "-c", "echo hello; echo again >&2; exit 7"}));
  ASSERT_TRUE(ack.has_value());
  const auto exited = gateway_->WaitState(key, isla::v1::EXITED);
  ASSERT_TRUE(exited.has_value());
  EXPECT_EQ(exited->exit().exit_code(), 7) << exited->ShortDebugString();
  EXPECT_EQ(exited->exit().cause(), "exited");
  EXPECT_EQ(exited->exit().reason(), "Error");
  EXPECT_EQ(exited->session(), "test");
  EXPECT_EQ(exited->scope(), ScopeOf(key));
  EXPECT_EQ(exited->invocation_id().size(), 32u);
  EXPECT_LE(exited->accepted_at_ns(), exited->created_at_ns());
  EXPECT_LE(exited->created_at_ns(), exited->started_at_ns());
  EXPECT_LE(exited->started_at_ns(), exited->exit().finished_at_ns());
  EXPECT_EQ(gateway_->ReadLog(key), "hello\nagain\n");
  EXPECT_EQ(gateway_->ReadLog(key, false, 1), "again\n");
  ASSERT_TRUE(gateway_->Stop(key).has_value());
  ASSERT_TRUE(gateway_->WaitState(key, isla::v1::GONE).has_value());
  ExpectNothingLeft(key);
  EXPECT_EQ(gateway_->AskDigest(), true);
  ASSERT_TRUE(gateway_->Remove(key).has_value());
  EXPECT_EQ(gateway_->AskDigest(), true);
}

TEST_F(AgentdTest, TheScopeHasTheGrantAndTheMargin) {
  const auto key = StartContainer({"/bin/sleep", "100"});
  const auto show = testing::RunCommand({"systemctl", "show", ScopeOf(key), "-p", "MemoryMax", "-p", "TasksMax", "-p",
                         "CPUQuotaPerSecUSec", "-p", "Slice", "-p", "Delegate", "-p", "CollectMode"});
  EXPECT_NE(show.out.find("MemoryMax=75497472\n"), std::string::npos) << show.out;  // 64 + 8 MiB
  EXPECT_NE(show.out.find("TasksMax=80\n"), std::string::npos) << show.out;
  EXPECT_NE(show.out.find("CPUQuotaPerSecUSec=300ms\n"), std::string::npos) << show.out;
  EXPECT_NE(show.out.find("Slice=isla-default.slice\n"), std::string::npos) << show.out;
  EXPECT_NE(show.out.find("Delegate=yes\n"), std::string::npos) << show.out;
  EXPECT_NE(show.out.find("CollectMode=inactive-or-failed\n"), std::string::npos) << show.out;
}

TEST_F(AgentdTest, StopEndsItWithinTheGracePeriodThenKills) {
  const auto polite = StartContainer({"/bin/sleep", "100"});
  ASSERT_TRUE(gateway_->Stop(polite, 5000).has_value());
  const auto gone = gateway_->WaitState(polite, isla::v1::GONE, seconds(3));
  ASSERT_TRUE(gone.has_value()) << "sleep did not end on SIGTERM at once";
  EXPECT_EQ(gone->exit().cause(), "stopped") << gone->ShortDebugString();
  const auto stubborn = StartContainer({"/bin/sh", "-c", "trap '' TERM; echo armed; while :; do sleep 1; done"});
  // Running means that the shell was executed, not that it has come to its trap.
  ASSERT_TRUE(Eventually([&] { return gateway_->ReadLog(stubborn) == "armed\n"; }));
  ASSERT_TRUE(gateway_->Stop(stubborn, 300).has_value());
  const auto killed = gateway_->WaitState(stubborn, isla::v1::GONE, seconds(8));
  ASSERT_TRUE(killed.has_value());
  EXPECT_EQ(killed->exit().signal(), SIGKILL) << killed->ShortDebugString();
  ExpectNothingLeft(stubborn);
}

TEST_F(AgentdTest, KilledAgentAdoptsWhatRunsAndItsExitIsReported) {
  const auto key = StartContainer({"/bin/sh", "-c", "echo once; sleep 2; exit 5"});
  const int64_t shim = ShimPid(key);
  ASSERT_GT(shim, 1);
  agentd_->Kill9();
  StartAgent();
  EXPECT_EQ(kill(static_cast<pid_t>(shim), 0), 0) << "the shim was disturbed";
  ASSERT_EQ(gateway_->hello().inventory_size(), 1);
  EXPECT_EQ(gateway_->hello().inventory(0).state(), isla::v1::RUNNING);
  const auto exited = gateway_->WaitState(key, isla::v1::EXITED);
  ASSERT_TRUE(exited.has_value());
  EXPECT_EQ(exited->exit().exit_code(), 5);
  EXPECT_EQ(gateway_->ReadLog(key), "once\n");
}

TEST_F(AgentdTest, AnExitWhileTheAgentIsDownIsReportedAfterwards) {
  const auto key = StartContainer({"/bin/sh", "-c", "sleep 0.5; exit 9"});
  const int64_t shim = ShimPid(key);
  agentd_->Kill9();
  ASSERT_TRUE(Eventually([shim] { return kill(static_cast<pid_t>(shim), 0) != 0; }));
  StartAgent();
  const auto exited = gateway_->WaitState(key, isla::v1::EXITED);
  ASSERT_TRUE(exited.has_value());
  EXPECT_EQ(exited->exit().exit_code(), 9);
  EXPECT_EQ(exited->exit().cause(), "exited");
}

TEST_F(AgentdTest, StoppedAndStartedAgentLeavesContainersAlone) {
  const auto key = StartContainer({"/bin/sleep", "100"});
  const int64_t shim = ShimPid(key);
  agentd_->Stop();
  EXPECT_EQ(kill(static_cast<pid_t>(shim), 0), 0);
  EXPECT_TRUE(HasScope(key));
  StartAgent();
  EXPECT_EQ(ShimPid(key), shim);
  ASSERT_TRUE(gateway_->Stop(key).has_value());
  ASSERT_TRUE(gateway_->WaitState(key, isla::v1::GONE).has_value());
  ExpectNothingLeft(key);
}

TEST_F(AgentdTest, AKilledShimIsReportedAsLostAndNothingRunsUnseen) {
  const auto key = StartContainer({"/bin/sleep", "4711"});
  ASSERT_EQ(kill(static_cast<pid_t>(ShimPid(key)), SIGKILL), 0);
  const auto exited = gateway_->WaitState(key, isla::v1::EXITED);
  ASSERT_TRUE(exited.has_value());
  EXPECT_EQ(exited->exit().cause(), "lost");
  EXPECT_EQ(exited->exit().reason(), "ShimLost");
  EXPECT_FALSE(HasScope(key));
  EXPECT_NE(testing::RunCommand({"pgrep", "-f", "sleep 4711"}).exit_code, 0);
}

TEST_F(AgentdTest, AShimKilledWhileTheAgentIsDownIsReportedAsLost) {
  const auto key = StartContainer({"/bin/sleep", "4712"});
  const int64_t shim = ShimPid(key);
  agentd_->Kill9();
  ASSERT_EQ(kill(static_cast<pid_t>(shim), SIGKILL), 0);
  StartAgent();
  const auto exited = gateway_->WaitState(key, isla::v1::EXITED);
  ASSERT_TRUE(exited.has_value());
  EXPECT_EQ(exited->exit().reason(), "ShimLost");
  EXPECT_NE(testing::RunCommand({"pgrep", "-f", "sleep 4712"}).exit_code, 0);
}

TEST_F(AgentdTest, SystemctlStopOfTheScopeIsReported) {
  const auto key = StartContainer({"/bin/sleep", "100"});
  EXPECT_EQ(testing::RunCommand({"systemctl", "stop", ScopeOf(key)}).exit_code, 0);
  const auto exited = gateway_->WaitState(key, isla::v1::EXITED);
  ASSERT_TRUE(exited.has_value());
  EXPECT_TRUE(exited->exit().cause() == "stopped" || exited->exit().cause() == "signal")
      << exited->exit().ShortDebugString();
  ASSERT_TRUE(gateway_->Stop(key).has_value());
  ASSERT_TRUE(gateway_->WaitState(key, isla::v1::GONE).has_value());
  ExpectNothingLeft(key);
}

TEST_F(AgentdTest, SystemdMayReExecuteItselfMeanwhile) {
  const auto before = StartContainer({"/bin/sleep", "100"});
  ASSERT_EQ(testing::RunCommand({"systemctl", "daemon-reexec"}).exit_code, 0);
  const auto during = NewKey();
  ASSERT_TRUE(gateway_->Run(during, MakeLaunch({"/bin/sleep", "100"})).has_value());
  const auto report = gateway_->WaitState(during, isla::v1::RUNNING);
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->state(), isla::v1::RUNNING) << report->ShortDebugString();
  ASSERT_EQ(testing::RunCommand({"systemctl", "daemon-reload"}).exit_code, 0);
  const auto show = testing::RunCommand({"systemctl", "show", ScopeOf(before), "-p", "MemoryMax"});
  EXPECT_EQ(show.out, "MemoryMax=75497472\n");
  for (const auto& key : {before, during}) {
    ASSERT_TRUE(gateway_->Stop(key).has_value());
    const auto gone = gateway_->WaitState(key, isla::v1::GONE);
    ASSERT_TRUE(gone.has_value());
    EXPECT_EQ(gone->exit().cause(), "stopped") << gone->ShortDebugString();
    ExpectNothingLeft(key);
  }
}

TEST_F(AgentdTest, AUnitThatIsStillActivatingAroundTheAgentHoldsNoScopeBack) {
  agentd_->Kill9();
  // As a script of a oneshot service would start it: the unit is activating for as long as the script runs.
  std::vector<std::string> by_script = {"systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--unit=script",
                                        "--service-type=oneshot", "--property=KillMode=process"};
  by_script.insert(by_script.end(), agentd_->argv().begin(), agentd_->argv().end());
  agentd_->argv() = by_script;
  StartAgent();
  const auto key = NewKey();
  ASSERT_TRUE(gateway_->Run(key, MakeLaunch({"/bin/true"})).has_value());
  const auto exited = gateway_->WaitState(key, isla::v1::EXITED);
  ASSERT_TRUE(exited.has_value());
  EXPECT_EQ(exited->exit().cause(), "exited");
  testing::RunCommand({"systemctl", "kill", "--signal=KILL", "script.service"});
}

TEST_F(AgentdTest, ACommandThatIsNotThereOrCannotBeExecutedIsAStartErrorThatSaysWhich) {
  for (const auto& [command, reason] : {std::pair("/no/such/program", "CommandNotFound"), std::pair("no-such-program", "CommandNotFound"),
                                        std::pair("/etc/passwd/sh", "CommandNotFound"), std::pair("/etc/passwd", "CommandNotExecutable"),
                                        std::pair("/usr", "CommandNotExecutable")}) {
    const auto key = NewKey();
    ASSERT_TRUE(gateway_->Run(key, MakeLaunch({command})).has_value());
    const auto exited = gateway_->WaitState(key, isla::v1::EXITED);
    ASSERT_TRUE(exited.has_value());
    EXPECT_EQ(exited->exit().cause(), "start-error") << exited->ShortDebugString();
    EXPECT_EQ(exited->exit().reason(), reason) << command;
    EXPECT_NE(exited->exit().message(), "");
  }
}

TEST_F(AgentdTest, ReportsAreSentAgainUntilAcknowledged) {
  gateway_->SetAcking(false);
  const auto key = NewKey();
  ASSERT_TRUE(gateway_->Run(key, MakeLaunch({"/bin/true"})).has_value());
  const auto first = gateway_->WaitState(key, isla::v1::EXITED);
  ASSERT_TRUE(first.has_value());
  gateway_->Disconnect();
  ASSERT_TRUE(gateway_->WaitServed(++served_));
  ASSERT_TRUE(Eventually([this, &key] { return gateway_->CountReports(key, isla::v1::EXITED) >= 2; }));
  gateway_->SetAcking(true);
  agentd_->Kill9();
  StartAgent();
  ASSERT_TRUE(Eventually([this, &key] { return gateway_->CountReports(key, isla::v1::EXITED) >= 3; }));
  // Acknowledged now: never sent again.
  ASSERT_TRUE(gateway_->AskDigest().has_value());
  agentd_->Stop();
  StartAgent();
  ASSERT_TRUE(gateway_->AskDigest().has_value());
  EXPECT_EQ(gateway_->CountReports(key, isla::v1::EXITED), 3);
}

TEST_F(AgentdTest, WhatAFullStateDoesNotNameRunsOn) {
  const auto key = StartContainer({"/bin/sleep", "100"});
  isla::v1::Delta empty;
  empty.set_full(true);
  empty.set_expected_count(1);
  const auto refused = gateway_->Send(empty);
  ASSERT_TRUE(refused.has_value());
  EXPECT_NE(refused->refused(), "");
  empty.set_expected_count(0);
  const auto taken = gateway_->Send(empty);
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->refused(), "");
  EXPECT_EQ(gateway_->AskDigest(), false);  // the gateway still counts it
  EXPECT_TRUE(HasScope(key));
  EXPECT_EQ(kill(static_cast<pid_t>(ShimPid(key)), 0), 0);
}

TEST_F(AgentdTest, RefusesWhatTheNodeDoesNotAllow) {
  auto launch = MakeLaunch({"/bin/true"});
  launch.set_network("host");
  const auto key = NewKey();
  auto ack = gateway_->Run(key, launch);
  ASSERT_TRUE(ack.has_value());
  ASSERT_EQ(ack->nacks_size(), 1);
  EXPECT_EQ(ack->nacks(0).reason(), "NotAllowed");
  const auto report = gateway_->WaitReport(key, [](const isla::v1::Report& r) { return r.has_nack(); });
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->nack().reason(), "NotAllowed");
  launch = MakeLaunch({"/bin/true"});
  launch.set_memory_bytes(int64_t{1} << 50);
  ack = gateway_->Run(NewKey(), launch);
  ASSERT_TRUE(ack.has_value());
  ASSERT_EQ(ack->nacks_size(), 1);
  EXPECT_EQ(ack->nacks(0).reason(), "OutOfMemory");
}

TEST_F(AgentdTest, AFollowedLogEndsWithTheContainer) {
  const auto key = StartContainer({"/bin/sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.2; done"});
  EXPECT_EQ(gateway_->ReadLog(key, /*follow=*/true), "line 1\nline 2\nline 3\n");
  EXPECT_NE(gateway_->ReadLog(NewKey()).find("error: "), std::string::npos);
}

TEST_F(AgentdTest, KilledBetweenDeltaAndRunningItStillRunsExactlyOnce) {
  for (int round = 0; round < 6; ++round) {
    const auto key = NewKey();
    isla::v1::Delta delta;
    const auto ack = gateway_->Run(key, MakeLaunch({"/bin/sh", "-c", "echo started; sleep 100"}));
    ASSERT_TRUE(ack.has_value());
    // Somewhere between the journal and execve.
    if (round > 0) gateway_->WaitState(key, round % 2 == 0 ? isla::v1::CREATED : isla::v1::ACCEPTED);
    std::this_thread::sleep_for(std::chrono::milliseconds(round));
    agentd_->Kill9();
    StartAgent();
    const auto report = gateway_->WaitReport(key, [](const isla::v1::Report& r) { return r.state() >= isla::v1::RUNNING; });
    ASSERT_TRUE(report.has_value());
    if (report->state() == isla::v1::RUNNING) {
      ASSERT_TRUE(Eventually([this, &key] { return gateway_->ReadLog(key) != ""; }));
      EXPECT_EQ(gateway_->ReadLog(key), "started\n");
    } else {
      EXPECT_EQ(report->exit().cause(), "lost") << report->ShortDebugString();
    }
    ASSERT_TRUE(gateway_->Stop(key, 100).has_value());
    ASSERT_TRUE(gateway_->WaitState(key, isla::v1::GONE).has_value());
    ExpectNothingLeft(key);
  }
}

}  // namespace
}  // namespace isla::testing
