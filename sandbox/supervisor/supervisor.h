// Answers the notified calls of one process tree.
//
//   receiver thread: always receives; decides at once what needs nothing that could block (numbers, addresses, emulators,
//                    sealed files), hands the rest on
//   worker threads:  paths, the policy's functions, and what is performed for the caller; started when first needed, at most max_workers
//   watch thread:    the end of the last process, deadlines, callers that are gone while a worker blocks for them
//
// A call is decided by the policy of its arrival. Each received call is answered once: by whoever claims it (received_call.h).
// Whatever kills this process, the journal has all calls that were received and not answered; a new Supervisor on a duplicate
// of the listener and the same journal answers them first.
//
// Invariants
//   - After something behind a pointer was read, an enforcing policy's "continue" is done by us, or refused.
//   - A call whose answer can't be found out is refused, never let go on.
//   - The receiver does nothing that waits for anybody but the caller itself.
//
// Threads are interrupted by SIGURG: Start() installs an empty handler for it, process-wide, and blocks every other signal in
// its threads.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include "api/base/clock.h"
#include "api/base/log.h"
#include "sandbox/supervisor/audit.h"
#include "sandbox/supervisor/counters.h"
#include "sandbox/supervisor/emulate.h"
#include "sandbox/supervisor/journal.h"
#include "sandbox/supervisor/perform.h"
#include "sandbox/supervisor/received_call.h"
#include "sandbox/supervisor/tag_pool.h"

namespace isla::supervisor {

/// Points at which a test may kill the process.
enum class TestStep { kReceived, kDecided, kPerformed, kDescriptorAdded, kAnswered };

struct SupervisorOptions {
  Grant grant = {};
  uint32_t calls_per_second = 20'000;     // beyond: EAGAIN. 0: no bound
  std::chrono::milliseconds deadline{5'000};  // for one call; then ETIMEDOUT
  size_t max_workers = 8;
  SharedCounters* counters = nullptr;  // by rule; may be null, must outlive the supervisor
  std::function<void(TestStep)> at_step_for_test = {};
};

struct Counters {
  uint64_t received = 0, continued = 0, refused = 0, rewritten = 0, performed = 0, killed = 0;
  uint64_t throttled = 0, expired = 0, gone = 0, inherited = 0;
};

class Supervisor {
 public:
  /// `audit` and `clock` must outlive it.
  Supervisor(Listener listener, Journal journal, std::shared_ptr<const Decider> decider, Audit& audit, const Clock& clock,
             SupervisorOptions options);
  /// As Stop().
  ~Supervisor();

  /// Answers what a predecessor left in the journal, then starts receiving. Call once.
  Status Start();
  /// For the calls that arrive from now on.
  void Replace(std::shared_ptr<const Decider> decider);
  /// Other bounds, from now on: those of SupervisorOptions. Any thread.
  void SetBounds(uint32_t calls_per_second, std::chrono::milliseconds deadline);
  /// Blocks until no process carries the filter any more, or Stop().
  void WaitForEnd();
  /// Ends the threads. Calls that weren't answered stay in the journal. Idempotent.
  void Stop();

  Counters counters() const;
  /// How many worker threads there are: 0 until something could block.
  size_t workers() const;

 private:
  using CallPtr = std::shared_ptr<ReceivedCall>;
  struct Worker {
    CallPtr current;  // under mu_
    std::atomic<bool> done{false};
    std::jthread thread;
  };

  // receiver.cc
  void ReceiveLoop();
  void OnReceived(JournalSlot* slot);
  void TakeUp(JournalSlot* slot);
  bool FinishAdded(ReceivedCall& call, JournalSlot& slot);
  CallPtr MakeCall(JournalSlot* slot, uint64_t now_ns);
  std::shared_ptr<const Decider> CurrentDecider();
  void HandleInline(const CallPtr& call);
  int Gather(ReceivedCall& call, Facts needs) const;
  void Carry(const CallPtr& call, bool on_worker);
  int AskProgram(ReceivedCall& call) const;
  void Finish(ReceivedCall& call, Outcome outcome, std::string_view verdict, bool audit);
  int Send(ReceivedCall& call, Outcome& outcome, JournalSlot& slot);
  int SendDescriptor(ReceivedCall& call, const Outcome& outcome, JournalSlot& slot);
  void WriteAudit(const ReceivedCall& call, std::string_view executable, std::string_view verdict);
  uint64_t NowNs() const;
  void At(TestStep step) const {
    if (options_.at_step_for_test) options_.at_step_for_test(step);
  }

  // supervisor.cc
  void Enqueue(const CallPtr& call);
  bool AddWorker() REQUIRES(mu_);
  void WorkLoop(Worker& self);
  void WorkOn(const CallPtr& call);
  void WatchLoop();
  bool CheckBlocked();
  void Abandon(ReceivedCall& call, std::string_view verdict);
  void ArmTimer() REQUIRES(mu_);
  void InterruptUntil(pthread_t thread, const std::atomic<bool>& done) const;

  const Listener listener_;
  Journal journal_;
  Audit& audit_;
  const Clock& clock_;
  const SupervisorOptions options_;
  const Logger log_{"supervisor"};
  Contents contents_;
  TokenBucket rate_;
  TagPool tags_;
  UniqueFd stop_event_, timer_;

  std::atomic<bool> stopping_{false}, receiver_done_{false};
  std::atomic<uint64_t> generation_{1};
  std::atomic<std::chrono::nanoseconds> deadline_;
  struct {
    std::atomic<uint64_t> received{0}, continued{0}, refused{0}, rewritten{0}, performed{0}, killed{0}, throttled{0}, expired{0},
        gone{0}, inherited{0};
  } count_;

  // The receiver's own.
  std::shared_ptr<const Decider> known_decider_;
  uint64_t known_generation_ = 0;

  mutable Mutex mu_;
  CondVar wake_, ended_changed_;
  std::shared_ptr<const Decider> decider_ GUARDED_BY(mu_);
  std::deque<CallPtr> queue_ GUARDED_BY(mu_);
  std::list<CallPtr> blocked_ GUARDED_BY(mu_);  // queued or worked on, oldest first
  std::list<Worker> workers_ GUARDED_BY(mu_);
  size_t idle_ GUARDED_BY(mu_) = 0;
  bool timer_armed_ GUARDED_BY(mu_) = false;
  bool ended_ GUARDED_BY(mu_) = false;

  std::jthread receiver_, watch_;
  bool started_ = false;
};

}  // namespace isla::supervisor
