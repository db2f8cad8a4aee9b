// Truth tables of the floor and the default policy, and the program as a golden dump: a change of the
// policy shows in review. After a wanted change run the test with ISLA_UPDATE_GOLDEN=1.
#include "sandbox/default_policy.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>

#include "api/base/unique_fd.h"
#include "sandbox/bpf/compiler.h"
#include "sandbox/bpf/evaluator.h"
#include "sandbox/names/syscalls.h"

namespace isla::sandbox {
namespace {

class DefaultPolicyTest : public testing::Test {
 protected:
  void SetUp() override {
    StatusOr<Program> program = CompileDefaultPolicy();
    ASSERT_TRUE(program.ok()) << ToString(program.status());
    program_ = *std::move(program);
  }

  std::string Decision(std::string_view name, std::initializer_list<uint64_t> arguments = {}) {
    const auto number = SyscallNumber(kNativeArch, name);
    if (!number) return "no such call";
    const StatusOr<uint32_t> result = Evaluate(program_, NativeCall(*number, arguments));
    return result.ok() ? ActionName(*result) : ToString(result.status());
  }

  Program program_;
};

std::string Errno(int error) { return fmt::format("errno {}", error); }

TEST_F(DefaultPolicyTest, OrdinaryProgramsHaveTheirCalls) {
  for (const char* call : {"read", "write", "openat", "execve", "mmap", "futex", "epoll_wait", "pipe2", "statx",
                           "getrandom", "prctl", "seccomp", "setuid", "wait4", "rseq", "kill"}) {
    EXPECT_EQ(Decision(call), "allow") << call;
  }
}

TEST_F(DefaultPolicyTest, TheFloorForbidsWhatReachesTheKernelItself) {
  for (const char* call : {"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf",
                           "reboot", "swapon", "keyctl", "add_key", "request_key", "mount", "umount2",
                           "pivot_root", "move_mount", "fsopen", "fsmount", "open_tree", "mount_setattr", "setns",
                           "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "perf_event_open",
                           "open_by_handle_at", "fanotify_init", "syslog", "settimeofday", "clock_settime"}) {
    EXPECT_EQ(Decision(call), Errno(EPERM)) << call;
  }
}

TEST_F(DefaultPolicyTest, CallsWithAnotherWayLookMissing) {
  for (const char* call : {"io_uring_setup", "io_uring_enter", "io_uring_register", "clone3", "userfaultfd"}) {
    EXPECT_EQ(Decision(call), Errno(ENOSYS)) << call;
  }
}

TEST_F(DefaultPolicyTest, NoNamespaceIsMadeByCloneOrUnshare) {
  for (const uint64_t flag : {uint64_t{CLONE_NEWUSER}, uint64_t{CLONE_NEWNS}, uint64_t{CLONE_NEWPID},
                              uint64_t{CLONE_NEWNET}, uint64_t{CLONE_NEWIPC}, uint64_t{CLONE_NEWUTS},
                              uint64_t{CLONE_NEWCGROUP}}) {
    EXPECT_EQ(Decision("clone", {flag | 17}), Errno(EPERM)) << flag;
    EXPECT_EQ(Decision("unshare", {flag}), Errno(EPERM)) << flag;
    EXPECT_EQ(Decision("clone", {flag | CLONE_VM | (uint64_t{1} << 40)}), Errno(EPERM)) << flag;
  }
  EXPECT_EQ(Decision("unshare", {0x80}), Errno(EPERM)) << "time namespace";
  EXPECT_EQ(Decision("clone", {CLONE_VM | CLONE_VFORK | 17}), "allow");
  EXPECT_EQ(Decision("unshare", {CLONE_FILES}), "allow");
}

TEST_F(DefaultPolicyTest, SocketsAreOfTheFamiliesOfAContainer) {
  EXPECT_EQ(Decision("socket", {AF_UNIX, SOCK_STREAM, 0}), "allow");
  EXPECT_EQ(Decision("socket", {AF_INET, SOCK_STREAM, 0}), "allow");
  EXPECT_EQ(Decision("socket", {AF_INET6, SOCK_DGRAM, 0}), "allow");
  EXPECT_EQ(Decision("socket", {AF_NETLINK, SOCK_RAW, 0}), "allow");
  EXPECT_EQ(Decision("socket", {AF_NETLINK, SOCK_RAW, 9}), Errno(EPROTONOSUPPORT)) << "audit";
  EXPECT_EQ(Decision("socket", {AF_NETLINK, SOCK_RAW, 12}), Errno(EPROTONOSUPPORT)) << "netfilter";
  for (const uint64_t family : {AF_VSOCK, AF_PACKET, AF_ALG, AF_BLUETOOTH, AF_CAN, AF_TIPC, AF_XDP, AF_KEY, 0, 99}) {
    EXPECT_EQ(Decision("socket", {family, SOCK_RAW, 0}), Errno(EAFNOSUPPORT)) << family;
    EXPECT_EQ(Decision("socketpair", {family, SOCK_STREAM, 0}), Errno(EAFNOSUPPORT)) << family;
  }
}

TEST_F(DefaultPolicyTest, BitsThatTheKernelDropsDontHideAnArgument) {
  constexpr uint64_t kDropped = uint64_t{1} << 32;
  EXPECT_EQ(Decision("ioctl", {0, TIOCSTI}), Errno(EPERM));
  EXPECT_EQ(Decision("ioctl", {0, TIOCSTI | kDropped}), Errno(EPERM));
  EXPECT_EQ(Decision("ioctl", {0, TIOCLINUX | 0xffffffff00000000u}), Errno(EPERM));
  EXPECT_EQ(Decision("ioctl", {0, TIOCGWINSZ}), "allow");
  EXPECT_EQ(Decision("socket", {AF_VSOCK | kDropped, SOCK_STREAM, 0}), Errno(EAFNOSUPPORT));
  EXPECT_EQ(Decision("socket", {AF_NETLINK | kDropped, SOCK_RAW, 12 | kDropped}), Errno(EPROTONOSUPPORT));
}

TEST_F(DefaultPolicyTest, OnlyHarmlessPersonalities) {
  EXPECT_EQ(Decision("personality", {0xffffffff}), "allow");
  EXPECT_EQ(Decision("personality", {0}), "allow");
  EXPECT_EQ(Decision("personality", {0x0040000}), Errno(EPERM)) << "ADDR_NO_RANDOMIZE";
  EXPECT_EQ(Decision("personality", {0x0400000}), Errno(EPERM)) << "READ_IMPLIES_EXEC";
}

TEST_F(DefaultPolicyTest, UnlistedAndFutureCallsLookMissing) {
  EXPECT_EQ(ActionName(*Evaluate(program_, NativeCall(471))), Errno(ENOSYS));
  EXPECT_EQ(ActionName(*Evaluate(program_, NativeCall(9999))), Errno(ENOSYS));
  EXPECT_EQ(Decision("modify_ldt"), Errno(ENOSYS));
}

TEST_F(DefaultPolicyTest, EveryCallIsDecidedByTheFloorOrByAName) {
  // The union is what the program does, for all numbers and a few arguments.
  const Policy floor = FloorPolicy(kNativeArch), policy = DefaultPolicy(kNativeArch);
  for (int number = 0; number < 512; ++number) {
    for (const uint64_t a : {uint64_t{0}, uint64_t{1}, uint64_t{16}, uint64_t{CLONE_NEWUSER}, uint64_t{TIOCSTI}}) {
      NotifiedCall call;
      call.number = number;
      call.arguments = {a, a, a};
      const Action below = floor.ActionOf(floor.Decide(call));
      const Action expected = below == Action::Allow() ? policy.ActionOf(policy.Decide(call)) : below;
      EXPECT_EQ(ActionName(*Evaluate(program_, NativeCall(number, {a, a, a}))), expected.ToText())
          << SyscallText(kNativeArch, number) << " " << a;
    }
  }
}

TEST(FloorPolicy, CompilesForBothArchitecturesWithoutASupervisor) {
  for (const Arch arch : {Arch::kX86_64, Arch::kArm64}) {
    const StatusOr<Filter> filter = Compile(UnderFloor(FloorPolicy(arch), DefaultPolicy(arch)));
    ASSERT_TRUE(filter.ok()) << ToString(filter.status());
    EXPECT_TRUE(filter->notified.empty());
    const auto decision = [&](std::string_view name, uint64_t argument = 0) {
      return ActionName(RunProgram(filter->program, CallOn(arch, *SyscallNumber(arch, name), {argument})));
    };
    EXPECT_EQ(decision("openat"), "allow");
    EXPECT_EQ(decision("bpf"), Errno(EPERM));
    EXPECT_EQ(decision("clone3"), Errno(ENOSYS));
    EXPECT_EQ(decision("socket", AF_VSOCK), Errno(EAFNOSUPPORT));
    EXPECT_EQ(decision("socket", AF_INET), "allow");
    EXPECT_EQ(decision("clone", CLONE_NEWUSER), Errno(EPERM));
  }
}

#if defined(__x86_64__)
TEST_F(DefaultPolicyTest, TheProgramIsTheGoldenOne) {
  const std::string path = std::string(std::getenv("ISLA_SOURCE_DIR")) + "/tests/unit/sandbox/golden/default_policy.x86_64.txt";
  if (std::getenv("ISLA_UPDATE_GOLDEN") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, Dump(program_), 0644, false).ok());
  }
  const StatusOr<std::string> golden = ReadFile(path);
  ASSERT_TRUE(golden.ok()) << ToString(golden.status());
  EXPECT_EQ(Dump(program_), *golden);
}
#endif

}  // namespace
}  // namespace isla::sandbox
