// HTTP itself: slow, broken, hostile and many clients.
#include <sys/stat.h>

#include <thread>
#include <vector>

#include "tests/unit/server/server_fixture.h"

namespace isla::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

TEST_F(ServerTest, KeepAliveServesManyRequestsOnOneConnection) {
  Start();
  RawClient client = Connect();
  for (int i = 0; i < 20; ++i) {
    client.Get("/healthz");
    const auto answer = client.Read();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "ok");
  }
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Start();
  RawClient client = Connect();
  std::string all;
  for (int i = 0; i < 30; ++i) {
    all += i % 2 == 0 ? "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
                      : "GET " + std::string(kSessions) + "/none" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
  }
  ASSERT_TRUE(client.Send(all));
  for (int i = 0; i < 30; ++i) {
    const auto answer = client.Read();
    EXPECT_EQ(answer.status, i % 2 == 0 ? 200 : 404) << i;
    EXPECT_THAT(answer.body, HasSubstr(i % 2 == 0 ? "ok" : "none" + std::to_string(i)));
  }
}

TEST_F(ServerTest, ARequestMayComeByteByByte) {
  Start();
  RawClient client = Connect();
  const std::string body = Manifest("a");
  const std::string request = "POST " + std::string(kSessions) + " HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                              std::to_string(body.size()) + "\r\n\r\n" + body;
  for (const char c : request) ASSERT_TRUE(client.Send(std::string_view(&c, 1)));
  EXPECT_EQ(client.Read().status, 201);
}

TEST_F(ServerTest, AChunkedBodyIsRead) {
  Start();
  RawClient client = Connect();
  const std::string body = Manifest("a");
  client.Send("POST " + std::string(kSessions) + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
              fmt::format("{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", 10, body.substr(0, 10), body.size() - 10,
                          body.substr(10)));
  EXPECT_EQ(client.Read().status, 201);
}

TEST_F(ServerTest, ExpectContinueIsAnswered) {
  Start();
  RawClient client = Connect();
  const std::string body = Manifest("a");
  client.Send("POST " + std::string(kSessions) + " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n");
  EXPECT_EQ(client.Read().status, 100);
  client.Send(body);
  EXPECT_EQ(client.Read().status, 201);
}

TEST_F(ServerTest, Http10GetsAnAnswerAndTheEnd) {
  Start();
  RawClient client = Connect();
  client.Send("GET /healthz HTTP/1.0\r\n\r\n");
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_TRUE(client.Ends());
}

TEST_F(ServerTest, AHalfClosedClientStillGetsItsAnswer) {
  Start();
  RawClient client = Connect();
  client.Get(kSessions);
  client.CloseWriting();
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_TRUE(client.Ends());
}

TEST_F(ServerTest, HeadHasNoBody) {
  Start();
  RawClient client = Connect();
  client.Send("HEAD /version HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.ReadLine(), "HTTP/1.1 200 OK");
  while (!client.ReadLine().empty()) {
  }
  EXPECT_EQ(client.Read().body, "ok");
}

TEST_F(ServerTest, WhatIsNotHttpIsRefusedAndTheConnectionEnds) {
  Start();
  const std::string text[] = {
      "hello\r\n\r\n",
      "GET\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
      "GET /x HTTP/1.1\r\nno colon\r\n\r\n",
      "GET /x HTTP/1.1\r\nContent-Length: x\r\n\r\n",
      "GET /x HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
      "POST /x HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
      "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      std::string("GET /\0 HTTP/1.1\r\n\r\n", 19),
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  // a TLS client on the plain socket
  };
  for (const std::string& bad : text) {
    RawClient client = Connect();
    client.Send(bad);
    const auto answer = client.Read();
    EXPECT_EQ(answer.status, 400) << bad;
    EXPECT_THAT(answer.body, HasSubstr("\"kind\":\"Status\""));
    EXPECT_TRUE(client.Ends());
  }
  EXPECT_EQ(Ask("/healthz").status, 200);
}

TEST_F(ServerTest, BadUrlsAre400) {
  Start();
  for (const char* target : {"/%", "/%zz", "/a//b", "//", "*", "http://x/version", "/apis//v1", "/x?a=%"}) {
    EXPECT_EQ(Ask(target).status, 400) << target;
  }
}

TEST_F(ServerTest, HeadersOverTheLimitAre431) {
  Start();
  RawClient client = Connect();
  client.Send("GET / HTTP/1.1\r\n");
  const std::string line = "X-Filler: " + std::string(1000, 'x') + "\r\n";
  for (int i = 0; i < 80; ++i) {
    if (!client.Send(line)) break;
  }
  EXPECT_EQ(client.Read().status, 431);
  EXPECT_TRUE(client.Ends());
}

TEST_F(ServerTest, ABodyOverTheLimitIs413AndTheClientSeesIt) {
  Start();
  RawClient client = Connect();
  const std::string body(2 << 20, ' ');
  client.SendBody("POST", kSessions, body);
  EXPECT_EQ(client.Read().status, 413);
  RawClient chunked = Connect();
  chunked.Send("POST " + std::string(kSessions) + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "10000\r\n" + std::string(0x10000, ' ') + "\r\n";
  for (int i = 0; i < 20; ++i) {
    if (!chunked.Send(chunk)) break;
  }
  EXPECT_EQ(chunked.Read().status, 413);
}

TEST_F(ServerTest, ABodyUpToTheLimitIsRead) {
  Start();
  // 300 KiB: past the object's own limit, so it is the API that refuses it.
  const auto answer = Ask("POST", kSessions, std::string(300 << 10, ' ') + Manifest("a"), "application/json");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(Json(answer).StringAt({"reason"}), "BadRequest");
}

TEST_F(ServerTest, SlowHeadersAreCutOff) {
  options_.header_timeout = milliseconds(150);
  Start();
  RawClient client = Connect();
  client.Send("GET /healthz HTTP/1.1\r\n");
  EXPECT_EQ(client.Read(seconds(3)).status, 408);
  EXPECT_TRUE(client.Ends());
}

TEST_F(ServerTest, TricklingHeadersDoNotExtendTheirTime) {
  options_.header_timeout = milliseconds(300);
  Start();
  RawClient client = Connect();
  const MonotonicTime begin = Clock::Real().Monotonic();
  client.Send("GET /healthz HTTP/1.1\r\n");
  while (Clock::Real().Monotonic() < begin + seconds(5) && client.Send("X: y\r\n") &&
         client.Read(milliseconds(20)).status == 0 && client.rest().empty()) {
  }
  EXPECT_LT(Clock::Real().Monotonic() - begin, seconds(3));
}

TEST_F(ServerTest, SlowBodiesAreCutOff) {
  options_.body_timeout = milliseconds(150);
  Start();
  RawClient client = Connect();
  client.Send("POST " + std::string(kSessions) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
  EXPECT_EQ(client.Read(seconds(3)).status, 408);
}

TEST_F(ServerTest, IdleConnectionsAreClosed) {
  options_.idle_timeout = milliseconds(100);
  Start();
  RawClient client = Connect();
  client.Get("/healthz");
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_TRUE(client.Ends(seconds(3)));
}

TEST_F(ServerTest, ConnectionsAreBoundedAndComeFreeAgain) {
  options_.max_connections = 4;
  Start();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<RawClient>(options_.socket_path));
    clients.back()->Get("/healthz");
    EXPECT_EQ(clients.back()->Read().status, 200);
  }
  RawClient fifth = Connect();
  EXPECT_TRUE(fifth.Ends());
  clients.clear();
  const MonotonicTime until = Clock::Real().Monotonic() + seconds(5);
  int status = 0;
  while (status != 200 && Clock::Real().Monotonic() < until) status = Ask("/healthz").status;
  EXPECT_EQ(status, 200);
}

TEST_F(ServerTest, AStalledReaderOfALargeListHoldsNobodyBack) {
  options_.write_timeout = milliseconds(300);
  Start();
  const std::string annotation = ",\"annotations\":{\"a\":\"" + std::string(100 << 10, 'x') + "\"}";
  for (int i = 0; i < 20; ++i) ASSERT_EQ(Create("s" + std::to_string(i), annotation).status, 201);
  std::vector<std::unique_ptr<RawClient>> stalled;
  for (int i = 0; i < 20; ++i) {
    stalled.push_back(std::make_unique<RawClient>(options_.socket_path));
    stalled.back()->Get(kSessions);
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Ask("/apis/isla/v1/projects").status, 200);
  std::this_thread::sleep_for(milliseconds(600));
  EXPECT_TRUE(stalled[0]->Ends()) << "cut off after write_timeout";
}

TEST_F(ServerTest, LargeListsArriveWhole) {
  Start();
  const std::string annotation = ",\"annotations\":{\"a\":\"" + std::string(100 << 10, 'x') + "\"}";
  for (int i = 0; i < 20; ++i) ASSERT_EQ(Create("s" + std::to_string(i), annotation).status, 201);
  const auto answer = Ask(kSessions);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(Json(answer).Find("items")->items().size(), 20U);
}

TEST_F(ServerTest, ManyClientsAtOnce) {
  Start();
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([this, t, &good] {
      RawClient client = Connect();
      for (int i = 0; i < 20; ++i) {
        const std::string name = fmt::format("s{}-{}", t, i);
        client.SendBody("POST", kSessions, Manifest(name));
        if (client.Read().status != 201) continue;
        client.Get(std::string(kSessions) + "/" + name);
        if (client.Read().status == 200) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 160);
}

TEST_F(ServerTest, TheSocketIsForOwnerAndGroupOnly) {
  Start();
  struct stat info {};
  ASSERT_EQ(stat(options_.socket_path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0660U);
}

TEST_F(ServerTest, AStaleSocketIsReplacedALiveOneIsNot) {
  Start();
  const auto second = Server::Start(options_, *registry_, logs_, metrics_, Clock::Real(), Random::Real(), nullptr);
  EXPECT_EQ(second.status().code(), Code::kAlreadyExists);
  EXPECT_EQ(Ask("/healthz").status, 200);
  // As a killed server leaves it.
  const std::string stale = dir_ + "/stale.sock";
  {
    const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    stale.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  server_.reset();
  options_.socket_path = stale;
  Start();
  EXPECT_EQ(Ask("/healthz").status, 200);
}

TEST_F(ServerTest, AFileInPlaceOfTheSocketIsLeftAlone) {
  ASSERT_TRUE(WriteFileAtomically(options_.socket_path, "mine", 0600, false).ok());
  const auto server = Server::Start(options_, *registry_, logs_, metrics_, Clock::Real(), Random::Real(), nullptr);
  EXPECT_EQ(server.status().code(), Code::kAlreadyExists);
  EXPECT_EQ(*ReadFile(options_.socket_path), "mine");
}

TEST_F(ServerTest, StoppingEndsWatchesCleanlyAndLeavesNoSocket) {
  Start();
  RawClient watch = Connect();
  watch.Get(std::string(kSessions) + "?watch=true");
  EXPECT_EQ(watch.ReadLine(), "HTTP/1.1 200 OK");
  while (!watch.ReadLine().empty()) {
  }
  const MonotonicTime begin = Clock::Real().Monotonic();
  server_.reset();
  EXPECT_LT(Clock::Real().Monotonic() - begin, seconds(4));
  EXPECT_EQ(watch.ReadChunk(), "");
  EXPECT_TRUE(watch.Ends());
  EXPECT_FALSE(RawClient(options_.socket_path).connected());
}

TEST_F(ServerTest, StartAndStopWithoutARequest) {
  for (int i = 0; i < 10; ++i) {
    Start();
    server_.reset();
  }
}

}  // namespace
}  // namespace isla::server
