#include "sandbox/bpf/evaluator.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace isla::sandbox {
namespace {

bool IsJump(unsigned code) { return (code & 0x07u) == BPF_JMP; }

Status CheckOne(const Program& program, size_t at) {
  const sock_filter& in = program[at];
  const size_t left = program.size() - at - 1;  // instructions after this one
  switch (in.code) {
    case BPF_LD | BPF_W | BPF_ABS:
      if (in.k % 4 != 0 || in.k >= sizeof(seccomp_data)) {
        return Errorf(Code::kInvalidArgument, "instruction {}: load at {}", at, in.k);
      }
      break;
    case BPF_ALU | BPF_AND | BPF_K:
    case BPF_RET | BPF_K:
      break;
    case BPF_JMP | BPF_JA:
      if (in.k >= left) return Errorf(Code::kInvalidArgument, "instruction {}: jump beyond the end", at);
      break;
    case BPF_JMP | BPF_JEQ | BPF_K:
    case BPF_JMP | BPF_JGE | BPF_K:
    case BPF_JMP | BPF_JGT | BPF_K:
    case BPF_JMP | BPF_JSET | BPF_K:
      if (in.jt >= left || in.jf >= left) {
        return Errorf(Code::kInvalidArgument, "instruction {}: jump beyond the end", at);
      }
      break;
    default:
      return Errorf(Code::kInvalidArgument, "instruction {}: unknown code {:#x}", at, in.code);
  }
  return OkStatus();
}

bool Taken(const sock_filter& in, uint32_t a) {
  switch (in.code & 0xf0u) {
    case BPF_JEQ: return a == in.k;
    case BPF_JGE: return a >= in.k;
    case BPF_JGT: return a > in.k;
    default: return (a & in.k) != 0;
  }
}

}  // namespace

Status Check(const Program& program) {
  if (program.empty() || program.size() > kMaxInstructions) {
    return Errorf(Code::kInvalidArgument, "a filter of {} instructions", program.size());
  }
  for (size_t i = 0; i < program.size(); ++i) RETURN_IF_ERROR(CheckOne(program, i));
  if (program.back().code != (BPF_RET | BPF_K)) {
    return Error(Code::kInvalidArgument, "the last instruction is not a return");
  }
  return OkStatus();
}

StatusOr<uint32_t> Evaluate(const Program& program, const seccomp_data& data) {
  RETURN_IF_ERROR(Check(program));
  return RunProgram(program, data);
}

namespace {

struct Outcome {
  uint32_t value = 0;
  size_t instructions = 0;
};

Outcome Execute(const Program& program, const seccomp_data& data) {
  uint32_t a = 0;
  size_t count = 0;
  // Jumps only go forward, so this ends.
  for (size_t at = 0;; ++at) {
    const sock_filter& in = program[at];
    ++count;
    if (in.code == (BPF_RET | BPF_K)) return {in.k, count};
    if (in.code == (BPF_JMP | BPF_JA)) {
      at += in.k;
    } else if (IsJump(in.code)) {
      at += Taken(in, a) ? in.jt : in.jf;
    } else if (in.code == (BPF_ALU | BPF_AND | BPF_K)) {
      a &= in.k;
    } else {
      std::memcpy(&a, reinterpret_cast<const char*>(&data) + in.k, sizeof a);
    }
  }
}

}  // namespace

uint32_t RunProgram(const Program& program, const seccomp_data& data) { return Execute(program, data).value; }

size_t CountInstructions(const Program& program, const seccomp_data& data) { return Execute(program, data).instructions; }

seccomp_data CallOn(Arch arch, int number, const std::array<uint64_t, 6>& arguments) {
  seccomp_data data{};
  data.nr = number;
  data.arch = AuditArch(arch);
  std::copy(arguments.begin(), arguments.end(), std::begin(data.args));
  return data;
}

seccomp_data NativeCall(int number, std::initializer_list<uint64_t> arguments) {
  seccomp_data data{};
  data.nr = number;
  data.arch = AuditArch(kNativeArch);
  size_t i = 0;
  for (const uint64_t argument : arguments) {
    if (i < 6) data.args[i++] = argument;
  }
  return data;
}

}  // namespace isla::sandbox
