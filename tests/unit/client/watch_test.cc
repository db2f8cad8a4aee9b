#include "api/client/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/client/api_error.h"
#include "tests/unit/client/fake_server.h"

namespace isla::client {
namespace {

using isla::testing::FakeReply;
using isla::testing::FakeRequest;
using isla::testing::FakeServer;
using isla::testing::StreamWriter;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

std::string Object(const std::string& name, int version, const std::string& uid = "u") {
  return fmt::format(
      R"({{"kind":"Session","metadata":{{"name":"{}","uid":"{}","resourceVersion":"{}"}}}})", name,
      uid, version);
}
std::string Event(const std::string& type, const std::string& object) {
  return fmt::format("{{\"type\":\"{}\",\"object\":{}}}\n", type, object);
}
std::string ListOf(int version, const std::vector<std::string>& items) {
  return fmt::format(
      R"({{"kind":"SessionList","metadata":{{"resourceVersion":"{}"}},"items":[{}]}})", version,
      fmt::join(items, ","));
}

struct Fixture {
  explicit Fixture(FakeServer::Handler handler) : server(std::move(handler)) {
    Endpoint endpoint;
    endpoint.socket_path = server.socket_path();
    http = MakeHttpClient(endpoint);
    api = std::make_unique<ApiClient>(*http, nullptr);
    spec.collection = "/c";
  }
  Watch Start() { return Watch(*api, spec, *Watch::List(*api, spec)); }
  FakeServer server;
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<ApiClient> api;
  WatchSpec spec;
};

bool IsWatch(const FakeRequest& request) {
  return request.query.find("watch=true") != std::string::npos;
}

std::string Shown(const WatchEvent& event) {
  const json::Value* metadata = MetadataOf(event.object);
  return fmt::format("{} {}@{}", WatchTypeName(event.type), metadata->StringAt({"name"}),
                     metadata->StringAt({"resourceVersion"}));
}
/// The next `count` events.
std::vector<std::string> Take(Watch& watch, size_t count) {
  std::vector<std::string> out;
  while (out.size() < count) {
    const auto events = watch.Next(5s);
    if (!events.ok()) {
      out.push_back(ToString(events.status()));
      return out;
    }
    for (const WatchEvent& event : *events) out.push_back(Shown(event));
  }
  return out;
}

TEST(Watch, GivesEventsFromTheListOnwards) {
  Fixture f([](const FakeRequest& request) {
    if (!IsWatch(request)) return FakeReply{.body = ListOf(7, {Object("a", 5)})};
    return FakeReply{.stream = [](StreamWriter& w) {
      const std::string second = Event("MODIFIED", Object("a", 9));
      w.Chunk(Event("ADDED", Object("b", 8)) + second.substr(0, 10));
      w.Chunk(second.substr(10) + "\n" + Event("FUTURE", "{}") + Event("DELETED", Object("b", 10)));
      w.Hold();
    }};
  });
  f.spec.label_selector = "a=b";
  Watch watch = f.Start();
  EXPECT_THAT(Take(watch, 3), ElementsAre("ADDED b@8", "MODIFIED a@9", "DELETED b@10"));
  EXPECT_EQ(watch.Next(10ms).status().code(), Code::kDeadlineExceeded);
  EXPECT_THAT(f.server.Calls()[1], HasSubstr("resourceVersion=7&labelSelector=a%3Db"));
}

TEST(Watch, GoesOnBehindTheLastEventWhenTheConnectionBreaks) {
  std::atomic<int> watches{0};
  Fixture f([&watches](const FakeRequest& request) {
    if (!IsWatch(request)) return FakeReply{.body = ListOf(watches == 0 ? 7 : 99, {})};
    const int n = ++watches;
    return FakeReply{
        .stream =
            [n](StreamWriter& w) {
              // The second time half an event comes before the break: it must not be used.
              w.Chunk(Event("ADDED", Object("x", 10 + n)) +
                      (n == 2 ? Event("ADDED", Object("half", 99)).substr(0, 20) : ""));
            },
        .cut = n % 2 == 0};
  });
  Watch watch = f.Start();
  EXPECT_THAT(Take(watch, 3), ElementsAre("ADDED x@11", "ADDED x@12", "ADDED x@13"));
  const auto calls = f.server.Calls();
  EXPECT_THAT(calls, Contains(HasSubstr("resourceVersion=11")));
  EXPECT_THAT(calls, Contains(HasSubstr("resourceVersion=12")));
}

TEST(Watch, SurvivesARestartOfTheServer) {
  std::atomic<int> watches{0};
  Fixture f([&watches](const FakeRequest& request) {
    if (!IsWatch(request)) return FakeReply{.body = ListOf(watches == 0 ? 7 : 99, {})};
    const int n = ++watches;
    return FakeReply{.stream = [n](StreamWriter& w) {
      w.Chunk(Event("ADDED", Object("x", 10 + n)));
      w.Hold();
    }};
  });
  Watch watch = f.Start();
  EXPECT_THAT(Take(watch, 1), ElementsAre("ADDED x@11"));
  f.server.Stop();
  EXPECT_EQ(watch.Next(100ms).status().code(), Code::kDeadlineExceeded);
  f.server.Restart();
  EXPECT_THAT(Take(watch, 1), ElementsAre("ADDED x@12"));
}

TEST(Watch, BookmarkMovesThePlaceToGoOn) {
  std::atomic<int> watches{0};
  Fixture f([&watches](const FakeRequest& request) {
    if (!IsWatch(request)) return FakeReply{.body = ListOf(watches == 0 ? 7 : 99, {})};
    if (++watches > 1)
      return FakeReply{.stream = [](StreamWriter& w) {
        w.Chunk(Event("ADDED", Object("y", 60)));
        w.Hold();
      }};
    return FakeReply{.stream = [](StreamWriter& w) { w.Chunk(Event("BOOKMARK", Object("", 50))); }};
  });
  Watch watch = f.Start();
  EXPECT_THAT(Take(watch, 1), ElementsAre("ADDED y@60"));
  EXPECT_THAT(f.server.Calls().back(), HasSubstr("resourceVersion=50"));
}

TEST(Watch, GoneHistoryIsListedAgainAndTheDifferenceGiven) {
  // As an ERROR event, and as the answer to the request.
  for (const bool as_event : {true, false}) {
    std::atomic<int> lists{0};
    std::atomic<int> watches{0};
    Fixture f([&lists, &watches, as_event](const FakeRequest& request) {
      if (!IsWatch(request)) {
        if (++lists == 1)
          return FakeReply{.body = ListOf(7, {Object("a", 5), Object("b", 6), Object("c", 6),
                                              Object("d", 6, "old")})};
        return FakeReply{.body = ListOf(20, {Object("a", 5), Object("b", 18),
                                             Object("d", 19, "new"), Object("e", 20)})};
      }
      if (++watches > 1) return FakeReply{.stream = [](StreamWriter& w) { w.Hold(); }};
      const std::string gone =
          R"({"kind":"Status","code":410,"reason":"Expired","message":"too old"})";
      if (!as_event) return FakeReply{.status = 410, .body = gone};
      return FakeReply{.stream = [gone](StreamWriter& w) {
        w.Chunk(Event("ERROR", gone));
        w.Hold();
      }};
    });
    Watch watch = f.Start();
    EXPECT_THAT(Take(watch, 5), ElementsAre("DELETED c@6", "MODIFIED b@18", "DELETED d@6",
                                            "ADDED d@19", "ADDED e@20"));
    EXPECT_EQ(watch.Next(30ms).status().code(), Code::kDeadlineExceeded);
    EXPECT_THAT(f.server.Calls().back(), HasSubstr("resourceVersion=20"));
  }
}

TEST(Watch, StoreThatWentBackIsListedAgain) {
  std::atomic<int> watches{0};
  Fixture f([&watches](const FakeRequest& request) {
    if (!IsWatch(request)) {
      return FakeReply{.body = watches == 0 ? ListOf(70, {Object("a", 5), Object("b", 60)})
                                            : ListOf(9, {Object("a", 5), Object("c", 8)})};
    }
    if (++watches == 1) return FakeReply{.stream = [](StreamWriter&) {}, .cut = true};
    return FakeReply{.stream = [](StreamWriter& w) {
      w.Chunk(Event("ADDED", Object("d", 10)));
      w.Hold();
    }};
  });
  Watch watch = f.Start();
  EXPECT_THAT(Take(watch, 3), ElementsAre("DELETED b@60", "ADDED c@8", "ADDED d@10"));
  EXPECT_THAT(f.server.Calls().back(), HasSubstr("resourceVersion=9"));
}

TEST(Watch, NewStoreThatHasCaughtUpIsListedAgainToo) {
  std::atomic<int> watches{0};
  Fixture f([&watches](const FakeRequest& request) {
    if (!IsWatch(request)) {
      return FakeReply{.body = watches == 0 ? ListOf(9, {Object("a", 5)})
                                            : ListOf(12, {Object("b", 8), Object("c", 12)})};
    }
    if (++watches == 1) return FakeReply{.stream = [](StreamWriter&) {}, .cut = true};
    return FakeReply{.stream = [](StreamWriter& w) { w.Hold(); }};
  });
  Watch watch = f.Start();
  EXPECT_THAT(Take(watch, 3), ElementsAre("DELETED a@5", "ADDED b@8", "ADDED c@12"));
}

TEST(Watch, ListAfterABreakIsNotTakenForWhatTheWatchWillBring) {
  std::atomic<int> watches{0};
  Fixture f([&watches](const FakeRequest& request) {
    if (!IsWatch(request)) {
      return FakeReply{.body = watches == 0 ? ListOf(9, {Object("a", 5), Object("z", 6)})
                                            : ListOf(12, {Object("a", 5), Object("b", 11)})};
    }
    if (++watches == 1) return FakeReply{.stream = [](StreamWriter&) {}, .cut = true};
    return FakeReply{.stream = [](StreamWriter& w) {
      w.Chunk(Event("DELETED", Object("z", 10)) + Event("ADDED", Object("b", 11)));
      w.Hold();
    }};
  });
  Watch watch = f.Start();
  EXPECT_THAT(Take(watch, 2), ElementsAre("DELETED z@10", "ADDED b@11"));
  EXPECT_THAT(f.server.Calls().back(), HasSubstr("resourceVersion=9"));
}

TEST(Watch, TableEventsGetTheColumnsOfTheFirst) {
  const std::string row =
      R"({"cells":["x"],"object":{"metadata":{"name":"x","resourceVersion":"9"}}})";
  Fixture f([&row](const FakeRequest& request) {
    if (!IsWatch(request)) {
      return FakeReply{
          .body =
              R"({"kind":"Table","metadata":{"resourceVersion":"7"},"columnDefinitions":[{"name":"Name"}],"rows":[]})"};
    }
    return FakeReply{.stream = [&row](StreamWriter& w) {
      w.Chunk(Event("ADDED", R"({"kind":"Table","columnDefinitions":null,"rows":[)" + row + "]}"));
      w.Hold();
    }};
  });
  f.spec.table = true;
  Watch watch = f.Start();
  const auto events = watch.Next(5s);
  ASSERT_TRUE(events.ok());
  EXPECT_EQ((*events)[0].object.Find("columnDefinitions")->items().size(), 1U);
  EXPECT_THAT(f.server.Requests()[1].headers.at("accept"), HasSubstr("as=Table"));
}

TEST(Watch, RefusalIsAnError) {
  Fixture f([](const FakeRequest& request) {
    if (!IsWatch(request)) return FakeReply{.body = ListOf(7, {})};
    return FakeReply{.status = 403,
                     .body = R"({"kind":"Status","reason":"Forbidden","message":"no","code":403})"};
  });
  Watch watch = f.Start();
  EXPECT_EQ(watch.Next(5s).status().code(), Code::kPermissionDenied);
}

TEST(Watch, GarbageIsAnErrorAndNotACrash) {
  for (const std::string line :
       {"hello\n", "{\"type\":\"ADDED\"}\n", "{\"type\":\"ADDED\",\"object\":[]}\n",
        "{\"type\":7,\"object\":{}}\n{\n", "{\"type\":\"ADDED\",\"object\":{}}\n",
        "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Table\",\"rows\":7}}\n",
        "{\"type\":\"ERROR\",\"object\":{\"code\":\"x\"}}\n"}) {
    Fixture f([&line](const FakeRequest& request) {
      if (!IsWatch(request)) return FakeReply{.body = ListOf(7, {})};
      return FakeReply{.stream = [&line](StreamWriter& w) {
        w.Chunk(line);
        w.Hold();
      }};
    });
    Watch watch = f.Start();
    const auto events = watch.Next(2s);
    EXPECT_FALSE(events.ok()) << line;
    EXPECT_NE(events.status().code(), Code::kDeadlineExceeded) << line;
  }
}

TEST(Watch, EndlessLineIsBounded) {
  Fixture f([](const FakeRequest& request) {
    if (!IsWatch(request)) return FakeReply{.body = ListOf(7, {})};
    return FakeReply{.stream = [](StreamWriter& w) {
      for (int i = 0; i < 100; ++i) w.Chunk(std::string(100'000, 'x'));
    }};
  });
  Watch watch = f.Start();
  EXPECT_EQ(watch.Next(60s).status().code(), Code::kResourceExhausted);
}

TEST(Watch, ServerThatClosesAtOnceIsNotAskedInATightLoop) {
  Fixture f([](const FakeRequest& request) {
    if (!IsWatch(request)) return FakeReply{.body = ListOf(7, {})};
    return FakeReply{.stream = [](StreamWriter&) {}};
  });
  Watch watch = f.Start();
  EXPECT_EQ(watch.Next(300ms).status().code(), Code::kDeadlineExceeded);
  EXPECT_LT(f.server.Calls().size(), 20U);  // two for each try, with growing pauses
}

}  // namespace
}  // namespace isla::client
