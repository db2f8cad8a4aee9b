// The steps of a container's life: see the table in shim.h.
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agentd/shim/exit_cause.h"
#include "agentd/shim/shim.h"
#include "agentd/shim/start_ticks.h"

namespace isla::shim {
namespace {

using std::chrono::milliseconds;

constexpr size_t kChunkBytes = 64 * 1024;
/// An unfinished line (a prompt, a progress bar) shows after so long.
constexpr milliseconds kFlushAfter{100};
constexpr int64_t kMaxGraceMsec = int64_t{366} * 24 * 3600 * 1000;

int64_t Nanoseconds(WallTime time) { return time.time_since_epoch().count(); }

}  // namespace

void Shim::Go() {
  if (state_ != State::kWaiting) return;
  state_ = State::kStarting;
  const Step step = Start();
  if (!step.ok()) Fail(step);
}

Step Shim::Start() {
  RETURN_IF_FAILED(prepare_failure_);
  RETURN_IF_FAILED(WatchContainer());
  Step entered = leaves_.Create(request_.scope, limits_, container_.pid);
  if (entered.ok() && policy_.sections.net) {
    entered = supervision_.EnforceNet(leaves_.unified_folder());
    if (entered.ok()) entered = leaves_.EnterUnified(container_.pid);
  }
  if (entered.ok()) entered = EnterContainer(leaves_, container_);
  if (!entered.ok()) {
    OnReport();  // what it has failed at says more than that it is gone
    return state_ == State::kStarting ? entered : Step::Done();
  }
  RETURN_IF_FAILED(leaves_.WatchOom());
  return leaves_.oom_event_fd() < 0 ? Step::Done() : Watch(leaves_.oom_event_fd(), EPOLLIN);
}

Step Shim::WatchContainer() {
  if (!container_.pidfd.valid()) return Step::Done();
  for (const int fd : {container_.report.get(), container_.pidfd.get(), container_.out.get(), container_.err.get()}) {
    RETURN_IF_FAILED(Watch(fd, EPOLLIN));
  }
  return container_.handover.valid() ? Watch(container_.handover.get(), EPOLLIN) : Step::Done();
}

/// The child waits in its handover until this is done. If it has died, or its filter wasn't loaded, it tells so itself.
void Shim::OnHandover() {
  const UniqueFd socket = std::move(container_.handover);
  Unwatch(socket.get());
  if (state_ != State::kStarting) return;
  pollfd said = {socket.get(), POLLIN, 0};
  if (poll(&said, 1, 0) != 1 || (said.revents & POLLIN) == 0) return;
  const Step taken = supervision_.Take(socket.get(), container_.pidfd.get(), std::move(container_.user_namespace), leaves_.OpenMemoryUsage());
  if (!taken.ok()) {
    OnReport();
    if (state_ == State::kStarting) Fail(taken);
    return;
  }
  Supervise(nullptr);
  (void)Watch(supervision_.audit_fd(), EPOLLIN);  // at worst lines are dropped, which is counted
}

void Shim::Supervise(void (Supervision::*step)()) {
  // Out of the loop first: what is watched next may have the same number.
  if (supervised_fd_ >= 0) Unwatch(supervised_fd_);
  if (step != nullptr) (supervision_.*step)();
  supervised_fd_ = supervision_.watched();
  if (supervised_fd_ < 0) return;
  const Step watched = Watch(supervised_fd_, EPOLLIN);
  if (!watched.ok()) log_.Error("the supervisor can't be watched, calls may wait for ever", "step='{}' errno={}", watched.name, watched.error);
}

void Shim::OnStarted() {
  state_ = State::kRunning;
  started_at_ = clock_.Wall();
  if (request_.timeout_msec > 0) timeout_at_ = clock_.Monotonic() + milliseconds(request_.timeout_msec);
  const int64_t at = Nanoseconds(started_at_);
  const json::Value running = json::Value::MakeObject(
      {{"startedAtNs", at}, {"initPid", container_.pid}, {"shimPid", getpid()}, {"shimStartTicks", StartTicks(getpid())}});
  const Status written = WriteFileAtomically(request_.run_dir + "/running", json::Serialize(running), 0600, false);
  if (!written.ok()) log_.Warn("the file 'running' was not written, going on without it", "error='{}'", Message(written));
  Broadcast(json::Value::MakeObject({{"event", "running"}, {"startedAtNs", at}, {"initPid", container_.pid}}));
}

void Shim::OnReport() {
  for (;;) {
    init::Report report;
    const ssize_t got = recv(container_.report.get(), &report, sizeof report, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got != sizeof report) {
      if (got == 0 || errno != EAGAIN) Unwatch(container_.report.get());  // its end: the pidfd tells
      return;
    }
    report.step[sizeof report.step - 1] = '\0';
    if (report.kind == init::ReportKind::kStarted && state_ == State::kStarting) {
      const Step limited = leaves_.LimitCpu();
      if (!limited.ok()) return Fail(limited);
      OnStarted();
    } else if (report.kind == init::ReportKind::kStepFailed && state_ == State::kStarting) {
      return Fail(Step::Failed(report.step, report.error));
    } else if (report.kind == init::ReportKind::kNotExecuted && state_ == State::kStarting) {
      return Fail(Step::Failed(report.step, report.error), /*at_command=*/true);
    } else if (report.kind == init::ReportKind::kExited && state_ == State::kRunning) {
      Ending ending;
      ending.wait_status = report.wait_status;
      ending.signal_delivered = report.signal_delivered != 0;
      return End(ending, &report);
    }
  }
}

void Shim::OnInitGone() {
  Unwatch(container_.pidfd.get());
  // What it said before it went comes first.
  OnReport();
  waitpid(container_.pid, nullptr, 0);
  init_gone_ = true;
  if (state_ == State::kCleaning) return Clean();
  if (state_ == State::kStarting && stop_cause_.empty() && leaves_.ReadUsage().oom_kills == 0) {
    return Fail(Step::Failed("start the container: its first process died", ECHILD));
  }
  if (state_ == State::kStarting || state_ == State::kRunning) End({}, nullptr);
}

void Shim::Stop(int64_t grace_period_msec, const std::string& cause) {
  if (state_ == State::kCleaning || state_ == State::kDone) return;
  // An end that is already here was not ours.
  if (container_.report.valid()) OnReport();
  if (state_ != State::kWaiting && state_ != State::kStarting && state_ != State::kRunning) return;
  const bool first = stop_cause_.empty();
  if (first) stop_cause_ = cause;
  timeout_at_.reset();
  if (state_ == State::kWaiting) {
    (void)WatchContainer();  // for its end
    killed_by_stop_ = true;
    return End({}, nullptr);
  }
  const MonotonicTime end = clock_.Monotonic() + milliseconds(std::min(grace_period_msec, kMaxGraceMsec));
  if (state_ == State::kStarting) {
    kill_at_ = clock_.Monotonic();  // nothing of the user's runs yet
    return;
  }
  if (!kill_at_ || end < *kill_at_) kill_at_ = end;
  if (!first) return;
  const init::SignalCommand term = {SIGTERM};
  while (send(container_.report.get(), &term, sizeof term, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EINTR) {
  }
}

void Shim::OnOutOfMemory() {
  uint64_t count = 0;
  (void)!read(leaves_.oom_event_fd(), &count, sizeof count);
  if (state_ != State::kStarting && state_ != State::kRunning) return;
  // The event comes before the kill. v2 kills the whole leaf; so does this.
  if (leaves_.ReadUsage().oom_kills > 0) {
    KillContainer();
  } else if (++oom_checks_ < 100) {
    oom_check_at_ = clock_.Monotonic() + milliseconds(2);
  } else {
    oom_checks_ = 0;
  }
}

void Shim::KillContainer() {
  if (container_.pidfd.valid() && !init_gone_) {
    // PID 1 takes its whole pid namespace with it.
    syscall(SYS_pidfd_send_signal, container_.pidfd.get(), SIGKILL, nullptr, 0);
  }
  leaves_.Kill();
}

void Shim::Fail(const Step& step, bool at_command) {
  ExitRecord record;
  record.cause = "start-error";
  record.step = step.name;
  record.error = step.error;
  record.at_command = at_command;
  record.message = Message(FromErrno(step.error, step.name));
  if (!stop_cause_.empty()) {
    record = {};
    record.cause = stop_cause_;
  }
  WriteRecord(record);
}

void Shim::End(const Ending& known, const init::Report* report) {
  const Usage usage = leaves_.ReadUsage();
  Ending ending = known;
  // systemctl stop signals every process of the scope at once: the payload's end may be seen before our signal.
  TakeSignals();
  if (told_to_stop_) {
    if (stop_cause_.empty()) stop_cause_ = "stopped";
    ending.signal_delivered = true;
  }
  ending.stop_cause = stop_cause_;
  ending.killed_by_stop = killed_by_stop_;
  ending.oom_kills = usage.oom_kills;
  const Cause cause = CauseOf(ending);
  ExitRecord record;
  record.cause = cause.cause;
  record.exit_code = cause.exit_code;
  record.signal = cause.signal;
  record.oom_kills = usage.oom_kills;
  record.peak_memory_bytes = usage.peak_memory_bytes;
  record.cpu_time_usec = usage.cpu_time_usec;
  if (report != nullptr) {
    if (record.cpu_time_usec == 0) record.cpu_time_usec = report->cpu_time_usec;
    if (record.peak_memory_bytes == 0) record.peak_memory_bytes = report->max_rss_kib * 1024;
  }
  if (started_at_ != WallTime{}) record.started_at_ns = Nanoseconds(started_at_);
  DrainOutput();
  writer_.FlushPartial(clock_.Wall());
  WriteRecord(record);
}

void Shim::WriteRecord(ExitRecord record) {
  state_ = State::kCleaning;
  record.finished_at_ns = Nanoseconds(clock_.Wall());
  record.log_dropped_bytes = writer_.dropped_bytes();
  timeout_at_.reset();
  kill_at_.reset();
  oom_check_at_.reset();
  const Status written = WriteFileAtomically(request_.run_dir + "/exit", json::Serialize(ToJson(record)), 0600, false);
  if (!written.ok()) log_.Error("the exit record was not written, the exit will be reported as lost", "error='{}'", Message(written));
  Broadcast(json::Value::MakeObject({{"event", "exited"}}));
  Clean();
}

void Shim::Clean() {
  KillContainer();
  if (container_.pidfd.valid() && !init_gone_) return;  // OnInitGone comes back here
  DrainOutput();
  // It lives in the leaf shim/, which goes, too.
  if (supervised_fd_ >= 0) Unwatch(supervised_fd_);
  supervised_fd_ = -1;
  supervision_.End();
  if (!leaves_.Remove()) {
    clean_backoff_ = std::clamp<Duration>(clean_backoff_ * 2, milliseconds(1), std::chrono::seconds(1));
    clean_at_ = clock_.Monotonic() + clean_backoff_;
    return;
  }
  writer_.FlushPartial(clock_.Wall());
  LeaveNothing();
}

void Shim::LeaveNothing() {
  if (container_.pidfd.valid() && !init_gone_) {  // told to end before go
    KillContainer();
    waitpid(container_.pid, nullptr, 0);
  }
  unlink((request_.run_dir + "/shim.sock").c_str());
  rmdir((request_.run_dir + "/root").c_str());
  state_ = State::kDone;
}

void Shim::ReadOutput(UniqueFd& pipe, Stream stream) {
  char chunk[kChunkBytes];
  const ssize_t got = read(pipe.get(), chunk, sizeof chunk);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got <= 0) {
    Unwatch(pipe.get());
    pipe.Reset();
    return;
  }
  writer_.Append(stream, {chunk, static_cast<size_t>(got)}, clock_.Wall());
  if (!writer_.has_partial()) {
    flush_at_.reset();
  } else if (!flush_at_) {
    flush_at_ = clock_.Monotonic() + kFlushAfter;
  }
}

void Shim::DrainOutput() {
  // What is in the pipes now, and no more: what is left of the container may go on writing.
  for (const auto& [pipe, stream] : {std::pair(&container_.out, Stream::kStdout), std::pair(&container_.err, Stream::kStderr)}) {
    int left = 0;
    if (!pipe->valid() || ioctl(pipe->get(), FIONREAD, &left) != 0) continue;
    while (left > 0 && pipe->valid()) {
      ReadOutput(*pipe, stream);
      left -= static_cast<int>(kChunkBytes);
    }
  }
}

}  // namespace isla::shim
