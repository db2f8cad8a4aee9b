#include "agentd/policyc/policyc.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <vector>

#include "agentd/policyc/confine.h"
#include "api/base/read_descriptor.h"
#include "api/base/unique_fd.h"
#include "sandbox/box/diff.h"
#include "sandbox/bpf/compiler.h"
#include "sandbox/default_policy.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/runner/lower.h"

namespace isla::policyc {
namespace {

constexpr size_t kMaxTextBytes = 512 * 1024;
constexpr size_t kMaxErrorBytes = 4096;
constexpr size_t kMostObstacles = 12;

int Refuse(int code, const Status& status) {
  (void)WriteAll(2, Message(status).substr(0, kMaxErrorBytes));
  return code;
}

bool ReadNumber(std::string_view text, uint32_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

/// As the node compiles it.
StatusOr<sandbox::SandboxPolicy> Decode(std::string_view text) {
  sandbox::DecodeOptions options;
  options.find_unreachable = false;  // warnings, for whoever writes it: isla-box check
  ASSIGN_OR_RETURN(const json::Value tree, json::Parse(text, {.max_bytes = kMaxTextBytes}));
  ASSIGN_OR_RETURN(sandbox::SandboxPolicy decoded, sandbox::DecodeSandboxTree(tree, options, text));
  // Landlock holds the container's own calls to files.allow; those that its supervisor makes for it are held to it by rules.
  RETURN_IF_ERROR(runner::LowerSections(decoded.policy, decoded.sections, runner::NetBy::kGroup));
  return decoded;
}

/// What of a change can't be had by what runs.
std::string Obstacles(const sandbox::PolicyDiff& diff) {
  std::vector<std::string> all;
  const auto add = [&all](std::string text) {
    if (std::find(all.begin(), all.end(), text) == all.end()) all.push_back(std::move(text));
  };
  for (const sandbox::CallChange& change : diff.calls) {
    if (change.reach == sandbox::Reach::kLive) continue;
    const std::string name = change.number >= sandbox::kCallNumbers ? "every other call" : std::string(sandbox::SyscallName(sandbox::kNativeArch, change.number));
    add(fmt::format("{}: {} -> {} ({})", name, change.before, change.after, sandbox::ReachName(change.reach)));
  }
  for (const sandbox::SectionChange& change : diff.sections) {
    if (change.reach != sandbox::Reach::kLive) add(fmt::format("spec.{}: {} ({})", change.section, change.what, sandbox::ReachName(change.reach)));
  }
  for (const std::string& name : diff.incomplete) add(fmt::format("{}: too many ways to compare them all", name));
  std::string out;
  for (size_t i = 0; i < all.size(); ++i) {
    if (i == kMostObstacles) return out + fmt::format("; and {} more", all.size() - i);
    out += (i == 0 ? "" : "; ") + all[i];
  }
  return out;
}

}  // namespace

StatusOr<std::string> CompileText(std::string_view text, std::string hash) {
  ASSIGN_OR_RETURN(sandbox::SandboxPolicy decoded, Decode(text));
  ASSIGN_OR_RETURN(const sandbox::CompiledPolicy policy,
                   sandbox::CompilePolicy(decoded.policy, std::move(decoded.sections), std::move(decoded.name), std::move(hash)));
  return policy.ToBytes();
}

StatusOr<std::string> CompareTexts(std::string_view started, std::string_view wanted) {
  ASSIGN_OR_RETURN(const sandbox::SandboxPolicy before, Decode(started));
  ASSIGN_OR_RETURN(const sandbox::SandboxPolicy after, Decode(wanted));
  ASSIGN_OR_RETURN(const sandbox::Filter filter, sandbox::Compile(before.policy));
  ASSIGN_OR_RETURN(const sandbox::PolicyDiff diff, sandbox::Diff(before, after));
  return json::Serialize(json::Value::MakeObject({{"startedFilter", sandbox::FilterId(filter.program)},
                                                  {"reach", std::string(sandbox::ReachName(diff.reach()))},
                                                  {"obstacles", Obstacles(diff)}}));
}

int RunPolicyc(int argc, char** argv) {
  const auto value = [&](int i, std::string_view flag) {
    const std::string_view given = argc > i ? argv[i] : "";
    return given.starts_with(flag) ? std::optional<std::string_view>(given.substr(flag.size())) : std::nullopt;
  };
  const std::optional<std::string_view> uid_text = value(1, "--uid="), version = value(2, "--hash="), started_text = value(2, "--started-with="),
                                        built_in = value(2, "--built-in");
  uint32_t uid = 0, started_bytes = 0;
  if (argc != 3 || !uid_text || !ReadNumber(*uid_text, uid) || (!version && !built_in && !(started_text && ReadNumber(*started_text, started_bytes)))) {
    std::fputs("usage: isla-policyc --uid=N --hash=H < POLICY > COMPILED\n"
               "       isla-policyc --uid=N --built-in > COMPILED\n"
               "       isla-policyc --uid=N --started-with=BYTES < POLICY+STARTED > COMPARISON      (started by isla-agentd)\n", stderr);
    return 3;
  }
  if (const Status confined = Confine(uid, {}); !confined.ok()) return Refuse(2, confined);
  if (built_in) {
    const StatusOr<sandbox::CompiledPolicy> policy = sandbox::CompileDefaultWithView();
    const Status written = policy.ok() ? WriteAll(1, policy->ToBytes()) : policy.status();
    return written.ok() ? 0 : Refuse(1, written);
  }
  const StatusOr<std::string> text = ReadDescriptor(0, version ? kMaxTextBytes : 2 * kMaxTextBytes);
  if (!text.ok()) return Refuse(1, text.status());
  if (started_bytes > text->size()) return Refuse(1, Error(Code::kInvalidArgument, "the policies are shorter than it was said"));
  const size_t own = text->size() - started_bytes;
  const StatusOr<std::string> result = version ? CompileText(*text, std::string(*version)) : CompareTexts(std::string_view(*text).substr(own), std::string_view(*text).substr(0, own));
  if (!result.ok()) return Refuse(1, result.status());
  const Status written = WriteAll(1, *result);
  return written.ok() ? 0 : Refuse(1, written);
}

}  // namespace isla::policyc
