#include "api/client/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "api/base/unique_fd.h"
#include "tests/unit/client/fake_server.h"

namespace isla::client {
namespace {

using isla::testing::FakeReply;
using isla::testing::FakeRequest;
using isla::testing::FakeServer;
using isla::testing::StreamWriter;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

std::unique_ptr<HttpClient> ClientOf(const FakeServer& server, HttpOptions options = {}) {
  Endpoint endpoint;
  endpoint.socket_path = server.socket_path();
  endpoint.token = "tok";
  return MakeHttpClient(std::move(endpoint), std::move(options));
}

std::string ReadAll(HttpStream& stream, Status& end) {
  std::string out;
  for (;;) {
    auto bytes = stream.Read(5s);
    end = bytes.status();
    if (!bytes.ok() || bytes->empty()) return out;
    out += *bytes;
  }
}

std::function<StatusOr<std::string>()> PiecesOf(std::vector<std::string> pieces) {
  return [pieces = std::move(pieces), at = size_t{0}]() mutable -> StatusOr<std::string> {
    return at < pieces.size() ? pieces[at++] : std::string();
  };
}

TEST(HttpClient, SendsABodyInPiecesAndThenReadsTheAnswer) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.body = "{}"}; });
  const auto client = ClientOf(server);
  const std::string large(300000, 'x');
  HttpRequest request{.method = "POST", .target = "/a", .content_type = "text/x"};
  for (int i = 0; i < 2; ++i) {
    request.body_source = PiecesOf({"hello", large, "end"});
    ASSERT_TRUE(client->Do(request).ok());
    const FakeRequest got = server.Requests().back();
    EXPECT_TRUE(got.body == "hello" + large + "end");
    EXPECT_EQ(got.headers.at("content-type"), "text/x");
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, AnAnswerBeforeTheEndOfABodyCounts) {
  // A server that answers behind the head, and reads no further.
  char folder[] = "/tmp/isla-early-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/s";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener.get(), 4), 0);
  std::promise<void> answered;
  std::thread server([&] {
    const UniqueFd peer(accept(listener.get(), nullptr, nullptr));
    char buffer[65536];
    EXPECT_GT(recv(peer.get(), buffer, sizeof buffer, 0), 0);
    EXPECT_TRUE(WriteAll(peer.get(), "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").ok());
    shutdown(peer.get(), SHUT_WR);
    answered.set_value();
    while (recv(peer.get(), buffer, sizeof buffer, 0) > 0) {
    }
  });
  {
    Endpoint endpoint;
    endpoint.socket_path = path;
    const auto client = MakeHttpClient(std::move(endpoint));
    HttpRequest request{.method = "POST", .target = "/"};
    int asked = 0;
    request.body_source = [&]() -> StatusOr<std::string> {
      if (++asked == 2) answered.get_future().wait();
      return std::string(1000, 'x');  // for ever
    };
    const auto answer = client->Do(request);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->status, 403);
    EXPECT_EQ(answer->body, "no");
    EXPECT_LE(asked, 2) << "it may have looked for an answer before it asked again";
  }
  server.join();
  EXPECT_TRUE(RemoveTree(folder).ok());
}

TEST(HttpClient, ABodyThatCantBeReadBreaksTheRequestOff) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.body = "{}"}; });
  const auto client = ClientOf(server);
  HttpRequest request{.method = "POST", .target = "/a"};
  request.body_source = []() -> StatusOr<std::string> { return Error(Code::kNotFound, "no such file"); };
  EXPECT_EQ(client->Do(request).status().code(), Code::kNotFound);
  EXPECT_TRUE(server.Requests().empty());
}

TEST(HttpClient, SendsHeadAndBodyAndReadsTheAnswer) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 201,
                     .body = "{}",
                     .headers = "Warning: 299 - \"take care\"\r\nRetry-After: 3\r\n"};
  });
  const auto client = ClientOf(server);
  const auto answer =
      client->Do({.method = "POST", .target = "/a?b=c", .body = "hello", .content_type = "text/x"});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->body, "{}");
  EXPECT_EQ(answer->content_type, "application/json");
  EXPECT_THAT(answer->warnings, ::testing::ElementsAre("take care"));
  EXPECT_EQ(answer->retry_after, 3s);
  const FakeRequest request = server.Requests()[0];
  EXPECT_EQ(request.method + " " + request.target, "POST /a?b=c");
  EXPECT_EQ(request.body, "hello");
  EXPECT_EQ(request.headers.at("content-type"), "text/x");
  EXPECT_EQ(request.headers.at("authorization"), "Bearer tok");
  EXPECT_EQ(request.headers.at("accept"), "application/json");
}

TEST(HttpClient, OneConnectionCarriesAllRequests) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.body = "x"}; });
  const auto client = ClientOf(server);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(client->Do({.target = "/"}).ok());
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, ConnectionThatTheServerClosedIsNotUsedAgain) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.body = "x", .close = true}; });
  const auto client = ClientOf(server);
  // A POST too: that it was closed is seen before anything is sent.
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(client->Do({.method = "POST", .target = "/"}).ok());
    usleep(5000);
  }
  EXPECT_EQ(server.connections(), 5);
}

TEST(HttpClient, GetIsSentAgainWhenAReusedConnectionBreaksButPostIsNot) {
  std::atomic<int> calls{0};
  FakeServer server([&calls](const FakeRequest&) {
    // The second request is read, and then the connection ends without an answer.
    if (++calls % 2 == 0) return FakeReply{.raw = " ", .close = true};
    return FakeReply{.body = "x"};
  });
  const auto client = ClientOf(server);
  ASSERT_TRUE(client->Do({.target = "/1"}).ok());
  const auto lost = client->Do({.method = "POST", .target = "/2"});
  EXPECT_FALSE(lost.ok());
  EXPECT_EQ(server.Requests().size(), 2U);
}

TEST(HttpClient, LostGetOnAFreshConnectionIsAnError) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.raw = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", .close = true};
  });
  const auto answer = ClientOf(server)->Do({.target = "/"});
  EXPECT_EQ(answer.status().code(), Code::kUnavailable);
  EXPECT_EQ(FaultOf(answer.status()), Fault::kLost);
  EXPECT_EQ(server.Requests().size(), 1U);
}

TEST(HttpClient, NoSocketAndNobodyListeningAreDifferentFaults) {
  Endpoint endpoint;
  endpoint.socket_path = "/tmp/isla-no-such-socket";
  EXPECT_EQ(FaultOf(MakeHttpClient(endpoint)->Do({.target = "/"}).status()), Fault::kNoSocket);
  FakeServer server([](const FakeRequest&) { return FakeReply{}; });
  const auto client = ClientOf(server);
  server.Stop();
  EXPECT_EQ(FaultOf(client->Do({.target = "/"}).status()), Fault::kRefused);
  endpoint.socket_path = std::string(200, 'x');
  EXPECT_EQ(MakeHttpClient(endpoint)->Do({.target = "/"}).status().code(), Code::kInvalidArgument);
  endpoint = {};
  endpoint.host = "127.0.0.1";
  endpoint.port = "1";
  EXPECT_EQ(FaultOf(MakeHttpClient(endpoint)->Do({.target = "/"}).status()), Fault::kRefused);
}

TEST(HttpClient, SilentServerTimesOut) {
  FakeServer server(
      [](const FakeRequest&) { return FakeReply{.stream = [](StreamWriter& w) { w.Hold(); }}; });
  const auto client = ClientOf(server, {.request_timeout = 50ms});
  const auto answer = client->Do({.target = "/"});
  EXPECT_EQ(answer.status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(FaultOf(answer.status()), Fault::kTimeout);
}

TEST(HttpClient, AnswersThatAreNotHttpAreErrors) {
  for (const std::string raw :
       {"\x16\x03\x01\x02\r\n\r\n", "hello\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nA B: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"}) {
    FakeServer server([raw](const FakeRequest&) { return FakeReply{.raw = raw, .close = true}; });
    const auto answer = ClientOf(server, {.request_timeout = 2s})->Do({.target = "/"});
    EXPECT_FALSE(answer.ok()) << raw;
  }
}

TEST(HttpClient, BodyBeyondItsBoundIsRefused) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.body = std::string(5000, 'x')}; });
  EXPECT_EQ(ClientOf(server, {.max_body_bytes = 4096})->Do({.target = "/"}).status().code(),
            Code::kResourceExhausted);
  FakeServer chunked([](const FakeRequest&) {
    return FakeReply{.stream = [](StreamWriter& w) {
      for (int i = 0; i < 10; ++i) w.Chunk(std::string(1000, 'x'));
    }};
  });
  EXPECT_EQ(ClientOf(chunked, {.max_body_bytes = 4096})->Do({.target = "/"}).status().code(),
            Code::kResourceExhausted);
}

TEST(HttpClient, HeadersBeyondTheirBoundAreRefused) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.headers = "X: " + std::string(200'000, 'y') + "\r\n"};
  });
  EXPECT_EQ(ClientOf(server)->Do({.target = "/"}).status().code(), Code::kResourceExhausted);
}

TEST(HttpStream, GivesChunksAsTheyComeAndThenItsEnd) {
  std::atomic<bool> go{false};
  FakeServer server([&go](const FakeRequest&) {
    return FakeReply{.stream = [&go](StreamWriter& w) {
      w.Chunk("one");
      w.Wait([&go] { return go.load(); });
      w.Chunk("two");
    }};
  });
  const auto client = ClientOf(server);
  auto opened = client->Open({.target = "/"});
  ASSERT_TRUE(opened.ok() && opened->stream);
  EXPECT_EQ(*opened->stream->Read(5s), "one");
  EXPECT_EQ(opened->stream->Read(10ms).status().code(), Code::kDeadlineExceeded);
  go = true;
  EXPECT_EQ(*opened->stream->Read(5s), "two");
  EXPECT_EQ(*opened->stream->Read(5s), "");
  EXPECT_EQ(*opened->stream->Read(5s), "");
}

TEST(HttpStream, BrokenBodyIsNotAnEnd) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.stream = [](StreamWriter& w) { w.Chunk("one"); }, .cut = true};
  });
  const auto client = ClientOf(server);
  auto opened = client->Open({.target = "/"});
  ASSERT_TRUE(opened.ok());
  Status end;
  EXPECT_EQ(ReadAll(*opened->stream, end), "one");
  EXPECT_EQ(end.code(), Code::kUnavailable);
}

TEST(HttpStream, RefusalComesWithItsBody) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.status = 403, .body = "no"}; });
  const auto client = ClientOf(server);
  const auto opened = client->Open({.target = "/"});
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened->stream, nullptr);
  EXPECT_EQ(opened->head.status, 403);
  EXPECT_EQ(opened->head.body, "no");
}

TEST(HttpStream, LargeBodyComesWhole) {
  const std::string block(100'000, 'z');
  FakeServer server([&block](const FakeRequest&) {
    return FakeReply{.stream = [&block](StreamWriter& w) {
      for (int i = 0; i < 50; ++i) w.Chunk(block);
    }};
  });
  const auto client = ClientOf(server, {.max_body_bytes = 1000});  // no bound for streams
  auto opened = client->Open({.target = "/"});
  ASSERT_TRUE(opened.ok());
  Status end;
  EXPECT_EQ(ReadAll(*opened->stream, end).size(), 5'000'000U);
  EXPECT_TRUE(end.ok());
}

TEST(HttpStream, WaitAnyWakesForTheOneThatHasBytes) {
  std::atomic<bool> go{false};
  FakeServer server([&go](const FakeRequest& request) {
    const bool second = request.path == "/2";
    return FakeReply{.stream = [&go, second](StreamWriter& w) {
      if (second && w.Wait([&go] { return go.load(); })) w.Chunk("late");
      w.Hold();
    }};
  });
  const auto client = ClientOf(server);
  auto first = client->Open({.target = "/1"});
  auto second = client->Open({.target = "/2"});
  ASSERT_TRUE(first.ok() && second.ok());
  const std::vector<HttpStream*> both{first->stream.get(), nullptr, second->stream.get()};
  EXPECT_EQ(client->WaitAny(both, 20ms).code(), Code::kDeadlineExceeded);
  go = true;
  EXPECT_TRUE(client->WaitAny(both, 5s).ok());
  EXPECT_EQ(*second->stream->Read(0s), "late");
  EXPECT_EQ(first->stream->Read(0s).status().code(), Code::kDeadlineExceeded);
}

TEST(HttpClient, InterruptEndsTheCallUnderWay) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.stream = [](StreamWriter& w) {
      w.Chunk("a");
      w.Hold();
    }};
  });
  const UniqueFd interrupt(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  const auto client = ClientOf(server, {.interrupt_fd = interrupt.get()});
  auto opened = client->Open({.target = "/"});
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(*opened->stream->Read(5s), "a");
  const uint64_t one = 1;
  ASSERT_EQ(write(interrupt.get(), &one, sizeof one), 8);
  EXPECT_EQ(opened->stream->Read(5s).status().code(), Code::kCancelled);
  EXPECT_EQ(client->Pause(5s).code(), Code::kCancelled);
  EXPECT_EQ(client->Do({.target = "/"}).status().code(), Code::kCancelled);
  uint64_t drained = 0;
  ASSERT_EQ(read(interrupt.get(), &drained, sizeof drained), 8);
  // The stream is still good.
  EXPECT_EQ(opened->stream->Read(10ms).status().code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(client->Pause(1ms).ok());
}

TEST(HttpClient, TraceShowsCallsButNeverTheToken) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.body = "answer"}; });
  std::string trace;
  const auto client = ClientOf(server, {.trace = [&trace](int level, const std::string& line) {
                                 trace += std::to_string(level) + " " + line + "\n";
                               }});
  ASSERT_TRUE(client->Do({.method = "POST", .target = "/x", .body = "question"}).ok());
  EXPECT_THAT(trace, HasSubstr("6 POST unix:" + server.socket_path() + "/x 200 in "));
  EXPECT_THAT(trace, HasSubstr("9 Request Body: question"));
  EXPECT_THAT(trace, HasSubstr("9 Response Body: answer"));
  EXPECT_THAT(trace, Not(HasSubstr("tok")));
}

}  // namespace
}  // namespace isla::client
