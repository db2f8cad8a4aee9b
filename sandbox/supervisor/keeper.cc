#include "sandbox/supervisor/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "api/base/memfd.h"
#include "api/base/packet.h"
#include "api/base/spawn.h"
#include "sandbox/table/rule_table.h"

namespace isla::supervisor {
namespace {

constexpr std::chrono::seconds kAnswer{5};  // to a new table
constexpr std::chrono::seconds kCalm{10};  // a supervisor that lived so long starts the count of deaths anew

/// As a supervisor does, but for the program's source: no Lua runs here.
Status CheckTable(std::string_view bytes) {
  ASSIGN_OR_RETURN(const sandbox::RuleTable table, sandbox::RuleTable::FromBytes(bytes));
  if (table.arch() == sandbox::kNativeArch) return OkStatus();
  return Errorf(Code::kInvalidArgument, "the policy is compiled for {}", sandbox::ArchName(table.arch()));
}

}  // namespace

StatusOr<Keeper> Keeper::Create(Handover handover, KeeperOptions options) {
  RETURN_IF_ERROR(CheckTable(options.table));
  Keeper out;
  ASSIGN_OR_RETURN(const Journal journal, Journal::Create());
  out.journal_.Reset(fcntl(journal.fd(), F_DUPFD_CLOEXEC, 3));
  if (!out.journal_.valid()) return FromErrno(errno, "keep the journal");
  ASSIGN_OR_RETURN(SharedCounters counters, SharedCounters::Create());
  out.counters_.emplace(std::move(counters));
  out.program_.Reset(open(options.program.c_str(), O_PATH | O_CLOEXEC));
  out.listener_ = std::move(handover.listener);
  out.options_ = std::move(options);
  out.options_.config.wait_killable = handover.wait_killable;
  return out;
}

Keeper::~Keeper() {
  if (!running()) return;
  Kill();
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Status Keeper::Spawn() {
  ISLA_CHECK(!running());
  stuck_at_.reset();
  ASSIGN_OR_RETURN(const UniqueFd config, SealedMemfd("isla-supervisor-config", json::Serialize(ToJson(options_.config))));
  ASSIGN_OR_RETURN(const UniqueFd table, SealedMemfd("isla-supervisor-table", options_.table));
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return FromErrno(errno, "make the control socket");
  control_.Reset(sockets[0]);
  const UniqueFd its(sockets[1]);
  // What it has to say goes to our standard error, if there is one.
  const int errors = fcntl(STDERR_FILENO, F_GETFD) < 0 ? -1 : STDERR_FILENO;
  // By a descriptor of its own: this process's folder in /proc may be closed to an ordinary user's child.
  const std::string program = program_.valid() ? fmt::format("/proc/self/fd/{}", static_cast<int>(kProgramFd)) : options_.program;
  ASSIGN_OR_RETURN(pid_, SpawnProcess({.program = program,
                                      .argv = {"isla-supervisor"},
                                      .fds = {{-1, STDIN_FILENO},
                                              {-1, STDOUT_FILENO},
                                              {errors, STDERR_FILENO},
                                              {listener_.get(), kListenerFd},
                                              {journal_.get(), kJournalFd},
                                              {config.get(), kConfigFd},
                                              {table.get(), kTableFd},
                                              {options_.audit.get(), kAuditFd},
                                              {its.get(), kControlFd},
                                              {options_.memory_usage.get(), kUsageFd},
                                              {options_.user_namespace.get(), kUserNamespaceFd},
                                              {counters_->fd(), kCountersFd},
                                              {program_.get(), kProgramFd}}}));
  pidfd_.Reset(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  if (pidfd_.valid()) return OkStatus();
  const int failed = errno;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  return FromErrno(failed, "open the supervisor's pidfd");
}

Keeper::Ended Keeper::Reap(const Clock& clock) {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pidfd_.Reset();
  control_.Reset();
  pollfd end = {listener_.get(), 0, 0};
  Ended out;
  out.done = poll(&end, 1, 0) == 1 && (end.revents & POLLHUP) != 0;
  if (out.done) return out;
  const MonotonicTime now = clock.Monotonic();
  deaths_ = died_at_ && now - *died_at_ < kCalm ? deaths_ + 1 : 0;
  died_at_ = now;
  // At once as long as it may be a single bad call: that one is refused after four.
  constexpr int kAtOnce = 8;
  if (deaths_ > kAtOnce) out.respawn_after = std::min<Duration>(std::chrono::milliseconds(1 << std::min(deaths_ - kAtOnce, 10)), std::chrono::seconds(1));
  return out;
}

Status Keeper::Ask(const json::Value& value, int fd) {
  if (SendPacket(control_.get(), json::Serialize(value), fd) < 0) return OkStatus();
  const MonotonicTime until = Clock::Real().Monotonic() + kAnswer;
  pollfd answer = {control_.get(), POLLIN, 0};
  for (int ready = -1; ready <= 0;) {
    const Duration left = until - Clock::Real().Monotonic();
    ready = poll(&answer, 1, static_cast<int>(std::max<int64_t>(std::chrono::ceil<std::chrono::milliseconds>(left).count(), 0)));
    if (ready == 0 || (ready < 0 && errno != EINTR)) {
      Kill();  // it hangs: so it begins anew, too
      return OkStatus();
    }
  }
  char text[kMaxControlBytes];
  const ssize_t got = recv(control_.get(), text, sizeof text, 0);
  if (got <= 0) return OkStatus();
  ASSIGN_OR_RETURN(const json::Value said, json::Parse(std::string_view(text, static_cast<size_t>(got)), {kMaxControlBytes, 4}));
  const json::Value* const ok = said.Find("ok");
  if (ok != nullptr && ok->is_bool() && ok->as_bool()) return OkStatus();
  return Errorf(Code::kInternal, "{}", json::Serialize(said));
}

Status Keeper::Replace(std::string table, std::string version) {
  RETURN_IF_ERROR(CheckTable(table));  // as the supervisor itself will: it can't begin with another
  std::swap(options_.table, table);
  std::swap(options_.config.policy_version, version);
  counters_->Reset();
  if (!running()) return OkStatus();
  ASSIGN_OR_RETURN(const UniqueFd memfd, SealedMemfd("isla-supervisor-table", options_.table));
  const Status status = Ask(json::Value::MakeObject({{"command", "replace"}, {"version", options_.config.policy_version}}), memfd.get());
  if (status.ok()) return OkStatus();
  // It goes on with the old one, and so will its successor.
  options_.table = std::move(table);
  options_.config.policy_version = std::move(version);
  return Annotate(status, "the supervisor refuses the table");
}

Status Keeper::Tune(const Tuning& tuning, UniqueFd audit) {
  const Tuning before = this->tuning();
  const auto set = [this](const Tuning& values) {
    options_.config.calls_per_second = values.calls_per_second;
    options_.config.deadline = values.deadline;
    options_.config.audit = values.audit;
  };
  set(tuning);
  if (running()) {
    json::Value packet = ToJson(options_.config);
    packet.Set("command", "tune");
    if (const Status status = Ask(packet, audit.get()); !status.ok()) {
      set(before);
      return Annotate(status, "the supervisor refuses other bounds");
    }
  }
  if (audit.valid()) options_.audit = std::move(audit);
  return OkStatus();
}

bool Keeper::KillIfHung(const Clock& clock) {
  if (!running()) return false;
  pollfd waiting = {listener_.get(), POLLIN, 0};
  const bool pending = poll(&waiting, 1, 0) == 1 && (waiting.revents & POLLIN) != 0;
  const Journal::Look look = Journal::LookAt(journal_.get());
  const auto now_ns = static_cast<uint64_t>(clock.Monotonic().time_since_epoch().count());
  const auto patience_ns = static_cast<uint64_t>(std::chrono::nanoseconds(2 * options_.config.deadline + kLookEvery).count());
  const bool overdue = look.oldest_ns != 0 && now_ns > look.oldest_ns && now_ns - look.oldest_ns > patience_ns;
  const bool stuck = pending || look.unstamped;
  const bool hung = overdue || (stuck && stuck_at_ == look.received);
  stuck_at_ = stuck ? std::optional(look.received) : std::nullopt;
  if (hung) Kill();
  return hung;
}

void Keeper::Kill() const {
  if (running()) syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
}

}  // namespace isla::supervisor
