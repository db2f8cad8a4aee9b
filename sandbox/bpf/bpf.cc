#include "sandbox/bpf/bpf.h"

#include <linux/seccomp.h>

#include <cstddef>
#include <cstring>

namespace isla::sandbox {
namespace {

std::string LoadName(uint32_t offset) {
  if (offset == offsetof(seccomp_data, nr)) return "nr";
  if (offset == offsetof(seccomp_data, arch)) return "arch";
  constexpr uint32_t args = offsetof(seccomp_data, args);
  if (offset >= args && offset < sizeof(seccomp_data)) {
    const uint32_t at = offset - args;
    return fmt::format("arg{}.{}", at / 8, at % 8 == 0 ? "low" : "high");
  }
  return fmt::format("[{}]", offset);
}

const char* JumpName(unsigned code) {
  switch (code) {
    case BPF_JMP | BPF_JEQ | BPF_K: return "jeq";
    case BPF_JMP | BPF_JGE | BPF_K: return "jge";
    case BPF_JMP | BPF_JGT | BPF_K: return "jgt";
    case BPF_JMP | BPF_JSET | BPF_K: return "jset";
    default: return nullptr;
  }
}

std::string Line(const sock_filter& in, size_t at) {
  if (const char* name = JumpName(in.code); name != nullptr) {
    return fmt::format("{:<5} {:#x}, {}, {}", name, in.k, at + 1 + in.jt, at + 1 + in.jf);
  }
  switch (in.code) {
    case BPF_LD | BPF_W | BPF_ABS: return fmt::format("ld    {}", LoadName(in.k));
    case BPF_ALU | BPF_AND | BPF_K: return fmt::format("and   {:#x}", in.k);
    case BPF_JMP | BPF_JA: return fmt::format("ja    {}", at + 1 + in.k);
    case BPF_RET | BPF_K: return fmt::format("ret   {}", ActionName(in.k));
    default: return fmt::format("?     code={:#x} jt={} jf={} k={:#x}", in.code, in.jt, in.jf, in.k);
  }
}

}  // namespace

std::string ToBytes(const Program& program) {
  return {reinterpret_cast<const char*>(program.data()), program.size() * sizeof(sock_filter)};
}

StatusOr<Program> FromBytes(std::string_view bytes) {
  if (bytes.empty() || bytes.size() % sizeof(sock_filter) != 0) {
    return Errorf(Code::kInvalidArgument, "a filter of {} bytes is not a whole number of instructions",
                  bytes.size());
  }
  Program program(bytes.size() / sizeof(sock_filter));
  if (program.size() > kMaxInstructions) {
    return Errorf(Code::kInvalidArgument, "a filter of {} instructions: at most {}", program.size(),
                  kMaxInstructions);
  }
  std::memcpy(program.data(), bytes.data(), bytes.size());
  return program;
}

std::string Dump(const Program& program) {
  std::string out;
  for (size_t i = 0; i < program.size(); ++i) out += fmt::format("{:04}  {}\n", i, Line(program[i], i));
  return out;
}

std::string ActionName(uint32_t return_value) {
  const uint32_t data = return_value & SECCOMP_RET_DATA;
  switch (return_value & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW: return "allow";
    case SECCOMP_RET_ERRNO: return fmt::format("errno {}", data);
    case SECCOMP_RET_KILL_PROCESS: return "kill_process";
    case SECCOMP_RET_KILL_THREAD: return "kill_thread";
    case SECCOMP_RET_LOG: return "log";
    case SECCOMP_RET_TRAP: return fmt::format("trap {}", data);
    case SECCOMP_RET_TRACE: return fmt::format("trace {}", data);
    case SECCOMP_RET_USER_NOTIF: return "notify";
    default: return fmt::format("{:#x}", return_value);
  }
}

}  // namespace isla::sandbox
