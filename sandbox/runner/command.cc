#include "sandbox/runner/command.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sandbox/runner/box_group.h"
#include "sandbox/runner/clone_stack.h"
#include "sandbox/runner/privileges.h"
#include "sandbox/runner/program_path.h"
#include "sandbox/supervisor/load.h"
#include "sandbox/view/view_files.h"

namespace isla::runner {
namespace {

Status LoadFilter(const sandbox::Program& filter, std::string_view what) {
  const int error = supervisor::LoadFilter(filter);
  return error == 0 ? OkStatus() : FromErrno(error, fmt::format("load the {}", what));
}

/// What parent and child share while the parent waits.
struct Child {
  const Request& request;
  const landlock::Plan& plan;
  const CommandFilter& filter;
  const StartOptions options;
  const std::string& path;
  std::vector<char*> argv, environment;
  Started& started;
  Failure failure = {};
  bool executed = false;
};

/// Up to the filter. The memory is the parent's, so what is said here arrives there.
Status Prepare(Child& child) {
  const Request& request = child.request;
  if (request.new_session && setsid() < 0) return FromErrno(errno, "begin a session");
  if (child.options.confine) {
    RETURN_IF_ERROR(EnterGroup(request.group, true));
    RETURN_IF_ERROR(BoundPrivileges());
    RETURN_IF_ERROR(ConfineSelf(request));
  }
  // After the capabilities: a change of them takes it back.
  if (child.options.die_with_caller && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return FromErrno(errno, "die with isla-box");
  if (!CloseAtExec(request.keep)) return FromErrno(errno, "close descriptors");
  if (!child.plan.empty()) {
    const UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root.valid()) return FromErrno(errno, "open the root");
    RETURN_IF_ERROR(landlock::Restrict(child.plan, root.get(), &child.started.missing));
  }
  ResetSignals();
  if (!child.filter.listener) return LoadFilter(child.filter.program, "policy's filter");
  const supervisor::Loaded loaded = supervisor::LoadWithListener(child.filter.program);
  if (loaded.error == EBUSY) return Error(Code::kFailedPrecondition, "load the policy's filter: a process above has a listener already, the kernel allows one (a policy without notified calls can be nested)");
  if (loaded.error != 0) return FromErrno(loaded.error, "load the policy's filter");
  child.started.listener.Reset(loaded.listener);
  child.started.wait_killable = loaded.wait_killable;
  return OkStatus();
}

int Main(void* shared) {
  Child& child = *static_cast<Child*>(shared);
  child.failure.status = Prepare(child);
  if (!child.failure.status.ok()) _exit(kOwnFailure);
  child.executed = true;
  execve(child.path.c_str(), child.argv.data(), child.environment.data());
  int error = errno;
  if (error == ENOEXEC) {
    // A script without "#!", as shells and execvp run it.
    child.argv[0] = const_cast<char*>(child.path.c_str());
    child.argv.insert(child.argv.begin(), const_cast<char*>("/bin/sh"));
    execve("/bin/sh", child.argv.data(), child.environment.data());
    error = errno;
  }
  child.executed = false;
  // It was there a moment ago.
  child.failure.exit = kCannotRun;
  child.failure.status = FromErrno(error, fmt::format("run '{}'{}", child.path, error == ENOENT ? ", or the interpreter after its '#!', or its loader" : ""));
  _exit(child.failure.exit);
}

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  out.reserve(words.size() + 2);
  for (const std::string& word : words) out.push_back(const_cast<char*>(word.c_str()));
  out.push_back(nullptr);
  return out;
}

/// The first processors that we may use: a grant of whole ones is kept by the kernel, not only shown.
void HoldToCpus(unsigned cpus) {
  const std::vector<unsigned> ids = view::FirstCpus(cpus);
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const unsigned id : ids) {
    if (id < CPU_SETSIZE) CPU_SET(id, &set);
  }
  (void)sched_setaffinity(0, sizeof set, &set);
}

std::string Explanation(const Request& request, const sandbox::Program& filter, int error) {
  const uint32_t verdict = sandbox::AnswerToExecve(filter, sandbox::kNativeArch);
  if (verdict == SECCOMP_RET_ERRNO) {
    return " (the policy refuses execve, so nothing can be run under it: isla-box explain POLICY 'execve(\"/x\")' says by which rule)";
  }
  if (error == EACCES && request.policy.sections.exec && !request.policy.sections.exec->allow.empty()) {
    return " (spec.exec.allow must have it, and the loader of a dynamic program, too)";
  }
  if (error == EACCES && request.policy.sections.files && !request.policy.sections.files->allow.empty()) {
    return " (spec.files.allow must let it be read and executed, and its loader, too)";
  }
  return {};
}

}  // namespace

Status NoFolder(const std::string& folder, int error) {
  return FromErrno(error, fmt::format("enter '{}', where the command is to begin (--chdir=FOLDER says another)", folder));
}

Status ConfineSelf(const Request& request) {
  if (request.cpus > 0) HoldToCpus(request.cpus);
  RETURN_IF_ERROR(SetLimits(request.limits));
  RETURN_IF_ERROR(DropPrivileges());
  // Some policies have it in their filter.
  return request.policy.floor.empty() ? OkStatus() : LoadFilter(request.policy.floor, "floor");
}

Failure StartCommand(const Request& request, const landlock::Plan& plan, const CommandFilter& filter, const StartOptions& options, Started& out) {
  const ProgramPath program = FindProgram(request.command[0], request.environment);
  if (program.error == ENOENT) return {Errorf(Code::kNotFound, "'{}' not found", request.command[0]), kNotFound};
  if (program.error == EISDIR) return {Errorf(Code::kPermissionDenied, "'{}' can't be run: it is a folder", program.path), kCannotRun};
  if (program.error != 0) return {Errorf(Code::kPermissionDenied, "'{}' can't be run: {} (is it executable? chmod +x)", program.path, std::strerror(program.error)), kCannotRun};
  Child child = {request, plan, filter, options, program.path, Pointers(request.command), Pointers(request.environment), out};
  const CloneStack stack;
  if (!stack.valid()) return {FromErrno(errno, "map a stack")};
  // Signals come to the parent meanwhile; the child has its own table of handlers.
  const int pid = clone(Main, stack.top(), CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &child);
  if (pid < 0) return {FromErrno(errno, "start the command's process")};
  if (child.executed) {
    out.pid = pid;
    return {};
  }
  // It ended before it was the command: its filter may have kept it from saying why.
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (child.failure.ok()) child.failure.status = Error(Code::kInternal, "the process that was to become the command was killed");
  const int error = child.failure.status.code() == Code::kPermissionDenied ? EACCES : 0;
  child.failure.status = Error(child.failure.status.code(), Message(child.failure.status) + (child.failure.exit == kCannotRun ? Explanation(request, filter.program, error) : ""));
  return child.failure;
}

}  // namespace isla::runner
