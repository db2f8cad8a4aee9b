// What a container can't do: each case is a program that tries, inside a real session.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/cluster/cluster_suite.h"

namespace isla::testing {
namespace {

class Confinement : public ClusterSuite {
 protected:
  /// The output of a script that a session ran to its end.
  static std::string Inside(const std::string& script, const std::string& extra = {}) {
    const std::string name = "try" + std::to_string(++count_);
    cluster_->Apply(MiniCluster::ShellSession(name, script, extra));
    const CommandResult waited =
        cluster_->Isla({"wait", "session/" + name, "--for=condition=Finished", "--timeout=60s"});
    EXPECT_EQ(waited.exit_code, 0) << waited.err;
    return cluster_->Isla({"logs", name}).out;
  }

  static int count_;
};
int Confinement::count_ = 0;

TEST_F(Confinement, SeesNoProcessButItsOwn) {
  EXPECT_EQ(Inside("ls /proc | grep -E '^[0-9]+$' | wc -l | (read n; [ $n -le 6 ] && echo few || echo $n)"), "few\n");
  EXPECT_EQ(Inside("kill -0 1 && cat /proc/1/comm"), "isla-init\n");
}

TEST_F(Confinement, WritesNoFileOfTheNode) {
  // What it writes to its own root stays there.
  Inside("for f in /usr/isla-was-here /etc/isla-was-here /isla-was-here /var/lib/isla-was-here /usr/bin/isla-was-here; "
         "do mkdir -p $(dirname $f) 2>/dev/null; touch $f; done");
  for (const char* path : {"/usr/isla-was-here", "/etc/isla-was-here", "/isla-was-here", "/var/lib/isla-was-here",
                           "/usr/bin/isla-was-here"}) {
    EXPECT_FALSE(std::ifstream(path).good()) << path;
  }
  EXPECT_EQ(Inside("touch /usr/x 2>&1"), "touch: cannot touch '/usr/x': Read-only file system\n");
}

TEST_F(Confinement, ReadsNoSecretOfTheNode) {
  EXPECT_EQ(Inside("cat /etc/shadow >/dev/null 2>&1 && echo read; cat /root/.profile >/dev/null 2>&1 && echo read; "
                   "find /home /srv /var/lib -mindepth 1 2>/dev/null | grep -q . && echo listed; "
                   "ls /run/systemd /run/dbus 2>/dev/null; echo done"),
            "done\n");
}

TEST_F(Confinement, MountsNothing) {
  EXPECT_EQ(Inside("mount -t tmpfs none /mnt 2>/dev/null && echo mounted; mount -o remount,rw /usr 2>/dev/null && echo remounted;"
                   "umount /proc 2>/dev/null && echo unmounted; echo done"),
            "done\n");
}

TEST_F(Confinement, MakesNoNamespace) {
  EXPECT_EQ(Inside("for n in --user --mount --pid --net --ipc --uts --cgroup; do unshare $n true 2>/dev/null && echo $n; done; "
                   "nsenter -t 1 -m true 2>/dev/null && echo nsenter; echo done"),
            "done\n");
}

TEST_F(Confinement, HasNoNetworkByDefault) {
  EXPECT_EQ(Inside("cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '"), "lo\n");
}

TEST_F(Confinement, LoadsNoModuleReadsNoKernelLogSetsNoClock) {
  EXPECT_EQ(Inside("modprobe loop 2>/dev/null && echo module; dmesg >/dev/null 2>&1 && echo dmesg; "
                   "date -s '2001-01-01' >/dev/null 2>&1 && echo clock; "
                   "(echo 1 > /proc/sys/kernel/panic) 2>/dev/null && echo sysctl; "
                   // Covered by /dev/null where the kernel has it. h: help, should it reach the kernel.
                   "test ! -c /proc/sysrq-trigger && (echo h > /proc/sysrq-trigger) 2>/dev/null && echo sysrq; "
                   "mknod /tmp/sda b 8 0 2>/dev/null && cat /tmp/sda >/dev/null 2>&1 && echo device; echo done"),
            "done\n");
}

/// A C program compiled inside a session: system calls that a shell can't make.
TEST_F(Confinement, SystemCallsBeyondTheFloorFail) {
  const std::string program = R"(
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <termios.h>
static void try(const char *what, long r) { if (r >= 0) printf("%s worked\n", what); }
int main(void) {
  char params[256] = {0};
  try("io_uring_setup", syscall(SYS_io_uring_setup, 8, params));
  try("bpf", syscall(SYS_bpf, 0, params, sizeof params));
  try("init_module", syscall(SYS_init_module, params, 0, ""));
  try("finit_module", syscall(SYS_finit_module, 0, "", 0));
  try("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
  try("userfaultfd", syscall(SYS_userfaultfd, 0));
  try("keyctl", syscall(SYS_keyctl, 0, 0, 0, 0, 0));
  try("perf_event_open", syscall(SYS_perf_event_open, params, 0, -1, -1, 0));
  try("open_by_handle_at", syscall(SYS_open_by_handle_at, 0, params, 0));
  try("fanotify_init", syscall(SYS_fanotify_init, 0, 0));
  try("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
  try("open_tree", syscall(SYS_open_tree, -100, "/", 1));
  try("setns", syscall(SYS_setns, 0, 0));
  try("unshare", unshare(CLONE_NEWUSER));
  try("ptrace", ptrace(PTRACE_ATTACH, 1, 0, 0));
  try("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
  try("packet", socket(AF_PACKET, SOCK_RAW, 0));
  try("alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
  try("netfilter", socket(AF_NETLINK, SOCK_RAW, 12));
  try("TIOCSTI", ioctl(0, TIOCSTI, "x"));
  long r;
  __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory");
  if (r > 0) printf("int 0x80 worked\n");
  if (socket(AF_UNIX, SOCK_STREAM, 0) < 0 || socket(AF_INET, SOCK_STREAM, 0) < 0) printf("plain sockets fail\n");
  printf("done\n");
  return 0;
}
)";
  const std::string script = "cat > /tmp/t.c <<'EOF'\n" + program + "EOF\ngcc -w -o /tmp/t /tmp/t.c && { /tmp/t; s=$?; [ $s = 0 ] || echo status $s; }";
  const std::string out = Inside(script, R"("resources": {"cpu": "1", "memory": "512Mi", "tasks": 64})");
  // A filter may answer int 0x80 with an error or by killing the program; all else must have failed.
  EXPECT_EQ(out.find("worked"), std::string::npos) << out;
  EXPECT_TRUE(out == "done\n" || out.find("status") != std::string::npos) << out;
}

TEST_F(Confinement, IdentityIsNotRootOfTheNode) {
  EXPECT_EQ(Inside("id -u; awk '{print ($2 >= 65536)}' /proc/self/uid_map | sort -u; grep NoNewPrivs /proc/self/status; grep Seccomp: /proc/self/status"),
            "0\n1\nNoNewPrivs:\t1\nSeccomp:\t2\n");
}

TEST_F(Confinement, HoldsNoDescriptorThatIsNotItsOwn) {
  EXPECT_EQ(Inside("ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
}

TEST_F(Confinement, HostNetworkAndMountsAreRefusedUnlessTheNodeAllowsThem) {
  cluster_->Apply(MiniCluster::ShellSession("hostnet", "true", R"("network": "host")"));
  EXPECT_TRUE(Eventually([] { return cluster_->Field("hostnet", "status.conditions").find("NotAllowed") != std::string::npos; }))
      << cluster_->Field("hostnet", "status");
  cluster_->Apply(MiniCluster::ShellSession("mount", "true", R"("mounts": [{"hostPath": "/root", "mountPath": "/mnt"}])"));
  EXPECT_TRUE(Eventually([] { return cluster_->Field("mount", "status.conditions").find("NotAllowed") != std::string::npos; }))
      << cluster_->Field("mount", "status");
  EXPECT_EQ(cluster_->Isla({"delete", "session", "hostnet", "mount", "--timeout=20s"}).exit_code, 0);
}

}  // namespace
}  // namespace isla::testing
