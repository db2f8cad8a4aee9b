#include "sandbox/box/control.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "sandbox/box/control_message.h"

namespace isla::sandbox {
namespace {

constexpr size_t kMostClerks = 4;

/// Ours alone, whoever made it.
bool IsOwnFolder(const std::string& path) {
  struct stat st {};
  return lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

/// Our user or root, and in our mount namespace: nobody in a box is.
bool MayAsk(int peer) {
  ucred who{};
  socklen_t bytes = sizeof who;
  if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &bytes) != 0 || who.pid <= 0) return false;
  if (who.uid != geteuid() && who.uid != 0) return false;
  struct stat own {}, its {};
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, who.pid, 0)));
  if (!process.valid() || stat("/proc/self/ns/mnt", &own) != 0 || stat(fmt::format("/proc/{}/ns/mnt", who.pid).c_str(), &its) != 0) return false;
  pollfd ended = {process.get(), POLLIN, 0};
  return poll(&ended, 1, 0) == 0 && own.st_ino == its.st_ino && own.st_dev == its.st_dev;
}

}  // namespace

StatusOr<std::string> ControlFolder() {
  std::vector<std::string> candidates;
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/' && IsOwnFolder(runtime)) candidates.push_back(std::string(runtime) + "/isla-box");
  if (geteuid() == 0) candidates.emplace_back("/run/isla-box");
  candidates.push_back(fmt::format("/tmp/isla-box-{}", geteuid()));
  for (const std::string& path : candidates) {
    (void)mkdir(path.c_str(), 0700);
    if (IsOwnFolder(path)) return path;
  }
  return Error(Code::kUnavailable, "there is no folder for control sockets");
}

Control::Control(Options options, Keeping& keeping) : folder_(std::move(options.folder)), apart_(options.apart), keeping_(keeping) {
  state_.command = std::move(options.command);
  state_.start = std::move(options.policy);
  state_.current = {fmt::format("1-{}", options.hash.substr(0, 8)), "", std::move(options.sections)};
}

Control::~Control() {
  if (!path_.empty()) unlink(path_.c_str());
  while (!clerks_.empty()) Dismiss(clerks_.begin());
}

void Control::OnStarted() {
  // A command that sees our files could open it.
  if (folder_.empty() || !apart_) return;
  // It is there only once it listens: one who looks would take it for a dead one's else.
  const std::string path = fmt::format("{}/{}", folder_, getpid()), unready = path + kUnready;
  sockaddr_un address{};
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), events(epoll_create1(EPOLL_CLOEXEC));
  if (!listener.valid() || !events.valid() || !ControlAddress(unready, address)) return;
  (void)unlink(unready.c_str());  // of a process that had our pid
  const mode_t own = umask(0177);
  const bool bound = bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  umask(own);
  if (!bound) return;
  if (listen(listener.get(), 8) != 0 || rename(unready.c_str(), path.c_str()) != 0) {
    (void)unlink(unready.c_str());
    return;
  }
  path_ = path;
  listener_ = std::move(listener);
  events_ = std::move(events);
  Listen(true);
}

/// With as many clerks as there may be, who comes next waits in the kernel.
void Control::Listen(bool on) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener_.get();
  epoll_ctl(events_.get(), on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener_.get(), &event);
}

void Control::OnReadable(supervisor::Keeper* keeper) {
  epoll_event ready[kMostClerks + 1];
  const int count = epoll_wait(events_.get(), ready, static_cast<int>(std::size(ready)), 0);
  for (int i = 0; i < count; ++i) {
    if (ready[i].data.fd == listener_.get()) {
      Accept(keeper);
      continue;
    }
    const auto clerk = std::find_if(clerks_.begin(), clerks_.end(), [fd = ready[i].data.fd](const Clerk& each) { return each.socket.get() == fd; });
    if (clerk == clerks_.end()) continue;
    if ((ready[i].events & EPOLLIN) != 0) OnClerk(*clerk, keeper);
    if ((ready[i].events & EPOLLHUP) != 0) Dismiss(clerk);
  }
}

void Control::Accept(supervisor::Keeper* keeper) {
  UniqueFd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!peer.valid() || !MayAsk(peer.get())) return;
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return;
  Clerk clerk = {-1, UniqueFd(sockets[0])};
  UniqueFd its(sockets[1]);
  const pid_t own = getpid();
  clerk.pid = fork();
  if (clerk.pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != own) _exit(1);
    clerk.socket.Reset();
    ClerkMain(state_, keeping_, keeper, std::move(peer), std::move(its));
  }
  if (clerk.pid < 0) return;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = clerk.socket.get();
  epoll_ctl(events_.get(), EPOLL_CTL_ADD, clerk.socket.get(), &event);
  clerks_.push_back(std::move(clerk));
  if (clerks_.size() == kMostClerks) Listen(false);
}

void Control::Dismiss(std::list<Clerk>::iterator clerk) {
  kill(clerk->pid, SIGKILL);
  while (waitpid(clerk->pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (clerks_.size() == kMostClerks) Listen(true);
  // Closing it is not enough: other clerks have inherited it, and events of it would be taken for those of the next with its number.
  epoll_ctl(events_.get(), EPOLL_CTL_DEL, clerk->socket.get(), nullptr);
  clerks_.erase(clerk);
}

void Control::OnClerk(Clerk& clerk, supervisor::Keeper* keeper) {
  StatusOr<Proposal> proposal = ReceiveProposal(clerk.socket.get());
  if (!proposal.ok() && proposal.status().code() == Code::kUnavailable) return;
  const Status status = proposal.ok() ? Apply(*proposal, keeper) : proposal.status();
  json::Value answer = json::Value::MakeObject({{"ok", status.ok()}});
  if (!status.ok()) answer.Set("error", Message(status).substr(0, 4000));
  (void)WriteMessage(clerk.socket.get(), answer);
}

// What is proposed is done here --------------------------------------------------------------------------------

/// Those that differ from what is in force: all, or none.
Status Control::SetLimits(const ResourceLimits& wanted) {
  const ResourceLimits before = keeping_.limits;
  if (wanted == before) return OkStatus();
  if (!keeping_.group) return Error(Code::kFailedPrecondition, "the run has no control group: begin it with --memory, --cpus or --pids, or with limits in its policy");
  runner::BoxGroup& group = *keeping_.group;
  const uint64_t own = keeping_.own_tasks;
  const auto memory = [&](uint64_t from, uint64_t to) { return from == to ? OkStatus() : Annotate(group.LimitMemory(to), "memory"); };
  const auto cpus = [&](uint64_t from, uint64_t to) { return from == to ? OkStatus() : Annotate(group.LimitCpu(to), "cpus"); };
  const auto pids = [&](uint64_t from, uint64_t to) { return from == to ? OkStatus() : Annotate(group.LimitTasks(to == 0 ? 0 : to + own), "pids"); };
  RETURN_IF_ERROR(memory(before.memory_bytes, wanted.memory_bytes));
  Status status = cpus(before.cpu_millis, wanted.cpu_millis);
  if (status.ok()) {
    status = pids(before.tasks, wanted.tasks);
    if (!status.ok()) (void)cpus(wanted.cpu_millis, before.cpu_millis);
  }
  if (!status.ok()) {
    (void)memory(wanted.memory_bytes, before.memory_bytes);
    return status;
  }
  keeping_.limits = wanted;
  return OkStatus();
}

Status Control::SetPolicy(Proposal& proposal, supervisor::Keeper* keeper, UniqueFd audit) {
  const Sections& before = state_.current.sections;
  const Sections& wanted = proposal.version ? proposal.version->sections : before;
  const bool net = keeping_.net && wanted.net != before.net;
  if (net) RETURN_IF_ERROR(Annotate(keeping_.net->Replace(wanted.net.value_or(NetSection())), "spec.net"));
  if (keeper == nullptr) return OkStatus();
  const supervisor::Keeper::Tuning tuning = keeper->tuning();
  Status status;
  if (audit.valid() || wanted.limits != before.limits || wanted.audit != before.audit) {
    status = keeper->Tune({wanted.limits.calls_per_second, wanted.limits.deadline, {wanted.audit.one_of_allowed, wanted.audit.lines_per_second}}, std::move(audit));
  }
  if (status.ok() && proposal.version) {
    status = keeper->Replace(std::move(proposal.table), proposal.version->name);
    if (!status.ok()) (void)keeper->Tune(tuning, UniqueFd());
  }
  if (!status.ok() && net) (void)keeping_.net->Replace(before.net.value_or(NetSection()));
  return status;
}

Status Control::Apply(Proposal& proposal, supervisor::Keeper* keeper) {
  if (proposal.base != state_.changes) return Error(Code::kAborted, "it was changed meanwhile: look again, and try again");
  if (proposal.back && state_.earlier.empty()) return Error(Code::kFailedPrecondition, "there is no version before this one");
  UniqueFd audit;
  if (!proposal.audit.empty()) {
    // Of a pipe somebody must read already: nobody is waited for.
    audit.Reset(open(proposal.audit.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
    if (!audit.valid()) return FromErrno(errno, fmt::format("open the audit's file '{}'", proposal.audit));
  }
  const ResourceLimits before = keeping_.limits;
  const ResourceLimits asked = {proposal.memory_bytes.value_or(keeping_.asked.memory_bytes), proposal.cpu_millis.value_or(keeping_.asked.cpu_millis), proposal.tasks.value_or(keeping_.asked.tasks)};
  RETURN_IF_ERROR(SetLimits(Smaller(asked, (proposal.version ? proposal.version->sections : state_.current.sections).resources)));
  if (const Status status = SetPolicy(proposal, keeper, std::move(audit)); !status.ok()) {
    (void)SetLimits(before);
    return status;
  }
  keeping_.asked = asked;
  ++state_.changes;
  if (!proposal.version) return OkStatus();
  if (proposal.back) {
    state_.earlier.pop_back();
  } else {
    ++state_.count;
    state_.earlier.push_back(std::move(state_.current));
    if (state_.earlier.size() > kMostEarlier) state_.earlier.erase(state_.earlier.begin());
  }
  state_.current = *std::move(proposal.version);
  return OkStatus();
}

}  // namespace isla::sandbox
