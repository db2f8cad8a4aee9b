// An agent's end of the stream, which says what the test says.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <isla/v1/agent.grpc.pb.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "api/base/clock.h"
#include "api/base/mutex.h"
#include "api/base/uuid.h"

namespace isla::controllers {

inline constexpr std::chrono::seconds kSoon{5};
/// Long enough to see that something doesn't come.
inline constexpr std::chrono::milliseconds kQuiet{150};

inline std::string Uid(int n) { return DerivedUuid("0b7bd1a6-1111-4222-8333-444455556666", std::to_string(n)).value(); }

/// An agent's stream; its destructor breaks it off.
class FakeAgent {
 public:
  explicit FakeAgent(const std::string& target,
                     const std::shared_ptr<grpc::ChannelCredentials>& credentials = grpc::InsecureChannelCredentials()) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = isla::v1::AgentGateway::NewStub(grpc::CreateCustomChannel(target, credentials, arguments));
    stream_ = stub_->Connect(&context_);
    reader_ = std::thread([this] {
      isla::v1::GatewayMessage message;
      while (stream_->Read(&message)) {
        MutexLock lock(mu_);
        in_.push_back(message);
        changed_.NotifyAll();
      }
      MutexLock lock(mu_);
      ended_ = true;
      changed_.NotifyAll();
    });
  }
  ~FakeAgent() {
    context_.TryCancel();
    reader_.join();
    status_ = stream_->Finish();
  }

  void Send(const isla::v1::AgentMessage& message) { stream_->Write(message); }
  static isla::v1::Hello MakeHello(const std::string& node = "n1") {
    isla::v1::Hello hello;
    hello.set_protocol_min(1);
    hello.set_protocol_max(1);
    hello.set_node_name(node);
    hello.set_node_uid(DerivedUuid("0b7bd1a6-1111-4222-8333-444455556666", "node/" + node).value());
    hello.set_boot_id("boot-1");
    hello.set_agent_epoch("epoch-1");
    hello.set_agent_version("0.1.0");
    hello.set_kernel("6.1");
    hello.mutable_capacity()->set_cpu_millis(4000);
    hello.mutable_capacity()->set_memory_bytes(1 << 30);
    hello.mutable_capacity()->set_tasks(1000);
    return hello;
  }
  void Hello(const isla::v1::Hello& hello = MakeHello()) {
    isla::v1::AgentMessage message;
    *message.mutable_hello() = hello;
    Send(message);
  }
  /// Hello, Welcome, the first delta, its ack.
  void Join(const isla::v1::Hello& hello = MakeHello()) {
    Hello(hello);
    const auto welcome = Next(isla::v1::GatewayMessage::kWelcome);
    ASSERT_TRUE(welcome.has_value());
    term = welcome->welcome().term();
    const auto delta = NextDelta();
    ASSERT_TRUE(delta.has_value());
    EXPECT_TRUE(delta->full());
    EXPECT_EQ(delta->expected_count(), static_cast<uint64_t>(delta->upserts_size()));
    first = *delta;
    Ack(*delta);
  }
  void Ack(const isla::v1::Delta& delta, std::vector<isla::v1::Nack> nacks = {}) {
    isla::v1::AgentMessage message;
    message.mutable_ack()->set_nonce(delta.nonce());
    message.mutable_ack()->set_term(delta.term());
    for (auto& nack : nacks) *message.mutable_ack()->add_nacks() = nack;
    Send(message);
  }
  void Report(uint64_t sequence, const std::string& uid, isla::v1::ContainerState state, int64_t incarnation = 1) {
    isla::v1::AgentMessage message;
    auto& report = *message.mutable_report();
    report.set_sequence(sequence);
    report.set_uid(uid);
    report.set_incarnation(incarnation);
    report.set_session_namespace("default");
    report.set_session("whatever");
    report.set_state(state);
    report.set_accepted_at_ns(1'700'000'000'000'000'000);
    if (state == isla::v1::EXITED || state == isla::v1::GONE) report.mutable_exit()->set_exit_code(3);
    Send(message);
  }
  void Ping(uint64_t sequence) {
    isla::v1::AgentMessage message;
    message.mutable_ping()->set_sequence(sequence);
    Send(message);
  }

  /// The next message of that kind; others before it are dropped. Nothing: none came, or the stream ended.
  std::optional<isla::v1::GatewayMessage> Next(isla::v1::GatewayMessage::MessageCase kind,
                                               Duration timeout = kSoon) {
    const auto until = std::chrono::steady_clock::now() + timeout;
    MutexLock lock(mu_);
    while (true) {
      while (!in_.empty()) {
        isla::v1::GatewayMessage message = in_.front();
        in_.pop_front();
        if (message.message_case() == kind) return message;
      }
      const auto left = until - std::chrono::steady_clock::now();
      if (ended_ || left <= Duration::zero()) return std::nullopt;
      changed_.WaitFor(mu_, left);
    }
  }
  std::optional<isla::v1::Delta> NextDelta(Duration timeout = kSoon) {
    const auto message = Next(isla::v1::GatewayMessage::kDelta, timeout);
    if (!message) return std::nullopt;
    return message->delta();
  }
  /// Waits until every report up to `sequence` is acknowledged.
  bool Acked(uint64_t sequence, Duration timeout = kSoon) {
    const auto until = std::chrono::steady_clock::now() + timeout;
    while (acked < sequence) {
      const auto message = Next(isla::v1::GatewayMessage::kReportAck, until - std::chrono::steady_clock::now());
      if (!message) return false;
      EXPECT_GT(message->report_ack().sequence(), acked);
      acked = message->report_ack().sequence();
    }
    return true;
  }
  bool Ended(Duration timeout = kSoon) {
    const auto until = std::chrono::steady_clock::now() + timeout;
    MutexLock lock(mu_);
    while (!ended_) {  // messages come meanwhile
      const auto left = until - std::chrono::steady_clock::now();
      if (left <= Duration::zero()) break;
      changed_.WaitFor(mu_, left);
    }
    return ended_;
  }
  isla::v1::AgentGateway::Stub& stub() { return *stub_; }

  int64_t term = 0;
  uint64_t acked = 0;
  isla::v1::Delta first;

 private:
  std::unique_ptr<isla::v1::AgentGateway::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<isla::v1::AgentMessage, isla::v1::GatewayMessage>> stream_;
  std::thread reader_;
  grpc::Status status_;
  Mutex mu_;
  CondVar changed_;
  std::deque<isla::v1::GatewayMessage> in_ GUARDED_BY(mu_);
  bool ended_ GUARDED_BY(mu_) = false;
};

}  // namespace isla::controllers
