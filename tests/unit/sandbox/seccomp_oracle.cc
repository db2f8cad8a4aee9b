#include "tests/unit/sandbox/seccomp_oracle.h"

#include <gtest/gtest.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "api/base/unique_fd.h"
#include "sandbox/bpf/evaluator.h"

namespace isla::sandbox {
namespace {

bool Lists(const json::Value* filter, std::string_view name, const std::string& word) {
  const json::Value* list = filter == nullptr ? nullptr : filter->Find(name);
  if (list == nullptr || !list->is_array()) return false;
  return std::any_of(list->items().begin(), list->items().end(), [&word](const json::Value& each) { return each.as_string() == word; });
}

bool IsEmpty(const json::Value* filter, std::string_view name) {
  const json::Value* list = filter == nullptr ? nullptr : filter->Find(name);
  return list == nullptr || !list->is_array() || list->items().empty();
}

uint32_t ActionOf(const json::Value& object, const char* action, const char* number) {
  const std::string name = object.StringAt({action});
  const auto error = static_cast<uint16_t>(object.Int64At({number}).value_or(EPERM));
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  if (name == "SCMP_ACT_NOTIFY") return SCMP_ACT_NOTIFY;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(error);
  ADD_FAILURE() << "action " << name;
  return SCMP_ACT_KILL_PROCESS;
}

scmp_compare OpOf(const std::string& name) {
  static const std::map<std::string, scmp_compare> kOps = {
      {"SCMP_CMP_NE", SCMP_CMP_NE}, {"SCMP_CMP_LT", SCMP_CMP_LT}, {"SCMP_CMP_LE", SCMP_CMP_LE}, {"SCMP_CMP_EQ", SCMP_CMP_EQ},
      {"SCMP_CMP_GE", SCMP_CMP_GE}, {"SCMP_CMP_GT", SCMP_CMP_GT}, {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
  return kOps.at(name);
}

uint64_t Unsigned(const json::Value& object, const char* name) {
  const json::Value* value = object.Find(name);
  return value == nullptr || !value->is_number() ? 0 : std::stoull(value->number_text());
}

/// runc's matchCall: conditions that look at one argument twice become rules of their own.
void AddRules(scmp_filter_ctx context, int number, uint32_t action, const json::Value& rule) {
  std::vector<scmp_arg_cmp> all;
  const json::Value* args = rule.Find("args");
  std::map<unsigned, int> seen;
  if (args != nullptr && args->is_array()) {
    for (const json::Value& each : args->items()) {
      const auto index = static_cast<unsigned>(Unsigned(each, "index"));
      ++seen[index];
      all.push_back({index, OpOf(each.StringAt({"op"})), Unsigned(each, "value"), Unsigned(each, "valueTwo")});
    }
  }
  const bool alone = std::any_of(seen.begin(), seen.end(), [](const auto& each) { return each.second > 1; });
  if (!alone) {
    EXPECT_EQ(seccomp_rule_add_exact_array(context, action, number, static_cast<unsigned>(all.size()), all.data()), 0)
        << json::Serialize(rule);
    return;
  }
  for (const scmp_arg_cmp& each : all) {
    EXPECT_EQ(seccomp_rule_add_exact_array(context, action, number, 1, &each), 0) << json::Serialize(rule);
  }
}

}  // namespace

json::Value ResolvedProfile(const json::Value& profile, Arch arch, const std::vector<std::string>& capabilities) {
  const std::string own = arch == Arch::kX86_64 ? "amd64" : "arm64";
  json::Value out = profile;
  json::Array kept;
  for (const json::Value& rule : profile.Find("syscalls")->items()) {
    const json::Value *includes = rule.Find("includes"), *excludes = rule.Find("excludes");
    const auto has = [&capabilities](const json::Value& each) {
      return std::find(capabilities.begin(), capabilities.end(), each.as_string()) != capabilities.end();
    };
    if (Lists(excludes, "arches", own) || (!IsEmpty(includes, "arches") && !Lists(includes, "arches", own))) continue;
    if (!IsEmpty(excludes, "caps")) {
      const auto& caps = excludes->Find("caps")->items();
      if (std::any_of(caps.begin(), caps.end(), has)) continue;
    }
    if (!IsEmpty(includes, "caps")) {
      const auto& caps = includes->Find("caps")->items();
      if (!std::all_of(caps.begin(), caps.end(), has)) continue;
    }
    kept.push_back(rule);
  }
  out.Set("syscalls", std::move(kept));
  return out;
}

bool SeccompKnows(std::string_view name, Arch arch) {
  const uint32_t wanted = arch == Arch::kX86_64 ? SCMP_ARCH_X86_64 : SCMP_ARCH_AARCH64;
  return seccomp_syscall_resolve_name_arch(wanted, std::string(name).c_str()) >= 0;
}

Program SeccompProgram(const json::Value& profile, Arch arch) {
  const uint32_t fallback = ActionOf(profile, "defaultAction", "defaultErrnoRet");
  scmp_filter_ctx context = seccomp_init(fallback);
  const uint32_t wanted = arch == Arch::kX86_64 ? SCMP_ARCH_X86_64 : SCMP_ARCH_AARCH64;
  if (wanted != seccomp_arch_native()) {
    EXPECT_EQ(seccomp_arch_add(context, wanted), 0);
    EXPECT_EQ(seccomp_arch_remove(context, SCMP_ARCH_NATIVE), 0);
  }
  for (const json::Value& rule : profile.Find("syscalls")->items()) {
    const uint32_t action = ActionOf(rule, "action", "errnoRet");
    if (action == fallback) continue;
    for (const json::Value& name : rule.Find("names")->items()) {
      // Rules are added by the number that this machine has for the name (a negative one if it has none); libseccomp
      // translates it.
      if (!SeccompKnows(name.as_string(), arch)) continue;
      AddRules(context, seccomp_syscall_resolve_name(name.as_string().c_str()), action, rule);
    }
  }
  const UniqueFd file(memfd_create("filter", MFD_CLOEXEC));
  EXPECT_EQ(seccomp_export_bpf(context, file.get()), 0);
  seccomp_release(context);
  std::string bytes;
  char part[4096];
  lseek(file.get(), 0, SEEK_SET);
  for (ssize_t n; (n = read(file.get(), part, sizeof part)) > 0;) bytes.append(part, static_cast<size_t>(n));
  StatusOr<Program> program = FromBytes(bytes);
  EXPECT_TRUE(program.ok() && Check(*program).ok()) << ToString(program.status());
  return program.ok() ? *std::move(program) : Program{BPF_STMT(BPF_RET | BPF_K, 0xdeadbeef)};
}

}  // namespace isla::sandbox

/// libseccomp 2.5.4 loses some bytes of its own for some rules; asked for by LeakSanitizer, if it is there.
extern "C" const char* __lsan_default_suppressions() { return "leak:libseccomp"; }
