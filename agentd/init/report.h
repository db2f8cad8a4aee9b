// What the container's PID 1 and isla-shim tell each other, over one SOCK_SEQPACKET pair: descriptor 3 of
// isla-init. Both are built together and live together, so the structs are the protocol. The socket is a
// lifeline too: end of file at the shim's end means that PID 1 is gone, at PID 1's that the shim is.
//
// Order at the shim: kStepFailed or kNotExecuted, and nothing else; or kStarted, then kExited. No kExited before the end of
// file: PID 1 was killed.
#pragma once

#include <cstdint>

namespace isla::init {

inline constexpr int kReportFd = 3;

enum class ReportKind : uint32_t { kStepFailed = 1, kStarted = 2, kExited = 3, kNotExecuted = 4 };

struct Report {
  ReportKind kind = ReportKind::kStepFailed;
  int32_t error = 0;            // kStepFailed; kNotExecuted, of the payload's execve: errno
  int32_t wait_status = 0;      // kExited: of the payload, as wait4(2) gives it
  uint32_t signal_delivered = 0;  // kExited: a signal that the shim asked for was sent to it before it ended
  int64_t cpu_time_usec = 0;    // kExited: of all reaped processes
  int64_t max_rss_kib = 0;      // kExited: of the largest of them
  char step[96] = {};           // kStepFailed, kNotExecuted: what failed, "mount proc"
};

/// Shim to PID 1: send this signal to the payload.
struct SignalCommand {
  int32_t signal = 0;
};

}  // namespace isla::init
