#include "agentd/shim/container.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agentd/init/report.h"
#include "agentd/shim/namespaces.h"
#include "agentd/shim/privileges.h"
#include "agentd/shim/rootfs.h"
#include "api/base/log.h"
#include "sandbox/landlock/landlock.h"
#include "sandbox/supervisor/load.h"
#include "sandbox/view/view_files.h"

namespace isla::shim {
namespace {

/// What the child has of the parent's.
struct ChildEnds {
  UniqueFd report, in, out, err, handover;
};

Step MakePipe(uint32_t owner, UniqueFd& read_end, UniqueFd& write_end) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return Step::Failed("make a pipe");
  read_end.Reset(fds[0]);
  write_end.Reset(fds[1]);
  if (fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) return Step::Failed("make a pipe");
  // The container opens it anew through /dev/stdout.
  return fchown(fds[1], owner, owner) == 0 ? Step::Done() : Step::Failed("give the pipe to the container");
}

Step MakeEnds(const LaunchRequest& request, bool handover, Container& parent, ChildEnds& child) {
  int fds[2];
  if (handover) {
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return Step::Failed("make the socket for the listener");
    parent.handover.Reset(fds[0]);
    child.handover.Reset(fds[1]);
  }
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return Step::Failed("make the report socket");
  parent.report.Reset(fds[0]);
  child.report.Reset(fds[1]);
  if (fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) return Step::Failed("make the report socket");
  RETURN_IF_FAILED(MakePipe(request.id_base, parent.out, child.out));
  RETURN_IF_FAILED(MakePipe(request.id_base, parent.err, child.err));
  child.in.Reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return child.in.valid() ? Step::Done() : Step::Failed("open /dev/null");
}

/// What the child is told when it is in payload/.
struct EnterCommand {
  uint8_t shows_cgroup = 0;  // there is one cgroup file system, v2, to show it its limits in
};

/// The files that a view puts over the machine's, which this process still sees.
Step MakeView(const LaunchRequest& request, const sandbox::CompiledPolicy& policy, std::vector<sandbox::ViewFile>& out) {
  if (!policy.sections.view) return Step::Done();
  const sandbox::ViewSection& view = *policy.sections.view;
  view::GrantedView granted;
  if (view.granted_cpus) {
    const unsigned count = view::WholeCpus(request.cpu_millis);
    // Who has all of them sees the machine's own.
    if (static_cast<long>(count) < sysconf(_SC_NPROCESSORS_ONLN)) granted.cpus = view::FirstCpus(count);
  }
  if (view.granted_memory) granted.memory_bytes = static_cast<uint64_t>(request.memory_bytes);
  StatusOr<std::vector<sandbox::ViewFile>> files = view::GrantedFiles(granted);
  if (!files.ok()) return Step::Failed("make the view: " + Message(files.status()), EIO);
  out = *std::move(files);
  out.insert(out.end(), view.files.begin(), view.files.end());
  return Step::Done();
}

/// All that needs no scope.
Step BuildContainer(const LaunchRequest& request, const sandbox::CompiledPolicy& policy, int user_namespace) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return Step::Failed("set the parent-death signal");
  if (!request.host_network) RETURN_IF_FAILED(LoopbackUp());
  ResetOomScore();
  if (sethostname(request.hostname.data(), request.hostname.size()) != 0) return Step::Failed("set the hostname");
  RootParts parts;
  parts.user_namespace = user_namespace;
  RETURN_IF_FAILED(MakeView(request, policy, parts.view));
  if (policy.sections.files) {
    parts.mask = policy.sections.files->mask;
    parts.read_only = policy.sections.files->read_only;
  }
  return EnterRoot(request, parts);
}

/// The end of the shim ends this process too.
EnterCommand AwaitEnter(int report) {
  EnterCommand command;
  ssize_t got = 0;
  while ((got = recv(report, &command, sizeof command, 0)) < 0 && errno == EINTR) {
  }
  if (got != sizeof command) _exit(127);
  return command;
}

Step BecomePayload(const LaunchRequest& request, int user_namespace, const EnterCommand& enter, const ChildEnds& ends) {
  if (unshare(CLONE_NEWCGROUP) != 0) return Step::Failed("make the cgroup namespace");
  if (enter.shows_cgroup != 0) RETURN_IF_FAILED(MountCgroup());
  RETURN_IF_FAILED(EnterUser(user_namespace));
  const std::string& folder = request.working_dir.empty() ? "/" : request.working_dir;
  if (chdir(folder.c_str()) != 0) return Step::Failed("enter the working directory " + folder);
  RETURN_IF_FAILED(DropPrivileges());
  RETURN_IF_FAILED(ResetProcess());
  return ArrangeDescriptors({ends.in.get(), ends.out.get(), ends.err.get(), ends.report.get()});
}

/// From here on the filters hold. The floor has none to notify, so it is loaded like any.
Step LoadFilters(const sandbox::CompiledPolicy& policy, int handover) {
  if (!policy.floor.empty()) RETURN_IF_FAILED(LoadFilter(policy.floor));
  if (!policy.NeedsSupervisor()) return LoadFilter(policy.filter);
  // The compiler refuses such a policy; but these bytes come from elsewhere, and a start that waits for ever has no end.
  const Status possible = supervisor::CheckHandover(policy.filter, handover);
  if (!possible.ok()) return Step::Failed(Message(possible), EINVAL);
  const int error = supervisor::LoadAndHandOver(policy.filter, handover);
  return error == 0 ? Step::Done() : Step::Failed("load the seccomp filter and hand its listener over", error);
}

/// files.allow and exec.allow, for this process and all that it starts. isla-init is outside of the root, and goes on to what is in it.
Step RestrictFiles(const landlock::Plan& plan, int init) {
  if (plan.empty()) return Step::Done();
  const UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return Step::Failed("open the root for Landlock");
  const Status restricted = landlock::Restrict(plan, root.get(), nullptr, init);
  return restricted.ok() ? Step::Done() : Step::Failed(Message(restricted), EPERM);
}

/// Only returns on failure.
Step ExecuteInit(const LaunchRequest& request, const sandbox::CompiledPolicy& policy, const landlock::Plan& plan, int init, int handover) {
  const std::vector<std::string> env = PayloadEnvironment(request);
  std::vector<char*> argv_c = {const_cast<char*>("isla-init")}, env_c;
  for (const std::string& arg : request.argv) argv_c.push_back(const_cast<char*>(arg.c_str()));
  for (const std::string& entry : env) env_c.push_back(const_cast<char*>(entry.c_str()));
  argv_c.push_back(nullptr);
  env_c.push_back(nullptr);
  RETURN_IF_FAILED(RestrictFiles(plan, init));
  RETURN_IF_FAILED(LoadFilters(policy, handover));
  syscall(SYS_execveat, init, "", argv_c.data(), env_c.data(), AT_EMPTY_PATH);
  return Step::Failed("execute isla-init");
}

[[noreturn]] void Child(const LaunchRequest& request, const sandbox::CompiledPolicy& policy, const landlock::Plan& plan, int user_namespace,
                        int init, const ChildEnds& ends) {
  bool arranged = false;
  Step step = BuildContainer(request, policy, user_namespace);
  if (step.ok()) {
    step = BecomePayload(request, user_namespace, AwaitEnter(ends.report.get()), ends);
    arranged = step.ok();
  }
  if (arranged) step = ExecuteInit(request, policy, plan, init, ends.handover.get());
  init::Report report;
  report.kind = init::ReportKind::kStepFailed;
  report.error = step.error;
  std::strncpy(report.step, step.name.c_str(), sizeof report.step - 1);
  (void)!send(arranged ? init::kReportFd : ends.report.get(), &report, sizeof report, MSG_NOSIGNAL);
  _exit(127);
}

}  // namespace

Step PrepareContainer(const LaunchRequest& request, const sandbox::CompiledPolicy& policy, Container& out) {
  const StatusOr<landlock::Plan> plan = landlock::MakePlan(policy.sections, landlock::Abi(), {.ports = false});
  if (!plan.ok()) return Step::Failed("plan Landlock: spec." + Message(plan.status()), EOPNOTSUPP);
  for (const std::string& lost : plan->lost) Logger("shim").Warn("a part of the policy is beyond this kernel, going on", "container={} spec='{}'", request.scope, lost);
  UniqueFd user_namespace;
  RETURN_IF_FAILED(MakeUserNamespace(request.id_base, user_namespace));
  const std::string stage = request.run_dir + "/root";
  if (mkdir(stage.c_str(), 0700) != 0 && errno != EEXIST) return Step::Failed("make " + stage);
  const UniqueFd init(open(request.init_path.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
  if (!init.valid()) return Step::Failed("open " + request.init_path);
  ChildEnds ends;
  RETURN_IF_FAILED(MakeEnds(request, policy.NeedsSupervisor(), out, ends));
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD;
  if (!request.host_network) args.flags |= CLONE_NEWNET;
  args.exit_signal = SIGCHLD;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) Child(request, policy, *plan, user_namespace.get(), init.get(), ends);
  if (pid < 0) return Step::Failed("clone the container's first process");
  out.pid = static_cast<pid_t>(pid);
  out.pidfd.Reset(pidfd);
  if (policy.NeedsSupervisor()) out.user_namespace = std::move(user_namespace);
  return Step::Done();
}

Step EnterContainer(const Leaves& leaves, const Container& container) {
  EnterCommand command;
  command.shows_cgroup = leaves.is_v2() ? 1 : 0;
  // If the child has failed already, its report tells.
  if (send(container.report.get(), &command, sizeof command, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET) {
    return Step::Failed("let the container go on");
  }
  return Step::Done();
}

std::vector<std::string> PayloadEnvironment(const LaunchRequest& request) {
  std::vector<std::string> env = request.env;
  const auto add = [&env](const std::string& name, const std::string& value) {
    for (const std::string& entry : env) {
      if (entry.starts_with(name + "=")) return;
    }
    env.push_back(name + "=" + value);
  };
  add("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  add("HOME", "/root");
  add("HOSTNAME", request.hostname);
  add("USER", "root");
  return env;
}

}  // namespace isla::shim
