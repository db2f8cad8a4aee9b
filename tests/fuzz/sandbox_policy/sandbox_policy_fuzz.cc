// Any text as a manifest or profile: it is refused with errors that stand within the text, or it compiles to a program
// and a table that both mean what the rules say, on both architectures, and comes back from its bytes.
#include <algorithm>
#include <cstdint>

#include "sandbox/bpf/evaluator.h"
#include "sandbox/compiled_policy.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/table/rule_table.h"

namespace isla::sandbox {
namespace {

void CheckErrors(const Status& status, std::string_view text) {
  ISLA_CHECK(status.code() == Code::kInvalidArgument);
  const auto lines = static_cast<uint32_t>(std::count(text.begin(), text.end(), '\n') + 1);
  for (const FieldError& error : FieldErrorsOf(status)) {
    ISLA_CHECK(error.position.line <= lines);
    if (error.position.line == 0) continue;
    size_t start = 0;
    for (uint32_t line = 1; line < error.position.line; ++line) start = text.find('\n', start) + 1;
    const size_t end = std::min(text.find('\n', start), text.size());
    ISLA_CHECK(error.position.column >= 1 && error.position.column <= end - start + 1);
  }
}

uint32_t ReturnOf(const Action& action) {
  switch (action.kind) {
    case Action::Kind::kAllow: return SECCOMP_RET_ALLOW;
    case Action::Kind::kLog: return SECCOMP_RET_LOG;
    case Action::Kind::kErrno: return SECCOMP_RET_ERRNO | action.error;
    case Action::Kind::kKill: return SECCOMP_RET_KILL_PROCESS;
    default: return SECCOMP_RET_USER_NOTIF;
  }
}

void CheckMeaning(const Policy& policy, const CompiledPolicy& compiled) {
  const RuleTable table = RuleTable::FromBytes(compiled.table).value();
  for (const auto& [number, rules] : policy.calls) {
    for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{0x40}, uint64_t{9} | uint64_t{1} << 32, ~uint64_t{0}}) {
      NotifiedCall call;
      call.number = number;
      call.arguments = {value, value, value, value, value, value};
      call.known = static_cast<Facts>(~kFactRate);
      call.paths = {"/etc/shadow", "/x"};
      call.uid = static_cast<uint32_t>(value);
      const RuleId rule = policy.Decide(call);
      ISLA_CHECK(table.Decide(call).rule == rule);
      if (policy.mode != Mode::kEnforce) continue;
      const uint32_t answer = RunProgram(compiled.filter, CallOn(policy.arch, number, call.arguments));
      ISLA_CHECK(answer == ReturnOf(policy.ActionOf(rule)) || answer == SECCOMP_RET_USER_NOTIF);
    }
  }
}

void CheckText(std::string_view text) {
  for (const Arch arch : {Arch::kX86_64, Arch::kArm64}) {
    const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(text, {.arch = arch, .find_unreachable = text.size() < 4000});
    if (!policy.ok()) {
      CheckErrors(policy.status(), text);
      continue;
    }
    const StatusOr<CompiledPolicy> compiled = CompilePolicy(policy->policy, policy->sections, policy->name, policy->hash);
    if (!compiled.ok()) {
      ISLA_CHECK(compiled.status().code() == Code::kResourceExhausted || compiled.status().code() == Code::kInvalidArgument);
      continue;
    }
    CheckMeaning(policy->policy, *compiled);
    const std::string bytes = compiled->ToBytes();
    ISLA_CHECK(CompiledPolicy::FromBytes(bytes).value().ToBytes() == bytes);
  }
}

}  // namespace
}  // namespace isla::sandbox

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  isla::sandbox::CheckText({reinterpret_cast<const char*>(data), size});
  return 0;
}
