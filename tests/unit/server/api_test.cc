// The API over HTTP: what each endpoint says, word for word where clients depend on it.
#include <thread>

#include "tests/unit/server/server_fixture.h"

namespace isla::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const char* const kTable = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;"
                           "g=meta.k8s.io,application/json\r\n";

/// The type and the name of an event's object, "ADDED a".
std::string Short(const std::string& line) {
  const auto event = json::Parse(line);
  if (!event.ok()) return "?" + line;
  return event->StringAt({"type"}) + " " + event->StringAt({"object", "metadata", "name"});
}

class Stream {
 public:
  Stream(const std::string& path, const std::string& target, const std::string& more = {}) : client_(path) {
    client_.Get(target, more);
    status_ = client_.ReadLine();
    while (!client_.ReadLine().empty()) {
    }
  }
  const std::string& status() const { return status_; }
  RawClient& client() { return client_; }
  /// The next line of the stream: chunks may hold several, and end only at lines.
  std::string Line(Duration timeout = seconds(5)) {
    while (buffer_.find('\n') == std::string::npos) {
      const std::string chunk = client_.ReadChunk(timeout);
      if (chunk.empty() || chunk.front() == '<') return chunk.empty() ? "<end>" : chunk;
      buffer_ += chunk;
    }
    const size_t end = buffer_.find('\n');
    std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    return line;
  }

 private:
  RawClient client_;
  std::string status_;
  std::string buffer_;
};

TEST_F(ServerTest, DiscoveryListsWhatIsServed) {
  Start();
  EXPECT_EQ(Json(Ask("/version")).StringAt({"gitVersion"}), "v1.32.0-isla.1");
  EXPECT_EQ(Ask("/api").body, R"({"kind":"APIVersions","versions":[]})");
  const json::Value groups = Json(Ask("/apis?timeout=32s"));
  EXPECT_EQ(groups.StringAt({"kind"}), "APIGroupList");
  EXPECT_EQ(groups.Find("groups")->items()[0].StringAt({"preferredVersion", "groupVersion"}), "isla/v1");
  EXPECT_EQ(Json(Ask("/apis/isla")).StringAt({"kind"}), "APIGroup");
  const json::Value list = Json(Ask("/apis/isla/v1"));
  EXPECT_EQ(list.StringAt({"groupVersion"}), "isla/v1");
  std::vector<std::string> names;
  for (const json::Value& resource : list.Find("resources")->items()) names.push_back(resource.StringAt({"name"}));
  EXPECT_THAT(names, ::testing::IsSupersetOf({"sessions", "sessions/status", "sessions/log", "nodes", "projects"}));
  for (const json::Value& resource : list.Find("resources")->items()) {
    if (resource.StringAt({"name"}) != "nodes") continue;
    EXPECT_EQ(json::Serialize(*resource.Find("verbs")), R"(["get","list","watch"])");
  }
  EXPECT_EQ(Ask("/openapi/v3").status, 404);
  const auto openapi = Ask("/openapi/v2");
  EXPECT_THAT(openapi.head, HasSubstr("application/com.github.proto-openapi.spec.v2.v1.0+protobuf\r\n"));
}

TEST_F(ServerTest, UnknownPathsAre404WithAStatus) {
  Start();
  for (const char* path : {"/x", "/apis/isla/v2", "/apis/isla/v1/things", "/apis/isla/v1/sessions/a",
                           "/api/v1/namespaces/default/events", "/apis/isla/v1/namespaces/default/nodes",
                           "/apis/isla/v1/namespaces/default/sessions/a/exec", "/apis/isla/v1/nodes/n/log",
                           "/apis/isla/v1/namespaces/default/sessions/a/log/b", "/apis/other/v1"}) {
    const auto answer = Ask(path);
    EXPECT_EQ(answer.status, 404) << path;
    EXPECT_EQ(Json(answer).StringAt({"reason"}), "NotFound");
    EXPECT_EQ(Json(answer).StringAt({"message"}), "the server could not find the requested resource");
  }
}

TEST_F(ServerTest, MethodsThatAreNotAre405WithAllow) {
  Start();
  const auto collection = Ask("DELETE", kSessions, "", "application/json");
  EXPECT_EQ(collection.status, 405);
  EXPECT_THAT(collection.head, HasSubstr("Allow: GET, POST\r\n"));
  EXPECT_EQ(Ask("POST", "/apis/isla/v1/sessions", Manifest("a"), "application/json").status, 405);
  const auto node = Ask("DELETE", "/apis/isla/v1/nodes/n", "", "application/json");
  EXPECT_EQ(node.status, 405);
  EXPECT_THAT(node.head, HasSubstr("Allow: GET\r\n"));
  EXPECT_EQ(Ask("PUT", std::string(kSessions) + "/a/status", "{}", "application/json").status, 405);
  EXPECT_EQ(Ask("POST", "/version", "", "application/json").status, 405);
  EXPECT_EQ(Ask("BREW", kSessions, "", "").status, 405);
}

TEST_F(ServerTest, HealthReadinessAndMetrics) {
  Start();
  EXPECT_EQ(Ask("/healthz").body, "ok");
  EXPECT_EQ(Ask("/livez").body, "ok");
  EXPECT_EQ(Ask("/readyz").body, "ok");
  SetReady(Error(Code::kUnavailable, "the cache isn't synced yet"));
  const auto answer = Ask("/readyz");
  EXPECT_EQ(answer.status, 503);
  EXPECT_THAT(answer.body, HasSubstr("the cache isn't synced yet"));
  const auto metrics = Ask("/metrics");
  EXPECT_THAT(metrics.head, HasSubstr("text/plain; version=0.0.4"));
  EXPECT_THAT(metrics.body, HasSubstr("isla_http_connections"));
}

TEST_F(ServerTest, CreateGetUpdateDelete) {
  Start();
  const auto created = Create("a");
  EXPECT_EQ(created.status, 201);
  EXPECT_EQ(Json(created).StringAt({"metadata", "createdBy"}), "root");
  const std::string path = std::string(kSessions) + "/a";
  EXPECT_EQ(Ask(path).body, created.body);
  EXPECT_EQ(Ask(path + "/status").body, created.body);
  json::Value changed = Json(created);
  changed.Member("metadata").Set("labels", json::Value::MakeObject({{"x", "y"}}));
  const auto put = Ask("PUT", path, json::Serialize(changed), "application/json");
  EXPECT_EQ(put.status, 200);
  EXPECT_EQ(Json(put).StringAt({"metadata", "labels", "x"}), "y");
  const auto stale = Ask("PUT", path, created.body, "application/json");
  EXPECT_EQ(stale.status, 409);
  EXPECT_EQ(Json(stale).StringAt({"reason"}), "Conflict");
  EXPECT_THAT(Json(stale).StringAt({"message"}),
              StartsWith("Operation cannot be fulfilled on sessions.isla \"a\": the object has been modified"));
  const auto patched =
      Ask("PATCH", path, R"({"metadata":{"labels":{"x":null}}})", "application/merge-patch+json; charset=utf-8");
  EXPECT_EQ(patched.status, 200);
  const auto deleted = Ask("DELETE", path, R"({"propagationPolicy":"Background"})", "application/json");
  EXPECT_EQ(deleted.status, 200);
  EXPECT_FALSE(Json(deleted).StringAt({"metadata", "deletionTimestamp"}).empty());
}

TEST_F(ServerTest, ErrorsAreKubernetesStatusObjects) {
  Start();
  const json::Value missing = Json(Ask(std::string(kSessions) + "/a"));
  EXPECT_EQ(json::Serialize(missing),
            R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",)"
            R"("message":"sessions.isla \"a\" not found","reason":"NotFound","code":404,)"
            R"("details":{"name":"a","group":"isla","kind":"sessions"}})");
  ASSERT_EQ(Create("a").status, 201);
  const auto again = Create("a");
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(Json(again).StringAt({"reason"}), "AlreadyExists");
  EXPECT_EQ(Json(again).StringAt({"message"}), "sessions.isla \"a\" already exists");
  const auto forbidden = Ask("POST", "/apis/isla/v1/namespaces/nowhere/sessions", Manifest("a"), "application/json");
  EXPECT_EQ(forbidden.status, 403);
  EXPECT_THAT(Json(forbidden).StringAt({"message"}), StartsWith("sessions.isla \"a\" is forbidden: unable to create"));
  const auto invalid = Ask("POST", kSessions,
                           R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"b"},)"
                           R"("spec":{"comand":["x"],"command":["true"]}})",
                           "application/json");
  EXPECT_EQ(invalid.status, 422);
  const json::Value body = Json(invalid);
  EXPECT_EQ(body.StringAt({"reason"}), "Invalid");
  EXPECT_EQ(body.StringAt({"details", "kind"}), "Session");
  EXPECT_EQ(body.StringAt({"details", "name"}), "b");
  EXPECT_EQ(body.FindPath({"details", "causes"})->items()[0].StringAt({"field"}), "spec.comand");
  EXPECT_THAT(body.FindPath({"details", "causes"})->items()[0].StringAt({"message"}), HasSubstr("command"));
  const auto broken = Ask("POST", kSessions, "{\"a\":", "application/json");
  EXPECT_EQ(broken.status, 400);
  EXPECT_THAT(Json(broken).StringAt({"message"}), HasSubstr("line 1"));
}

TEST_F(ServerTest, UnknownFieldsAreRefusedWhateverFieldValidationSays) {
  Start();
  const std::string body = R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"b"},)"
                           R"("spec":{"command":["true"],"x":1}})";
  for (const char* query : {"", "?fieldValidation=Ignore", "?fieldValidation=Warn", "?fieldValidation=Strict"}) {
    EXPECT_EQ(Ask("POST", kSessions + std::string(query), body, "application/json").status, 422) << query;
  }
  EXPECT_EQ(Ask("POST", kSessions + std::string("?fieldValidation=Maybe"), body, "application/json").status, 400);
}

TEST_F(ServerTest, OtherMediaTypesAre415) {
  Start();
  ASSERT_EQ(Create("a").status, 201);
  const std::string path = std::string(kSessions) + "/a";
  for (const char* type : {"application/strategic-merge-patch+json", "application/json-patch+json",
                           "application/apply-patch+yaml", "application/json", ""}) {
    const auto answer = Ask("PATCH", path, "{}", type);
    EXPECT_EQ(answer.status, 415) << type;
    EXPECT_THAT(Json(answer).StringAt({"message"}), HasSubstr("application/merge-patch+json"));
  }
  EXPECT_EQ(Ask("POST", kSessions, "a: b", "application/yaml").status, 415);
  EXPECT_EQ(Ask("PUT", path, "x", "application/vnd.kubernetes.protobuf").status, 415);
  EXPECT_EQ(Ask(path, "Accept: application/vnd.kubernetes.protobuf\r\n").status, 406);
  EXPECT_EQ(Ask(path, "Accept: application/vnd.kubernetes.protobuf,application/json\r\n").status, 200);
}

TEST_F(ServerTest, DryRunIsReadFromQueryAndBody) {
  Start();
  EXPECT_EQ(Ask("POST", kSessions + std::string("?dryRun=All"), Manifest("a"), "application/json").status, 201);
  EXPECT_EQ(Ask(std::string(kSessions) + "/a").status, 404);
  EXPECT_EQ(Ask("POST", kSessions + std::string("?dryRun=Some"), Manifest("a"), "application/json").status, 400);
  ASSERT_EQ(Create("a").status, 201);
  const std::string path = std::string(kSessions) + "/a";
  EXPECT_EQ(Ask("DELETE", path, R"({"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"]})", "application/json").status,
            200);
  EXPECT_EQ(Ask("DELETE", path + "?dryRun=All", "", "application/json").status, 200);
  EXPECT_EQ(Ask("DELETE", path, R"({"dryRun":["all"]})", "application/json").status, 400);
  EXPECT_EQ(Ask("DELETE", path, R"({"dryrun":["All"]})", "application/json").status, 400);
  EXPECT_EQ(Ask("DELETE", path, R"({"dryRun":"All"})", "application/json").status, 400);
  EXPECT_EQ(Ask("DELETE", path, "{", "application/json").status, 400);
  EXPECT_EQ(Ask("DELETE", path, R"({"gracePeriodSeconds":-1})", "application/json").status, 400);
  EXPECT_TRUE(Json(Ask(path)).StringAt({"metadata", "deletionTimestamp"}).empty());
  EXPECT_EQ(Ask("DELETE", path, R"({"preconditions":{"uid":"other"}})", "application/json").status, 409);
  const auto deleted = Ask("DELETE", path, R"({"gracePeriodSeconds":0})", "application/json");
  EXPECT_EQ(Json(deleted).FindPath({"metadata"})->Int64At({"deletionGracePeriodSeconds"}), 0);
}

TEST_F(ServerTest, ListsAndSelectors) {
  Start();
  ASSERT_EQ(Create("a", R"(,"labels":{"x":"y"})").status, 201);
  ASSERT_EQ(Create("b").status, 201);
  const json::Value list = Json(Ask(std::string(kSessions) + "?limit=500"));
  EXPECT_EQ(list.StringAt({"kind"}), "SessionList");
  EXPECT_EQ(list.Find("items")->items().size(), 2U);
  EXPECT_EQ(list.Find("items")->items()[0].StringAt({"kind"}), "Session");
  EXPECT_EQ(Json(Ask("/apis/isla/v1/sessions?labelSelector=x%3Dy")).Find("items")->items().size(), 1U);
  EXPECT_EQ(Json(Ask("/apis/isla/v1/sessions?fieldSelector=metadata.name%3Db")).Find("items")->items().size(), 1U);
  for (const char* query : {"fieldSelector=status.phase%3DRunning", "labelSelector=%21%21", "resourceVersion=x",
                            "resourceVersion=-1", "continue=abc", "limit=x", "watch=perhaps", "timeoutSeconds=soon",
                            "resourceVersion=5&resourceVersionMatch=Exact", "resourceVersionMatch=NotOlderThan",
                            "resourceVersion=5&resourceVersionMatch=Never"}) {
    EXPECT_EQ(Ask(std::string(kSessions) + "?" + query).status, 400) << query;
  }
  EXPECT_EQ(Ask(std::string(kSessions) + "?resourceVersion=1&resourceVersionMatch=NotOlderThan").status, 200);
  const auto initial = Ask(std::string(kSessions) +
                           "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
  EXPECT_EQ(initial.status, 422);
  EXPECT_EQ(Json(initial).StringAt({"reason"}), "Invalid");
}

TEST_F(ServerTest, TablesForKubectlGet) {
  Start();
  ASSERT_EQ(Create("a").status, 201);
  const json::Value table = Json(Ask(std::string(kSessions) + "?limit=500", kTable));
  EXPECT_EQ(table.StringAt({"kind"}), "Table");
  EXPECT_EQ(table.StringAt({"apiVersion"}), "meta.k8s.io/v1");
  EXPECT_EQ(table.Find("columnDefinitions")->items()[0].StringAt({"format"}), "name");
  const json::Value& row = table.Find("rows")->items()[0];
  EXPECT_EQ(row.Find("cells")->items()[0].as_string(), "a");
  EXPECT_EQ(row.Find("cells")->items().size(), table.Find("columnDefinitions")->items().size());
  EXPECT_EQ(row.StringAt({"object", "kind"}), "PartialObjectMetadata");
  EXPECT_EQ(row.Find("object")->Find("spec"), nullptr);
  const json::Value whole = Json(Ask(std::string(kSessions) + "?includeObject=Object", kTable));
  EXPECT_EQ(whole.Find("rows")->items()[0].StringAt({"object", "kind"}), "Session");
  const json::Value none = Json(Ask(std::string(kSessions) + "?includeObject=None", kTable));
  EXPECT_EQ(none.Find("rows")->items()[0].Find("object"), nullptr);
  EXPECT_EQ(Ask(std::string(kSessions) + "?includeObject=All", kTable).status, 400);
  const json::Value one = Json(Ask(std::string(kSessions) + "/a",
                                   "Accept: application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json\r\n"));
  EXPECT_EQ(one.StringAt({"apiVersion"}), "meta.k8s.io/v1beta1");
  EXPECT_EQ(one.Find("rows")->items().size(), 1U);
}

// ---- watch

TEST_F(ServerTest, AWatchFromZeroSendsWhatIsThereThenWhatComes) {
  Start();
  ASSERT_EQ(Create("a").status, 201);
  Stream watch(options_.socket_path, std::string(kSessions) + "?watch=true&resourceVersion=0");
  EXPECT_EQ(watch.status(), "HTTP/1.1 200 OK");
  EXPECT_EQ(Short(watch.Line()), "ADDED a");
  ASSERT_EQ(Create("b").status, 201);
  EXPECT_EQ(Short(watch.Line()), "ADDED b");
  Ask("DELETE", std::string(kSessions) + "/b", "", "application/json");
  EXPECT_EQ(Short(watch.Line()), "MODIFIED b");
}

TEST_F(ServerTest, AWatchOfANameSeesNoOther) {
  Start();
  Stream watch(options_.socket_path, std::string(kSessions) + "?fieldSelector=metadata.name%3Db&watch=1");
  ASSERT_EQ(Create("a").status, 201);
  ASSERT_EQ(Create("b").status, 201);
  EXPECT_EQ(Short(watch.Line()), "ADDED b");
}

TEST_F(ServerTest, ATableWatchNamesItsColumnsOnce) {
  Start();
  Stream watch(options_.socket_path, std::string(kSessions) + "?watch=true", kTable);
  ASSERT_EQ(Create("a").status, 201);
  ASSERT_EQ(Create("b").status, 201);
  const auto first = json::Parse(watch.Line());
  const auto second = json::Parse(watch.Line());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->StringAt({"object", "kind"}), "Table");
  EXPECT_TRUE(first->FindPath({"object", "columnDefinitions"})->is_array());
  EXPECT_TRUE(second->FindPath({"object", "columnDefinitions"})->is_null());
}

TEST_F(ServerTest, AWatchFromTooLongAgoIsAnErrorEventOf410) {
  Start();
  ASSERT_EQ(Create("a").status, 201);
  for (int i = 0; i < 100; ++i) {
    Put(keys_.Status("session", "default", "a"), R"({"uid":"x","status":{}})");
  }
  Ask(kSessions);
  Stream watch(options_.socket_path, std::string(kSessions) + "?watch=true&resourceVersion=2");
  EXPECT_EQ(watch.status(), "HTTP/1.1 200 OK");
  const auto event = json::Parse(watch.Line());
  ASSERT_TRUE(event.ok());
  EXPECT_EQ(event->StringAt({"type"}), "ERROR");
  EXPECT_EQ(event->FindPath({"object"})->Int64At({"code"}), 410);
  EXPECT_EQ(event->StringAt({"object", "reason"}), "Expired");
  EXPECT_EQ(watch.Line(), "<end>");
  watch.client().Get("/healthz");
  EXPECT_EQ(watch.client().Read().body, "ok") << "the connection goes on";
}

// As after a backup was restored: client-go knows both, and lists again.
TEST_F(ServerTest, ARevisionAboveTheStoresIs504WithItsCauseForAListAnd410ForAWatch) {
  Start();
  const auto answer = Ask(std::string(kSessions) + "?resourceVersion=1000000&resourceVersionMatch=NotOlderThan");
  EXPECT_EQ(answer.status, 504);
  const json::Value status = Json(answer);
  EXPECT_EQ(status.StringAt({"reason"}), "Timeout");
  EXPECT_THAT(status.StringAt({"message"}), StartsWith("Too large resource version: 1000000, current: "));
  EXPECT_EQ(status.FindPath({"details"})->Int64At({"retryAfterSeconds"}), 1);
  ASSERT_EQ(status.FindPath({"details", "causes"})->items().size(), 1U);
  EXPECT_EQ(json::Serialize(status.FindPath({"details", "causes"})->items()[0]),
            R"({"reason":"ResourceVersionTooLarge","message":"Too large resource version"})");
  Stream watch(options_.socket_path, std::string(kSessions) + "?watch=true&resourceVersion=1000000");
  EXPECT_EQ(watch.status(), "HTTP/1.1 200 OK");
  const auto event = json::Parse(watch.Line());
  ASSERT_TRUE(event.ok());
  EXPECT_EQ(event->StringAt({"type"}), "ERROR");
  EXPECT_EQ(event->FindPath({"object"})->Int64At({"code"}), 410);
  EXPECT_EQ(event->StringAt({"object", "reason"}), "Expired");
  EXPECT_EQ(watch.Line(), "<end>");
}

TEST_F(ServerTest, TimeoutSecondsEndsAWatchCleanly) {
  Start();
  const MonotonicTime begin = Clock::Real().Monotonic();
  Stream watch(options_.socket_path, std::string(kSessions) + "?watch=true&timeoutSeconds=1");
  EXPECT_EQ(watch.Line(), "<end>");
  EXPECT_GE(Clock::Real().Monotonic() - begin, milliseconds(950));
}

TEST_F(ServerTest, BookmarksComeWhenAllowedOnly) {
  options_.bookmark_interval = milliseconds(100);
  Start();
  ASSERT_EQ(Create("a").status, 201);
  Stream with(options_.socket_path, std::string(kSessions) + "?watch=true&resourceVersion=0&allowWatchBookmarks=true");
  Stream without(options_.socket_path, std::string(kSessions) + "?watch=true&resourceVersion=0");
  EXPECT_EQ(Short(with.Line()), "ADDED a");
  EXPECT_EQ(Short(without.Line()), "ADDED a");
  const auto bookmark = json::Parse(with.Line());
  ASSERT_TRUE(bookmark.ok());
  EXPECT_EQ(bookmark->StringAt({"type"}), "BOOKMARK");
  EXPECT_EQ(bookmark->StringAt({"object", "kind"}), "Session");
  EXPECT_GE(std::stoll(bookmark->StringAt({"object", "metadata", "resourceVersion"})), 4);
  EXPECT_EQ(without.Line(milliseconds(300)), "<nothing>");
}

TEST_F(ServerTest, AStalledWatcherGets410AndOthersEverything) {
  Start();
  ASSERT_EQ(Create("a").status, 201);
  Stream stalled(options_.socket_path, std::string(kSessions) + "?watch=true&resourceVersion=0");
  Stream quick(options_.socket_path, std::string(kSessions) + "?watch=true&resourceVersion=0");
  EXPECT_EQ(Short(quick.Line()), "ADDED a");
  const std::string uid = Json(Ask(std::string(kSessions) + "/a")).StringAt({"metadata", "uid"});
  const std::string filler(20'000, 'x');
  for (int i = 0; i < 300; ++i) {
    Put(keys_.Status("session", "default", "a"),
        fmt::format(R"({{"uid":"{}","status":{{"phase":"P{}","message":"{}"}}}})", uid, i, filler));
    const auto event = json::Parse(quick.Line());
    ASSERT_TRUE(event.ok());
    EXPECT_EQ(event->StringAt({"object", "status", "phase"}), "P" + std::to_string(i));
  }
  std::string last;
  for (int i = 0; i < 400; ++i) {
    const std::string line = stalled.Line();
    if (line == "<end>") break;
    last = line;
  }
  EXPECT_THAT(last, HasSubstr("\"code\":410"));
}

TEST_F(ServerTest, AWatchWhoseClientWentIsForgotten) {
  Start();
  const auto streams = [this] { return Ask("/metrics").body.find("isla_http_streams 0") != std::string::npos; };
  {
    Stream watch(options_.socket_path, std::string(kSessions) + "?watch=true");
    EXPECT_FALSE(streams());
  }
  const MonotonicTime until = Clock::Real().Monotonic() + seconds(5);
  while (!streams() && Clock::Real().Monotonic() < until) std::this_thread::yield();
  EXPECT_TRUE(streams());
}

TEST_F(ServerTest, WatchesHoldNoWorker) {
  options_.workers = 2;
  Start();
  std::vector<std::unique_ptr<Stream>> watches;
  for (int i = 0; i < 20; ++i) {
    watches.push_back(std::make_unique<Stream>(options_.socket_path, std::string(kSessions) + "?watch=true"));
  }
  ASSERT_EQ(Create("a").status, 201);
  for (const auto& watch : watches) EXPECT_EQ(Short(watch->Line()), "ADDED a");
}

// ---- logs

TEST_F(ServerTest, ALogIsStreamedAsItIsWritten) {
  Start();
  ASSERT_EQ(Create("a").status, 201);
  logs_.Add("one\n");
  Stream log(options_.socket_path, std::string(kSessions) + "/a/log?follow=true&tailLines=5&timestamps=1&sinceSeconds=60");
  EXPECT_EQ(log.status(), "HTTP/1.1 200 OK");
  EXPECT_EQ(log.Line(), "one");
  logs_.Add("two\n");
  EXPECT_EQ(log.Line(), "two");
  logs_.End(Error(Code::kOutOfRange, "end"));
  EXPECT_EQ(log.Line(), "<end>");
  const LogRequest request = logs_.last();
  EXPECT_EQ(request.session, "a");
  EXPECT_TRUE(request.follow && request.timestamps);
  EXPECT_EQ(request.tail_lines, 5);
  EXPECT_EQ(request.since_seconds, 60);
  ASSERT_NE(request.object, nullptr);
  EXPECT_EQ(request.object->StringAt({"metadata", "name"}), "a");
}

TEST_F(ServerTest, ALogThatBreaksOffIsNotTakenForWhole) {
  Start();
  ASSERT_EQ(Create("a").status, 201);
  logs_.Add("one\n");
  Stream log(options_.socket_path, std::string(kSessions) + "/a/log");
  EXPECT_EQ(log.Line(), "one");
  logs_.End(Error(Code::kUnavailable, "the node went"));
  EXPECT_EQ(log.Line(), "<nothing>") << "no last chunk";
  EXPECT_TRUE(log.client().Ends());
}

TEST_F(ServerTest, ALogIsCutWhenTheServerStops) {
  Start();
  ASSERT_EQ(Create("a").status, 201);
  Stream log(options_.socket_path, std::string(kSessions) + "/a/log?follow=true");
  server_.reset();
  EXPECT_EQ(log.Line(), "<nothing>") << "no last chunk";
  EXPECT_EQ(logs_.open(), 0);
}

TEST_F(ServerTest, ALogWhoseClientWentIsEnded) {
  Start();
  ASSERT_EQ(Create("a").status, 201);
  {
    Stream log(options_.socket_path, std::string(kSessions) + "/a/log?follow=true");
    EXPECT_EQ(logs_.open(), 1);
  }
  const MonotonicTime until = Clock::Real().Monotonic() + seconds(5);
  while (logs_.open() != 0 && Clock::Real().Monotonic() < until) std::this_thread::yield();
  EXPECT_EQ(logs_.open(), 0);
}

TEST_F(ServerTest, LogsThatCantBeOpenedSayWhy) {
  Start();
  EXPECT_EQ(Ask(std::string(kSessions) + "/a/log").status, 404);
  ASSERT_EQ(Create("a").status, 201);
  logs_.Fail(Error(Code::kFailedPrecondition, "it has not been started"));
  const auto waiting = Ask(std::string(kSessions) + "/a/log");
  EXPECT_EQ(waiting.status, 400);
  EXPECT_EQ(Json(waiting).StringAt({"message"}), "it has not been started");
  logs_.Fail(Error(Code::kUnavailable, "node n isn't connected"));
  const auto gone = Ask(std::string(kSessions) + "/a/log");
  EXPECT_EQ(gone.status, 503);
  EXPECT_THAT(gone.head, HasSubstr("Retry-After: 1\r\n"));
  for (const char* query : {"tailLines=-1", "tailLines=x", "sinceSeconds=0", "follow=maybe", "previous=true"}) {
    EXPECT_EQ(Ask(std::string(kSessions) + "/a/log?" + query).status, 400) << query;
  }
}

}  // namespace
}  // namespace isla::server
