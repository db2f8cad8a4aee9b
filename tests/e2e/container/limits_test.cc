// A container at its limits: it ends, or is held, with the right cause; the shim lives and tells.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "sandbox/manifest/sandbox_policy.h"
#include "tests/e2e/container/harness.h"

namespace isla::shim {
namespace {

TEST(Limits, PastItsMemoryItIsKilledAsOutOfMemory) {
  TestContainer container({"/probe/probe", "eat"});
  container.request().memory_bytes = 32 << 20;
  container.request().tmpfs_bytes = 16 << 20;
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "oom");
  EXPECT_EQ(record.signal, SIGKILL);
  EXPECT_GT(record.oom_kills, 0);
  EXPECT_LE(record.peak_memory_bytes, 32 << 20);
  EXPECT_GT(record.peak_memory_bytes, 24 << 20);
}

TEST(Limits, AChildOutOfMemoryEndsTheContainerToo) {
  TestContainer container({"/bin/sh", "-c", "/probe/probe eat; sleep 30; exit 0"});
  container.request().memory_bytes = 32 << 20;
  container.request().tmpfs_bytes = 16 << 20;
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "oom");
}

TEST(Limits, ATmpfsFilledPastTheMemoryIsOutOfMemoryAndTheShimLives) {
  TestContainer container({"/bin/sh", "-c", "head -c 60m /dev/zero > /tmp/fill; sleep 30"});
  container.request().memory_bytes = 32 << 20;
  container.request().tmpfs_bytes = 32 << 20;
  container.request().memory_bytes = 30 << 20;
  container.request().tmpfs_bytes = 30 << 20;
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "oom");
}

TEST(Limits, ATmpfsHasTheSizeThatWasGranted) {
  TestContainer container({"/bin/sh", "-c", "head -c 20m /dev/zero > /tmp/fill; echo $?; head -c 20m /dev/zero > /dev/shm/fill; echo $?"});
  container.request().tmpfs_bytes = 16 << 20;
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "exited");
  EXPECT_EQ(container.Output(), "1\n1\n");
}

TEST(Limits, ForksEndAtTheTaskLimit) {
  TestContainer container({"/probe/probe", "forkbomb"});
  container.request().tasks = 20;
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "exited");
  EXPECT_EQ(record.exit_code, 7);
  EXPECT_EQ(container.Output(), "18 EAGAIN\n") << "PID 1 and the parent count";
}

TEST(Limits, CpuIsHeldToTheGrantAndTheShimStillAnswers) {
  TestContainer container({"/probe/probe", "burn"});
  container.request().cpu_millis = 100;
  container.request().timeout_msec = 600;
  container.Start();
  container.Send(json::Value::MakeObject({{"command", "state"}}));
  EXPECT_TRUE(container.Event("state", std::chrono::seconds(1)));
  ASSERT_TRUE(container.Event("exited"));
  EXPECT_EQ(container.WaitShim(), 0);
  const ExitRecord record = container.Record();
  EXPECT_EQ(record.cause, "timeout");
  EXPECT_LT(record.cpu_time_usec, 250'000);
  EXPECT_GT(record.cpu_time_usec, 10'000);
}

TEST(Limits, AreInForceExactlyAsGranted) {
  TestContainer container({"sleep", "60"});
  container.Start();
  const auto limit = [&](const std::string& controller, const std::string& v1, const std::string& v2) {
    const std::string folder = container.LeafFolder(controller, "payload");
    StatusOr<std::string> text = ReadFile(folder + "/" + v1);
    if (!text.ok()) text = ReadFile(folder + "/" + v2);
    return text.value_or("?");
  };
  EXPECT_EQ(limit("memory", "memory.limit_in_bytes", "memory.max"), "268435456\n");
  EXPECT_EQ(limit("pids", "pids.max", "pids.max"), "64\n");
  EXPECT_THAT(limit("cpu", "cpu.cfs_quota_us", "cpu.max"), testing::StartsWith("150000"));
  EXPECT_THAT(ReadFile(container.LeafFolder("memory", "shim") + "/cgroup.procs").value_or(""),
              testing::HasSubstr(std::to_string(container.shim_pid())));
  container.Stop(1000);
  EXPECT_EQ(container.WaitShim(), 0);
}

// Of a policy -------------------------------------------------------------------------------------------------

std::string WithLimits(const std::string& limits) {
  const StatusOr<sandbox::CompiledPolicy> policy = sandbox::CompileManifest(
      R"({"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {"name": "p"}, "spec": {"base": {"groups": ["@container"]}, "view": {"memory": "granted"}, "limits": {)" + limits + "}}}");
  ISLA_CHECK_OK(policy);
  return policy->ToBytes();
}

/// What payload/ is limited to: memory, processors in thousandths, tasks.
std::string InForce(const TestContainer& container) {
  const auto read = [&](const std::string& controller, const char* v1, const char* v2) {
    const std::string folder = container.LeafFolder(controller, "payload");
    StatusOr<std::string> text = ReadFile(folder + "/" + v1);
    if (!text.ok()) text = ReadFile(folder + "/" + v2);
    return std::stoll(text.value_or("-1"));
  };
  return fmt::format("{} {} {}", read("memory", "memory.limit_in_bytes", "memory.max") >> 20, read("cpu", "cpu.cfs_quota_us", "cpu.max") / 100, read("pids", "pids.max", "pids.max"));
}

TEST(Limits, OfThePolicyHoldBelowTheGrantAndAreShown) {
  TestContainer container({"/bin/sh", "-c", "grep MemTotal /proc/meminfo; exec sleep 60"});
  container.SetPolicy(WithLimits(R"("memory": "128Mi", "cpus": "500m", "pids": 1000)"));
  container.Start();
  EXPECT_EQ(InForce(container), "128 500 64") << "more than is granted isn't given";
  EXPECT_TRUE(Eventually([&] { return !container.Output().empty(); }));
  container.Stop(1000);
  EXPECT_EQ(container.WaitShim(), 0);
  EXPECT_THAT(container.Output(), testing::HasSubstr(" 131072 kB"));
}

TEST(Limits, OfThePolicyChangeLiveAndGoBackToTheGrant) {
  TestContainer container({"sleep", "60"});
  container.SetPolicy(WithLimits(R"("memory": "128Mi")"));
  container.Start();
  EXPECT_EQ(InForce(container), "128 1500 64");
  const auto error = [&](const std::string& limits) { return container.SendPolicy(WithLimits(limits)).StringAt({"error"}); };
  EXPECT_EQ(error(R"("memory": "64Mi", "cpus": "10m", "pids": 5)"), "");
  EXPECT_EQ(InForce(container), "64 10 5");
  EXPECT_EQ(error(R"("cpus": "750m")"), "");
  EXPECT_EQ(InForce(container), "256 750 64");
  EXPECT_EQ(error(R"("callsPerSecond": 100)"), "");
  EXPECT_EQ(InForce(container), "256 1500 64");
  container.Stop(1000);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Limits, MemoryThatIsInUseIsNotTakenAndTheVersionBeforeStays) {
  TestContainer container({"/probe/probe", "hold", "100"});
  container.SetPolicy(WithLimits(R"("pids": 50)"));
  container.Start();
  ASSERT_TRUE(Eventually([&] { return container.Output() == "held\n"; }));
  const json::Value answer = container.SendPolicy(WithLimits(R"("memory": "16Mi", "pids": 20)"));
  EXPECT_THAT(answer.StringAt({"error"}), testing::HasSubstr("spec.limits.memory: "));
  EXPECT_THAT(answer.StringAt({"error"}), testing::HasSubstr("are in use already"));
  EXPECT_EQ(answer.Find("takesRestart"), nullptr) << "later it may be had";
  EXPECT_EQ(InForce(container), "256 1500 50") << "all of a version, or none of it";
  EXPECT_EQ(container.SendPolicy(WithLimits(R"("memory": "200Mi", "pids": 20)")).StringAt({"error"}), "");
  EXPECT_EQ(InForce(container), "200 1500 20");
  container.Stop(1000);
  EXPECT_EQ(container.WaitShim(), 0);
  EXPECT_EQ(container.Record().oom_kills, 0);
}

TEST(Limits, AFloodOfOutputStaysWithinTheLogsBoundAndIsSeenToTheEnd) {
  TestContainer container({"/bin/sh", "-c", "/probe/probe flood 40000000; echo the end"});
  container.request().log_max_bytes = 256 << 10;
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "exited");
  EXPECT_EQ(record.log_dropped_bytes, 0);
  const auto size = [&](const char* suffix) {
    struct stat st {};
    return stat((container.request().log_path + suffix).c_str(), &st) == 0 ? st.st_size : 0;
  };
  EXPECT_LE(size(""), 128 << 10);
  EXPECT_LE(size(".1"), 128 << 10);
  EXPECT_GT(size(".1"), 100 << 10);
  const std::string out = container.Output();
  EXPECT_EQ(out.substr(out.size() - 8), "the end\n");
}

TEST(Limits, AFullDiskDropsAndCounts) {
  // A folder that is not there stands for it: the file can't be written.
  TestContainer container({"/bin/sh", "-c", "echo hello; echo world"});
  container.request().log_path = container.folder() + "/nowhere/log";
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "exited");
  EXPECT_EQ(record.log_dropped_bytes, 12);
}

}  // namespace
}  // namespace isla::shim
