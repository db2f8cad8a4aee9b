#include "agentd/shim/control.h"

#include <gtest/gtest.h>

#include "agentd/shim/container.h"

namespace isla::shim {
namespace {

using Kind = Command::Kind;

TEST(ParseCommand, KnowsTheProtocol) {
  EXPECT_EQ(ParseCommand(R"({"command":"go","invocationId":"abc"})").kind, Kind::kGo);
  EXPECT_EQ(ParseCommand(R"({"command":"go","invocationId":"abc"})").invocation_id, "abc");
  EXPECT_EQ(ParseCommand(R"({"command":"state","new":1})").kind, Kind::kState);
  const Command stop = ParseCommand(R"({"command":"stop","gracePeriodMsec":250,"cause":"timeout"})");
  EXPECT_EQ(stop.kind, Kind::kStop);
  EXPECT_EQ(stop.grace_period_msec, 250);
  EXPECT_EQ(stop.cause, "timeout");
}

TEST(ParseCommand, WhatIsNotUnderstoodIsNothing) {
  for (const char* packet : {"", "{}", "[]", "go", R"({"command":"jump"})", R"({"command":1})", R"({"command":"stop"})",
                             R"({"command":"stop","gracePeriodMsec":-1,"cause":"stopped"})",
                             R"({"command":"stop","gracePeriodMsec":"1","cause":"stopped"})",
                             R"({"command":"stop","gracePeriodMsec":1,"cause":"oom"})"}) {
    EXPECT_EQ(ParseCommand(packet).kind, Kind::kNone) << packet;
  }
}

TEST(PayloadEnvironment, FillsInWhatIsMissingAndKeepsWhatIsGiven) {
  LaunchRequest request;
  request.hostname = "box";
  request.env = {"HOME=/work", "PATHS=x"};
  const std::vector<std::string> env = PayloadEnvironment(request);
  EXPECT_EQ(env, (std::vector<std::string>{"HOME=/work", "PATHS=x",
                                           "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                           "HOSTNAME=box", "USER=root"}));
}

}  // namespace
}  // namespace isla::shim
