#include "sandbox/runner/meanwhile.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace isla::runner {
namespace {

struct Shared {
  pid_t caller = getpid();
  mutable pid_t helper = 0;
  mutable std::string made;
};

TEST(Meanwhile, TheFunctionRunsInAnotherProcessOnTheSameMemory) {
  const Shared shared;
  Meanwhile meanwhile(
      [](const void* argument) {
        const Shared& ours = *static_cast<const Shared*>(argument);
        ours.helper = getpid();
        ours.made = std::string(10'000, 'x');
        return OkStatus();
      },
      &shared);
  ASSERT_TRUE(meanwhile.Begin().ok());
  EXPECT_TRUE(meanwhile.Wait().ok());
  EXPECT_NE(shared.helper, 0);
  EXPECT_NE(shared.helper, shared.caller);
  EXPECT_EQ(shared.made, std::string(10'000, 'x'));
}

TEST(Meanwhile, WhatTheFunctionReturnsIsToldByWait) {
  Meanwhile meanwhile([](const void*) { return Error(Code::kPermissionDenied, "no"); }, nullptr);
  ASSERT_TRUE(meanwhile.Begin().ok());
  const Status status = meanwhile.Wait();
  EXPECT_EQ(status.code(), Code::kPermissionDenied);
  EXPECT_EQ(Message(status), "no");
}

TEST(Meanwhile, AHelperThatIsKilledIsAnError) {
  Meanwhile meanwhile(
      [](const void*) {
        kill(getpid(), SIGKILL);
        return OkStatus();
      },
      nullptr);
  ASSERT_TRUE(meanwhile.Begin().ok());
  EXPECT_EQ(meanwhile.Wait().code(), Code::kInternal);
}

TEST(Meanwhile, WhoeverDoesntWaitWaitsInTheDestructor) {
  const Shared shared;
  {
    Meanwhile meanwhile(
        [](const void* argument) {
          usleep(20'000);
          static_cast<const Shared*>(argument)->helper = getpid();
          return OkStatus();
        },
        &shared);
    ASSERT_TRUE(meanwhile.Begin().ok());
  }
  EXPECT_NE(shared.helper, 0);
}

}  // namespace
}  // namespace isla::runner
