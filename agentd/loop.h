// The one thread that owns all state of isla-agentd: an sd-event loop (sd-event(3)).
//
// Everything in agentd happens here: systemd's answers, signals, shims' sockets and deaths, timers, the
// messages of the control plane. Other threads (gRPC's, the journal's writer, workers) reach it by Post
// alone; it is the only function that may be called from another thread, and the only lock of agentd's logic.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agentd/timers.h"
#include "api/base/mutex.h"
#include "api/base/status.h"
#include "api/base/unique_fd.h"

struct sd_event;
struct sd_event_source;

namespace isla::agent {

/// Something that other threads may hand work to. The loop; in tests, a queue.
class Mailbox {
 public:
  virtual ~Mailbox() = default;
  /// `fn` runs on the loop thread, after all that was posted before it. Any thread. What is posted after the
  /// loop has ended is destroyed unrun.
  virtual void Post(std::function<void()> fn) = 0;
};

/// A registration at the loop; destroying it (allowed within its own callback) ends it.
class Watch {
 public:
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  friend class Loop;
  struct State;
  explicit Watch(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

class Loop final : public Timers, public Mailbox {
 public:
  static StatusOr<std::unique_ptr<Loop>> Create();
  ~Loop() override;

  void Post(std::function<void()> fn) override;
  TimerId After(Duration delay, std::function<void()> fn) override;
  void Cancel(TimerId id) override;

  /// Calls `fn` with the ready EPOLL* bits whenever `fd` is ready for `events` (level-triggered). `fd` must
  /// outlive the watch.
  StatusOr<std::unique_ptr<Watch>> WatchFd(int fd, uint32_t events, std::function<void(uint32_t)> fn);
  /// Calls `fn` for each delivery of a signal, which every thread must have blocked.
  StatusOr<std::unique_ptr<Watch>> WatchSignal(int signal, std::function<void()> fn);

  /// Runs until Exit; returns Exit's code. Pets systemd's watchdog where it asks for that.
  StatusOr<int> Run();
  /// Loop thread only.
  void Exit(int code);

  sd_event* event() const { return event_; }

 private:
  Loop() = default;
  void RunMailbox();

  sd_event* event_ = nullptr;
  UniqueFd wake_;
  std::unique_ptr<Watch> wake_watch_;
  std::map<TimerId, std::unique_ptr<Watch>> timers_;
  TimerId last_timer_ = 0;
  Mutex mu_;
  std::deque<std::function<void()>> mailbox_ GUARDED_BY(mu_);
};

}  // namespace isla::agent
