// Why a container ended: one pure function from what the shim knows, so that every case is a unit test.
//
//   OOM kills | ended by                              | cause
//   > 0       | anything but the payload's own exit 0 | oom (a stop's SIGKILL after the grace period: the stop's)
//   any       | a stop that reached it                | stopped, timeout
//   any       | a signal                              | signal
//   any       | its own exit                          | exited
//
// A stop reached the payload if PID 1 sent it the signal before it ended, or if the shim killed it at the end of
// the grace period. A stop that came too late changes nothing: the payload had ended by itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace isla::shim {

struct Ending {
  std::optional<int> wait_status;  // of the payload; nothing: PID 1 was killed, and it with it
  std::string stop_cause;          // "" (none was asked for), "stopped" or "timeout"
  bool signal_delivered = false;   // the stop's signal reached the payload before it ended
  bool killed_by_stop = false;     // the shim killed the container at the end of the grace period
  int64_t oom_kills = 0;
};

struct Cause {
  std::string cause;  // exited, signal, oom, stopped, timeout
  int exit_code = 0;  // 128 + signal if it was killed by one
  int signal = 0;
};

Cause CauseOf(const Ending& ending);

}  // namespace isla::shim
