#include "agentd/loop.h"

#include <sys/eventfd.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <utility>

namespace isla::agent {

// The source's userdata points at the State, which a callback keeps alive while it runs: so a Watch may be
// destroyed by its own callback.
struct Watch::State : std::enable_shared_from_this<Watch::State> {
  std::function<void(uint32_t)> fn;
  sd_event_source* source = nullptr;

  static int OnIo(sd_event_source*, int, uint32_t revents, void* data) {
    const auto state = static_cast<State*>(data)->shared_from_this();
    state->fn(revents);
    return 0;
  }
  static int OnSignal(sd_event_source*, const struct signalfd_siginfo*, void* data) {
    const auto state = static_cast<State*>(data)->shared_from_this();
    state->fn(0);
    return 0;
  }
  static int OnTime(sd_event_source*, uint64_t, void* data) {
    const auto state = static_cast<State*>(data)->shared_from_this();
    state->fn(0);
    return 0;
  }
};

Watch::~Watch() {
  sd_event_source_set_enabled(state_->source, SD_EVENT_OFF);
  sd_event_source_unref(state_->source);
}

StatusOr<std::unique_ptr<Loop>> Loop::Create() {
  std::unique_ptr<Loop> loop(new Loop);
  if (const int r = sd_event_new(&loop->event_); r < 0) return FromErrno(-r, "make an event loop");
  if (const int r = sd_event_set_watchdog(loop->event_, 1); r < 0) return FromErrno(-r, "set up the watchdog");
  loop->wake_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop->wake_.valid()) return FromErrno(errno, "eventfd");
  Loop* raw = loop.get();
  ASSIGN_OR_RETURN(loop->wake_watch_,
                   loop->WatchFd(loop->wake_.get(), /*EPOLLIN*/ 1, [raw](uint32_t) { raw->RunMailbox(); }));
  return loop;
}

Loop::~Loop() {
  timers_.clear();
  wake_watch_.reset();
  sd_event_unref(event_);
}

void Loop::Post(std::function<void()> fn) {
  bool first = false;
  {
    MutexLock lock(mu_);
    first = mailbox_.empty();
    mailbox_.push_back(std::move(fn));
  }
  if (!first) return;
  const uint64_t one = 1;
  // An eventfd can refuse only when its counter is full, and then it is readable already.
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof one);
}

void Loop::RunMailbox() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(wake_.get(), &count, sizeof count);
  std::deque<std::function<void()>> batch;
  {
    MutexLock lock(mu_);
    batch.swap(mailbox_);
  }
  for (auto& fn : batch) fn();
}

TimerId Loop::After(Duration delay, std::function<void()> fn) {
  auto state = std::make_shared<Watch::State>();
  const TimerId id = ++last_timer_;
  state->fn = [this, id, fn = std::move(fn)](uint32_t) {
    const auto watch = std::move(timers_[id]);
    timers_.erase(id);
    fn();
  };
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(delay).count();
  const uint64_t usec = micros > 0 ? static_cast<uint64_t>(micros) : 0;
  // An accuracy of 1 us where 0 would mean 250 ms.
  const int r = sd_event_add_time_relative(event_, &state->source, CLOCK_MONOTONIC, usec, 1, Watch::State::OnTime,
                                           state.get());
  ISLA_CHECK(r >= 0);
  timers_[id] = std::unique_ptr<Watch>(new Watch(std::move(state)));
  return id;
}

void Loop::Cancel(TimerId id) { timers_.erase(id); }

StatusOr<std::unique_ptr<Watch>> Loop::WatchFd(int fd, uint32_t events, std::function<void(uint32_t)> fn) {
  auto state = std::make_shared<Watch::State>();
  state->fn = std::move(fn);
  const int r = sd_event_add_io(event_, &state->source, fd, events, Watch::State::OnIo, state.get());
  if (r < 0) return FromErrno(-r, "watch a file descriptor");
  return std::unique_ptr<Watch>(new Watch(std::move(state)));
}

StatusOr<std::unique_ptr<Watch>> Loop::WatchSignal(int signal, std::function<void()> fn) {
  auto state = std::make_shared<Watch::State>();
  state->fn = [fn = std::move(fn)](uint32_t) { fn(); };
  const int r = sd_event_add_signal(event_, &state->source, signal, Watch::State::OnSignal, state.get());
  if (r < 0) return FromErrno(-r, fmt::format("watch signal {}", signal));
  return std::unique_ptr<Watch>(new Watch(std::move(state)));
}

StatusOr<int> Loop::Run() {
  const int r = sd_event_loop(event_);
  if (r < 0) return FromErrno(-r, "run the event loop");
  return r;
}

void Loop::Exit(int code) { sd_event_exit(event_, code); }

}  // namespace isla::agent
