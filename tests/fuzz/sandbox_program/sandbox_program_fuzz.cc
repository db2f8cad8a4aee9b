// Any text as a policy's program: it is refused at a line that it has, or runs, and then every answer is an action that the call
// can have. Whatever it does, it stays within its bounds.
#include <algorithm>
#include <cstdint>

#include "api/base/status.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/catalogue.h"
#include "sandbox/program/policy_program.h"

namespace isla::sandbox {
namespace {

constexpr uint16_t kOnError = 71;

void CheckAnswer(const ProgramAnswer& answer, std::string_view call) {
  using Kind = Action::Kind;
  const Action& action = answer.action;
  if (!answer.error.empty()) ISLA_CHECK(action == Action::Errno(kOnError));
  switch (action.kind) {
    case Kind::kAllow:
    case Kind::kLog: ISLA_CHECK(!CanReadPaths(call) && !CanReadAddress(call)); return;
    case Kind::kErrno: ISLA_CHECK(action.error >= 1 && action.error <= 4095); return;
    case Kind::kKill:
    case Kind::kDeny: return;
    case Kind::kSpoof: ISLA_CHECK(action.value >= 0); return;
    case Kind::kEmulate: ISLA_CHECK(FindEmulator(action.text) != nullptr); return;
    case Kind::kFile: ISLA_CHECK(CanGiveFile(call)); return;
    case Kind::kRedirect: ISLA_CHECK(CanRedirectPath(call) && action.text.starts_with('/') && action.text.find('\0') == std::string::npos); return;
    case Kind::kRedirectAddress: ISLA_CHECK(CanRedirectAddress(call) && AddressFromText(action.text).has_value()); return;
    case Kind::kPerform: ISLA_CHECK(CanPerform(call)); return;
    case Kind::kProgram: ISLA_CHECK(false);
  }
}

void CheckSource(std::string_view text) {
  // Small bounds: most of what a fuzzer makes of a loop never ends.
  const ProgramSection section = {std::string(text.substr(0, kMaxProgramBytes)), 128 << 10, std::chrono::microseconds(100), kOnError};
  const ProgramCheck check = CheckProgram(section, Arch::kX86_64);
  const int lines = static_cast<int>(std::count(section.source.begin(), section.source.end(), '\n')) + 1;
  ISLA_CHECK(check.line >= 0 && check.line <= lines);
  ISLA_CHECK(check.error.empty() || check.functions.empty());
  if (!check.error.empty()) return;
  const PolicyProgram program(section, Arch::kX86_64);
  for (const std::string& function : check.functions) {
    for (const char* name : {"openat", "connect", "getpriority", "rename", "uname"}) {
      NotifiedCall call;
      call.number = *SyscallNumber(Arch::kX86_64, name);
      call.arguments = {3, 0x40, 0x241, 0644, 5, ~uint64_t{0}};
      call.known = static_cast<Facts>(~kFactRate);
      call.paths = {"/etc/shadow", "/x"};
      call.executable = "/bin/sh";
      call.address.family = AF_INET;
      call.now_ns = 1'000'000'000;
      for (int round = 0; round < 2; ++round) CheckAnswer(program.Run(function, call, 42), name);
    }
  }
}

}  // namespace
}  // namespace isla::sandbox

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  isla::sandbox::CheckSource({reinterpret_cast<const char*>(data), size});
  return 0;
}
