// One notified call from its arrival to its answer. Shared by the thread that works on it and the one that watches
// deadlines; whoever claims it answers it, once.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "api/base/mutex.h"
#include "api/base/unique_fd.h"
#include "sandbox/supervisor/caller.h"
#include "sandbox/supervisor/decider.h"
#include "sandbox/supervisor/journal.h"
#include "sandbox/supervisor/resolve.h"

namespace isla::supervisor {

/// What the caller gets.
struct Outcome {
  enum class Kind { kContinue, kValue, kErrno, kDescriptor, kKill };
  Kind kind = Kind::kErrno;
  int error = 0;
  int64_t value = 0;
  UniqueFd descriptor;
  bool close_on_exec = false;

  static Outcome Continue() { return Make(Kind::kContinue, 0, 0); }
  static Outcome Value(int64_t value) { return Make(Kind::kValue, 0, value); }
  static Outcome Errno(int error) { return Make(Kind::kErrno, error, 0); }
  static Outcome Kill() { return Make(Kind::kKill, 0, 0); }
  static Outcome Descriptor(UniqueFd fd, bool close_on_exec) {
    Outcome out = Make(Kind::kDescriptor, 0, 0);
    out.descriptor = std::move(fd);
    out.close_on_exec = close_on_exec;
    return out;
  }

 private:
  static Outcome Make(Kind kind, int error, int64_t value) {
    Outcome out;
    out.kind = kind;
    out.error = error;
    out.value = value;
    return out;
  }
};

class ReceivedCall {
 public:
  ReceivedCall(const Listener& listener, const seccomp_notif& notification, JournalSlot* slot,
               std::shared_ptr<const Decider> decider, uint64_t received_ns)
      : notification_(notification), caller_(listener, notification.id, static_cast<pid_t>(notification.pid)),
        decider_(std::move(decider)), received_ns_(received_ns), slot_(slot) {
    facts.number = notification.data.nr;
    for (size_t i = 0; i < facts.arguments.size(); ++i) facts.arguments[i] = notification.data.args[i];
    facts.now_ns = received_ns;
  }
  ReceivedCall(const ReceivedCall&) = delete;
  ReceivedCall& operator=(const ReceivedCall&) = delete;

  uint64_t id() const { return notification_.id; }
  int number() const { return notification_.data.nr; }
  const __u64 (&arguments() const)[6] { return notification_.data.args; }
  const Caller& caller() const { return caller_; }
  /// The policy of its arrival, whatever came since.
  const Decider& decider() const { return *decider_; }
  uint64_t received_ns() const { return received_ns_; }

  /// True for the one who is to answer; he gets the slot, and nobody else touches it from then on.
  bool Claim(JournalSlot*& slot) EXCLUDES(mu_) {
    const MutexLock lock(mu_);
    slot = slot_;
    slot_ = nullptr;
    return slot != nullptr;
  }
  bool claimed() const EXCLUDES(mu_) {
    const MutexLock lock(mu_);
    return slot_ == nullptr;
  }
  /// Writes down that from here on something may have been done for the caller. False if it has its answer already.
  bool BeginPerforming() EXCLUDES(mu_) {
    const MutexLock lock(mu_);
    if (slot_ == nullptr) return false;
    slot_->stage.store(static_cast<uint32_t>(Stage::kPerforming), std::memory_order_release);
    return true;
  }

  /// The struct sockaddr `bytes`, which must stay, is the call's address. False if it is too short to be one.
  bool KnowAddress(std::string_view bytes) {
    const std::optional<SocketAddress> decoded = SocketAddress::FromBytes(bytes);
    if (!decoded) return false;
    facts.address = *decoded;
    facts.known |= sandbox::kFactAddress;
    return true;
  }

  // What was found out; one thread at a time works on a call.
  NotifiedCall facts;
  std::array<Resolved, 2> resolved;
  std::string address;        // struct sockaddr, as the caller gave it
  std::string shown_address;  // with a unix path resolved: what facts.address is of then
  std::string executable;
  Decision decision;
  std::string answer_text, program_error;  // of the policy's function, if it was asked
  bool by_program = false;
  bool decided = false, performed = false;
  /// A predecessor died in the middle of performing it.
  bool performed_before = false;

 private:
  const seccomp_notif notification_;
  const Caller caller_;
  const std::shared_ptr<const Decider> decider_;
  const uint64_t received_ns_;
  mutable Mutex mu_;
  JournalSlot* slot_ GUARDED_BY(mu_);
};

}  // namespace isla::supervisor
