// The table of calls, against libseccomp's tables and the kernel's header; the groups.
#include "sandbox/names/syscalls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <seccomp.h>
#include <sys/syscall.h>

#include <cstdlib>
#include <set>

#include "sandbox/names/groups.h"

namespace isla::sandbox {
namespace {

uint32_t SeccompArch(Arch arch) { return arch == Arch::kX86_64 ? SCMP_ARCH_X86_64 : SCMP_ARCH_AARCH64; }

TEST(Syscalls, EveryNumberIsThatOfLibseccomp) {
  for (const Arch arch : {Arch::kX86_64, Arch::kArm64}) {
    size_t known = 0;
    for (int number = 0; number < 512; ++number) {
      char* name = seccomp_syscall_resolve_num_arch(SeccompArch(arch), number);
      if (name == nullptr) continue;
      EXPECT_EQ(SyscallName(arch, number), name) << number;
      EXPECT_EQ(SyscallNumber(arch, name), number) << name;
      std::free(name);
      ++known;
    }
    EXPECT_GT(known, 300u);
  }
  EXPECT_EQ(SyscallNumber(Arch::kArm64, "open"), std::nullopt);
  EXPECT_EQ(SyscallNumber(Arch::kX86_64, "open"), 2);
  EXPECT_EQ(SyscallName(Arch::kX86_64, 9999), "");
  EXPECT_EQ(SyscallName(Arch::kX86_64, -1), "");
  EXPECT_EQ(SyscallText(Arch::kX86_64, 511), "#511");
  EXPECT_EQ(FindSyscall("opena"), nullptr);
}

TEST(Syscalls, TheTableIsSortedAndYoungCallsHaveOneNumber) {
  std::string_view last;
  for (const Syscall& call : AllSyscalls()) {
    EXPECT_LT(last, call.name);
    last = call.name;
    EXPECT_TRUE(call.x86_64 >= 0 || call.arm64 >= 0) << call.name;
    if (call.x86_64 >= 424) {
      EXPECT_EQ(call.x86_64, call.arm64) << call.name;
    }
    EXPECT_FALSE(IsForeignSyscall(call.name)) << call.name;
  }
}

TEST(Syscalls, NamesOfOtherArchitecturesAreKnownAsSuch) {
  for (const char* name : {"_llseek", "socketcall", "s390_pci_mmio_read", "waitpid", "clock_gettime64"}) {
    EXPECT_TRUE(IsForeignSyscall(name)) << name;
  }
  EXPECT_FALSE(IsForeignSyscall("opnat"));
}

TEST(Groups, EveryCallIsInOneBesidesKnown) {
  std::set<std::string_view> grouped;
  for (const Group& group : AllGroups()) {
    EXPECT_FALSE(group.calls.empty()) << group.name;
    EXPECT_TRUE(group.name.starts_with('@') && !group.about.empty()) << group.name;
    for (const std::string_view name : group.calls) {
      EXPECT_NE(FindSyscall(name), nullptr) << name << " of " << group.name;
      if (group.name != "@known") grouped.insert(name);
    }
  }
  for (const Syscall& call : AllSyscalls()) EXPECT_EQ(grouped.count(call.name), 1u) << call.name;
  EXPECT_FALSE(FindGroup("@nothing"));
}

TEST(Groups, AServiceHasNoPrivilegedCalls) {
  const auto calls = FindGroup("@system-service")->calls;
  for (const char* name : {"openat", "connect", "clone3", "mmap", "epoll_wait", "sysinfo"}) {
    EXPECT_THAT(calls, testing::Contains(name));
  }
  for (const char* name : {"mount", "bpf", "ptrace", "init_module", "kexec_load", "keyctl_", "io_uring_setup", "pivot_root"}) {
    EXPECT_THAT(calls, testing::Not(testing::Contains(name)));
  }
}

}  // namespace
}  // namespace isla::sandbox
