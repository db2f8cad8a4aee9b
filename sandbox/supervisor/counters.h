// How often each rule decided, in a memfd that the supervisor counts into and its keeper reads: a counter costs one addition, and
// outlives the supervisor. Rules are those of the current table; the keeper sets all to 0 when it replaces the table (a call that
// is decided in that moment may be counted for the rule of that number in the other).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "api/base/status.h"
#include "api/base/unique_fd.h"

namespace isla::supervisor {

/// What became of a call.
enum class Verdict : uint32_t { kNone, kContinued, kRefused, kRewritten, kPerformed, kKilled, kThrottled };
std::string_view VerdictName(Verdict verdict);

struct RuleCount {
  uint32_t rule = 0;
  uint64_t calls = 0;
  Verdict last = Verdict::kNone;
};

class SharedCounters {
 public:
  /// Rules beyond share the last counter.
  static constexpr uint32_t kRules = 4608;

  static StatusOr<SharedCounters> Create();
  /// INVALID_ARGUMENT if the descriptor isn't one.
  static StatusOr<SharedCounters> Open(UniqueFd memfd);
  SharedCounters(SharedCounters&&) noexcept = default;
  SharedCounters& operator=(SharedCounters&&) noexcept = default;

  // Any thread, any process.
  void Count(uint32_t rule, Verdict verdict);
  /// Of a call that no rule decided: throttled, unreadable.
  void CountUndecided() { page().undecided.fetch_add(1, std::memory_order_relaxed); }
  void Reset();

  uint64_t undecided() const { return page().undecided.load(std::memory_order_relaxed); }
  /// Those that decided something, by rule.
  std::vector<RuleCount> Read() const;

  int fd() const { return memfd_.get(); }

 private:
  struct Counter {
    std::atomic<uint64_t> calls;
    std::atomic<uint32_t> last;
  };
  struct Page {
    uint64_t magic;
    std::atomic<uint64_t> undecided;
    std::atomic<uint32_t> used;  // rules below it may have counted
    Counter rules[kRules];
  };
  struct Unmap {
    void operator()(Page* page) const;
  };
  SharedCounters() = default;
  Page& page() const { return *page_; }

  UniqueFd memfd_;
  std::unique_ptr<Page, Unmap> page_;
};

}  // namespace isla::supervisor
