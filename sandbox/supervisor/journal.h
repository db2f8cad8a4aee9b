// The calls that were received and not answered yet, in memory that outlives the supervisor.
//
// The kernel hands a notification out once. If the supervisor dies then, nobody else gets it, and the caller waits
// for ever. So it is received straight into a slot of this journal, a memfd that the parent keeps: the kernel either
// fills the slot or takes the call back into its queue, and there is no moment in which only the dead knew it.
//
//   slot          | meaning                                      | a successor
//   all zero      | free, or armed for a receive                 | -
//   filled        | received; `stage` says how far it got        | ID_VALID: answers it. Else: it was answered; clears it
//
// Layout, native byte order, never leaves the machine: Header, then slots of 192 bytes, of which those beyond the header's `used`
// were never touched. One supervisor at a time writes. Taking and returning slots is thread-safe.
#pragma once

#include <linux/seccomp.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "api/base/mutex.h"
#include "api/base/status.h"
#include "api/base/unique_fd.h"

namespace isla::supervisor {

/// How far a call got, for a successor that must not do a thing twice. Order matters.
enum class Stage : uint32_t {
  kReceived = 0,    // nothing outside of the supervisor was changed
  kPerforming = 1,  // something may have been done for the caller
  kAdding = 2,      // a descriptor that carries `tag` is being put into the caller's table
  kDone = 3,        // it was done; `result` is what the caller is to be told
};

struct alignas(64) JournalSlot {
  union {
    seccomp_notif notification;
    char room[128];  // the kernel's structure may grow
  };
  std::atomic<uint32_t> stage;
  uint32_t attempts;      // how often a successor took it up
  int64_t result;         // kDone: value, or minus an errno
  uint64_t received_ns;   // CLOCK_MONOTONIC
  uint32_t tag;           // of the descriptor, see Supervisor::SendDescriptor; 0: none

  bool filled() const { return notification.data.arch != 0; }
};
static_assert(sizeof(JournalSlot) == 192);

class Journal {
 public:
  /// How many calls may be received and unanswered at a time, unless told otherwise.
  static constexpr size_t kSlots = 1024;

  /// A new one, all free.
  static StatusOr<Journal> Create(size_t slots = kSlots);
  /// The one of a predecessor. INVALID_ARGUMENT if the descriptor isn't a journal.
  static StatusOr<Journal> Open(UniqueFd memfd);

  Journal(Journal&&) noexcept = default;
  Journal& operator=(Journal&&) noexcept = default;

  /// A free slot, zeroed, or null. It is the caller's until Return().
  JournalSlot* Take();
  /// Clears it. What it held is forgotten, so only after the answer.
  void Return(JournalSlot* slot);
  /// How many can be taken. Another thread may change it at once.
  size_t free_slots() const;
  /// What a predecessor left, filled; not among those that Take() gives. In no order.
  std::vector<JournalSlot*> Left() const { return left_; }

  int fd() const { return memfd_.get(); }

  /// One more call was received: what a watchdog sees progress by.
  void CountReceived();

  /// As another process sees it that only keeps the memfd; what it says of a moment is torn, so act on what lasts.
  struct Look {
    uint64_t received = 0;    // calls, by all supervisors together
    uint64_t oldest_ns = 0;   // CLOCK_MONOTONIC, when the call that waits longest was received; 0: none
    bool unstamped = false;   // there is one that was received but not yet stamped with its time
  };
  static Look LookAt(int memfd);

 private:
  struct Mapping {
    ~Mapping();
    void* address = nullptr;
    size_t bytes = 0;
  };
  struct Header;
  struct Free {
    mutable Mutex mu;
    std::vector<JournalSlot*> slots GUARDED_BY(mu);  // the next is the last
  };
  Journal() = default;
  Status Map(size_t bytes);
  Header& header() const { return *static_cast<Header*>(mapping_->address); }
  JournalSlot* FirstSlot() const;
  static void Clear(JournalSlot* slot);

  UniqueFd memfd_;
  std::unique_ptr<Mapping> mapping_;
  std::unique_ptr<Free> free_;
  std::vector<JournalSlot*> left_;
};

}  // namespace isla::supervisor
