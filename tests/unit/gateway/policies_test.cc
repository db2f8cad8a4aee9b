// Versions of sandbox policies: told once, with their text to who lacks it.
#include "tests/unit/gateway/gateway_fixture.h"

namespace isla::controllers {
namespace {

class PolicyTest : public GatewayTest {
 protected:
  PolicySpec Apply(const std::string& mode) {
    const std::string text = fmt::format(
        R"({{"apiVersion":"isla/v1","kind":"SandboxPolicy","metadata":{{"name":"web","namespace":"default","uid":"{}"}},"spec":{{"mode":"{}"}}}})", Uid(77), mode);
    Put(keys_.Spec("sandboxpolicy", "default", "web"), text);
    PolicySpec policy = DecodeStoredPolicy(*Read(keys_.Spec("sandboxpolicy", "default", "web"))).value();
    EXPECT_TRUE(Eventually([&] { return state_->PolicyText("default", "web", policy.hash) != nullptr; }));
    return policy;
  }
  void Bind(const PolicySpec& wanted) {
    BindContainer container = Container(1);
    container.launch.Set("sandboxPolicy", "web");
    container.launch.Set("sandboxPolicyHash", one_);
    if (wanted.hash != one_) container.WantPolicy(wanted.hash);
    PutBind(1, container);
  }
  /// The policy that the only container of a delta should have, and what else is said of it.
  static void ExpectTold(const std::optional<isla::v1::Delta>& delta, const PolicySpec& policy, bool with_text = true) {
    ASSERT_TRUE(delta.has_value());
    ASSERT_EQ(delta->upserts_size(), 1);
    EXPECT_EQ(delta->upserts(0).live().sandbox_policy_hash(), policy.hash);
    EXPECT_EQ(delta->upserts(0).live().sandbox_policy_text(), "");
    ASSERT_EQ(delta->policies_size(), with_text ? 1 : 0);
    if (!with_text) return;
    EXPECT_EQ(delta->policies(0).hash(), policy.hash);
    EXPECT_EQ(delta->policies(0).text(), policy.text);
  }

  std::string one_;
};

TEST_F(PolicyTest, ASandboxPolicyIsToldOnceADeltaHoweverManyHaveIt) {
  const PolicySpec policy = Apply("enforce");
  for (const int n : {1, 2}) {
    BindContainer container = Container(n);
    container.launch.Set("sandboxPolicy", "web");
    container.launch.Set("sandboxPolicyHash", policy.hash);
    PutBind(n, container);
  }
  PutBind(3);
  StartGateway();
  {
    FakeAgent agent(Target());
    agent.Join();
    EXPECT_EQ(agent.first.upserts_size(), 3);
    ASSERT_EQ(agent.first.policies_size(), 1);
    EXPECT_EQ(agent.first.policies(0).hash(), policy.hash);
    EXPECT_EQ(agent.first.policies(0).text(), policy.text);
  }
  Apply("warn");
  ASSERT_TRUE(Eventually([&] { return state_->PolicyText("default", "web", policy.hash) == nullptr; }));
  FakeAgent agent(Target());
  agent.Join();
  EXPECT_EQ(agent.first.upserts_size(), 3);
  EXPECT_EQ(agent.first.policies_size(), 0) << "of a version that is gone there is no text";
}

TEST_F(PolicyTest, ANewVersionIsToldWithItsTextAndOnceOnly) {
  const PolicySpec one = Apply("enforce");
  one_ = one.hash;
  Bind(one);
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  ExpectTold(agent.first, one);
  const PolicySpec two = Apply("warn");
  EXPECT_FALSE(agent.NextDelta(kQuiet).has_value()) << "bind/ says what is wanted";
  Bind(two);
  const auto delta = agent.NextDelta();
  ExpectTold(delta, two);
  agent.Ack(*delta);
  EXPECT_FALSE(agent.NextDelta(kQuiet).has_value());
}

TEST_F(PolicyTest, AnAgentThatHasItIsToldWithoutTheTextAndOneThatLacksItWith) {
  const PolicySpec one = Apply("enforce");
  one_ = one.hash;
  Bind(one);
  StartGateway();
  for (const bool lacks : {false, true}) {
    isla::v1::Hello hello = FakeAgent::MakeHello();
    auto& item = *hello.add_inventory();
    item.set_uid(Uid(1));
    item.set_incarnation(1);
    item.set_hash("hash-1");
    item.set_state(isla::v1::RUNNING);
    item.set_lacks_policy(lacks);
    FakeAgent agent(Target());
    agent.Join(hello);
    ExpectTold(agent.first, one, lacks);
  }
}

TEST_F(PolicyTest, AVersionThatWasGoneIsToldWhenItIsBack) {
  const PolicySpec one = Apply("enforce");
  const PolicySpec two = Apply("warn");
  one_ = one.hash;
  Bind(two);
  Put(keys_.Spec("session", "default", "s1"),
      fmt::format(R"({{"apiVersion":"isla/v1","kind":"Session","metadata":{{"name":"s1","namespace":"default","uid":"{}"}},"spec":{{"command":["/bin/true"],"sandbox":{{"policy":"web"}}}}}})", Uid(101)));
  Delete(keys_.Spec("sandboxpolicy", "default", "web"));
  ASSERT_TRUE(Eventually([&] { return state_->PolicyText("default", "web", two.hash) == nullptr; }));
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  ExpectTold(agent.first, two, false);
  Apply("warn");
  const auto delta = agent.NextDelta();
  ExpectTold(delta, two);
}

TEST_F(PolicyTest, WhatAnAgentDoesNotSayAnyMoreStays) {
  const PolicySpec one = Apply("enforce");
  one_ = one.hash;
  Bind(one);
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  isla::v1::AgentMessage message;
  auto& report = *message.mutable_report();
  report.set_sequence(1);
  report.set_uid(Uid(1));
  report.set_incarnation(1);
  report.set_state(isla::v1::RUNNING);
  report.mutable_sandbox_policy()->set_in_force(one.hash);
  report.mutable_sandbox_policy()->set_refused("x");
  report.mutable_sandbox_policy()->set_reason("PolicyRestartRequired");
  report.mutable_sandbox_policy()->set_message(std::string(100'000, 'm'));
  agent.Send(message);
  ASSERT_TRUE(agent.Acked(1));
  agent.Report(2, Uid(1), isla::v1::EXITED);
  ASSERT_TRUE(agent.Acked(2));
  const auto run = DecodeRun(Read(keys_.Run("n1", Uid(1), 1))->value).value();
  EXPECT_EQ(run.state, RunState::kExited);
  ASSERT_TRUE(run.policy.has_value());
  EXPECT_EQ(run.policy->in_force, one.hash);
  EXPECT_EQ(run.policy->reason, "PolicyRestartRequired");
  EXPECT_EQ(run.policy->message.size(), 4096u);
}

}  // namespace
}  // namespace isla::controllers
