// The stream's transport over real gRPC and unix sockets, with a gateway that the test plays.
#include "agentd/gateway_client.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "agentd/loop.h"
#include "tests/e2e/agentd/fake_gateway.h"

namespace isla::agent {
namespace {

using isla::testing::FakeGateway;

class GatewayClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/agentd-client-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    auto loop = Loop::Create();
    ASSERT_TRUE(loop.ok());
    loop_ = *std::move(loop);
    // Whatever happens, the test ends.
    loop_->After(std::chrono::seconds(60), [this] { loop_->Exit(1); });
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Create(std::vector<std::string> gateways) {
    GatewayClientOptions options;
    options.gateways = std::move(gateways);
    options.backoff_first = std::chrono::milliseconds(10);
    options.backoff_last = std::chrono::milliseconds(50);
    GatewayEvents events;
    events.connected = [this] {
      ++connected_;
      isla::v1::AgentMessage hello;
      hello.mutable_hello()->set_node_name("n1");
      client_->Send(hello);
    };
    events.message = [this](const isla::v1::GatewayMessage& message) { on_message_(message); };
    events.disconnected = [this] { ++disconnected_; };
    auto client = GatewayClient::Create(options, events, *loop_);
    ASSERT_TRUE(client.ok()) << ToString(client.status());
    client_ = *std::move(client);
  }

  void End() {
    client_->Shutdown([this] { loop_->Exit(0); });
  }

  std::string folder_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<GatewayClient> client_;
  std::function<void(const isla::v1::GatewayMessage&)> on_message_;
  int connected_ = 0;
  int disconnected_ = 0;
};

TEST_F(GatewayClientTest, AGatewayThatIsAwayIsPassedOver) {
  FakeGateway gateway(folder_);
  Create({"unix:///nonexistent/a.sock", gateway.target()});
  on_message_ = [this](const isla::v1::GatewayMessage& message) {
    if (message.has_welcome()) End();
  };
  client_->Start();
  EXPECT_EQ(*loop_->Run(), 0);
  EXPECT_EQ(connected_, 2);
  EXPECT_EQ(disconnected_, 2);
}

TEST_F(GatewayClientTest, AnEndedStreamIsDialedAgainWithAFreshHello) {
  FakeGateway gateway(folder_);
  Create({gateway.target()});
  int welcomes = 0;
  on_message_ = [this, &gateway, &welcomes](const isla::v1::GatewayMessage& message) {
    if (!message.has_welcome()) return;
    if (++welcomes == 3) {
      End();
    } else {
      gateway.Disconnect();
    }
  };
  client_->Start();
  EXPECT_EQ(*loop_->Run(), 0);
  EXPECT_EQ(welcomes, 3);
  EXPECT_EQ(connected_, 3);
  EXPECT_EQ(disconnected_, 3);
}

TEST_F(GatewayClientTest, AClosedStreamBringsNothingMore) {
  FakeGateway gateway(folder_);
  Create({gateway.target()});
  int after = 0;
  bool closed = false;
  on_message_ = [this, &after, &closed](const isla::v1::GatewayMessage&) {
    if (closed) ++after;
    closed = true;
    client_->Close("enough");
    EXPECT_EQ(disconnected_, 1);
    End();
  };
  client_->Start();
  EXPECT_EQ(*loop_->Run(), 0);
  EXPECT_EQ(after, 0);
}

TEST_F(GatewayClientTest, ThousandsOfMessagesBothWaysArriveInOrder) {
  FakeGateway gateway(folder_);
  Create({gateway.target()});
  constexpr uint64_t kCount = 5000;
  uint64_t next = 1;
  on_message_ = [this, &next](const isla::v1::GatewayMessage& message) {
    if (message.has_welcome()) {
      for (uint64_t i = 1; i <= kCount; ++i) {
        isla::v1::AgentMessage ping;
        ping.mutable_ping()->set_sequence(i);
        client_->Send(ping);
      }
    }
    if (!message.has_pong()) return;
    EXPECT_EQ(message.pong().sequence(), next);
    if (++next > kCount) End();
  };
  client_->Start();
  EXPECT_EQ(*loop_->Run(), 0);
  EXPECT_EQ(next, kCount + 1);
}

TEST_F(GatewayClientTest, ItEndsWhileItIsDialing) {
  Create({"unix:///nonexistent/a.sock"});
  client_->Start();
  loop_->After(std::chrono::milliseconds(35), [this] { End(); });
  EXPECT_EQ(*loop_->Run(), 0);
}

TEST_F(GatewayClientTest, ARemoteGatewayNeedsTlsFiles) {
  const auto create = [this](const std::vector<std::string>& gateways, const std::string& file) {
    GatewayClientOptions options;
    options.gateways = gateways;
    options.tls_ca = options.tls_cert = options.tls_key = file;
    return GatewayClient::Create(std::move(options), {}, *loop_).status().code();
  };
  EXPECT_EQ(create({}, ""), Code::kInvalidArgument);
  EXPECT_EQ(create({"10.0.0.1:7443"}, ""), Code::kInvalidArgument);
  EXPECT_EQ(create({"10.0.0.1:7443"}, "/nonexistent"), Code::kNotFound);
}

}  // namespace
}  // namespace isla::agent
