#include "tests/unit/gateway/gateway_fixture.h"

namespace isla::controllers {
namespace {

using isla::v1::DataFrame;
using isla::v1::GatewayMessage;

/// The agent's end of one Data call.
class Data {
 public:
  explicit Data(FakeAgent& agent) : stream_(agent.stub().Data(&context_)) {}
  ~Data() {
    context_.TryCancel();
    DataFrame frame;
    while (stream_->Read(&frame)) {
    }
    (void)stream_->Finish();
  }
  bool Send(const std::string& id, const std::string& data, bool end = false, const std::string& error = "") {
    DataFrame frame;
    frame.set_stream_id(id);
    frame.set_data(data);
    frame.set_end(end);
    frame.set_error(error);
    return stream_->Write(frame);
  }
  /// The gateway has ended it.
  void WaitEnd() {
    DataFrame frame;
    EXPECT_FALSE(stream_->Read(&frame));
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<DataFrame, DataFrame>> stream_;
};

class LogTest : public GatewayTest {
 protected:
  void Open() {
    opener_ = std::thread([this] {
      isla::v1::LogRequest request;
      request.set_uid(Uid(1));
      request.set_incarnation(1);
      request.set_follow(true);
      opened_ = gateway_->OpenLog("n1", request);
    });
  }
  void Opened() { opener_.join(); }
  StatusOr<std::string> NextBytes() {
    StatusOr<std::string> next = (*opened_)->Next();
    for (int i = 0; i < 10000 && next.status().code() == Code::kDeadlineExceeded; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      next = (*opened_)->Next();
    }
    return next;
  }

  std::thread opener_;
  StatusOr<std::unique_ptr<NodeStream>> opened_ = Error(Code::kUnknown, "not yet");
};

TEST_F(LogTest, BytesGoFromTheAgentToTheReader) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  Open();
  const auto asked = agent.Next(GatewayMessage::kOpenStream);
  ASSERT_TRUE(asked.has_value());
  EXPECT_EQ(asked->open_stream().log().uid(), Uid(1));
  EXPECT_TRUE(asked->open_stream().log().follow());
  const std::string id = asked->open_stream().stream_id();
  Data data(agent);
  ASSERT_TRUE(data.Send(id, ""));
  Opened();
  ASSERT_TRUE(opened_.ok()) << opened_.status();
  std::atomic<int> ready{0};
  EXPECT_EQ((*opened_)->Next().status().code(), Code::kDeadlineExceeded);
  (*opened_)->Notify([&ready] { ++ready; });
  ASSERT_TRUE(data.Send(id, "hello\n"));
  EXPECT_TRUE(Eventually([&ready] { return ready > 0; }));
  EXPECT_EQ(*NextBytes(), "hello\n");
  ASSERT_TRUE(data.Send(id, "last\n", true));
  EXPECT_EQ(*NextBytes(), "last\n");
  EXPECT_EQ(NextBytes().status().code(), Code::kOutOfRange);
}

TEST_F(LogTest, AnErrorOfTheNodeIsTheReaders) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  Open();
  const auto asked = agent.Next(GatewayMessage::kOpenStream);
  ASSERT_TRUE(asked.has_value());
  Data data(agent);
  data.Send(asked->open_stream().stream_id(), "", true, "the node has no log of this container");
  Opened();
  EXPECT_EQ(opened_.status().code(), Code::kNotFound);
  EXPECT_NE(Message(opened_.status()).find("no log"), std::string::npos);
}

TEST_F(LogTest, AReaderThatGoesEndsTheCall) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  Open();
  const auto asked = agent.Next(GatewayMessage::kOpenStream);
  ASSERT_TRUE(asked.has_value());
  Data data(agent);
  ASSERT_TRUE(data.Send(asked->open_stream().stream_id(), "x"));
  Opened();
  ASSERT_TRUE(opened_.ok());
  opened_->reset();
  data.WaitEnd();
}

TEST_F(LogTest, AReaderThatDoesNotReadHoldsTheAgentBack) {
#ifdef ISLA_TSAN
  GTEST_SKIP() << "ThreadSanitizer looks at every byte that gRPC, which isn't instrumented, sends: it takes minutes";
#endif
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  Open();
  const auto asked = agent.Next(GatewayMessage::kOpenStream);
  ASSERT_TRUE(asked.has_value());
  Data data(agent);
  const std::string id = asked->open_stream().stream_id();
  constexpr int kFrames = 512;
  std::atomic<int> sent{0};
  std::thread writer([&] {
    const std::string chunk(64 * 1024, 'x');
    for (int i = 0; i < kFrames; ++i) {
      if (!data.Send(id, chunk, i == kFrames - 1)) return;
      ++sent;
    }
  });
  Opened();
  ASSERT_TRUE(opened_.ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(sent, kFrames);  // 32 MiB don't fit into what is buffered on the way
  size_t bytes = 0;
  while (true) {
    const auto next = NextBytes();
    if (!next.ok()) {
      EXPECT_EQ(next.status().code(), Code::kOutOfRange);
      opened_->reset();  // the writer isn't to wait if it isn't the end
      break;
    }
    bytes += next->size();
  }
  writer.join();
  EXPECT_EQ(bytes, size_t{kFrames} * 64 * 1024);
}

TEST_F(LogTest, AnAgentThatDiesBreaksTheStreamOff) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  Open();
  const auto asked = agent.Next(GatewayMessage::kOpenStream);
  ASSERT_TRUE(asked.has_value());
  {
    Data data(agent);
    ASSERT_TRUE(data.Send(asked->open_stream().stream_id(), "x"));
    Opened();
    ASSERT_TRUE(opened_.ok());
    EXPECT_EQ(*NextBytes(), "x");
  }
  EXPECT_EQ(NextBytes().status().code(), Code::kUnavailable);
}

TEST_F(LogTest, AStreamThatNobodyAskedForIsRefused) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  Data data(agent);
  data.Send("0123456789abcdef", "x");
  data.WaitEnd();
}

TEST_F(LogTest, ANodeThatIsNotConnectedIsNamed) {
  StartGateway();
  const auto opened = gateway_->OpenLog("n1", {});
  EXPECT_EQ(opened.status().code(), Code::kUnavailable);
  EXPECT_NE(Message(opened.status()).find("n1"), std::string::npos);
  {
    FakeAgent agent(Target());
    agent.Join();
  }
  ASSERT_TRUE(Eventually([this] { return gateway_->connected() == 0 && !state_->Node("n1").node->value.connected; }));
  EXPECT_NE(Message(gateway_->OpenLog("n1", {}).status()).find("not connected"), std::string::npos);
}

TEST_F(LogTest, StoppingEndsAReader) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  Open();
  const auto asked = agent.Next(GatewayMessage::kOpenStream);
  ASSERT_TRUE(asked.has_value());
  gateway_->Stop();
  Opened();
  EXPECT_EQ(opened_.status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace isla::controllers
