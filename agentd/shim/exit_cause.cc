#include "agentd/shim/exit_cause.h"

#include <signal.h>
#include <sys/wait.h>

namespace isla::shim {

Cause CauseOf(const Ending& ending) {
  Cause out;
  const int status = ending.wait_status.value_or(SIGKILL);  // as a wait status: killed by SIGKILL
  if (WIFSIGNALED(status)) {
    out.signal = WTERMSIG(status);
    out.exit_code = 128 + out.signal;
  } else {
    out.exit_code = WEXITSTATUS(status);
  }
  const bool succeeded = out.signal == 0 && out.exit_code == 0;
  if (ending.oom_kills > 0 && !succeeded && !ending.killed_by_stop) {
    out.cause = "oom";
  } else if (!ending.stop_cause.empty() && (ending.signal_delivered || ending.killed_by_stop)) {
    out.cause = ending.stop_cause;
  } else {
    out.cause = out.signal != 0 ? "signal" : "exited";
  }
  return out;
}

}  // namespace isla::shim
