// Containers with a supervisor: they see what they were granted, policies that look behind pointers hold, and whoever dies, programs in
// them see delays only.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <functional>

#include "agentd/policyc/policyc.h"
#include "sandbox/default_policy.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "tests/e2e/container/harness.h"

namespace isla::shim {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> Shell(const std::string& script) { return {"/bin/sh", "-c", script}; }

/// The supervisor that the shim has at work; 0 if there is none.
pid_t SupervisorOf(pid_t shim) {
  const std::string children = ReadFile(fmt::format("/proc/{}/task/{}/children", shim, shim)).value_or("");
  for (size_t at = 0; at < children.size();) {
    const size_t end = children.find(' ', at);
    const std::string pid = children.substr(at, end - at);
    if (ReadFile("/proc/" + pid + "/comm").value_or("") == "isla-supervisor\n") return std::stoi(pid);
    if (end == std::string::npos) break;
    at = end + 1;
  }
  return 0;
}

pid_t AwaitSupervisor(const TestContainer& container, pid_t other_than = 0) {
  pid_t pid = 0;
  EXPECT_TRUE(Eventually([&] { return (pid = SupervisorOf(container.shim_pid())) != 0 && pid != other_than; })) << "no supervisor";
  return pid;
}

std::string Line(const std::string& text, const std::string& key) {
  const size_t at = text.find(key);
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

/// A manifest's, as the shim takes it.
std::string Compiled(const std::string& spec) {
  const StatusOr<sandbox::CompiledPolicy> policy =
      sandbox::CompileManifest(R"({"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {"name": "test"}, "spec": )" + spec + "}");
  EXPECT_TRUE(policy.ok()) << ToString(policy.status());
  return policy.ok() ? policy->ToBytes() : "";
}

/// As a node compiles it: sections that the supervisor has a part in are rules, too.
std::string Lowered(const std::string& spec) {
  const StatusOr<std::string> bytes = policyc::CompileText(R"({"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {"name": "test"}, "spec": )" + spec + "}", "lowered");
  EXPECT_TRUE(bytes.ok()) << ToString(bytes.status());
  return bytes.value_or("");
}

TEST(View, AllThatProgramsAskAgreesWithTheGrant) {
  TestContainer container(Shell("nproc; getconf _NPROCESSORS_ONLN; getconf _NPROCESSORS_CONF; grep -c ^processor /proc/cpuinfo; "
                                "grep -c '^cpu[0-9]' /proc/stat; cat /sys/devices/system/cpu/online /sys/devices/system/cpu/possible "
                                "/sys/devices/system/cpu/present; grep MemTotal /proc/meminfo; /probe/probe grant; "
                                "if [ -x /usr/bin/python3 ]; then /usr/bin/python3 -c 'import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))'; "
                                "else echo 1 1; fi; "
                                "if [ -x /usr/bin/free ]; then free -m | awk '/^Mem/{print $2}'; else echo 256; fi"));
  container.request().cpu_millis = 1000;
  container.request().memory_bytes = 256 << 20;
  ASSERT_GE(sysconf(_SC_NPROCESSORS_ONLN), 2) << "a machine with more than is granted is needed";
  EXPECT_EQ(container.Run().cause, "exited");
  EXPECT_EQ(container.Output(), "1\n1\n1\n1\n1\n0\n0\n0\nMemTotal:         262144 kB\n1 1 1 256\n1 1\n256\n") << container.Output("stderr");
}

TEST(View, AFractionOfACpuIsOneAndAllOfThemAreTheMachines) {
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  TestContainer small(Shell("nproc; getconf _NPROCESSORS_ONLN"));
  small.request().cpu_millis = 100;
  small.Run();
  EXPECT_EQ(small.Output(), "1\n1\n");
  TestContainer large(Shell("nproc; getconf _NPROCESSORS_ONLN; cat /proc/self/mountinfo"));
  large.request().cpu_millis = online * 1000;
  large.Run();
  EXPECT_THAT(large.Output(), testing::StartsWith(fmt::format("{}\n{}\n", online, online)));
  EXPECT_THAT(large.Output(), Not(HasSubstr(" /proc/cpuinfo "))) << "nothing to be put over the machine's own";
}

TEST(View, ItsFilesCantBeWritten) {
  TestContainer container(Shell("echo x > /proc/meminfo; echo x > /sys/devices/system/cpu/online; chmod 666 /proc/cpuinfo; ls -a /"));
  container.request().cpu_millis = 1000;
  container.Run();
  EXPECT_THAT(container.Output("stderr"), HasSubstr("Read-only file system"));
  EXPECT_THAT(container.Output(), Not(HasSubstr("isla"))) << "nothing of their making is left";
}

TEST(View, FilesOfAPolicyAreShown) {
  TestContainer container(Shell("cat /etc/motd /opt/deep/er; hostname; cat /etc/hostname; nproc"));
  container.SetPolicy(Compiled(R"({"base": {"groups": ["@container"]},
      "view": {"hostname": "seen", "files": [{"path": "/etc/motd", "content": "hello\n"}, {"path": "/opt/deep/er", "content": "there\n"}]}})"));
  container.request().cpu_millis = 1000;
  container.Run();
  EXPECT_EQ(container.Output(), fmt::format("hello\nthere\nseen\nseen\n{}\n", sysconf(_SC_NPROCESSORS_ONLN))) << container.Output("stderr");
}

TEST(Supervision, AContainerThatAsksNothingHasNoSupervisor) {
  TestContainer container(Shell("read line < /dev/null; echo up; sleep 60"));
  container.Start();
  ASSERT_TRUE(Eventually([&] { return container.Output() == "up\n"; }));
  EXPECT_EQ(SupervisorOf(container.shim_pid()), 0);
  container.Stop(1000);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Supervision, TheSupervisorHasAnIdOfItsOwnAndNoRightsOnTheHost) {
  TestContainer container(Shell("nproc; sleep 60"));
  container.request().cpu_millis = 1000;
  container.Start();
  const pid_t supervisor = AwaitSupervisor(container);
  ASSERT_TRUE(Eventually([&] { return container.Output() == "1\n"; }));
  const std::string status = ReadFile(fmt::format("/proc/{}/status", supervisor)).value_or("");
  const uint32_t id = container.request().id_base + 65536;
  EXPECT_EQ(Line(status, "Uid:"), fmt::format("Uid:\t{0}\t{0}\t{0}\t{0}", id));
  EXPECT_EQ(Line(status, "Gid:"), fmt::format("Gid:\t{0}\t{0}\t{0}\t{0}", id));
  EXPECT_EQ(Line(status, "Groups:"), "Groups:\t ");
  // sys_ptrace and kill, in the container's user namespace, and no way to more.
  for (const char* set : {"CapPrm:", "CapEff:", "CapBnd:"}) EXPECT_EQ(Line(status, set), std::string(set) + "\t0000000000080020");
  EXPECT_EQ(Line(status, "NoNewPrivs:"), "NoNewPrivs:\t1");
  const auto link = [](pid_t pid, const char* name) {
    char target[64] = {};
    return readlink(fmt::format("/proc/{}/ns/{}", pid, name).c_str(), target, sizeof target - 1) > 0 ? std::string(target) : "";
  };
  EXPECT_NE(link(supervisor, "user"), link(getpid(), "user"));
  EXPECT_EQ(link(supervisor, "pid"), link(getpid(), "pid")) << "nobody in the container can name it";
  struct stat st {};
  ASSERT_EQ(stat(fmt::format("/proc/{}/mem", supervisor).c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, 0u) << "not dumpable";
  // Its memory is not the payload's.
  EXPECT_THAT(ReadFile(fmt::format("/proc/{}/cgroup", supervisor)).value_or(""), HasSubstr("/shim\n"));
  EXPECT_THAT(ReadFile(fmt::format("/proc/{}/cgroup", supervisor)).value_or(""), Not(HasSubstr("/payload\n")));
  container.Stop(1000);
  EXPECT_EQ(container.WaitShim(), 0);
  EXPECT_NE(access(fmt::format("/proc/{}", supervisor).c_str(), F_OK), 0) << "it ends with its container";
}

TEST(Supervision, KilledAtAnyMomentItIsADelay) {
  TestContainer container({"/probe/probe", "affinity", "60000"});
  container.request().cpu_millis = 1000;
  container.Start();
  ASSERT_TRUE(Eventually([&] { return container.Output().starts_with("begins\n"); }));
  pid_t last = 0;
  int killed = 0;
  while (killed < 12) {
    pid_t pid = 0;
    if (!Eventually([&] { return container.Output() != "begins\n" || ((pid = SupervisorOf(container.shim_pid())) != 0 && pid != last); })) break;
    if (pid == 0) break;
    usleep(static_cast<useconds_t>(1500 * killed));
    kill(pid, SIGKILL);
    last = pid;
    ++killed;
  }
  ASSERT_TRUE(container.Event("exited", seconds(60)));
  EXPECT_EQ(container.Output(), "begins\nall answered\n");
  EXPECT_GT(killed, 3);
  EXPECT_EQ(container.Record().exit_code, 0);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Supervision, OneThatHangsIsReplaced) {
  TestContainer container(Shell("nproc; read line < /tmp/../dev/null; sleep 1; nproc; nproc; exec sleep 60"));
  container.request().cpu_millis = 1000;
  container.Start();
  const pid_t first = AwaitSupervisor(container);
  ASSERT_TRUE(Eventually([&] { return container.Output() == "1\n"; }));
  kill(first, SIGSTOP);
  ASSERT_TRUE(Eventually([&] { return container.Output() == "1\n1\n1\n"; })) << container.Output();
  EXPECT_NE(SupervisorOf(container.shim_pid()), first);
  container.Stop(1000);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Supervision, ItEndsWithAContainerWhoseShimIsKilled) {
  TestContainer container(Shell("nproc; sleep 60"));
  container.request().cpu_millis = 1000;
  container.Start();
  const pid_t supervisor = AwaitSupervisor(container);
  ASSERT_TRUE(Eventually([&] { return container.Output() == "1\n"; }));
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, supervisor, 0)));
  ASSERT_TRUE(pidfd.valid());
  kill(container.shim_pid(), SIGKILL);
  container.WaitShim();
  pollfd end = {pidfd.get(), POLLIN, 0};
  EXPECT_EQ(poll(&end, 1, 10'000), 1) << "the supervisor lives on";
}

TEST(Supervision, AnAgentThatGoesChangesNothing) {
  TestContainer container(Shell("nproc; sleep 1; nproc; sleep 60"));
  container.request().cpu_millis = 1000;
  container.Start();
  AwaitSupervisor(container);
  container.CloseControl();
  EXPECT_TRUE(Eventually([&] { return container.Output() == "1\n1\n"; }));
  container.Reconnect();
  container.Stop(1000);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Supervision, WhatPathsDecideHoldsInAContainerAndOpensAreDoneForTheCaller) {
  TestContainer container(Shell("umask 027; mkdir -p /tmp/secret /tmp/open; echo plain > /tmp/open/file; cat /tmp/open/file; echo no > /tmp/secret/file; "
                                "ln -s /tmp/secret/file /tmp/open/link; cat /tmp/open/link; cat /tmp/open/../secret/file; stat -c '%u %a' /tmp/open/file; "
                                "chown 1000 /tmp/open/file; cat /etc/shadow; cat /proc/self/comm; ls /tmp/open"));
  container.SetPolicy(Compiled(R"({"base": {"groups": ["@container"]}, "rules": [
      {"name": "no-secrets", "syscalls": ["open", "openat", "openat2", "creat"], "when": "path under '/tmp/secret'", "action": "deny"},
      {"name": "others", "syscalls": ["open", "openat", "openat2", "creat"], "action": "perform"}]})"));
  EXPECT_EQ(container.Run().cause, "exited");
  EXPECT_EQ(container.Output(), "plain\n0 640\ncat\nfile\nlink\n") << container.Output("stderr");
  EXPECT_THAT(container.Output("stderr"), HasSubstr("/tmp/secret/file: Operation not permitted"));
  EXPECT_THAT(container.Output("stderr"), HasSubstr("cat: /tmp/open/link: Operation not permitted"));
  EXPECT_THAT(container.Output("stderr"), HasSubstr("cat: /etc/shadow: No such file"));
}

TEST(Supervision, CallsOfInitItselfAreAnswered) {
  // What PID 1 calls before the payload runs waits for a supervisor as well.
  TestContainer container(Shell("echo ran"));
  container.SetPolicy(Compiled(R"({"base": {"groups": ["@container"]}, "rules": [
      {"syscalls": ["setsid", "prctl", "signalfd4"], "when": "caller.uid == 0", "action": "allow"}]})"));
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "exited") << record.message;
  EXPECT_EQ(container.Output(), "ran\n");
}

TEST(Supervision, ABareFilterAsOlderAgentsGiveItIsEnough) {
  const StatusOr<sandbox::Program> program = sandbox::CompileDefaultPolicy();
  ASSERT_TRUE(program.ok());
  TestContainer container(Shell("nproc; grep Seccomp: /proc/self/status"));
  container.request().cpu_millis = 1000;
  container.SetPolicy(sandbox::ToBytes(*program));
  EXPECT_EQ(container.Run().cause, "exited");
  EXPECT_EQ(container.Output(), fmt::format("{}\nSeccomp:\t2\n", sysconf(_SC_NPROCESSORS_ONLN)));
}

TEST(Supervision, AMissingSupervisorIsADelayToo) {
  TestContainer container(Shell("echo before; nproc"));
  container.request().cpu_millis = 1000;
  const std::string late = container.folder() + "/isla-supervisor";
  const std::string real = container.request().supervisor_path;
  container.request().supervisor_path = late;
  container.Start();
  ASSERT_TRUE(Eventually([&] { return container.Output() == "before\n"; }));
  usleep(100'000);
  EXPECT_EQ(container.Output(), "before\n");
  ASSERT_EQ(symlink(real.c_str(), late.c_str()), 0);
  ASSERT_TRUE(container.Event("exited"));
  EXPECT_EQ(container.Output(), "before\n1\n");
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Supervision, WhatIsRefusedIsWrittenDownBesideTheLog) {
  TestContainer container(Shell("mkdir /tmp/x; mkdir /tmp/y; true"));
  container.SetPolicy(Compiled(R"({"base": {"groups": ["@container"]}, "rules": [{"name": "no-folders", "syscalls": ["mkdir", "mkdirat"], "action": "deny"}]})"));
  EXPECT_EQ(container.Run().cause, "exited");
  const std::string audit = ReadFile(container.folder() + "/audit").value_or("");
  EXPECT_EQ(std::count(audit.begin(), audit.end(), '\n'), 2) << audit;
  const StatusOr<json::Value> line = json::Parse(audit.substr(0, audit.find('\n')));
  ASSERT_TRUE(line.ok()) << audit;
  EXPECT_EQ(line->StringAt({"rule"}), "no-folders");
  EXPECT_EQ(line->StringAt({"verdict"}), "errno EPERM");
  EXPECT_THAT(line->StringAt({"exe"}), HasSubstr("mkdir"));
}

std::string Refusing(const std::string& folder, const std::string& more = "") {
  return Compiled(R"({"base": {"groups": ["@container"]}, "rules": [
      {"name": "refused", "syscalls": ["mkdir", "mkdirat"], "when": "path under ')" + folder + R"('", "action": {"errno": "EPERM"}},
      {"name": "others", "syscalls": ["mkdir", "mkdirat"], "action": {"errno": "EEXIST"}}])" + more + "}");
}

TEST(Supervision, AnotherVersionOfThePolicyHoldsForWhatRuns) {
  TestContainer container(Shell("echo up; while :; do mkdir /a/x 2>&1 | grep -q permitted && echo refused || echo exists; sleep 0.05; done"));
  container.SetPolicy(Refusing("/a"));
  container.Start();
  ASSERT_TRUE(Eventually([&] { return container.Output().find("refused\n") != std::string::npos; })) << container.Output("stderr");
  EXPECT_EQ(container.Output().find("exists"), std::string::npos);
  const json::Value answer = container.SendPolicy(Refusing("/b"));
  EXPECT_EQ(answer.Find("error"), nullptr) << json::Serialize(answer);
  ASSERT_TRUE(Eventually([&] { return container.Output().ends_with("exists\nexists\n"); })) << container.Output();
  // Its successors have it, too; and whoever comes anew is told which one holds.
  kill(AwaitSupervisor(container), SIGKILL);
  const size_t length = container.Output().size();
  ASSERT_TRUE(Eventually([&] { return container.Output().size() > length + 40; }));
  EXPECT_EQ(container.Output().find("refused", length), std::string::npos);
  container.Reconnect();
  const auto state = container.Event("state");
  ASSERT_TRUE(state);
  EXPECT_EQ(state->StringAt({"policy"}), answer.StringAt({"policy"}));
  container.Stop(100);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Supervision, OtherLimitsHoldForWhatRuns) {
  TestContainer container(Shell("echo up; while :; do mkdir /a/x 2>&1 | grep -q permitted && echo refused || echo other; sleep 0.02; done"));
  container.SetPolicy(Refusing("/a"));
  container.Start();
  ASSERT_TRUE(Eventually([&] { return container.Output().find("refused\n") != std::string::npos; })) << container.Output("stderr");
  EXPECT_EQ(container.Output().find("other"), std::string::npos);
  const json::Value answer = container.SendPolicy(Refusing("/a", R"(, "limits": {"callsPerSecond": 1})"));
  EXPECT_EQ(answer.Find("error"), nullptr) << json::Serialize(answer);
  EXPECT_TRUE(Eventually([&] { return container.Output().find("other\n") != std::string::npos; })) << "what is too much gets EAGAIN";
  container.Stop(100);
  EXPECT_EQ(container.WaitShim(), 0);
}

/// As a package of another version would make it.
std::string OfAnotherFormat(const std::string& bytes) {
  sandbox::CompiledPolicy policy = sandbox::CompiledPolicy::FromBytes(bytes).value();
  policy.table[4] = static_cast<char>(policy.table[4] + 1);  // the version, after the magic
  return policy.ToBytes();
}

TEST(Supervision, APolicyOfAnotherPackagesFormatTakesARestartAndSaysSo) {
  TestContainer container(Shell("echo up; while :; do mkdir /a/x 2>&1 | grep -q permitted && echo refused || echo exists; sleep 0.05; done"));
  container.SetPolicy(Refusing("/a"));
  container.Start();
  ASSERT_TRUE(Eventually([&] { return container.Output().find("refused\n") != std::string::npos; })) << container.Output("stderr");
  const json::Value answer = container.SendPolicy(OfAnotherFormat(Refusing("/b")));
  EXPECT_THAT(answer.StringAt({"error"}), HasSubstr("they are of different packages"));
  EXPECT_NE(answer.Find("takesRestart"), nullptr);
  container.Stop(100);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Supervision, AStartWithAnotherPackagesFormatIsRefusedWithTheReason) {
  TestContainer container(Shell("echo up"));
  container.SetPolicy(OfAnotherFormat(Refusing("/a")));
  container.StartShim();
  const auto refused = container.Event("refused");
  ASSERT_TRUE(refused);
  EXPECT_THAT(refused->StringAt({"error"}), HasSubstr("they are of different packages"));
  EXPECT_EQ(WEXITSTATUS(container.WaitShim()), 1);
}

TEST(Supervision, APackageThatComesLaterBringsNoOtherSupervisorToWhatRuns) {
  TestContainer container(Shell("while :; do nproc; sleep 0.02; done"));
  container.request().cpu_millis = 1000;
  const std::string real = container.request().supervisor_path, own = container.folder() + "/isla-supervisor", newer = container.folder() + "/newer";
  ASSERT_TRUE(WriteFileAtomically(own, ReadFile(real).value(), 0755, false).ok());
  ASSERT_TRUE(WriteFileAtomically(newer, "#!/bin/sh\nexit 1\n", 0755, false).ok());
  container.request().supervisor_path = own;
  container.Start();
  ASSERT_TRUE(Eventually([&] { return container.Output().find("1\n") != std::string::npos; })) << container.Output("stderr");
  const pid_t first = AwaitSupervisor(container);
  ASSERT_EQ(rename(newer.c_str(), own.c_str()), 0);
  kill(first, SIGKILL);
  AwaitSupervisor(container, first);
  const size_t length = container.Output().size();
  EXPECT_TRUE(Eventually([&] { return container.Output().size() > length + 10; })) << "calls are answered";
  container.Stop(100);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Supervision, AnotherFilterIsTakenIfItWasComparedWithTheRunningOne) {
  TestContainer container(Shell("echo up; while :; do mkdir /a/x 2>&1 | grep -q permitted && echo refused || echo exists; sleep 0.05; done"));
  const std::string started = Refusing("/a"), wanted = Compiled(R"({"base": {"groups": ["@container"]}})");
  container.SetPolicy(started);
  container.Start();
  ASSERT_TRUE(Eventually([&] { return container.Output().find("refused\n") != std::string::npos; })) << container.Output("stderr");
  const auto filter = [](const std::string& bytes) { return sandbox::FilterId(sandbox::CompiledPolicy::FromBytes(bytes)->filter); };
  const json::Value other = container.SendPolicy(wanted, filter(wanted));
  EXPECT_THAT(other.StringAt({"error"}), HasSubstr("which calls are handed to the supervisor"));
  EXPECT_NE(other.Find("takesRestart"), nullptr);
  EXPECT_EQ(other.StringAt({"startedWith"}), other.StringAt({"policy"}));
  const json::Value taken = container.SendPolicy(wanted, filter(started));
  EXPECT_EQ(taken.Find("error"), nullptr) << json::Serialize(taken);
  EXPECT_NE(taken.StringAt({"policy"}), taken.StringAt({"startedWith"}));
  ASSERT_TRUE(Eventually([&] { return container.Output().ends_with("exists\nexists\n"); })) << container.Output();
  // What is no matter of a filter is refused whatever it was compared with.
  EXPECT_THAT(container.SendPolicy(Refusing("/b", R"(, "files": {"mask": ["/mnt"]})"), filter(started)).StringAt({"error"}), HasSubstr("as it changes: files"));
  container.Stop(100);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Supervision, AVersionThatNeedsARestartIsRefusedWithWhatItChanges) {
  TestContainer container(Shell("echo up; while :; do mkdir /a/x 2>&1 | grep -q permitted && echo refused || echo exists; sleep 0.05; done"));
  container.SetPolicy(Refusing("/a"));
  container.Start();
  ASSERT_TRUE(Eventually([&] { return container.Output().find("refused\n") != std::string::npos; }));
  const auto error = [&](const std::string& bytes) { return container.SendPolicy(bytes).StringAt({"error"}); };
  EXPECT_THAT(error(Compiled(R"({"base": {"groups": ["@container"]}})")), HasSubstr("takes effect at a restart, as it changes: which calls are handed to the supervisor"));
  EXPECT_THAT(error(Refusing("/b", R"(, "files": {"mask": ["/mnt"]})")), HasSubstr("as it changes: files"));
  EXPECT_THAT(error(Refusing("/b", R"(, "view": {"hostname": "other"})")), HasSubstr("as it changes: view"));
  EXPECT_NE(error("nonsense"), "");
  const size_t length = container.Output().size();
  ASSERT_TRUE(Eventually([&] { return container.Output().size() > length + 40; }));
  EXPECT_EQ(container.Output().find("exists"), std::string::npos) << "the one of the start holds";
  container.Stop(100);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Sections, WhatAFunctionLetsBePerformedIsHeldToFilesAllow) {
  TestContainer container(Shell("echo x > /tmp/in && cat /tmp/in; cat /etc/passwd; echo y > /opt/out; cat /tmp/never"));
  container.SetPolicy(Lowered(R"({"base": {"groups": ["@container"]}, "rules": [{"syscalls": ["@file-open"], "action": {"program": "f"}}],
      "program": {"source": "function f(call) if call.path == '/tmp/never' then return 'deny' end return 'perform' end"},
      "files": {"allow": [{"path": "/usr", "access": ["read", "execute"]}, {"path": "/lib", "access": ["read", "execute"]}, {"path": "/lib64", "access": ["read", "execute"]},
                {"path": "/bin", "access": ["read", "execute"]}, {"path": "/dev", "access": ["read", "write"]}, {"path": "/etc/ld.so.cache", "access": ["read"]},
                {"path": "/tmp", "access": ["read", "write", "create"]}]}})"));
  EXPECT_EQ(container.Run().cause, "exited");
  EXPECT_EQ(container.Output(), "x\n") << container.Output("stderr");
  EXPECT_THAT(container.Output("stderr"), HasSubstr("/etc/passwd: Permission denied"));
  EXPECT_THAT(container.Output("stderr"), HasSubstr("/opt/out: Permission denied"));
  EXPECT_THAT(container.Output("stderr"), HasSubstr("/tmp/never: Operation not permitted"));
}

TEST(Sections, NodesThatAreNoDevicesArePerformed) {
  // A device takes a right in the first user namespace, which no supervisor of a container has.
  TestContainer container(Shell("mknod /tmp/pipe p && stat -c %F /tmp/pipe; mknod /tmp/null c 1 3; mknod /tmp/disk b 8 1; mknod /tmp/gone c 0 0 && stat -c %F /tmp/gone"));
  container.SetPolicy(Compiled(R"({"base": {"groups": ["@container"]}, "rules": [{"syscalls": ["mknod", "mknodat"], "action": "perform"}]})"));
  EXPECT_EQ(container.Run().cause, "exited");
  EXPECT_EQ(container.Output(), "fifo\ncharacter special file\n") << container.Output("stderr");
  EXPECT_THAT(container.Output("stderr"), HasSubstr("/tmp/null: Operation not permitted"));
  EXPECT_THAT(container.Output("stderr"), HasSubstr("/tmp/disk: Operation not permitted"));
}

TEST(Sections, FilesAreMaskedReadOnlyOrAllThatCanBeReached) {
  TestContainer container(Shell("cat /etc/hostname; echo x > /var/x; echo y > /tmp/y && cat /tmp/y; ls /opt; echo z > /opt/z; cat /usr/bin/env > /dev/null && echo usr; cat /mnt/hidden"));
  container.SetPolicy(Compiled(R"({"base": {"groups": ["@container"]}, "files": {
      "allow": [{"path": "/usr", "access": ["read", "execute"]}, {"path": "/lib", "access": ["read", "execute"]}, {"path": "/lib64", "access": ["read", "execute"]},
                {"path": "/bin", "access": ["read", "execute"]}, {"path": "/dev", "access": ["read", "write"]}, {"path": "/etc/ld.so.cache", "access": ["read"]},
                {"path": "/tmp", "access": ["read", "write", "create", "delete"]}, {"path": "/opt", "access": ["read", "write", "create"]}],
      "mask": ["/mnt"], "readOnly": ["/opt"]}})"));
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "exited") << record.message;
  EXPECT_EQ(container.Output(), "y\nusr\n") << container.Output("stderr");
  EXPECT_THAT(container.Output("stderr"), HasSubstr("/etc/hostname: Permission denied"));
  EXPECT_THAT(container.Output("stderr"), HasSubstr("/var/x: Permission denied"));
  EXPECT_THAT(container.Output("stderr"), HasSubstr("/opt/z: Read-only file system"));
}

/// Somebody to connect to, on the loopback.
class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    EXPECT_EQ(bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), bytes), 0);
    EXPECT_EQ(listen(fd_.get(), 4096), 0);
    getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &bytes);
    port_ = std::to_string(ntohs(address.sin_port));
  }
  const std::string& port() const { return port_; }

 private:
  UniqueFd fd_;
  std::string port_;
};

std::string Connecting(const Listener& only) {
  return Compiled(R"({"base": {"groups": ["@container"]}, "net": {"default": "deny", "rules": [{"to": "127.0.0.0/8", "ports": )" + only.port() + R"(, "action": "allow"}]}})");
}

TEST(Sections, TheControlGroupKeepsConnectionsToTheirRules) {
  const Listener one, other;
  const auto connects = [](const Listener& to) { return "(exec 3<>/dev/tcp/127.0.0.1/" + to.port() + ") 2>/dev/null && echo yes" + to.port() + " || echo no" + to.port() + ";"; };
  const std::string look = connects(one) + connects(other);
  TestContainer container({"/bin/bash", "-c", look + "(exec 3<>/dev/tcp/0.0.0.0/" + other.port() + ") || true; (echo x > /dev/udp/127.0.0.1/9) || true; echo up; while :; do " + look + " sleep 0.05; done"});
  container.request().host_network = true;
  container.SetPolicy(Connecting(one));
  if (!HasSystemd()) {
    // These scopes have no folder in cgroup v2: then it isn't started, whatever else would hold.
    const ExitRecord record = container.Run();
    EXPECT_EQ(record.cause, "start-error");
    EXPECT_THAT(record.step, HasSubstr("spec.net of the sandbox policy: the scope has no cgroup v2"));
    return;
  }
  container.Start();
  ASSERT_TRUE(Eventually([&] { return container.Output().find("up\n") != std::string::npos; })) << container.Output("stderr");
  EXPECT_THAT(container.Output(), testing::StartsWith("yes" + one.port() + "\nno" + other.port() + "\nup\n"));
  EXPECT_THAT(container.Output("stderr"), testing::ContainsRegex("0.0.0.0/[0-9]+: Operation not permitted"));
  EXPECT_THAT(container.Output("stderr"), testing::ContainsRegex("udp/127.0.0.1/9: Operation not permitted"));
  // Other rules hold for what runs.
  const json::Value answer = container.SendPolicy(Connecting(other));
  EXPECT_EQ(answer.Find("error"), nullptr) << json::Serialize(answer);
  ASSERT_TRUE(Eventually([&] { return container.Output().find("no" + one.port() + "\nyes" + other.port() + "\n") != std::string::npos; })) << container.Output();
  // What can't be is refused, and nothing changes.
  const json::Value wrong = container.SendPolicy(Compiled(R"({"base": {"groups": ["@container"]}, "net": {"rules": [{"to": "10.0.0.0/8", "action": {"redirect": "[::1]:1"}}]}})"));
  EXPECT_THAT(wrong.StringAt({"error"}), HasSubstr("net.rules[0].action.redirect"));
  EXPECT_THAT(container.SendPolicy(Compiled(R"({"base": {"groups": ["@container"]}})")).StringAt({"error"}), HasSubstr("as it changes: net"));
  const size_t length = container.Output().size();
  ASSERT_TRUE(Eventually([&] { return container.Output().size() > length + 40; }));
  EXPECT_EQ(container.Output().find("yes" + one.port(), length), std::string::npos);
  container.Stop(100);
  EXPECT_EQ(container.WaitShim(), 0);
}

TEST(Sections, OnlyListedProgramsAreExecuted) {
  TestContainer container(Shell("/usr/bin/true && echo true; /usr/bin/id || echo refused; cp /usr/bin/id /tmp/id && /tmp/id || echo refused"));
  container.SetPolicy(Compiled(R"({"base": {"groups": ["@container"]}, "exec": {"allow": ["/usr/bin/dash", "/bin/sh", "/usr/bin/true", "/usr/bin/cp",
      "/lib64/ld-linux-x86-64.so.2"]}})"));
  const ExitRecord record = container.Run();
  EXPECT_EQ(record.cause, "exited") << record.message;
  EXPECT_EQ(container.Output(), "true\nrefused\nrefused\n") << container.Output("stderr");
}

}  // namespace
}  // namespace isla::shim
