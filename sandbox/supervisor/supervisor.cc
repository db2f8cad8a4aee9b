#include "sandbox/supervisor/supervisor.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "sandbox/supervisor/call_shape.h"

namespace isla::supervisor {
namespace {

/// How often blocked calls are looked at: has the caller gone, is the deadline over? Only while there are any.
constexpr std::chrono::milliseconds kLook{100};

void SetUpThread() {
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGURG);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

}  // namespace

Supervisor::Supervisor(Listener listener, Journal journal, std::shared_ptr<const Decider> decider, Audit& audit, const Clock& clock,
                       SupervisorOptions options)
    : listener_(std::move(listener)), journal_(std::move(journal)), audit_(audit), clock_(clock), options_(std::move(options)),
      rate_(options_.calls_per_second), deadline_(options_.deadline), decider_(std::move(decider)) {}

Supervisor::~Supervisor() { Stop(); }

Status Supervisor::Start() {
  ISLA_CHECK(!started_);
  stop_event_.Reset(eventfd(0, EFD_CLOEXEC));
  timer_.Reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!stop_event_.valid() || !timer_.valid()) return FromErrno(errno, "open the supervisor's events");
  struct sigaction interrupt {};
  interrupt.sa_handler = [](int) {};
  seccomp_notif_sizes sizes{};
  if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) return FromErrno(errno, "ask for the size of notifications");
  if (sizes.seccomp_notif > sizeof(JournalSlot::room) || sizes.seccomp_notif_resp > Listener::kMaxResponseBytes) {
    return Errorf(Code::kUnimplemented, "this kernel's notifications have {} bytes, too many", sizes.seccomp_notif);
  }
  if (sigaction(SIGURG, &interrupt, nullptr) != 0) return FromErrno(errno, "handle SIGURG");
  started_ = true;
  receiver_ = std::jthread([this] {
    SetUpThread();
    // What the predecessor marked may be in callers' tables: no call of ours is marked alike until all of its calls are taken up.
    std::vector<uint32_t> inherited;
    for (const JournalSlot* const slot : journal_.Left()) {
      if (tags_.Reserve(slot->tag)) inherited.push_back(slot->tag);
    }
    for (JournalSlot* const slot : journal_.Left()) TakeUp(slot);
    for (const uint32_t tag : inherited) tags_.Return(tag);
    ReceiveLoop();
  });
  watch_ = std::jthread([this] {
    SetUpThread();
    WatchLoop();
  });
  return OkStatus();
}

void Supervisor::Replace(std::shared_ptr<const Decider> decider) {
  const MutexLock lock(mu_);
  decider_ = std::move(decider);
  generation_.fetch_add(1, std::memory_order_release);
}

void Supervisor::WaitForEnd() {
  const MutexLock lock(mu_);
  while (!ended_) ended_changed_.Wait(mu_);
}

void Supervisor::InterruptUntil(pthread_t thread, const std::atomic<bool>& done) const {
  // A signal that comes just before the thread blocks is lost on it: so until it is seen.
  for (auto pause = std::chrono::microseconds(50); !done.load(); pause = std::min(pause * 2, std::chrono::microseconds(10'000))) {
    pthread_kill(thread, SIGURG);
    const timespec time = {0, std::chrono::nanoseconds(pause).count()};
    nanosleep(&time, nullptr);
  }
}

void Supervisor::Stop() {
  if (!started_) return;
  stopping_.store(true);
  const uint64_t one = 1;
  (void)!write(stop_event_.get(), &one, sizeof one);
  if (watch_.joinable()) watch_.join();
  if (receiver_.joinable()) receiver_.join();
  std::list<Worker> workers;
  {
    const MutexLock lock(mu_);
    wake_.NotifyAll();
    workers.swap(workers_);
    ended_ = true;
    ended_changed_.NotifyAll();
  }
  for (Worker& worker : workers) {
    InterruptUntil(worker.thread.native_handle(), worker.done);
    worker.thread.join();
  }
}

Counters Supervisor::counters() const {
  Counters out;
  out.received = count_.received;
  out.continued = count_.continued;
  out.refused = count_.refused;
  out.rewritten = count_.rewritten;
  out.performed = count_.performed;
  out.killed = count_.killed;
  out.throttled = count_.throttled;
  out.expired = count_.expired;
  out.gone = count_.gone;
  out.inherited = count_.inherited;
  return out;
}

size_t Supervisor::workers() const {
  const MutexLock lock(mu_);
  return workers_.size();
}

// Workers ----------------------------------------------------------------------------------------------

void Supervisor::Enqueue(const CallPtr& call) {
  {
    const MutexLock lock(mu_);
    const bool idle = queue_.size() < idle_;
    // With all of them busy the next that is done takes it.
    if (idle || workers_.size() >= options_.max_workers || AddWorker() || !workers_.empty()) {
      queue_.push_back(call);
      blocked_.push_back(call);
      if (!timer_armed_) ArmTimer();
      if (idle) wake_.NotifyOne();
      return;
    }
  }
  Finish(*call, Outcome::Errno(EAGAIN), "throttled", true);
}

/// False if there can't be another thread: a fork bomb has used them all up.
bool Supervisor::AddWorker() {
  Worker& worker = workers_.emplace_back();
  try {
    worker.thread = std::jthread([this, &worker] {
      SetUpThread();
      // Its own umask: what it makes for callers has theirs.
      ISLA_CHECK(unshare(CLONE_FS) == 0);
      umask(0);
      WorkLoop(worker);
      worker.done.store(true);
    });
    return true;
  } catch (const std::system_error&) {
    workers_.pop_back();
    return false;
  }
}

void Supervisor::WorkLoop(Worker& self) {
  for (;;) {
    CallPtr call;
    {
      const MutexLock lock(mu_);
      self.current.reset();
      ++idle_;
      while (queue_.empty() && !stopping_.load()) wake_.Wait(mu_);
      --idle_;
      if (stopping_.load()) return;
      call = std::move(queue_.front());
      queue_.pop_front();
      self.current = call;
    }
    if (!call->claimed()) WorkOn(call);
    const MutexLock lock(mu_);
    blocked_.remove(call);
  }
}

void Supervisor::WorkOn(const CallPtr& pointer) {
  ReceivedCall& call = *pointer;
  const CallShape& shape = ShapeOf(call.number());
  // Whoever performs it needs all of this; it is read once, so that what is decided about is what is done.
  Facts needs = call.decided ? Facts{0} : call.decider().Needs(call.number());
  if (shape.address >= 0) needs |= sandbox::kFactAddress;
  if (shape.fields >= 0) needs |= sandbox::kFactFields;
  int error = Gather(call, needs);
  if (error == 0) error = ResolvePaths(call);
  if (error != 0) return Finish(call, Outcome::Errno(error), "unreadable", true);
  if (!call.decided) {
    call.decision = call.decider().Decide(call.facts);
    call.decided = true;
  }
  Carry(pointer, true);
}

void Supervisor::SetBounds(uint32_t calls_per_second, std::chrono::milliseconds deadline) {
  rate_.SetBound(calls_per_second);
  deadline_.store(deadline);
}

// Watch ------------------------------------------------------------------------------------------------

void Supervisor::ArmTimer() {
  const auto look = std::min<std::chrono::nanoseconds>(kLook, deadline_.load());
  const itimerspec in = {{0, 0}, {look / std::chrono::seconds(1), (look % std::chrono::seconds(1)).count()}};
  timerfd_settime(timer_.get(), 0, &in, nullptr);
  timer_armed_ = true;
}

void Supervisor::WatchLoop() {
  // events 0: woken by the end of the last process alone, not by each call.
  pollfd fds[] = {{listener_.fd(), 0, 0}, {stop_event_.get(), POLLIN, 0}, {timer_.get(), POLLIN, 0}};
  while (!stopping_.load() && !receiver_done_.load()) {
    if (poll(fds, 3, -1) < 0) continue;
    if ((fds[0].revents & POLLHUP) != 0) {
      stopping_.store(true);
      break;
    }
    uint64_t expirations = 0;
    if (read(timer_.get(), &expirations, sizeof expirations) != sizeof expirations) continue;
    const bool again = CheckBlocked();
    const MutexLock lock(mu_);
    timer_armed_ = false;
    if (again || !blocked_.empty()) ArmTimer();
  }
  // It doesn't notice a stop by itself, nor, before 6.11, the end of the last process. Nobody joins it before this thread.
  InterruptUntil(receiver_.native_handle(), receiver_done_);
  const MutexLock lock(mu_);
  ended_ = true;
  ended_changed_.NotifyAll();
}

/// Answers a call that a worker is still busy with; of what that one writes, nothing is looked at. Without a verdict nobody
/// waits for an answer, and only the slot is given back.
void Supervisor::Abandon(ReceivedCall& call, std::string_view verdict) {
  JournalSlot* slot = nullptr;
  if (!call.Claim(slot)) return;
  const bool write = !verdict.empty() && audit_.Admit();
  const std::string executable = write ? call.caller().Executable() : std::string();
  if (listener_.Fail(call.id(), ETIMEDOUT) != 0) ++count_.gone;
  journal_.Return(slot);
  if (!write) return;
  AuditEvent event;
  event.policy_version = call.decider().version();
  event.tid = call.caller().tid();
  event.executable = executable;
  event.number = call.number();
  for (size_t i = 0; i < event.arguments.size(); ++i) event.arguments[i] = call.arguments()[i];
  event.verdict = std::string(verdict);
  event.took = std::chrono::nanoseconds(NowNs() - call.received_ns());
  audit_.Write(event);
}

/// True if a worker is still in a call that has its answer.
bool Supervisor::CheckBlocked() {
  std::vector<CallPtr> blocked;
  {
    const MutexLock lock(mu_);
    blocked.assign(blocked_.begin(), blocked_.end());
  }
  const uint64_t now = NowNs();
  const auto deadline = static_cast<uint64_t>(deadline_.load().count());
  for (const CallPtr& call : blocked) {
    if (call->claimed()) continue;
    if (now >= call->received_ns() + deadline) {
      ++count_.expired;
      Abandon(*call, "deadline");
    } else if (!call->caller().StillWaits()) {
      Abandon(*call, "");
    }
  }
  bool stuck = false;
  const MutexLock lock(mu_);
  for (Worker& worker : workers_) {
    if (worker.current == nullptr || !worker.current->claimed()) continue;
    pthread_kill(worker.thread.native_handle(), SIGURG);
    stuck = true;
  }
  return stuck;
}

}  // namespace isla::supervisor
