// Bytes of a compiled policy: magic, checksum of all after it, size of the head, the head (JSON: names, sizes,
// sections), floor, filter, table.
#include "sandbox/compiled_policy.h"

#include <fmt/format.h>

#include <cstring>

#include "api/base/crc32c.h"
#include "api/base/json.h"
#include "sandbox/bpf/compiler.h"
#include "sandbox/bpf/evaluator.h"
#include "sandbox/default_policy.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/table/rule_table.h"

namespace isla::sandbox {
namespace {

// The last is the format: raised when older programs would get something wrong, such as a new member of the head that confines.
constexpr std::string_view kMagic = "ISLAPOL1";
constexpr size_t kSizes = 2 * sizeof(uint32_t);

void AppendWord(std::string& out, size_t value) {
  const auto word = static_cast<uint32_t>(value);
  out.append(reinterpret_cast<const char*>(&word), sizeof word);
}

uint32_t WordAt(std::string_view bytes, size_t at) {
  uint32_t word = 0;
  std::memcpy(&word, bytes.data() + at, sizeof word);
  return word;
}

json::Value HeadOf(const CompiledPolicy& policy) {
  json::Array notified;
  for (const int number : policy.notified) notified.emplace_back(number);
  return json::Value::MakeObject({{"name", policy.name},
                                  {"hash", policy.hash},
                                  {"arch", std::string(ArchName(policy.arch))},
                                  {"mode", static_cast<int>(policy.mode)},
                                  {"notified", notified},
                                  {"notifiesRest", policy.notifies_rest},
                                  {"floorBytes", uint64_t{policy.floor.size() * sizeof(sock_filter)}},
                                  {"filterBytes", uint64_t{policy.filter.size() * sizeof(sock_filter)}},
                                  {"tableBytes", uint64_t{policy.table.size()}},
                                  {"sections", ToJson(policy.sections)}});
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

Status Bad(std::string_view what) { return Errorf(Code::kInvalidArgument, "not a compiled policy: {}", what); }

Status ReadHead(const json::Value& head, CompiledPolicy& out) {
  out.name = head.StringAt({"name"});
  out.hash = head.StringAt({"hash"});
  const auto arch = ArchOfName(head.StringAt({"arch"}));
  const auto mode = head.Int64At({"mode"});
  const json::Value *notified = head.Find("notified"), *rest = head.Find("notifiesRest"), *sections = head.Find("sections");
  if (!arch || !mode || *mode < 0 || *mode > 2 || notified == nullptr || !notified->is_array() || rest == nullptr ||
      !rest->is_bool() || sections == nullptr) {
    return Bad("its head");
  }
  out.arch = *arch;
  out.mode = static_cast<Mode>(*mode);
  out.notifies_rest = rest->as_bool();
  for (const json::Value& each : notified->items()) {
    const auto number = each.ToInt64();
    if (!number || *number < 0 || *number >= kCallNumbers) return Bad("a notified number");
    out.notified.push_back(static_cast<int>(*number));
  }
  ASSIGN_OR_RETURN(out.sections, SectionsFromJson(*sections));
  return OkStatus();
}

}  // namespace

uint32_t AnswerToExecve(const Program& filter, Arch arch) {
  const auto number = SyscallNumber(arch, "execve");
  if (!number) return SECCOMP_RET_ALLOW;
  // Its arguments are pointers, of which rules see that they aren't null.
  return RunProgram(filter, CallOn(arch, *number, {1, 1, 1})) & SECCOMP_RET_ACTION_FULL;
}

std::string CompiledPolicy::ToBytes() const {
  const std::string head = json::Serialize(HeadOf(*this));
  std::string rest;
  AppendWord(rest, head.size());
  rest += head;
  rest += sandbox::ToBytes(floor);
  rest += sandbox::ToBytes(filter);
  rest += table;
  std::string out(kMagic);
  AppendWord(out, Crc32c(rest));
  return out + rest;
}

StatusOr<CompiledPolicy> CompiledPolicy::FromBytes(std::string_view bytes) {
  ASSIGN_OR_RETURN(CompiledPolicy out, FromBytesButTable(bytes));
  ASSIGN_OR_RETURN(const RuleTable checked, RuleTable::FromBytes(out.table));
  if (checked.arch() != out.arch || checked.mode() != out.mode) return Bad("its table is another policy's");
  return out;
}

StatusOr<CompiledPolicy> CompiledPolicy::FromBytesButTable(std::string_view bytes) {
  if (bytes.size() < kMagic.size() + kSizes || !bytes.starts_with(kMagic.substr(0, kMagic.size() - 1))) return Bad("wrong first bytes");
  if (!bytes.starts_with(kMagic)) {
    return Errorf(Code::kUnimplemented, "a compiled policy of format '{}', and this program reads format {}: they are of different packages",
                  IsDigit(bytes[kMagic.size() - 1]) ? bytes[kMagic.size() - 1] : '?', kMagic.back());
  }
  const std::string_view summed = bytes.substr(kMagic.size() + sizeof(uint32_t));
  if (Crc32c(summed) != WordAt(bytes, kMagic.size())) return Error(Code::kDataLoss, "a compiled policy with a wrong checksum");
  const size_t head_size = WordAt(summed, 0);
  std::string_view rest = summed.substr(sizeof(uint32_t));
  if (head_size > rest.size()) return Bad("too short");
  ASSIGN_OR_RETURN(const json::Value head, json::Parse(rest.substr(0, head_size), {.max_bytes = size_t{8} << 20}));
  CompiledPolicy out;
  RETURN_IF_ERROR(ReadHead(head, out));
  rest.remove_prefix(head_size);
  const int64_t floor = head.Int64At({"floorBytes"}).value_or(-1), filter = head.Int64At({"filterBytes"}).value_or(-1),
                table = head.Int64At({"tableBytes"}).value_or(-1);
  constexpr int64_t kMost = int64_t{1} << 30;
  if (floor < 0 || filter < 0 || table < 0 || floor > kMost || filter > kMost || table > kMost ||
      static_cast<size_t>(floor + filter + table) != rest.size()) {
    return Bad("wrong size");
  }
  if (floor > 0) {
    ASSIGN_OR_RETURN(out.floor, sandbox::FromBytes(rest.substr(0, static_cast<size_t>(floor))));
    RETURN_IF_ERROR(Annotate(Check(out.floor), "floor"));
  }
  ASSIGN_OR_RETURN(out.filter, sandbox::FromBytes(rest.substr(static_cast<size_t>(floor), static_cast<size_t>(filter))));
  RETURN_IF_ERROR(Annotate(Check(out.filter), "filter"));
  out.table = rest.substr(static_cast<size_t>(floor + filter));
  if (out.table.size() > kMaxTableBytes) return Bad("a table that is too large");
  return out;
}

StatusOr<CompiledPolicy> CompilePolicy(const Policy& policy, Sections sections, std::string name, std::string hash, const Program* floor) {
  CompiledPolicy out;
  out.name = std::move(name);
  out.hash = std::move(hash);
  out.sections = std::move(sections);
  RETURN_IF_ERROR(CompileInto(policy, out));
  if (floor != nullptr) {
    out.floor = *floor;
  } else {
    ASSIGN_OR_RETURN(Filter compiled, Compile(FloorPolicy(policy.arch)));
    out.floor = std::move(compiled.program);
  }
  return out;
}

Status CompileInto(const Policy& policy, CompiledPolicy& out) {
  ASSIGN_OR_RETURN(Filter filter, Compile(policy));
  ASSIGN_OR_RETURN(out.table, RuleTable::Build(policy, out.sections.program ? &*out.sections.program : nullptr));
  out.arch = policy.arch;
  out.mode = policy.mode;
  out.filter = std::move(filter.program);
  out.notified = std::move(filter.notified);
  out.notifies_rest = filter.notifies_rest;
  return OkStatus();
}

std::string FilterId(const Program& filter) {
  const std::string bytes = sandbox::ToBytes(filter);
  return fmt::format("{}-{:08x}", filter.size(), Crc32c(bytes));
}

const std::vector<std::string_view>& NeverNotified() {
  static const std::vector<std::string_view> kNames = {
      "close", "close_range",          // the child closes what it was given
      "execve", "execveat",            // and becomes the container's first program
      "exit", "exit_group",            // or fails; and a thread that ends waits for nobody
      "futex",                         // C's own locks, also in the supervisor's peer
      "read",                          // waits for its parent
      "restart_syscall", "rt_sigprocmask", "rt_sigreturn",
      "write",                         // says what failed
  };
  return kNames;
}

// The cache --------------------------------------------------------------------------------------------

std::shared_ptr<const CompiledPolicy> PolicyCache::Find(const std::string& hash) {
  const MutexLock lock(mu_);
  const auto found = by_hash_.find(hash);
  if (found == by_hash_.end()) return nullptr;
  by_use_.splice(by_use_.begin(), by_use_, found->second);
  return by_use_.front();
}

std::shared_ptr<const CompiledPolicy> PolicyCache::Insert(CompiledPolicy policy) {
  auto entry = std::make_shared<const CompiledPolicy>(std::move(policy));
  const MutexLock lock(mu_);
  if (const auto found = by_hash_.find(entry->hash); found != by_hash_.end()) return *found->second;
  by_use_.push_front(entry);
  by_hash_[entry->hash] = by_use_.begin();
  if (by_use_.size() > most_) {
    by_hash_.erase(by_use_.back()->hash);
    by_use_.pop_back();
  }
  return entry;
}

}  // namespace isla::sandbox
