// isla-box run with a supervisor: calls are answered, audited, and survive its death.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "api/base/unique_fd.h"
#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

constexpr const char* kPerform = R"("base":{"groups":["@container"]},"rules":[{"name":"made","syscalls":["open","openat"],"when":"path == '/etc/isla-made'","action":{"file":{"content":"made up\n"}}},
  {"name":"no","syscalls":["open","openat"],"when":"path == '/etc/hostname'","action":"deny"},{"syscalls":["open","openat"],"action":"perform"}])";

class BoxSupervised : public ::testing::Test {
 protected:
  /// The isla-supervisor of a run, by its name.
  static pid_t SupervisorOf(pid_t box) {
    for (const pid_t child : Children(box)) {
      const StatusOr<std::string> name = ReadFile("/proc/" + std::to_string(child) + "/comm");
      if (name.ok() && *name == "isla-supervisor\n") return child;
    }
    return -1;
  }

  BoxFolder folder_;
};

TEST_F(BoxSupervised, CallsAreAnsweredAndWrittenDown) {
  const std::string policy = folder_.Policy(kPerform), audit = folder_.path() + "/audit";
  for (const char* where : {"--unshare=ipc", "--no-namespaces"}) {
    const BoxResult result = folder_.Run({"run", where, "--policy=" + policy, "--audit=" + audit, "--", "cat", "/etc/isla-made", "/etc/hostname"});
    EXPECT_EQ(result.out, "made up\n") << result.err;
    EXPECT_EQ(result.exit, 1);
    const std::string lines = *ReadFile(audit);
    EXPECT_NE(lines.find(R"("rule":"no")"), std::string::npos) << lines;
    EXPECT_NE(lines.find(R"("path":"/etc/hostname")"), std::string::npos) << lines;
    ASSERT_EQ(unlink(audit.c_str()), 0);
  }
}

// It is started when the first call waits, or a moment later; a command that ends sooner would never have been told that there is none.
TEST_F(BoxSupervised, ASupervisorThatIsMissingIsToldBeforeTheCommandBegins) {
  const std::string policy = folder_.Policy(kPerform);
  ASSERT_EQ(unlink((folder_.path() + "/bin/isla-supervisor").c_str()), 0);
  for (const char* where : {"--unshare=ipc", "--no-namespaces"}) {
    const BoxResult result = folder_.Run({"run", where, "--policy=" + policy, "--", "echo", "began"});
    EXPECT_EQ(result.exit, 125);
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find("bin/isla-supervisor"), std::string::npos) << result.err;
  }
}

TEST_F(BoxSupervised, TheAuditCanGoToStandardError) {
  const BoxResult result = folder_.Run({"run", "--policy=" + folder_.Policy(kPerform), "--audit=-", "--", "cat", "/etc/hostname"});
  EXPECT_NE(result.err.find(R"("verdict":"errno EPERM")"), std::string::npos) << result.err;
}

TEST_F(BoxSupervised, AnOrdinaryUserHasASupervisorToo) {
  if (geteuid() != 0) GTEST_SKIP() << "all of these tests run as an ordinary user already";
  const std::string policy = folder_.Policy(kPerform);
  for (const char* flag : {"--unshare=ipc", "--map-root", "--no-namespaces"}) {
    const BoxResult result = folder_.Run({"run", flag, "--policy=" + policy, "--", "sh", "-c", "cat /etc/isla-made; cat /etc/hostname; cat /etc/shadow"}, {.uid = 65534});
    EXPECT_EQ(result.out, "made up\n") << flag << result.err;
  }
}

TEST_F(BoxSupervised, TheCommandCantSeeTheSupervisor) {
  const BoxResult result = folder_.Run({"run", "--policy=" + folder_.Policy(kPerform), "--", "sh", "-c", "cat /etc/isla-made; cat /proc/[0-9]*/comm | sort -u"});
  EXPECT_EQ(result.out, "made up\ncat\nisla-box\nsh\nsort\n");
}

TEST_F(BoxSupervised, TheDeathOfTheSupervisorIsADelay) {
  const std::string fifo = folder_.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0644), 0);
  for (const char* where : {"--unshare=ipc", "--no-namespaces"}) {
    BoxProcess process({folder_.box(), "run", where, "--policy=" + folder_.Policy(kPerform), "--", "sh", "-c", "cat /etc/isla-made; cat " + fifo});
    ASSERT_TRUE(process.WaitForOutput("made up"));
    // In mid-call: the open of the fifo is being performed, and blocks. Three times.
    for (int i = 0; i < 3; ++i) {
      pid_t supervisor = -1;
      ASSERT_TRUE(Eventually([&supervisor, &process] { return (supervisor = SupervisorOf(process.pid())) > 0; }));
      usleep(30'000);
      ASSERT_EQ(kill(supervisor, SIGKILL), 0);
      ASSERT_TRUE(Eventually([supervisor, &process] {
        const pid_t now = SupervisorOf(process.pid());
        return now > 0 && now != supervisor;
      }));
    }
    const UniqueFd writer(open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(writer.valid());
    ASSERT_EQ(write(writer.get(), "through\n", 8), 8);
    EXPECT_TRUE(process.WaitForOutput("through"));
  }
}

// A package that comes meanwhile may read other tables and journals.
TEST_F(BoxSupervised, SupervisorsAreThoseOfTheProgramThatWasThereAtTheStart) {
  const std::string program = folder_.path() + "/bin/isla-supervisor";
  BoxProcess process({folder_.box(), "run", "--no-namespaces", "--policy=" + folder_.Policy(kPerform), "--", "sh", "-c", "cat /etc/isla-made; read line; cat /etc/isla-made; echo through"},
                     {.input = "go\n"});
  ASSERT_TRUE(process.WaitForOutput("made up"));
  ASSERT_EQ(rename(folder_.Write("other", "of another version").c_str(), program.c_str()), 0);
  const pid_t supervisor = SupervisorOf(process.pid());
  if (supervisor > 0) {
    EXPECT_EQ(kill(supervisor, SIGKILL), 0);
  }
  EXPECT_TRUE(process.WaitForOutput("through"));
}

TEST_F(BoxSupervised, ASupervisorThatHangsIsReplaced) {
  BoxProcess process({folder_.box(), "run", "--policy=" + folder_.Policy(kPerform), "--", "sh", "-c", "cat /etc/isla-made; read line; cat /etc/isla-made; echo through"}, {.input = "go\n"});
  ASSERT_TRUE(process.WaitForOutput("made up"));
  pid_t supervisor = -1;
  ASSERT_TRUE(Eventually([&supervisor, &process] { return (supervisor = SupervisorOf(process.pid())) > 0; }));
  ASSERT_EQ(kill(supervisor, SIGSTOP), 0);
  EXPECT_TRUE(process.WaitForOutput("through"));
  process.Finish();
}

TEST_F(BoxSupervised, TheSupervisorIsBoundItself) {
  BoxProcess process({folder_.box(), "run", "--policy=" + folder_.Policy(kPerform), "--", "sh", "-c", "cat /etc/isla-made; exec sleep 100"});
  ASSERT_TRUE(process.WaitForOutput("made up"));
  const std::string status = *ReadFile("/proc/" + std::to_string(SupervisorOf(process.pid())) + "/status");
  EXPECT_NE(status.find("NoNewPrivs:\t1"), std::string::npos);
  EXPECT_NE(status.find("Seccomp:\t2"), std::string::npos);
  EXPECT_EQ(status.find("CapEff:\t000001ff"), std::string::npos) << status;
}

TEST_F(BoxSupervised, TheSupervisorEndsWithTheRun) {
  BoxProcess process({folder_.box(), "run", "--policy=" + folder_.Policy(kPerform), "--", "sh", "-c", "cat /etc/isla-made; exec sleep 100"});
  ASSERT_TRUE(process.WaitForOutput("made up"));
  pid_t supervisor = -1;
  ASSERT_TRUE(Eventually([&supervisor, &process] { return (supervisor = SupervisorOf(process.pid())) > 0; }));
  kill(process.pid(), SIGKILL);
  process.Finish();
  EXPECT_TRUE(Eventually([supervisor] { return kill(supervisor, 0) != 0; }));
}

}  // namespace
}  // namespace isla::e2e
