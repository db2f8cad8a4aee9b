#include "sandbox/box/export.h"

#include <fmt/format.h>
#include <linux/seccomp.h>

#include <cerrno>
#include <map>
#include <optional>

#include "sandbox/bpf/compiler.h"
#include "sandbox/default_policy.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/proof/paths.h"

namespace isla::sandbox {
namespace {

/// Numbers whose bits under the mask are `value`.
struct BitPattern {
  uint64_t mask = 0, value = 0;
};

/// The set as patterns that exclude each other: halves of the range that lie wholly within are one.
void Patterns(const std::vector<unsigned>& bits, size_t decided, BitPattern pattern, const NumberTest& test, std::vector<BitPattern>& out) {
  uint64_t open = 0;
  for (size_t i = decided; i < bits.size(); ++i) open |= uint64_t{1} << bits[i];
  const IntervalSet range = IntervalSet::Range(pattern.value, pattern.value | open);
  const IntervalSet common = range.Intersection(test.values);
  if (common.empty()) return;
  if (common == range) {
    out.push_back(pattern);
    return;
  }
  if (decided == bits.size()) return;
  const uint64_t bit = uint64_t{1} << bits[decided];
  pattern.mask |= bit;
  Patterns(bits, decided + 1, pattern, test, out);
  pattern.value |= bit;
  Patterns(bits, decided + 1, pattern, test, out);
}

std::vector<BitPattern> PatternsOf(const NumberTest& test) {
  const uint64_t mask = test.mask & MaskOf(test.width);
  std::vector<unsigned> bits;
  for (int bit = 63; bit >= 0; --bit) {
    if ((mask >> bit & 1) != 0) bits.push_back(static_cast<unsigned>(bit));
  }
  std::vector<BitPattern> out;
  Patterns(bits, 0, {}, test, out);
  return out;
}

/// One rule: a pattern for each argument, mask 0 where it doesn't matter.
using Row = std::array<BitPattern, 6>;
// libseccomp makes five instructions or so of one, beside those of calls without conditions, and the kernel loads at
// most 4096.
constexpr size_t kMostRows = 512;

StatusOr<std::vector<Row>> RowsOf(const ProgramPath& path, std::string_view call) {
  std::vector<Row> rows = {Row()};
  for (const NumberTest& demand : path.demands) {
    const auto argument = static_cast<size_t>(demand.number);
    std::vector<Row> next;
    for (const BitPattern& pattern : PatternsOf(demand)) {
      for (const Row& row : rows) {
        const BitPattern& have = row[argument];
        if ((have.value ^ pattern.value) & have.mask & pattern.mask) continue;
        Row both = row;
        both[argument] = {have.mask | pattern.mask, have.value | pattern.value};
        next.push_back(both);
        if (next.size() > kMostRows) return Errorf(Code::kResourceExhausted, "the conditions of '{}' are too many bit patterns for a profile", call);
      }
    }
    rows = std::move(next);
  }
  return rows;
}

json::Value Arguments(const Row& row) {
  json::Array out;
  for (size_t i = 0; i < row.size(); ++i) {
    if (row[i].mask == 0) continue;
    const bool whole = row[i].mask == ~uint64_t{0};
    out.push_back(json::Value::MakeObject({{"index", static_cast<int>(i)},
                                           {"value", whole ? row[i].value : row[i].mask},
                                           {"valueTwo", whole ? uint64_t{0} : row[i].value},
                                           {"op", whole ? "SCMP_CMP_EQ" : "SCMP_CMP_MASKED_EQ"}}));
  }
  return out;
}

void SetAction(json::Value& object, uint32_t result, const char* action_name, const char* errno_name) {
  switch (result & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW: object.Set(action_name, "SCMP_ACT_ALLOW"); break;
    case SECCOMP_RET_LOG: object.Set(action_name, "SCMP_ACT_LOG"); break;
    case SECCOMP_RET_USER_NOTIF: object.Set(action_name, "SCMP_ACT_NOTIFY"); break;
    case SECCOMP_RET_ERRNO:
      object.Set(action_name, "SCMP_ACT_ERRNO");
      object.Set(errno_name, static_cast<int>(result & SECCOMP_RET_DATA));
      break;
    default: object.Set(action_name, "SCMP_ACT_KILL_PROCESS");
  }
}

Status NeedsSupervisor(const Policy& policy, const std::vector<int>& numbers) {
  std::string list;
  for (const int number : numbers) {
    if (list.size() > 120) {
      list += ", ...";
      break;
    }
    list += fmt::format("{}{}", list.empty() ? "" : ", ", SyscallText(policy.arch, number));
  }
  return Errorf(Code::kFailedPrecondition, "isla's supervisor decides these calls, and other runtimes have none: {}", list);
}

}  // namespace

StatusOr<Program> ExportProgram(const Policy& policy, const ExportOptions& options) {
  ASSIGN_OR_RETURN(Filter filter, Compile(options.floor ? UnderFloor(FloorPolicy(policy.arch), policy) : policy));
  if (!filter.notified.empty() && options.notified == Notified::kRefuse) return NeedsSupervisor(policy, filter.notified);
  for (sock_filter& in : filter.program) {
    if (in.code != (BPF_RET | BPF_K) || in.k != SECCOMP_RET_USER_NOTIF) continue;
    if (options.notified == Notified::kDeny) in.k = SECCOMP_RET_ERRNO | EPERM;
    if (options.notified == Notified::kAllow) in.k = SECCOMP_RET_ALLOW;
  }
  return std::move(filter.program);
}

StatusOr<json::Value> ExportOci(const Policy& policy, const ExportOptions& options) {
  ASSIGN_OR_RETURN(const Program program, ExportProgram(policy, options));
  // What no rule speaks of is the default's; the paths of a number that nothing has show it.
  ASSIGN_OR_RETURN(const std::vector<ProgramPath> rest, PathsOf(program, policy.arch, kCallNumbers - 1));
  const uint32_t fallback = rest.front().result;
  std::map<uint32_t, json::Array> names;  // calls without conditions, by what becomes of them
  json::Array rules;
  for (const Syscall& call : AllSyscalls()) {
    const int number = call.NumberOn(policy.arch);
    if (number < 0) continue;
    ASSIGN_OR_RETURN(const std::vector<ProgramPath> paths, PathsOf(program, policy.arch, number));
    for (const ProgramPath& path : paths) {
      if (path.result == fallback) continue;
      if (path.demands.empty()) {
        names[path.result].emplace_back(call.name);
        continue;
      }
      ASSIGN_OR_RETURN(const std::vector<Row> rows, RowsOf(path, call.name));
      for (const Row& row : rows) {
        json::Value rule = json::Value::MakeObject({{"names", json::Value::MakeArray({std::string(call.name)})}});
        SetAction(rule, path.result, "action", "errnoRet");
        rule.Set("args", Arguments(row));
        rules.push_back(std::move(rule));
      }
      if (rules.size() > kMostRows) return Error(Code::kResourceExhausted, "the conditions of the policy are too many bit patterns for a profile");
    }
  }
  json::Value out = json::Value::MakeObject();
  SetAction(out, fallback, "defaultAction", "defaultErrnoRet");
  out.Set("architectures", json::Value::MakeArray({policy.arch == Arch::kX86_64 ? "SCMP_ARCH_X86_64" : "SCMP_ARCH_AARCH64"}));
  json::Array all;
  for (const auto& [result, calls] : names) {
    json::Value rule = json::Value::MakeObject({{"names", calls}});
    SetAction(rule, result, "action", "errnoRet");
    all.push_back(std::move(rule));
  }
  for (json::Value& rule : rules) all.push_back(std::move(rule));
  out.Set("syscalls", std::move(all));
  return out;
}

}  // namespace isla::sandbox
