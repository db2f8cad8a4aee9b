#include "sandbox/supervisor/process.h"

#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "api/base/packet.h"
#include "api/base/read_descriptor.h"
#include "sandbox/capabilities.h"
#include "sandbox/supervisor/confine.h"
#include "sandbox/supervisor/counters.h"
#include "sandbox/table/rule_table.h"

namespace isla::supervisor {
namespace {

StatusOr<std::shared_ptr<const Decider>> ReadTable(int fd, const std::string& version) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadDescriptor(fd, sandbox::kMaxTableBytes));
  return TableDecider::FromBytes(bytes, version);
}

Status Obey(std::string_view packet, UniqueFd& fd, Supervisor& supervisor, Audit& audit) {
  ASSIGN_OR_RETURN(const json::Value value, json::Parse(packet, {kMaxControlBytes, 4}));
  const std::string command = value.StringAt({"command"}), version = value.StringAt({"version"});
  if (command == "tune") {
    ASSIGN_OR_RETURN(const ProcessConfig config, ProcessConfigFromJson(value));
    supervisor.SetBounds(config.calls_per_second, config.deadline);
    audit.SetOptions(config.audit);
    if (fd.valid()) audit.SetSink(std::move(fd));
    return OkStatus();
  }
  if (command != "replace" || !fd.valid()) return Errorf(Code::kInvalidArgument, "unknown command '{}'", command);
  ASSIGN_OR_RETURN(std::shared_ptr<const Decider> decider, ReadTable(fd.get(), version));
  supervisor.Replace(std::move(decider));
  return OkStatus();
}

void ControlLoop(int socket, Supervisor& supervisor, Audit& audit) {
  char packet[kMaxControlBytes];
  UniqueFd fd;
  for (ssize_t got = 0; (got = ReceivePacket(socket, packet, sizeof packet, fd)) > 0;) {
    const Status status = Obey(std::string_view(packet, static_cast<size_t>(got)), fd, supervisor, audit);
    json::Value answer = json::Value::MakeObject({{"ok", status.ok()}});
    if (!status.ok()) answer = json::Value::MakeObject({{"ok", false}, {"error", Message(status).substr(0, 1000)}});
    const std::string text = json::Serialize(answer);
    (void)!send(socket, text.data(), text.size(), MSG_NOSIGNAL);
  }
}

uint64_t Usage() {
  char text[32] = {};
  uint64_t value = 0;
  const ssize_t got = pread(kUsageFd, text, sizeof text - 1, 0);
  if (got > 0) std::from_chars(text, text + got, value);
  return value;
}

/// For good. The process has one thread yet.
Status BecomeUnprivileged(const ProcessConfig& config) {
  const UniqueFd space(kUserNamespaceFd);
  const uint32_t id = config.uid;
  if (setns(space.get(), CLONE_NEWUSER) != 0) return FromErrno(errno, "enter the user namespace");
  if (syscall(SYS_setgroups, 0, nullptr) != 0) return FromErrno(errno, "drop groups");
  if (syscall(SYS_setresgid, id, id, id) != 0 || syscall(SYS_setresuid, id, id, id) != 0) return FromErrno(errno, "take an id of its own");
  if (!sandbox::BoundCapabilities(config.capabilities)) return FromErrno(errno, "bound capabilities");
  if (!sandbox::DropCapabilities(config.capabilities)) return FromErrno(errno, "drop capabilities");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FromErrno(errno, "set no_new_privs");
  const rlimit none = {0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return FromErrno(errno, "forbid core dumps");
  return OkStatus();
}

/// Gives back the pages of the program that only its start needed (options, JSON, locales): there is one supervisor a container,
/// and these are two thirds of what it holds. What is needed again is mapped again, from the page cache.
void DropStartPages() {
  dl_iterate_phdr(
      [](dl_phdr_info* program, size_t, void*) {
        const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
        for (int i = 0; i < program->dlpi_phnum; ++i) {
          const auto& segment = program->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;  // what was written is nowhere else
          const uintptr_t begin = (program->dlpi_addr + segment.p_vaddr) & ~(page - 1);
          const uintptr_t end = program->dlpi_addr + segment.p_vaddr + segment.p_memsz;
          madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
        }
        return 1;  // the program is the first
      },
      nullptr);
}

/// Not valid if nobody reads: then no line is made.
UniqueFd AuditSink() {
  UniqueFd out(kAuditFd);
  struct stat st {};
  if (fstat(out.get(), &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)) out.Reset();
  return out;
}

Status Run() {
  ASSIGN_OR_RETURN(const std::string text, ReadDescriptor(kConfigFd, 64 * 1024));
  ASSIGN_OR_RETURN(const json::Value value, json::Parse(text));
  ASSIGN_OR_RETURN(const ProcessConfig config, ProcessConfigFromJson(value));
  if (config.user_namespace) RETURN_IF_ERROR(BecomeUnprivileged(config));
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);  // whatever its user is: no container's process looks into it
  ASSIGN_OR_RETURN(std::shared_ptr<const Decider> decider, ReadTable(kTableFd, config.policy_version));
  ASSIGN_OR_RETURN(Journal journal, Journal::Open(UniqueFd(kJournalFd)));
  Audit audit(AuditSink(), config.audit, Clock::Real());
  SupervisorOptions options;
  options.grant = {config.cpus, config.memory_bytes, config.tasks, config.hostname, Usage};
  options.calls_per_second = config.calls_per_second;
  options.deadline = config.deadline;
  // One that can't be counted into is none: nothing hangs on it.
  StatusOr<SharedCounters> counters = SharedCounters::Open(UniqueFd(kCountersFd));
  if (counters.ok()) options.counters = &*counters;
  RETURN_IF_ERROR(ConfineSupervisor());
  Supervisor supervisor(Listener(UniqueFd(kListenerFd), config.wait_killable), std::move(journal), std::move(decider), audit, Clock::Real(),
                        std::move(options));
  RETURN_IF_ERROR(supervisor.Start());
  const UniqueFd control(kControlFd);
  const std::jthread control_thread([&control, &supervisor, &audit] { ControlLoop(control.get(), supervisor, audit); });
  DropStartPages();
  supervisor.WaitForEnd();
  supervisor.Stop();
  shutdown(control.get(), SHUT_RDWR);
  return OkStatus();
}

}  // namespace

int RunProcess() {
  for (int fd = kListenerFd; fd <= kCountersFd; ++fd) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
      std::fputs("isla-supervisor is started by isla's own programs, with descriptors 3 to 11\n", stderr);
      return 2;
    }
  }
  close(kProgramFd);
  umask(0);
  prctl(PR_SET_NAME, "isla-supervisor");  // it may have been executed by a descriptor, whose number would be its name
  mallopt(M_ARENA_MAX, 1);  // its threads allocate little
  signal(SIGPIPE, SIG_IGN);
  // The end of a service or a terminal is its keeper's business: the programs that wait for answers need them to their own end.
  sigset_t ends;
  sigemptyset(&ends);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) sigaddset(&ends, signal);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  const Status status = Run();
  if (status.ok()) return 0;
  Logger("supervisor").Error("the supervisor can't work, giving up", "error='{}'", Message(status));
  return 1;
}

}  // namespace isla::supervisor
