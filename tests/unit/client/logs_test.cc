#include "api/client/logs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

struct Fixture {
  Fixture(FakeServer::Handler handler, LogOptions options) : server(std::move(handler)) {
    Endpoint endpoint;
    endpoint.socket_path = server.socket_path();
    http = MakeHttpClient(endpoint);
    api = std::make_unique<ApiClient>(*http, nullptr);
    reader = std::make_unique<LogReader>(*api, "/log", options);
  }
  /// Reads until the end of the body or an error.
  std::string Read(Status* end = nullptr) {
    std::string out;
    for (;;) {
      const auto text = reader->Next(5s);
      if (end != nullptr) *end = text.status();
      if (!text.ok() || text->empty()) return out;
      out += *text;
    }
  }
  FakeServer server;
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<ApiClient> api;
  std::unique_ptr<LogReader> reader;
};

/// The lines 1..n, two for each time.
std::string Lines(int from, int to) {
  std::string out;
  for (int i = from; i <= to; ++i)
    out += fmt::format("2026-11-22T10:00:{:02}.123456Z line {}\n", i / 2, i);
  return out;
}
std::string Bare(int from, int to) {
  std::string out;
  for (int i = from; i <= to; ++i) out += fmt::format("line {}\n", i);
  return out;
}

TEST(LogReader, PlainReadGivesTheBytesAsTheyAre) {
  Fixture f(
      [](const FakeRequest&) {
        return FakeReply{.content_type = "text/plain", .stream = [](StreamWriter& w) {
                           w.Chunk("a\nb\xff\n\0c");
                           w.Chunk("d");
                         }};
      },
      {.tail_lines = 5, .since_seconds = 9});
  EXPECT_EQ(f.Read(), std::string("a\nb\xff\n"
                                  "d"));
  EXPECT_EQ(f.server.Calls()[0], "GET /log?tailLines=5&sinceSeconds=9");
}

TEST(LogReader, FollowingStripsTheTimesUnlessAskedFor) {
  const auto handler = [](const FakeRequest&) {
    return FakeReply{.stream = [](StreamWriter& w) {
      w.Chunk(Lines(1, 2));
      w.Chunk("2026-11-22T10:00:09Z \n2026-11-22T10:00:10Z no newline");
    }};
  };
  Fixture plain(handler, {.follow = true});
  EXPECT_EQ(plain.Read(), Bare(1, 2) + "\nno newline");
  EXPECT_THAT(plain.server.Calls()[0], HasSubstr("follow=true&timestamps=true"));
  Fixture timed(handler, {.follow = true, .timestamps = true});
  EXPECT_EQ(timed.Read(), Lines(1, 2) + "2026-11-22T10:00:09Z \n2026-11-22T10:00:10Z no newline");
}

TEST(LogReader, AfterABreakAtAnyByteNoLineIsLostOrDoubled) {
  const std::string whole = Lines(1, 6);
  for (size_t cut = 0; cut <= whole.size(); ++cut) {
    std::atomic<int> calls{0};
    Fixture f(
        [&](const FakeRequest&) {
          const bool first = ++calls == 1;
          return FakeReply{.stream =
                               [&whole, cut, first](StreamWriter& w) {
                                 w.Chunk(first ? whole.substr(0, cut) : whole + Lines(7, 8));
                               },
                           .cut = first};
        },
        {.follow = true});
    Status end;
    std::string out = f.Read(&end);
    EXPECT_EQ(end.code(), Code::kUnavailable);
    out += f.Read(&end);
    EXPECT_TRUE(end.ok());
    EXPECT_EQ(out, Bare(1, 8)) << cut;
  }
}

TEST(LogReader, TailAndSinceCountOnlyForTheFirstConnection) {
  std::atomic<int> calls{0};
  Fixture f(
      [&calls](const FakeRequest&) {
        const bool first = ++calls == 1;
        return FakeReply{
            .stream = [first](StreamWriter& w) { w.Chunk(first ? Lines(4, 5) : Lines(1, 7)); },
            .cut = first};
      },
      {.follow = true, .tail_lines = 2, .since_seconds = 60});
  std::string out = f.Read();
  out += f.Read();
  // Line 4 and 5 share a time with nobody before the tail.
  EXPECT_EQ(out, Bare(4, 7));
  EXPECT_THAT(f.server.Calls()[0], HasSubstr("tailLines=2&sinceSeconds=60"));
  EXPECT_THAT(f.server.Calls()[1], Not(HasSubstr("tailLines")));
}

TEST(LogReader, LinesWithoutATimeAreGivenAsTheyAre) {
  Fixture f(
      [](const FakeRequest&) {
        return FakeReply{.stream = [](StreamWriter& w) { w.Chunk("no time here\nnospace\n\n"); }};
      },
      {.follow = true});
  EXPECT_EQ(f.Read(), "no time here\nnospace\n\n");
}

TEST(LogReader, EndlessLineIsGivenInPieces) {
  Fixture f(
      [](const FakeRequest&) {
        return FakeReply{.stream = [](StreamWriter& w) {
          w.Chunk("2026-11-22T10:00:09Z ");
          for (int i = 0; i < 30; ++i) w.Chunk(std::string(100'000, 'x'));
        }};
      },
      {.follow = true});
  EXPECT_EQ(f.Read().size(), 3'000'000U);
}

TEST(LogReader, RefusalIsTheServersError) {
  Fixture f(
      [](const FakeRequest&) {
        return FakeReply{
            .status = 404,
            .body = R"({"kind":"Status","reason":"NotFound","message":"gone","code":404})"};
      },
      {});
  Status end;
  f.Read(&end);
  EXPECT_EQ(end.code(), Code::kNotFound);
}

}  // namespace
}  // namespace isla::client
