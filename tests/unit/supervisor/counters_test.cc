#include "sandbox/supervisor/counters.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sandbox/names/syscalls.h"
#include "sandbox/supervisor/confine.h"

namespace isla::supervisor {
namespace {

TEST(SharedCounters, WhatOneProcessCountsAnotherReads) {
  SharedCounters keeper = *SharedCounters::Create();
  {
    SharedCounters supervisor = *SharedCounters::Open(UniqueFd(fcntl(keeper.fd(), F_DUPFD_CLOEXEC, 3)));
    supervisor.Count(3, Verdict::kRefused);
    supervisor.Count(3, Verdict::kContinued);
    supervisor.Count(1, Verdict::kPerformed);
    supervisor.CountUndecided();
  }
  EXPECT_EQ(keeper.undecided(), 1u);
  const std::vector<RuleCount> read = keeper.Read();
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].rule, 1u);
  EXPECT_EQ(read[1].rule, 3u);
  EXPECT_EQ(read[1].calls, 2u);
  EXPECT_EQ(read[1].last, Verdict::kContinued);
  keeper.Reset();
  EXPECT_TRUE(keeper.Read().empty());
}

TEST(SharedCounters, ARuleBeyondAllSharesTheLastCounter) {
  SharedCounters counters = *SharedCounters::Create();
  counters.Count(4'000'000, Verdict::kRefused);
  ASSERT_EQ(counters.Read().size(), 1u);
  EXPECT_EQ(counters.Read()[0].rule, SharedCounters::kRules - 1);
}

TEST(SharedCounters, OtherDescriptorsAreRefused) {
  EXPECT_FALSE(SharedCounters::Open(UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC))).ok());
  EXPECT_FALSE(SharedCounters::Open(UniqueFd(memfd_create("x", MFD_CLOEXEC))).ok());
}

TEST(ConfineSupervisor, ItStartsNoProgramsAndOpensNoSockets) {
  for (const sandbox::Arch arch : {sandbox::Arch::kX86_64, sandbox::Arch::kArm64}) {
    const sandbox::Policy policy = OwnPolicy(arch);
    const auto action = [&policy, arch](std::string_view call, std::array<uint64_t, 6> arguments = {}) {
      sandbox::NotifiedCall notified;
      notified.number = *sandbox::SyscallNumber(arch, call);
      notified.arguments = arguments;
      return policy.ActionOf(policy.Decide(notified)).ToText();
    };
    for (const char* call : {"execve", "execveat", "socket", "ptrace", "mount", "bpf", "io_uring_setup", "setns", "clone"}) EXPECT_EQ(action(call), "errno 1") << call;
    EXPECT_EQ(action("clone", {0x3d0f00}), "allow");
    EXPECT_EQ(action("unshare", {0x200}), "allow");
    EXPECT_EQ(action("unshare", {0x10000000}), "errno 1");
    EXPECT_EQ(action("process_vm_readv"), "allow");
  }
}

}  // namespace
}  // namespace isla::supervisor
