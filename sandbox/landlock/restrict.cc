#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "api/base/unique_fd.h"
#include "sandbox/landlock/landlock.h"
#include "sandbox/landlock/landlock_abi.h"

namespace isla::landlock {
namespace {

/// The kernel knows no longer structure than its ABI's: so no more is handed over than is used.
size_t AttrBytes(const Layer& layer) {
  if (layer.scoped != 0) return 3 * sizeof(uint64_t);
  return layer.ports != 0 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
}

int OpenInRoot(int root, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof how));
}

Status AddPath(int ruleset, const PathRule& rule, int root, std::vector<std::string>* missing) {
  if (rule.rights == 0) return OkStatus();
  const UniqueFd parent(OpenInRoot(root, rule.path));
  if (!parent.valid()) {
    // What can't be found by these ids can't be reached by them either.
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != ELOOP) return FromErrno(errno, fmt::format("open '{}' for Landlock", rule.path));
    if (missing != nullptr) missing->push_back(rule.path);
    return OkStatus();
  }
  struct stat st {};
  if (fstat(parent.get(), &st) != 0) return FromErrno(errno, fmt::format("look at '{}'", rule.path));
  PathBeneathAttr attr;
  attr.allowed = S_ISDIR(st.st_mode) ? rule.rights : rule.rights & kOnFiles;
  attr.parent_fd = parent.get();
  if (attr.allowed == 0) return OkStatus();
  if (syscall(SYS_landlock_add_rule, ruleset, kRulePathBeneath, &attr, 0u) == 0) return OkStatus();
  return FromErrno(errno, fmt::format("allow '{}' by Landlock", rule.path));
}

/// To be executed a file is read, too.
Status AddProgram(int ruleset, uint64_t handled, int program) {
  PathBeneathAttr attr;
  attr.allowed = handled & (kReadFile | kExecute);
  attr.parent_fd = program;
  if (program < 0 || attr.allowed == 0 || syscall(SYS_landlock_add_rule, ruleset, kRulePathBeneath, &attr, 0u) == 0) return OkStatus();
  return FromErrno(errno, "allow the program by Landlock");
}

Status Apply(const Layer& layer, int root, std::vector<std::string>* missing, int program) {
  const RulesetAttr attr = {layer.files, layer.ports, layer.scoped};
  const UniqueFd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, AttrBytes(layer), 0u)));
  if (!ruleset.valid()) return FromErrno(errno, "make a Landlock ruleset");
  for (const PathRule& rule : layer.paths) RETURN_IF_ERROR(AddPath(ruleset.get(), rule, root, missing));
  RETURN_IF_ERROR(AddProgram(ruleset.get(), layer.files, program));
  for (const PortRule& rule : layer.port_rules) {
    const NetPortAttr port = {rule.rights, rule.port};
    if (syscall(SYS_landlock_add_rule, ruleset.get(), kRuleNetPort, &port, 0u) != 0) return FromErrno(errno, fmt::format("allow port {} by Landlock", rule.port));
  }
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0u) != 0) return FromErrno(errno, "restrict the process by Landlock");
  return OkStatus();
}

}  // namespace

Status Restrict(const Plan& plan, int root, std::vector<std::string>* missing, int program) {
  for (const Layer& layer : plan.layers) RETURN_IF_ERROR(Apply(layer, root, missing, program));
  return OkStatus();
}

}  // namespace isla::landlock
