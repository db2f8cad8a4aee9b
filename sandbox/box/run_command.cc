#include "sandbox/box/run_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <climits>
#include <optional>

#include "sandbox/box/built_in.h"
#include "sandbox/box/control.h"
#include "sandbox/box/mistakes.h"
#include "sandbox/box/run_flags.h"
#include "sandbox/default_policy.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/runner/command.h"
#include "sandbox/runner/run.h"

namespace isla::sandbox {
namespace {

constexpr size_t kMostBytes = size_t{4} << 20;
constexpr std::string_view kBuiltIn = "built-in";  // no text's hash

bool IsBuiltIn(const SandboxPolicy& policy) { return policy.hash == kBuiltIn && !policy.sections.view; }

std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> out;
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) out.emplace_back(*each);
  return out;
}

/// isla-supervisor is installed beside this program.
StatusOr<std::string> SupervisorPath() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length < 0) return FromErrno(errno, "find isla-supervisor: read /proc/self/exe");
  const std::string own(path, static_cast<size_t>(length));
  return own.substr(0, own.rfind('/') + 1) + "isla-supervisor";
}

/// The default policy. What is granted is shown, too, where its files can be bound; a policy of the user's own says by itself what it shows.
SandboxPolicy DefaultWithGrant(const RunFlags& flags) {
  SandboxPolicy out;
  out.name = "default";
  out.hash = std::string(kBuiltIn);
  const bool cpus = !flags.cpus.empty(), memory = !flags.memory.empty();
  // Compiled already; and what is wrong with the flags is told later.
  if (!cpus && !memory) return out;
  const StatusOr<runner::Request> request = RequestOf(flags, geteuid() == 0, {});
  if (!request.ok() || !request->namespaces.mount) return out;
  ViewedPolicy viewed = DefaultWithView(cpus, memory, kNativeArch);
  out.policy = std::move(viewed.policy);
  out.sections = std::move(viewed.sections);
  return out;
}

}  // namespace

StatusOr<PolicySource> LoadPolicy(const RunFlags& flags, BoxIo& io) {
  if (flags.policy.empty()) return PolicySource([flags] { return StatusOr<SandboxPolicy>(DefaultWithGrant(flags)); });
  ASSIGN_OR_RETURN(std::string text, io.Read(flags.policy, kMostBytes));
  return PolicySource([text = std::move(text)] { return DecodeSandboxPolicy(text, {.max_bytes = kMostBytes, .find_unreachable = false}); });
}

StatusOr<Prepared> Prepare(const RunFlags& flags, SandboxPolicy policy, BoxIo& io) {
  ASSIGN_OR_RETURN(runner::Request request, RequestOf(flags, geteuid() == 0, OwnEnvironment()));
  // A user namespace doesn't help: the kernel asks for the id there, not for capabilities.
  if (geteuid() == 0 && !request.namespaces.mount && !(policy.sections.files && !policy.sections.files->allow.empty())) {
    io.Err("isla-box: note: without a mount namespace root's command can write what its id alone opens, such as the kernel's settings in /proc/sys\n");
  }
  for (const int fd : request.keep) {
    if (fcntl(fd, F_GETFD) < 0) return Errorf(Code::kInvalidArgument, "--keep-fd={}: no such descriptor is open", fd);
  }
  if (policy.sections.view && request.hostname.empty()) request.hostname = policy.sections.view->hostname;
  ASSIGN_OR_RETURN(Keeping keeping, Keep(flags, policy, request));
  for (const std::string& note : keeping.notes) io.Err(fmt::format("isla-box: note: {}\n", note));
  for (const std::string& fact : flags.verbose ? KeptText(keeping) : std::vector<std::string>()) io.Err(fmt::format("isla-box: {}\n", fact));
  if (IsBuiltIn(policy)) {
    request.policy = BuiltInPolicy();
  } else {
    const Status lowered = runner::LowerSections(policy.policy, policy.sections, keeping.net_by);
    // Else the kernel would keep what is refused here.
    if (lowered.code() == Code::kFailedPrecondition && !keeping.no_net.empty()) {
      return Error(Code::kFailedPrecondition, fmt::format("{} (a control group could keep it: {})", Message(lowered), keeping.no_net));
    }
    RETURN_IF_ERROR(lowered);
    request.policy.name = std::move(policy.name);
    request.policy.hash = std::move(policy.hash);
    request.policy.floor = BuiltInPolicy().floor;
    request.policy.sections = std::move(policy.sections);
    request.compile = [rules = std::move(policy.policy)](CompiledPolicy& out) { return CompileInto(rules, out); };
  }
  const bool relative = !request.root.empty() && request.root.front() != '/';
  if (relative || (request.folder.empty() && request.root.empty() && request.namespaces.mount)) {
    char here[PATH_MAX];
    if (getcwd(here, sizeof here) == nullptr) return FromErrno(errno, "find out where we are (--chdir=FOLDER says where the command is to begin)");
    // By its names: what is mounted over the folder that we are in isn't seen from there.
    if (relative) request.root = fmt::format("{}/{}", here, request.root);
    else request.folder = here;
  }
  ASSIGN_OR_RETURN(request.supervisor, SupervisorPath());
  // Control sockets of this and of all our other runs.
  if (const StatusOr<std::string> folder = ControlFolder(); folder.ok()) request.hidden.push_back(*folder);
  return Prepared{std::move(keeping), std::move(request)};
}

int RunCommand(const BoxOptions& options, BoxIo& io) {
  const auto trouble = [&io](const Status& status) {
    io.Err(fmt::format("isla-box: {}\n", Message(status)));
    return runner::kOwnFailure;
  };
  const StatusOr<PolicySource> source = LoadPolicy(options.run, io);
  if (!source.ok()) return trouble(source.status());
  StatusOr<SandboxPolicy> policy = (*source)();
  if (!policy.ok()) {
    io.Err(MistakeLines(options.run.policy, policy.status()));
    return runner::kOwnFailure;
  }
  const std::string hash = policy->hash;
  const Sections sections = policy->sections;
  StatusOr<Prepared> prepared = Prepare(options.run, *std::move(policy), io);
  if (!prepared.ok()) return trouble(prepared.status());
  runner::Request* const request = &prepared->request;
  const bool asked = !request->hidden.empty();
  std::optional<Control> control;
  if (asked) {
    // Decoded again if somebody asks, as it could be before: a copy would cost each start as much.
    const auto start = [again = *source] {
      StatusOr<SandboxPolicy> out = again();
      ISLA_CHECK_OK(out);
      if (IsBuiltIn(*out)) out->policy = DefaultPolicy(kNativeArch);
      return *std::move(out);
    };
    control.emplace(Control::Options{request->hidden[0], request->namespaces.mount, start, hash, sections, request->command}, prepared->keeping);
  }
  runner::RunObserver nobody;
  const runner::Outcome outcome = runner::Run(*request, asked ? static_cast<runner::RunObserver&>(*control) : nobody);
  if (!outcome.error.empty()) io.Err(fmt::format("isla-box: {}\n", outcome.error));
  if (outcome.exit == 128 + SIGSYS) io.Err("isla-box: note: exit status 159 is SIGSYS: the command made a call that the policy, or isla's floor, kills for\n");
  if (const std::string oom = OomText(prepared->keeping, outcome.exit); !oom.empty()) io.Err(fmt::format("isla-box: {}\n", oom));
  // What others see of this run goes: its socket, its control group.
  control.reset();
  prepared->keeping.net.reset();
  prepared->keeping.group.reset();
  io.Leave(outcome.exit);
  return outcome.exit;
}

}  // namespace isla::sandbox
