// A part of a test in a process of its own, for what can't be taken back: limits, users, mounts.
#pragma once

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "api/base/status.h"

namespace isla::testing {

/// Runs `body` in a forked child, which dies with this process. Its failures are printed and fail the test. There must be no
/// other thread when it is called. False: `body` gave false: it can't be done here.
template <typename Body>
bool RunInChild(Body body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  ISLA_CHECK(child >= 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const bool done = body();
    std::fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 1 : done ? 0 : 2);
  }
  int status = 0;
  ISLA_CHECK(waitpid(child, &status, 0) == child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 1) << "the child failed: status " << status;
  return !WIFEXITED(status) || WEXITSTATUS(status) != 2;
}

}  // namespace isla::testing
