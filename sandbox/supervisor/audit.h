// What the supervisor did, as JSON lines for whoever reads the other end of a descriptor:
//
//   {"time":"2026-11-22T15:42:17.123456Z","policyVersion":"9f2c…","rule":"rules[3]","tid":42,"exe":"/usr/bin/curl",
//    "syscall":"connect","args":{"socket":3,"address":"10.0.0.1:80"},"verdict":"errno EACCES","us":12}
//   {"time":…,"dropped":17}        that many lines were not written: the reader is slow, or there were too many
//
// Denials, kills, missed deadlines, throttling and what a rule says are always written (within the rate), other calls one of
// every `one_of_allowed`. Writing never waits: the descriptor is made non-blocking, and what it doesn't take is counted. A
// line is one write of at most 4096 bytes, so on a pipe or O_APPEND file lines of many threads and processes don't mix.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/base/clock.h"
#include "api/base/unique_fd.h"
#include "sandbox/supervisor/token_bucket.h"

namespace isla::supervisor {

struct AuditOptions {
  uint32_t one_of_allowed = 0;  // 0: none
  uint32_t lines_per_second = 1'000;
};

/// Views into the caller's memory; nothing is kept.
struct AuditEvent {
  std::string_view policy_version;
  std::string_view rule;
  int tid = 0;
  std::string_view executable;
  int number = -1;
  std::array<uint64_t, 6> arguments{};
  std::array<std::string_view, 2> paths{};
  std::string_view address;  // as text
  std::string verdict;
  std::chrono::nanoseconds took{};
};

class Audit {
 public:
  /// `sink` may be invalid: then everything is only counted.
  Audit(UniqueFd sink, AuditOptions options, const Clock& clock);

  /// From now on. Any thread.
  void SetOptions(AuditOptions options);
  /// Another place for the lines, from now on. One thread at a time.
  void SetSink(UniqueFd sink);

  /// True if an allowed call is to be written now: every n-th is.
  bool Sample();
  /// False if a line would not be written now: nobody reads, or there were too many. It is counted, and need not be made.
  bool Admit();
  /// After Admit(). Thread-safe, doesn't block.
  void Write(const AuditEvent& event);

  uint64_t written() const { return written_.load(); }
  uint64_t dropped() const { return dropped_.load(); }

 private:
  bool Put(std::string_view line);
  void Drop();

  // The number stays once there is one, as a thread may be writing to it: another file is put under it.
  UniqueFd held_;
  std::atomic<int> sink_{-1};
  std::atomic<uint32_t> one_of_allowed_;
  const Clock& clock_;
  TokenBucket rate_;
  std::atomic<uint64_t> allowed_{0}, written_{0}, dropped_{0}, untold_{0};
};

}  // namespace isla::supervisor
