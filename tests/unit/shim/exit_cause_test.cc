#include "agentd/shim/exit_cause.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace isla::shim {
namespace {

constexpr int Exited(int code) { return code << 8; }
constexpr int Killed(int signal) { return signal; }

struct Case {
  const char* what;
  Ending ending;
  const char* cause;
  int exit_code;
  int signal;
};

TEST(CauseOf, EveryEndingHasItsCause) {
  const Case cases[] = {
      {"its own end", {Exited(0), "", false, false, 0}, "exited", 0, 0},
      {"its own failure", {Exited(3), "", false, false, 0}, "exited", 3, 0},
      {"a crash", {Killed(SIGSEGV), "", false, false, 0}, "signal", 139, SIGSEGV},
      {"a crash with core flag", {Killed(SIGABRT) | 0x80, "", false, false, 0}, "signal", 134, SIGABRT},
      {"PID 1 killed by somebody", {{}, "", false, false, 0}, "signal", 137, SIGKILL},
      {"out of memory, all killed", {{}, "", false, false, 2}, "oom", 137, SIGKILL},
      {"out of memory, the payload killed", {Killed(SIGKILL), "", false, false, 1}, "oom", 137, SIGKILL},
      {"out of memory, a child killed and the payload failed of it", {Exited(2), "", false, false, 1}, "oom", 2, 0},
      {"out of memory, a child killed and nobody cared", {Exited(0), "", false, false, 1}, "exited", 0, 0},
      {"stopped by the signal", {Killed(SIGTERM), "stopped", true, false, 0}, "stopped", 143, SIGTERM},
      {"stopped, gracefully", {Exited(0), "stopped", true, false, 0}, "stopped", 0, 0},
      {"stopped by the kill", {{}, "stopped", true, true, 0}, "stopped", 137, SIGKILL},
      {"timed out", {Killed(SIGTERM), "timeout", true, false, 0}, "timeout", 143, SIGTERM},
      {"ended before the stop reached it", {Exited(0), "stopped", false, false, 0}, "exited", 0, 0},
      {"crashed before the stop reached it", {Killed(SIGSEGV), "timeout", false, false, 0}, "signal", 139, SIGSEGV},
      {"out of memory while being stopped", {Killed(SIGKILL), "stopped", true, false, 1}, "oom", 137, SIGKILL},
      {"killed at the end of the grace period, with old OOM kills", {{}, "stopped", true, true, 3}, "stopped", 137, SIGKILL},
  };
  for (const Case& c : cases) {
    const Cause cause = CauseOf(c.ending);
    EXPECT_EQ(cause.cause, c.cause) << c.what;
    EXPECT_EQ(cause.exit_code, c.exit_code) << c.what;
    EXPECT_EQ(cause.signal, c.signal) << c.what;
  }
}

}  // namespace
}  // namespace isla::shim
