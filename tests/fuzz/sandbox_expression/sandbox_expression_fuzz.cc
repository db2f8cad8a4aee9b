// Any text as a `when`: refused at a place within it, or a condition; which then means the same to the tree and to the rule
// table's tests, and what the solver says of it is true.
#include <cstdint>

#include "api/base/status.h"
#include "sandbox/manifest/condition.h"
#include "sandbox/proof/cells.h"
#include "sandbox/table/rule_table.h"

namespace isla::sandbox {
namespace {

void CheckCondition(const Condition& when, int number) {
  Policy policy;
  policy.Append(number, policy.AddRule("r", Action::Of(Action::Kind::kDeny)), when);
  const StatusOr<std::string> bytes = RuleTable::Build(policy);
  if (!bytes.ok()) return;
  const RuleTable table = RuleTable::FromBytes(*bytes).value();
  for (const char* path : {"", "/", "/etc/shadow", "/home/a/.ssh/id"}) {
    NotifiedCall call;
    call.number = number;
    call.arguments = {3, 0x40, 0x241, 0644, 5, ~uint64_t{0}};
    call.known = static_cast<Facts>(~kFactRate);
    call.paths = {path, "/x"};
    call.executable = "/bin/sh";
    call.uid = 1000;
    call.address.family = AF_UNIX;
    call.address.path = path;
    ISLA_CHECK(table.Decide(call).rule == policy.Decide(call));
    if (Holds(when, call) && (when.facts() & kFactRate) == 0) ISLA_CHECK(CanHold(when) != Answer::kNo);
  }
  ISLA_CHECK(CostOf(when) < uint64_t{1} << 32);
}

void CheckText(std::string_view text) {
  ExpressionError error;
  const auto expression = ParseExpression(text, error);
  if (!expression) {
    ISLA_CHECK(error.offset <= text.size() && !error.what.empty());
    return;
  }
  for (const char* name : {"openat", "openat2", "connect", "rename", "ioctl", "getpid"}) {
    const Syscall& call = *FindSyscall(name);
    std::map<size_t, uint32_t> buckets;
    uint32_t next = 0;
    std::vector<ExpressionError> errors;
    const Condition when = MakeCondition(*expression, call, Arch::kX86_64, buckets, next, errors);
    for (const ExpressionError& each : errors) ISLA_CHECK(each.offset <= text.size() && !each.what.empty());
    if (errors.empty() && CostOf(when) < 5000) CheckCondition(when, call.x86_64);
  }
}

}  // namespace
}  // namespace isla::sandbox

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  isla::sandbox::CheckText({reinterpret_cast<const char*>(data), size});
  return 0;
}
