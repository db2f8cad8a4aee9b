#include "tests/unit/supervisor/harness.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>

#include "sandbox/supervisor/load.h"

namespace isla::supervisor {
namespace {

[[noreturn]] void Child(const Prey::Options& options, const sandbox::Program& filter, int socket, int output, char* const* arguments) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(output, 1);
  if (options.prepare) options.prepare();
  if (!options.root.empty() && chroot(options.root.c_str()) != 0) _exit(121);
  if (chdir(options.folder.empty() ? "/" : options.folder.c_str()) != 0) _exit(122);
  if (options.uid != 0 && (setgroups(0, nullptr) != 0 || setresgid(options.uid, options.uid, options.uid) != 0 ||
                           setresuid(options.uid, options.uid, options.uid) != 0)) {
    _exit(123);
  }
  // Changing ids makes a process undumpable; exec makes it dumpable again, but the handover comes before.
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(124);
  if (LoadAndHandOver(filter, socket, options.wait_killable) != 0) _exit(125);
  execv(arguments[0], arguments);
  _exit(126);
}

}  // namespace

std::string PreyPath() { return ISLA_PREY; }

sandbox::Program Notifying(const std::vector<int>& numbers) {
  sandbox::Program program = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const int number : numbers) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return program;
}

Prey::Prey(const Options& options, std::vector<std::string> arguments) {
  const sandbox::Program filter = Notifying(options.notified);
  int sockets[2], pipe_fds[2];
  ISLA_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0 && pipe2(pipe_fds, O_CLOEXEC) == 0);
  const UniqueFd mine(sockets[0]);
  UniqueFd its(sockets[1]), its_output(pipe_fds[1]);
  output_.Reset(pipe_fds[0]);
  ISLA_CHECK_OK(CheckHandover(filter, its.get()));
  arguments.insert(arguments.begin(), options.program.empty() ? PreyPath() : options.program);
  std::vector<char*> raw;
  for (std::string& argument : arguments) raw.push_back(argument.data());
  raw.push_back(nullptr);
  pid_ = fork();
  ISLA_CHECK(pid_ >= 0);
  if (pid_ == 0) Child(options, filter, its.get(), its_output.get(), raw.data());
  its.Reset();
  its_output.Reset();
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  StatusOr<Handover> taken = supervisor::TakeListener(mine.get(), pidfd.get());
  ISLA_CHECK_OK(taken);
  listener_ = std::move(taken->listener);
  wait_killable_ = taken->wait_killable;
}

Prey::~Prey() {
  if (reaped_) return;
  Kill(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

UniqueFd Prey::DupListener() const { return UniqueFd(fcntl(listener_.get(), F_DUPFD_CLOEXEC, 3)); }

void Prey::Kill(int signal) const { kill(pid_, signal); }

std::string Prey::ReadLine() {
  while (printed_.find('\n') == std::string::npos) {
    char text[1024];
    const ssize_t got = read(output_.get(), text, sizeof text);
    if (got <= 0) break;
    printed_.append(text, static_cast<size_t>(got));
  }
  const size_t end = printed_.find('\n');
  std::string line = printed_.substr(0, end);
  printed_.erase(0, end == std::string::npos ? end : end + 1);
  return line;
}

std::string Prey::Wait() {
  char text[4096];
  for (ssize_t got = 0; (got = read(output_.get(), text, sizeof text)) > 0;) printed_.append(text, static_cast<size_t>(got));
  int status = 0;
  waitpid(pid_, &status, 0);
  reaped_ = true;
  if (WIFSIGNALED(status)) return fmt::format("signal {}", WTERMSIG(status));
  if (WEXITSTATUS(status) != 0) return fmt::format("exit {}: {}", WEXITSTATUS(status), printed_);
  while (printed_.ends_with('\n')) printed_.pop_back();
  return printed_;
}

Decision Continues() { return Does(Decision::Kind::kContinue); }
Decision Fails(int error) {
  Decision out = Does(Decision::Kind::kErrno);
  out.error = static_cast<uint16_t>(error);
  return out;
}
Decision Spoofs(int64_t value) {
  Decision out = Does(Decision::Kind::kSpoof);
  out.value = value;
  return out;
}
Decision Does(Decision::Kind kind, std::string_view text) {
  Decision out;
  out.kind = out.enforced = kind;
  out.text = text;
  return out;
}

Watched::Watched(Prey& prey, std::shared_ptr<const Decider> decider, SupervisorOptions options, AuditOptions audit) {
  int fds[2];
  ISLA_CHECK(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
  audit_read_.Reset(fds[0]);
  audit_ = std::make_unique<Audit>(UniqueFd(fds[1]), audit, Clock::Real());
  StatusOr<Journal> journal = Journal::Create();
  ISLA_CHECK_OK(journal);
  supervisor_ = std::make_unique<Supervisor>(prey.TakeListener(), *std::move(journal), std::move(decider), *audit_, Clock::Real(),
                                             std::move(options));
  ISLA_CHECK_OK(supervisor_->Start());
}

std::string Watched::AuditText() {
  std::string out;
  char text[4096];
  for (ssize_t got = 0; (got = read(audit_read_.get(), text, sizeof text)) > 0;) out.append(text, static_cast<size_t>(got));
  return out;
}

TestFolder::TestFolder() {
  char name[] = "/tmp/isla-supervisor-XXXXXX";
  ISLA_CHECK(mkdtemp(name) != nullptr);
  path_ = name;
  chmod(name, 0755);
}
TestFolder::~TestFolder() { (void)RemoveTree(path_); }

std::string TestFolder::Write(const std::string& name, std::string_view text, unsigned mode) const {
  const std::string path = path_ + "/" + name;
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  ISLA_CHECK(fd.valid() && WriteAll(fd.get(), text).ok() && fchmod(fd.get(), mode) == 0);
  return path;
}

}  // namespace isla::supervisor
