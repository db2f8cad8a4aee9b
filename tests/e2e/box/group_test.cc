// isla-box run in a control group of its own: limits and the `net` section kept by the kernel, what is left of a group when somebody dies,
// and what is said where there can be none.
#include <arpa/inet.h>
#include <glob.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/base/cgroup_folders.h"
#include "api/base/unique_fd.h"
#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

constexpr uid_t kNobody = 65534;

/// The groups of an isla-box, wherever it may have made them: in and above ours, as it is our child.
std::vector<std::string> GroupsOf(pid_t pid) {
  std::vector<std::string> out;
  for (const CgroupFolder& own : FindCgroups(*ReadFile("/proc/self/cgroup"), *ReadFile("/proc/self/mountinfo"))) {
    for (std::string path = own.path; path.size() > 1; path.resize(path.rfind('/'))) {
      glob_t found{};
      if (glob((path + "/isla-box." + std::to_string(pid) + ".*").c_str(), 0, nullptr, &found) == 0) out.insert(out.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
      globfree(&found);
    }
  }
  return out;
}

class BoxGroups : public ::testing::Test {
 protected:
  /// Skips, with what isla-box says, where no group can keep `what`: "memory", "cpus", "pids", "net".
  void Need(const std::string& what, std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"run", "-v"});
    flags.insert(flags.end(), {"--", "true"});
    const BoxResult result = folder_.Run(flags);
    if (result.err.find(what + ": kept by the kernel") == std::string::npos) GTEST_SKIP() << "no control group keeps it here: " << result.err;
  }
  std::string Net(const std::string& net) { return folder_.Policy(R"("base":{"groups":["@container"]},"net":)" + net); }
  /// A python program with `socket` and a function that tells the errno of what it is given.
  static std::string Python(const std::string& text) {
    return "import socket\ndef say(f):\n  try:\n    f()\n    print('fine')\n  except OSError as e:\n    print(e.errno)\nudp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n" + text;
  }

  BoxFolder folder_;
};

// net ---------------------------------------------------------------------------------------------------------

constexpr const char* kLoopbackOnly = R"({"default":"deny","rules":[{"to":"127.0.0.0/8","action":"allow"}]})";

TEST_F(BoxGroups, DatagramsAreDecidedByTheirAddress) {
  const std::string policy = Net(kLoopbackOnly);
  Need("net", {"--policy=" + policy});
  if (IsSkipped()) return;
  const BoxResult result = folder_.Run({"run", "-v", "--policy=" + policy, "--", "/usr/bin/python3", "-c",
                                        Python("say(lambda: udp.sendto(b'x', ('127.0.0.1', 9)))\n"
                                               "say(lambda: udp.sendto(b'x', ('192.0.2.1', 9)))\n"
                                               "say(lambda: udp.connect(('192.0.2.1', 9)))\n"
                                               "say(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(('127.0.0.1', 0)))\n"
                                               "say(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))\n"
                                               "say(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132))\n")});
  EXPECT_EQ(result.out, "fine\n1\n1\nfine\n93\n93\n") << result.err;
  // The kernel decides all of it: nobody is asked.
  EXPECT_NE(result.err.find("control group: /"), std::string::npos) << result.err;
}

TEST_F(BoxGroups, ConnectionsAreRedirectedByTheKernel) {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), bytes) | listen(listener.get(), 8), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
  const std::string port = std::to_string(ntohs(address.sin_port));
  const std::string policy = Net(R"({"rules":[{"operations":["connect"],"to":"192.0.2.1","ports":80,"action":{"redirect":"127.0.0.1:)" + port + R"("}}]})");
  Need("net", {"--policy=" + policy});
  if (IsSkipped()) return;
  const BoxResult result = folder_.Run({"run", "--policy=" + policy, "--", "/usr/bin/python3", "-c", Python("s = socket.create_connection(('192.0.2.1', 80), 20)\nprint(s.getpeername()[1])\n")});
  EXPECT_EQ(result.out, port + "\n") << result.err;
}

TEST_F(BoxGroups, WithAnAuditTheSupervisorKeepsNetIfItCan) {
  const std::string audit = "--audit=" + folder_.path() + "/audit";
  const BoxResult can = folder_.Run({"run", "-v", audit, "--policy=" + Net(R"({"rules":[{"operations":["connect"],"to":"192.0.2.0/24","action":"deny"}]})"), "--", "true"});
  EXPECT_NE(can.err.find("net: kept by the supervisor"), std::string::npos) << can.err;
  const std::string policy = Net(kLoopbackOnly);
  Need("net", {"--policy=" + policy});
  if (IsSkipped()) return;
  const BoxResult cannot = folder_.Run({"run", "-v", audit, "--policy=" + policy, "--", "true"});
  EXPECT_EQ(cannot.exit, 0);
  EXPECT_NE(cannot.err.find("note: spec.net: what the kernel refuses isn't in the audit"), std::string::npos) << cannot.err;
}

TEST_F(BoxGroups, WithoutAGroupWhatOnlyAGroupKeepsIsRefusedWithTheReason) {
  const std::string policy = Net(kLoopbackOnly);
  const BoxResult told = folder_.Run({"run", "--cgroup=no", "--policy=" + policy, "--", "true"});
  EXPECT_EQ(told.exit, 125);
  EXPECT_NE(told.err.find("a control group could keep it: --cgroup=no"), std::string::npos) << told.err;
  const BoxResult bare = folder_.Run({"run", "--no-namespaces", "--policy=" + policy, "--", "true"});
  EXPECT_EQ(bare.exit, 125);
  EXPECT_NE(bare.err.find("leave its control group"), std::string::npos) << bare.err;
  EXPECT_EQ(folder_.Run({"run", "--cgroup=/tmp", "--memory=64m", "--", "true"}).exit, 125);
  EXPECT_EQ(folder_.Run({"run", "--cgroup=maybe", "--", "true"}).exit, 125);
}

TEST_F(BoxGroups, NothingInsideCanLeaveTheGroup) {
  Need("memory", {"--memory=256m"});
  if (IsSkipped()) return;
  const std::string look = "grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d' ' -f5 | while read m; do for f in cgroup.procs tasks; do if [ -e $m/$f ]; then (echo 0 > $m/$f) 2>/dev/null && echo left by $m; fi; done; mkdir $m/x 2>/dev/null && echo made $m/x; done; echo looked";
  EXPECT_EQ(folder_.Run({"run", "--memory=256m", "--", "sh", "-c", look}).out, "looked\n");
  EXPECT_EQ(folder_.Run({"run", "--memory=256m", "--tmpfs=/srv", "--bind=/sys/fs/cgroup:/srv/groups", "--", "sh", "-c", look}).out, "looked\n");
  // Not even without a pid namespace, by the root of another process.
  EXPECT_EQ(folder_.Run({"run", "--memory=256m", "--share=pid", "--", "sh", "-c", look + "; ls /proc/1/root/sys/fs/cgroup 2>/dev/null"}).out, "looked\n");
}

// Limits ------------------------------------------------------------------------------------------------------

TEST_F(BoxGroups, RunningOutOfMemoryIsToldInOneLine) {
  Need("memory", {"--memory=64m"});
  if (IsSkipped()) return;
  const BoxResult result = folder_.Run({"run", "--memory=64m", "--", "/usr/bin/python3", "-c", "x = bytearray(512 << 20)"});
  EXPECT_EQ(result.exit, 128 + SIGKILL);
  EXPECT_EQ(result.err, "isla-box: out of memory: the command and its processes needed more than 64 MiB (--memory), so the kernel killed it\n");
  EXPECT_EQ(folder_.Run({"run", "--memory=64m", "--", "/usr/bin/python3", "-c", "x = bytearray(8 << 20)"}).err, "");
}

TEST_F(BoxGroups, ProcessesAreCounted) {
  Need("pids", {"--pids=5"});
  if (IsSkipped()) return;
  const std::string fork_many = "import os, time\nn = 0\ntry:\n  while n < 50:\n    if os.fork() == 0: time.sleep(100)\n    n += 1\nexcept OSError: pass\nprint(n, flush=True)";
  EXPECT_EQ(folder_.Run({"run", "--pids=5", "--", "/usr/bin/python3", "-c", fork_many}).out, "4\n") << "and itself";
  EXPECT_EQ(folder_.Run({"run", "--pids=5", "--no-namespaces", "--", "/usr/bin/python3", "-c", "import os\nos.setsid()\n" + fork_many + "\nos.killpg(0, 9)"}).out.substr(0, 2), "4\n");
  for (const char* bad : {"0", "-1", "many", "5000000"}) EXPECT_EQ(folder_.Run({"run", std::string("--pids=") + bad, "--", "true"}).exit, 125) << bad;
}

TEST_F(BoxGroups, AnOrdinaryUsersProcessesAreCountedInItsUserNamespace) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const std::string fork_many = "import os, time\nn = 0\ntry:\n  while n < 50:\n    if os.fork() == 0: time.sleep(100)\n    n += 1\nexcept OSError: pass\nprint(n, flush=True)";
  const BoxResult result = folder_.Run({"run", "-v", "--pids=5", "--", "/usr/bin/python3", "-c", fork_many}, {.uid = kNobody, .folder = "/"});
  EXPECT_EQ(result.out, "4\n") << result.err;
  const BoxResult refused = folder_.Run({"run", "--cgroup=no", "--pids=5", "--no-namespaces", "--", "true"}, {.uid = kNobody, .folder = "/"});
  EXPECT_EQ(refused.exit, 125);
  EXPECT_NE(refused.err.find("--pids=5"), std::string::npos) << refused.err;
}

TEST_F(BoxGroups, WhatNobodyKeepsIsSaid) {
  const BoxResult told = folder_.Run({"run", "--cgroup=no", "--memory=64m", "--cpus=1.5", "--", "true"});
  EXPECT_EQ(told.exit, 0);
  EXPECT_EQ(folder_.Run({"run", "-v", "--", "true"}).err, "isla-box: limits: none; net: the policy has no rules for it\n");
  EXPECT_NE(told.err.find("--memory=64m: nobody keeps it: --cgroup=no"), std::string::npos) << told.err;
  EXPECT_NE(told.err.find("--cpus=1.5: held to 2 whole processors only: --cgroup=no"), std::string::npos) << told.err;
  if (geteuid() != 0) return;
  const BoxResult user = folder_.Run({"run", "--memory=64m", "--", "true"}, {.uid = kNobody, .folder = "/"});
  EXPECT_EQ(user.exit, 0);
  EXPECT_NE(user.err.find("systemd-run --user --scope"), std::string::npos) << "what to do: " << user.err;
}

TEST_F(BoxGroups, ProcessorsAreAQuotaOfTheGroup) {
  Need("cpus", {"--cpus=0.25"});
  if (IsSkipped()) return;
  BoxProcess process({folder_.box(), "run", "--cpus=0.25", "--", "sh", "-c", "echo ready; exec sleep 100"});
  ASSERT_TRUE(process.WaitForOutput("ready"));
  bool found = false;
  for (const std::string& group : GroupsOf(process.pid())) {
    const StatusOr<std::string> v2 = ReadFile(group + "/cpu.max"), v1 = ReadFile(group + "/cpu.cfs_quota_us");
    found = found || (v2.ok() && *v2 == "25000 100000\n") || (v1.ok() && *v1 == "25000\n");
  }
  EXPECT_TRUE(found);
}

/// The limits that isla-box says are in force.
std::string LimitsSaid(const BoxResult& result) {
  const size_t at = result.err.find("isla-box: limits: ");
  return at == std::string::npos ? "none; " + result.err : result.err.substr(at + 18, result.err.find('\n', at) - at - 18);
}

TEST_F(BoxGroups, OfAPolicysLimitsAndTheFlagsTheSmallerCounts) {
  const std::string policy = folder_.Policy(R"("base":{"groups":["@container"]},"view":{"memory":"granted"},"limits":{"memory":"128Mi","pids":8})");
  for (const char* what : {"memory", "pids"}) Need(what, {"--policy=" + policy});
  if (IsSkipped()) return;
  // What is shown is what there is.
  const BoxResult own = folder_.Run({"run", "-v", "--policy=" + policy, "--", "grep", "MemTotal", "/proc/meminfo"});
  EXPECT_EQ(LimitsSaid(own), "memory 128Mi, pids 8");
  EXPECT_NE(own.out.find(" 131072 kB"), std::string::npos) << own.out << own.err;
  EXPECT_EQ(LimitsSaid(folder_.Run({"run", "-v", "--policy=" + policy, "--memory=1g", "--pids=4", "--", "true"})), "memory 128Mi, pids 4");
  const std::string fork_many = "import os, time\nn = 0\ntry:\n  while n < 50:\n    if os.fork() == 0: time.sleep(100)\n    n += 1\nexcept OSError: pass\nprint(n, flush=True)";
  EXPECT_EQ(folder_.Run({"run", "--policy=" + policy, "--pids=100", "--", "/usr/bin/python3", "-c", fork_many}).out, "7\n") << "and itself";
  const BoxResult killed = folder_.Run({"run", "--policy=" + policy, "--memory=1g", "--", "/usr/bin/python3", "-c", "x = bytearray(512 << 20)"});
  EXPECT_EQ(killed.exit, 128 + SIGKILL);
  EXPECT_EQ(killed.err, "isla-box: out of memory: the command and its processes needed more than 128 MiB (spec.limits.memory), so the kernel killed it\n");
}

TEST_F(BoxGroups, LimitsOfAPolicyThatNobodyKeepsAreRefusedByName) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const BoxStart user = {.uid = kNobody, .folder = "/"};
  for (const char* limit : {R"("memory":"64Mi")", R"("cpus":2)"}) {
    const std::string policy = folder_.Policy(R"("base":{"groups":["@container"]},"limits":{)" + std::string(limit) + "}"), name = std::string("spec.limits.") + std::string(limit).substr(1, 4);
    const BoxResult refused = folder_.Run({"run", "--policy=" + policy, "--", "true"}, user);
    EXPECT_EQ(refused.exit, 125) << limit;
    EXPECT_NE(refused.err.find(name), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find("--cgroup=no goes on without"), std::string::npos) << refused.err;
    // A flag that asks for less is a wish; the policy's word isn't.
    EXPECT_EQ(folder_.Run({"run", "--policy=" + policy, "--memory=32m", "--cpus=1", "--", "true"}, user).exit, 125) << limit;
    const BoxResult known = folder_.Run({"run", "--cgroup=no", "--policy=" + policy, "--", "true"}, user);
    EXPECT_EQ(known.exit, 0) << known.err;
    EXPECT_NE(known.err.find("note: " + name), std::string::npos) << known.err;
  }
  // Of processes the user namespace keeps count.
  const std::string policy = folder_.Policy(R"("base":{"groups":["@container"]},"limits":{"pids":5})");
  const std::string fork_many = "import os, time\nn = 0\ntry:\n  while n < 50:\n    if os.fork() == 0: time.sleep(100)\n    n += 1\nexcept OSError: pass\nprint(n, flush=True)";
  const BoxResult counted = folder_.Run({"run", "--policy=" + policy, "--", "/usr/bin/python3", "-c", fork_many}, user);
  EXPECT_EQ(counted.out, "4\n") << counted.err;
}

TEST_F(BoxGroups, AnotherGroupCanBeTheParent) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can make groups anywhere";
  std::string own;
  for (const CgroupFolder& each : FindCgroups(*ReadFile("/proc/self/cgroup"), *ReadFile("/proc/self/mountinfo"))) {
    if (each.controllers.empty()) own = each.path;
  }
  const std::string parent = own + "/isla-group-test-" + std::to_string(getpid());
  if (own.empty() || mkdir(parent.c_str(), 0755) != 0) GTEST_SKIP() << "no cgroup v2 that we may write: '" << own << "'";
  const BoxResult result = folder_.Run({"run", "-v", "--cgroup=" + parent, "--policy=" + Net(kLoopbackOnly), "--", "true"});
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_NE(result.err.find("control group: " + parent + "/isla-box."), std::string::npos) << result.err;
  EXPECT_EQ(rmdir(parent.c_str()), 0) << "its group is gone";
}

// Lives -------------------------------------------------------------------------------------------------------

TEST_F(BoxGroups, AGroupGoesWithItsRun) {
  Need("memory", {"--memory=256m"});
  if (IsSkipped()) return;
  BoxProcess process({folder_.box(), "run", "--memory=256m", "--", "sh", "-c", "echo ready; exec sleep 100"});
  ASSERT_TRUE(process.WaitForOutput("ready"));
  const pid_t pid = process.pid();
  EXPECT_FALSE(GroupsOf(pid).empty());
  kill(pid, SIGTERM);
  EXPECT_EQ(process.Finish().exit, 128 + SIGTERM);
  EXPECT_TRUE(GroupsOf(pid).empty());
}

TEST_F(BoxGroups, OneOfTheDeadIsSweptAndOneOfTheLivingNever) {
  Need("memory", {"--memory=256m"});
  if (IsSkipped()) return;
  BoxProcess alive({folder_.box(), "run", "--memory=256m", "--", "sh", "-c", "echo ready; exec sleep 100"});
  ASSERT_TRUE(alive.WaitForOutput("ready"));
  pid_t dead = 0;
  {
    BoxProcess process({folder_.box(), "run", "--memory=256m", "--", "sh", "-c", "echo ready; exec sleep 100"});
    ASSERT_TRUE(process.WaitForOutput("ready"));
    dead = process.pid();
    kill(dead, SIGKILL);
    process.Finish();
  }
  EXPECT_FALSE(GroupsOf(dead).empty()) << "nobody has removed it";
  EXPECT_TRUE(Eventually([this, dead] { return folder_.Run({"run", "--memory=256m", "--", "true"}).exit == 0 && GroupsOf(dead).empty(); }));
  EXPECT_FALSE(GroupsOf(alive.pid()).empty());
}

TEST_F(BoxGroups, WhatIsLeftRunningStaysInItsGroup) {
  Need("pids", {"--pids=10"});
  if (IsSkipped()) return;
  const std::string fifo = folder_.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  // It ends when somebody has written to the fifo.
  BoxProcess process({folder_.box(), "run", "--pids=10", "--no-namespaces", "--", "sh", "-c", "(exec >&- 2>&-; read line < " + fifo + ") & echo ready"});
  const pid_t pid = process.pid();
  EXPECT_EQ(process.Finish().exit, 0);
  EXPECT_FALSE(GroupsOf(pid).empty()) << "with its limits";
  EXPECT_EQ(folder_.Run({"run", "--pids=10", "--", "true"}).exit, 0);
  EXPECT_FALSE(GroupsOf(pid).empty());
  ASSERT_EQ(std::system(("timeout 20 sh -c 'echo go > " + fifo + "'").c_str()), 0);
  EXPECT_TRUE(Eventually([this, pid] { return folder_.Run({"run", "--pids=10", "--", "true"}).exit == 0 && GroupsOf(pid).empty(); }));
}

}  // namespace
}  // namespace isla::e2e
