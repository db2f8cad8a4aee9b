#include "sandbox/supervisor/emulate.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/supervisor/harness.h"

namespace isla::supervisor {
namespace {

std::shared_ptr<FakeDecider> Emulates(const char* name) {
  return std::make_shared<FakeDecider>(0, [name](const NotifiedCall&) { return Does(Decision::Kind::kEmulate, name); });
}

std::string RunWith(int number, const char* emulator, const char* behaviour, SupervisorOptions options) {
  Prey prey({.notified = {number}}, {behaviour});
  Watched supervisor(prey, Emulates(emulator), std::move(options));
  return prey.Wait();
}

TEST(Affinity, FirstCpusOfTheRealMaskByTheKernelsRules) {
  Prey plain({.notified = {SYS_getpriority}}, {"affinity"});
  const std::string real = plain.Wait();
  SupervisorOptions all;
  EXPECT_EQ(RunWith(SYS_sched_getaffinity, "affinity", "affinity", std::move(all)), real) << "no grant changes nothing";
  SupervisorOptions one;
  one.grant.cpus = 1;
  std::string expected = real;
  expected.replace(expected.find("cpus="), expected.find(" first") - expected.find("cpus="), "cpus=1");
  EXPECT_EQ(RunWith(SYS_sched_getaffinity, "affinity", "affinity", std::move(one)), expected);
}

TEST(Affinity, KeepsTrueIds) {
  cpu_set_t own, last;
  sched_getaffinity(0, sizeof own, &own);
  if (CPU_COUNT(&own) < 2) GTEST_SKIP();
  int highest = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) highest = CPU_ISSET(cpu, &own) ? cpu : highest;
  CPU_ZERO(&last);
  CPU_SET(highest, &last);
  sched_setaffinity(0, sizeof last, &last);  // the prey inherits it
  SupervisorOptions two;
  two.grant.cpus = 2;
  const std::string printed = RunWith(SYS_sched_getaffinity, "affinity", "affinity", std::move(two));
  sched_setaffinity(0, sizeof own, &own);
  EXPECT_EQ(printed.rfind(fmt::format("cpus=1 first={} ", highest), 0), 0u) << printed;
}

TEST(Sysinfo, ShowsTheGrant) {
  SupervisorOptions options;
  options.grant.memory_bytes = 512 << 20;
  options.grant.memory_usage = [] { return uint64_t{500} << 20; };
  EXPECT_EQ(RunWith(SYS_sysinfo, "sysinfo", "sysinfo", std::move(options)), "ok total=536870912 free=12582912 swap=0 null=EFAULT");
}

TEST(Uname, ShowsTheGrantedName) {
  SupervisorOptions options;
  options.grant.hostname = "granted";
  EXPECT_EQ(RunWith(SYS_uname, "uname", "uname", std::move(options)), "ok Linux granted");
}

TEST(Emulate, UnknownNamesAreNotImplemented) {
  EXPECT_TRUE(HasEmulator("affinity"));
  EXPECT_FALSE(HasEmulator("afinity"));
  EXPECT_EQ(RunWith(SYS_uname, "no-such", "uname", {}), "ENOSYS  ");
}

}  // namespace
}  // namespace isla::supervisor
