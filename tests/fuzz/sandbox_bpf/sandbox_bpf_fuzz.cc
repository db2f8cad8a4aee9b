// Any bytes as a program, a rule table or a compiled policy. A program that passes the check runs to its end, and each
// way that the path finder sees is one that a run takes; a table that is taken decides without going astray.
#include <cstdint>

#include "sandbox/bpf/evaluator.h"
#include "sandbox/compiled_policy.h"
#include "sandbox/proof/paths.h"
#include "sandbox/table/rule_table.h"

namespace isla::sandbox {
namespace {

void CheckProgram(std::string_view bytes) {
  const StatusOr<Program> program = FromBytes(bytes.substr(0, bytes.size() / sizeof(sock_filter) * sizeof(sock_filter)));
  if (!program.ok()) return;
  (void)Dump(*program);
  const bool sound = Check(*program).ok();
  ISLA_CHECK(Evaluate(*program, NativeCall(1, {2, 3})).ok() == sound);
  const StatusOr<std::vector<ProgramPath>> paths = PathsOf(*program, Arch::kX86_64, 1, 500);
  ISLA_CHECK(sound || !paths.ok());
  if (!paths.ok()) return;
  for (const ProgramPath& path : *paths) {
    const seccomp_data data = CallOn(Arch::kX86_64, 1, path.example);
    ISLA_CHECK(RunProgram(*program, data) == path.result && CountInstructions(*program, data) == path.instructions);
  }
}

void CheckTable(std::string_view bytes) {
  const StatusOr<RuleTable> table = RuleTable::FromBytes(bytes);
  if (!table.ok()) return;
  RateBuckets rates(table->rate_buckets() % 4096);
  for (int number = -1; number < kCallNumbers + 1; ++number) {
    NotifiedCall call;
    call.number = number;
    call.known = 0xff;
    call.paths = {"/etc/shadow", "/usr/lib/x"};
    call.executable = "/bin/sh";
    call.address.family = number % 2 == 0 ? AF_UNIX : AF_INET;
    call.address.path = "/run/x";
    call.rates = &rates;
    const Decision decision = table->Decide(call);
    ISLA_CHECK(!table->RuleName(decision.rule).empty() || decision.rule < table->rules());
    (void)table->Needs(number);
  }
}

}  // namespace
}  // namespace isla::sandbox

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  isla::sandbox::CheckProgram(bytes);
  isla::sandbox::CheckTable(bytes);
  const isla::StatusOr<isla::sandbox::CompiledPolicy> policy = isla::sandbox::CompiledPolicy::FromBytes(bytes);
  if (policy.ok()) ISLA_CHECK(policy->ToBytes() == bytes);
  return 0;
}
