#include "sandbox/bpf/evaluator.h"

#include <gtest/gtest.h>

#include <cstddef>

namespace isla::sandbox {
namespace {

constexpr uint16_t kLoad = BPF_LD | BPF_W | BPF_ABS, kReturn = BPF_RET | BPF_K;

TEST(Evaluator, WhatTheKernelRefusesToLoadIsRefused) {
  const sock_filter ret = BPF_STMT(kReturn, SECCOMP_RET_ALLOW);
  EXPECT_TRUE(Check({ret}).ok());
  EXPECT_FALSE(Check({}).ok());
  EXPECT_FALSE(Check({BPF_STMT(kLoad, 4)}).ok()) << "no return at the end";
  EXPECT_FALSE(Check({BPF_STMT(kLoad, 2), ret}).ok()) << "unaligned load";
  EXPECT_FALSE(Check({BPF_STMT(kLoad, sizeof(seccomp_data)), ret}).ok()) << "load beyond the data";
  EXPECT_FALSE(Check({BPF_STMT(BPF_JMP | BPF_JA, 1), ret}).ok()) << "jump beyond the end";
  EXPECT_FALSE(Check({BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff), ret}).ok()) << "jump backwards";
  EXPECT_FALSE(Check({BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1), ret}).ok()) << "branch beyond the end";
  EXPECT_FALSE(Check({BPF_STMT(BPF_ST, 0), ret}).ok()) << "an instruction that isla doesn't use";
  EXPECT_FALSE(Check(Program(kMaxInstructions + 1, ret)).ok());
}

TEST(Evaluator, ReadsNumberArchitectureAndBothWordsOfArguments) {
  const auto load = [](uint32_t offset, uint32_t expected) {
    return Program{BPF_STMT(kLoad, offset), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, expected, 0, 1),
                   BPF_STMT(kReturn, SECCOMP_RET_ALLOW), BPF_STMT(kReturn, SECCOMP_RET_KILL_PROCESS)};
  };
  const seccomp_data data = NativeCall(77, {1, 0x1122334455667788});
  EXPECT_EQ(*Evaluate(load(offsetof(seccomp_data, nr), 77), data), SECCOMP_RET_ALLOW);
  EXPECT_EQ(*Evaluate(load(offsetof(seccomp_data, arch), data.arch), data), SECCOMP_RET_ALLOW);
  EXPECT_EQ(*Evaluate(load(offsetof(seccomp_data, args) + 8, 0x55667788), data), SECCOMP_RET_ALLOW);
  EXPECT_EQ(*Evaluate(load(offsetof(seccomp_data, args) + 12, 0x11223344), data), SECCOMP_RET_ALLOW);
}

TEST(Evaluator, BytesThatAreNoFilterAreRefused) {
  EXPECT_FALSE(FromBytes("").ok());
  EXPECT_FALSE(FromBytes("1234567").ok());
  EXPECT_FALSE(FromBytes(std::string((kMaxInstructions + 1) * sizeof(sock_filter), '\0')).ok());
  const Program program = {BPF_STMT(kReturn, SECCOMP_RET_ALLOW)};
  const StatusOr<Program> back = FromBytes(ToBytes(program));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(ToBytes(*back), ToBytes(program));
}

}  // namespace
}  // namespace isla::sandbox
