// isla-box run: what a command gets, and what becomes of it, of signals, descriptors and left-overs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "api/base/unique_fd.h"
#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

constexpr uid_t kNobody = 65534;

class BoxRun : public ::testing::Test {
 protected:
  BoxFolder folder_;
};

TEST_F(BoxRun, TheExitStatusIsTheCommandsAsAShellSaysIt) {
  EXPECT_EQ(folder_.Run({"run", "--", "true"}).exit, 0);
  EXPECT_EQ(folder_.Run({"run", "--", "sh", "-c", "exit 7"}).exit, 7);
  EXPECT_EQ(folder_.Run({"run", "--", "sh", "-c", "kill -TERM $$"}).exit, 128 + SIGTERM);
  EXPECT_EQ(folder_.Run({"run", "--no-namespaces", "--", "sh", "-c", "kill -KILL $$"}).exit, 128 + SIGKILL);
  for (const char* where : {"--unshare=ipc", "--no-namespaces"}) {
    EXPECT_EQ(folder_.Run({"run", where, "--", "no-such-program"}).exit, 127);
    EXPECT_EQ(folder_.Run({"run", where, "--", "/etc/passwd"}).exit, 126);
    const BoxResult own = folder_.Run({"run", where, "--policy=/nowhere", "--", "true"});
    EXPECT_EQ(own.exit, 125);
    EXPECT_NE(own.err.find("isla-box: "), std::string::npos);
  }
  EXPECT_EQ(folder_.Run({"run", "--no-such-flag", "--", "true"}).exit, 125);
}

TEST_F(BoxRun, TheCommandBeginsAtTheFirstWordThatIsNoFlags) {
  EXPECT_EQ(folder_.Run({"run", "--unshare", "ipc,uts", "--share", "cgroup", "echo", "-n", "--unshare"}).out, "--unshare");
}

TEST_F(BoxRun, WhatCantBeRunIsToldWithTheReason) {
  const std::string script = folder_.Write("script", "#!/no/such/interpreter\n"), plain = folder_.Write("plain", "");
  const std::string refuses = folder_.Policy(R"("base":{"groups":["@container","!execve"]})", "refuses.json");
  const std::string kills = folder_.Policy(R"("base":{"groups":["@container"]},"rules":[{"syscalls":["execve"],"action":"kill"}])", "kills.json");
  ASSERT_EQ(chmod(script.c_str(), 0755), 0);
  const std::pair<std::vector<std::string>, std::pair<int, const char*>> cases[] = {
      {{"--", "/usr"}, {126, "it is a folder"}},
      {{"--", plain}, {126, "is it executable?"}},
      {{"--", script}, {126, "the interpreter after its '#!'"}},
      {{"--", "./nowhere"}, {127, "'./nowhere' not found"}},
      {{"--", ""}, {127, "not found"}},
      {{"--"}, {125, "say what to run: isla-box run [flags] -- COMMAND..."}},
      {{"--polcy=x", "--", "true"}, {125, "unknown flag '--polcy'; did you mean '--policy'?"}},
      {{"--polcy=x", "true"}, {125, "unknown flag '--polcy'; did you mean '--policy'?"}},
      {{"--chdir=/no/where", "--", "true"}, {125, "--chdir"}},
      {{"--tmpfs=" + folder_.path().substr(0, folder_.path().rfind('/')), "--", "true"}, {125, "where the command is to begin (--chdir=FOLDER says another)"}},
      {{"--limit=nofile=1000000000000", "--", "true"}, {125, "set the limit nofile to 1000000000000"}},
      {{"--policy=" + refuses, "--", "true"}, {126, "the policy refuses execve, so nothing can be run under it"}},
      {{"--policy=" + kills, "--", "true"}, {128 + SIGSYS, "exit status 159 is SIGSYS"}},
      {{"--bind=/no/where", "--", "true"}, {125, "--bind: bind '/no/where'"}},
      {{"--root=/no/where", "--", "true"}, {125, "--root: bind '/no/where'"}},
  };
  for (const auto& [words, expected] : cases) {
    std::vector<std::string> all = {"run"};
    all.insert(all.end(), words.begin(), words.end());
    const BoxResult result = folder_.Run(all, {.folder = folder_.path()});
    EXPECT_EQ(result.exit, expected.first) << words[0] << result.err;
    EXPECT_NE(result.err.find(expected.second), std::string::npos) << result.err;
  }
}

TEST_F(BoxRun, APolicyThatCantBeCompiledIsToldOnceAndNothingRuns) {
  std::string rules;
  for (int i = 0; i < 3000; ++i) rules += fmt::format("{}{{\"syscalls\":[\"ioctl\"],\"when\":\"request == {}\",\"action\":{{\"errno\":{}}}}}", i == 0 ? "" : ",", 7 * i + 1, i % 100 + 1);
  const std::string policy = folder_.Policy(R"("base":{"groups":["@container"]},"rules":[)" + rules + "]");
  for (const char* where : {"--unshare=ipc", "--unshare=all", "--no-namespaces"}) {
    const BoxResult result = folder_.Run({"run", where, "--policy=" + policy, "--", "touch", folder_.path() + "/ran"});
    EXPECT_EQ(result.exit, 125) << where;
    const size_t told = result.err.find("isla-box: the policy compiles to more than 4096 instructions\n");
    ASSERT_NE(told, std::string::npos) << where << result.err;
    EXPECT_EQ(result.err.find("isla-box: ", told + 1), std::string::npos) << where << result.err;
    EXPECT_NE(access((folder_.path() + "/ran").c_str(), F_OK), 0) << where;
  }
}

TEST_F(BoxRun, ClosedStandardStreamsAreNoDescriptorsOfOurs) {
  const std::string look = "'for f in 0 1 2; do readlink /proc/self/fd/$f; done > " + folder_.path() + "/seen'";
  const std::string run = folder_.box() + " run -- sh -c ";
  ASSERT_EQ(std::system((run + look + " <&- >&- 2>&-").c_str()), 0);
  EXPECT_EQ(*ReadFile(folder_.path() + "/seen"), "/dev/null\n" + folder_.path() + "/seen\n/dev/null\n");
  EXPECT_EQ(std::system((run + "'cat; echo fine' <&- | grep -q fine").c_str()), 0);
}

TEST_F(BoxRun, OneInsideAnotherSaysWhatItCanHave) {
  const BoxResult whole = folder_.Run({"run", "--", folder_.box(), "run", "--", "true"});
  EXPECT_EQ(whole.exit, 125);
  EXPECT_NE(whole.err.find("a filter above us refuses them, as in a container or in another isla-box; --no-namespaces runs it without"), std::string::npos) << whole.err;
  const BoxResult bare = folder_.Run({"run", "--", folder_.box(), "run", "--no-namespaces", "--memory=64m", "--", "echo", "fine"});
  EXPECT_EQ(bare.out, "fine\n") << bare.err;
  const std::string policy = folder_.Policy(R"("base":{"groups":["@container"]},"rules":[{"syscalls":["openat"],"action":"perform"}])");
  const BoxResult twice = folder_.Run({"run", "--policy=" + policy, "--", folder_.box(), "run", "--no-namespaces", "--policy=" + policy, "--", "true"});
  EXPECT_EQ(twice.exit, 125);
  EXPECT_NE(twice.err.find("a process above has a listener already"), std::string::npos) << twice.err;
}

TEST_F(BoxRun, WithoutTheRightToNamespacesItSaysSo) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can do without a capability";
  // As root in a container is.
  const BoxResult result = folder_.Run({"run", "--", "true"}, {.drop_admin = true});
  EXPECT_EQ(result.exit, 125);
  EXPECT_NE(result.err.find("root has no CAP_SYS_ADMIN here"), std::string::npos) << result.err;
}

TEST_F(BoxRun, AScriptWithoutAnInterpreterIsTheShells) {
  const std::string script = folder_.Write("script", "echo $1 from $0\n");
  ASSERT_EQ(chmod(script.c_str(), 0755), 0);
  EXPECT_EQ(folder_.Run({"run", "--", script, "hello"}).out, "hello from " + script + "\n");
}

TEST_F(BoxRun, TheCommandSeesItsOwnProcessesOnly) {
  const BoxResult result = folder_.Run({"run", "--", "sh", "-c", "echo $$; for f in /proc/[0-9]*; do echo ${f#/proc/}; done | sort -n | head -2 | tr '\\n' ' '; hostname >/dev/null"});
  EXPECT_EQ(result.out, "2\n1 2 ");
}

TEST_F(BoxRun, PrivilegesAreGoneAndCantComeBack) {
  const BoxResult result = folder_.Run({"run", "--", "sh", "-c", "grep -E '^(NoNewPrivs|Seccomp|CapEff)' /proc/self/status"});
  EXPECT_NE(result.out.find("NoNewPrivs:\t1"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("Seccomp:\t2"), std::string::npos);
  EXPECT_NE(result.out.find(geteuid() == 0 ? "CapEff:\t00000000800405fb" : "CapEff:\t0000000000000000"), std::string::npos) << result.out;
  EXPECT_NE(folder_.Run({"run", "--", "unshare", "-U", "true"}).exit, 0);
  EXPECT_NE(folder_.Run({"run", "--", "mount", "-t", "tmpfs", "none", "/mnt"}).exit, 0);
}

TEST_F(BoxRun, NothingInsideCanLookIntoTheFirstProcess) {
  const BoxResult result = folder_.Run({"run", "--", "sh", "-c", "cat /proc/1/mem 2>&1; cat /proc/1/environ 2>&1; ls /proc/1/root/ /proc/1/fd 2>&1; kill -9 1; kill -TERM 1; echo alive"});
  EXPECT_EQ(result.exit, 0);
  EXPECT_NE(result.out.find("alive"), std::string::npos);
  EXPECT_EQ(result.out.find("PATH="), std::string::npos);
  EXPECT_NE(result.out.find("/proc/1/root/"), std::string::npos);
  EXPECT_EQ(result.out.find("\nbin"), std::string::npos) << result.out;
}

TEST_F(BoxRun, OrphansAreReaped) {
  const BoxResult result = folder_.Run({"run", "--", "sh", "-c", "(sleep 0.1 & ) ; (sleep 0.1 & ); sleep 0.4; grep -l '^State:.Z' /proc/[0-9]*/status; echo done"});
  EXPECT_EQ(result.out, "done\n");
}

TEST_F(BoxRun, WhatIsLeftRunningEndsWithTheCommand) {
  const std::string marker = folder_.path() + "/marker";
  const BoxResult result = folder_.Run({"run", "--", "sh", "-c", "(sleep 1; touch " + marker + ") >/dev/null 2>&1 & exit 3"});
  EXPECT_EQ(result.exit, 3);
  usleep(1'500'000);
  EXPECT_NE(access(marker.c_str(), F_OK), 0);
}

TEST_F(BoxRun, NobodyWaitsForTheOutputOfTheFirstProcess) {
  BoxProcess process({folder_.box(), "run", "--", "sh", "-c", "echo begun; exec >&- 2>&-; sleep 100"});
  ASSERT_TRUE(process.WaitForOutput("begun"));
  EXPECT_TRUE(process.WaitForEndOfOutput(true));
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.Finish().exit, 128 + SIGTERM);
}

TEST_F(BoxRun, TheCommandDiesWithIslaBox) {
  for (const char* where : {"--unshare=ipc", "--no-namespaces"}) {
    BoxProcess process({folder_.box(), "run", where, "--", "sh", "-c", "echo begun; exec sleep 100"});
    ASSERT_TRUE(process.WaitForOutput("begun"));
    kill(process.pid(), SIGKILL);
    // Nobody has its output open any more.
    EXPECT_TRUE(process.WaitForEndOfOutput()) << where;
    EXPECT_EQ(process.Finish().exit, 128 + SIGKILL);
  }
}

TEST_F(BoxRun, SignalsArePassedOn) {
  for (const char* where : {"--unshare=ipc", "--no-namespaces"}) {
    BoxProcess process({folder_.box(), "run", where, "--", "sh", "-c", "trap 'echo got; exit 42' USR1; echo ready; while :; do sleep 0.05; done"});
    ASSERT_TRUE(process.WaitForOutput("ready"));
    kill(process.pid(), SIGUSR1);
    const BoxResult result = process.Finish();
    EXPECT_EQ(result.exit, 42) << where;
    EXPECT_NE(result.out.find("got"), std::string::npos);
  }
}

TEST_F(BoxRun, DescriptorsAreClosedUnlessTheyAreKept) {
  const UniqueFd kept(open("/dev/null", O_RDWR)), closed(open("/dev/null", O_RDWR));  // inherited by isla-box
  const std::string number = std::to_string(kept.get());
  const std::string look = "for f in /proc/self/fd/*; do echo ${f##*/}; done";
  EXPECT_EQ(folder_.Run({"run", "--", "sh", "-c", "test -e /proc/self/fd/" + number}).exit, 1);
  EXPECT_EQ(folder_.Run({"run", "--keep-fd=" + number, "--", "sh", "-c", "test -e /proc/self/fd/" + number + " && ! test -e /proc/self/fd/" + std::to_string(closed.get())}).exit, 0);
  EXPECT_EQ(folder_.Run({"run", "--keep-fd=999", "--", "true"}).exit, 125);
}

TEST_F(BoxRun, SignalDispositionsAndMasksAreTheDefaults) {
  sigset_t all, old;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &old);
  const auto before = signal(SIGUSR2, SIG_IGN);
  const BoxResult result = folder_.Run({"run", "--", "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"});
  signal(SIGUSR2, before);
  sigprocmask(SIG_SETMASK, &old, nullptr);
  EXPECT_EQ(result.out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_F(BoxRun, EnvironmentFolderAndLimitsAreAsSaid) {
  EXPECT_EQ(folder_.Run({"run", "--clearenv", "--setenv=A=1", "--setenv=B=2", "--unsetenv=B", "--", "/usr/bin/env"}).out, "A=1\nB=2\n");
  EXPECT_EQ(folder_.Run({"run", "--chdir=/usr", "--", "pwd"}).out, "/usr\n");
  EXPECT_EQ(folder_.Run({"run", "--", "pwd"}, {.folder = folder_.path()}).out, folder_.path() + "\n");
  EXPECT_EQ(folder_.Run({"run", "--limit=nofile=77", "--", "sh", "-c", "ulimit -n"}).out, "77\n");
  EXPECT_EQ(folder_.Run({"run", "--hostname=inside", "--", "uname", "-n"}).out, "inside\n");
}

TEST_F(BoxRun, DevIsPrivateAndSmall) {
  EXPECT_EQ(folder_.Run({"run", "--", "sh", "-c", "echo x > /dev/null && head -c 3 /dev/zero | od -An -tx1 && touch /dev/shm/x && ls /dev"}).out,
            " 00 00 00\nfd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n");
}

TEST_F(BoxRun, PathsCanBeBoundAndARootChanged) {
  ASSERT_EQ(mkdir((folder_.path() + "/data").c_str(), 0755), 0);
  folder_.Write("data/file", "text\n");
  const std::string data = folder_.path() + "/data";
  EXPECT_EQ(folder_.Run({"run", "--tmpfs=/srv", "--ro-bind=" + data + ":/srv/data", "--", "sh", "-c", "cat /srv/data/file; echo no > /srv/data/file"}).out, "text\n");
  EXPECT_EQ(folder_.Run({"run", "--tmpfs=/srv", "--bind=" + data + ":/srv/data", "--", "sh", "-c", "echo other > /srv/data/file"}).exit, 0);
  EXPECT_EQ(*ReadFile(data + "/file"), "other\n");
  // A root with a link that would lead out of it: its /dev is made inside.
  const std::string root = folder_.path() + "/root", outside = folder_.path() + "/outside";
  for (const std::string& each : {root, root + "/usr", root + "/proc", outside}) ASSERT_EQ(mkdir(each.c_str(), 0755), 0);
  ASSERT_EQ(symlink(("../../../../../.." + outside).c_str(), (root + "/dev").c_str()), 0);
  for (const char* name : {"bin", "lib", "lib64"}) ASSERT_EQ(symlink((std::string("usr/") + name).c_str(), (root + "/" + name).c_str()), 0);
  const BoxResult result = folder_.Run({"run", "--root=" + root, "--ro-bind=/usr", "--chdir=/", "--", "sh", "-c", "ls /; cat /etc/passwd"});
  EXPECT_NE(result.exit, 0);
  EXPECT_EQ(std::system(("test -z \"$(ls -A " + outside + ")\"").c_str()), 0);
  ASSERT_EQ(unlink((root + "/dev").c_str()), 0);
  EXPECT_EQ(folder_.Run({"run", "--root=" + root, "--ro-bind=/usr", "--", "sh", "-c", "pwd; ls /"}).out, "/\nbin\ndev\nlib\nlib64\nproc\nusr\n");
}

TEST_F(BoxRun, AnOrdinaryUserCanHaveAnotherRoot) {
  const std::string root = folder_.path() + "/root";
  // Places for what is mounted: in a folder that isn't the user's none can be made.
  for (const char* name : {"", "/usr", "/dev", "/proc"}) ASSERT_EQ(mkdir((root + name).c_str(), 0755), 0);
  for (const char* name : {"bin", "lib", "lib64"}) ASSERT_EQ(symlink((std::string("usr/") + name).c_str(), (root + "/" + name).c_str()), 0);
  const BoxStart start = {.uid = geteuid() == 0 ? kNobody : uid_t{0}};
  const BoxResult result = folder_.Run({"run", "--root=" + root, "--ro-bind=/usr", "--", "sh", "-c", "pwd; ls /; cat /proc/1/comm"}, start);
  EXPECT_EQ(result.out, "/\nbin\ndev\nlib\nlib64\nproc\nusr\nisla-box\n") << result.err;
  for (const char* relative : {"--root=.", "--root=../root"}) {
    EXPECT_EQ(folder_.Run({"run", relative, "--ro-bind=/usr", "--", "ls", "/"}, {.uid = start.uid, .folder = root}).out, "bin\ndev\nlib\nlib64\nproc\nusr\n") << relative;
  }
  EXPECT_EQ(folder_.Run({"run", "--root=/", "--chdir=/usr", "--", "pwd"}, start).out, "/usr\n") << "the root that it has";
  EXPECT_EQ(folder_.Run({"run", "--root=/", "--chdir=/usr", "--", "pwd"}).out, "/usr\n");
}

TEST_F(BoxRun, AnOrdinaryUserNeedsNoPrivilege) {
  if (geteuid() != 0) GTEST_SKIP() << "all of these tests run as an ordinary user already";
  const BoxStart nobody = {.uid = kNobody};
  EXPECT_EQ(folder_.Run({"run", "--", "id", "-u"}, nobody).out, "65534\n");
  EXPECT_EQ(folder_.Run({"run", "--map-root", "--unshare=net", "--", "id", "-u"}, nobody).out, "0\n");
  EXPECT_EQ(folder_.Run({"run", "--no-namespaces", "--", "id", "-u"}, nobody).out, "65534\n");
  EXPECT_EQ(folder_.Run({"run", "--", "grep", "CapEff", "/proc/self/status"}, nobody).out, "CapEff:\t0000000000000000\n");
  EXPECT_EQ(folder_.Run({"run", "--share=user", "--", "true"}, nobody).exit, 125);
  EXPECT_EQ(folder_.Run({"run", "--unshare=all", "--", "cat", "/etc/shadow"}, nobody).exit, 1);
}

// It is made by a helper while mounts are: neither it nor that there was no network before may be seen.
TEST_F(BoxRun, ANetworkOfItsOwnIsThereWhenTheCommandBegins) {
  // Refused: loopback is up, and nobody listens. Else the network would be unreachable.
  const std::string script = "cat /proc/net/dev; (exec 3<>/dev/tcp/127.0.0.1/9); for p in /proc/[0-9]*; do read -r name < $p/comm && echo \"process $name\"; done";
  for (const char* flags : {"--share=user", "--unshare=user", "--map-root"}) {
    for (const uid_t uid : {uid_t{0}, uid_t{65534}}) {
      const bool root = geteuid() == 0;
      if ((!root && uid != 0) || ((!root || uid != 0) && std::string_view(flags) == "--share=user")) continue;
      const BoxResult result = folder_.Run({"run", flags, "--unshare=net", "--", "bash", "-c", script}, {.uid = uid});
      EXPECT_EQ(result.exit, 0) << flags << uid << result.err;
      EXPECT_NE(result.err.find("Connection refused"), std::string::npos) << flags << uid << result.err;
      EXPECT_EQ(std::count(result.out.begin(), result.out.end(), ':'), 1) << "loopback only: " << result.out;
      EXPECT_EQ(result.out.substr(result.out.find("process ")), "process isla-box\nprocess bash\n") << flags << uid;
    }
  }
  const BoxResult shared = folder_.Run({"run", "--share=pid", "--unshare=net", "--", "bash", "-c", "cat /proc/net/dev"});
  EXPECT_EQ(std::count(shared.out.begin(), shared.out.end(), ':'), 1) << shared.out << shared.err;
}

TEST_F(BoxRun, RootCanHaveAUserNamespace) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  EXPECT_EQ(folder_.Run({"run", "--unshare=all", "--", "sh", "-c", "id -u; cat /proc/self/uid_map | tr -s ' '"}).out, "0\n 0 0 4294967295\n");
  EXPECT_NE(folder_.Run({"run", "--", "sh", "-c", "echo x > /proc/sys/kernel/hostname"}).exit, 0) << "root's id alone opens this";
  for (const std::vector<std::string>& open : {std::vector<std::string>{"--no-namespaces"}, {"--share=mount", "--unshare=user"}}) {
    std::vector<std::string> words = {"run", "--", "true"};
    words.insert(words.begin() + 1, open.begin(), open.end());
    EXPECT_NE(folder_.Run(words).err.find("root's command can write"), std::string::npos) << open[0];
  }
  EXPECT_EQ(folder_.Run({"run", "--", "true"}).err, "");
  EXPECT_NE(folder_.Run({"run", "--", "sh", "-c", "echo h > /proc/sysrq-trigger"}).out, "x");
}

}  // namespace
}  // namespace isla::e2e
