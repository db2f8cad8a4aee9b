// isla store, with the real programs: a cluster moves from islad's own store to etcd and back, while its agents go on; imports
// that are killed; files that are damaged; readers that are too slow.
#include <gmock/gmock.h>

#include <algorithm>
#include <thread>

#include "api/archive/format.h"
#include "api/archive/lines.h"
#include "api/base/mutex.h"
#include "store/etcd/etcd_store.h"
#include "tests/e2e/islad/islad_fixture.h"
#include "tests/unit/gateway/fake_agent.h"

namespace isla::islad {
namespace {

using controllers::FakeAgent;
using isla::testing::Eventually;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kSessions = "/apis/isla/v1/namespaces/default/sessions";

/// Waits for the first event of a watch: sooner than any client that asks again and again.
class FirstEvent final : public store::Watcher {
 public:
  void OnBatch(store::WatchBatch batch) override {
    if (batch.events.empty()) return;
    MutexLock lock(mu_);
    there_ = true;
    changed_.NotifyAll();
  }
  void OnEnd(const Status& /*status*/) override {}
  bool Wait() {
    MutexLock lock(mu_);
    while (!there_ && changed_.WaitFor(mu_, std::chrono::seconds(60))) {
    }
    return there_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool there_ GUARDED_BY(mu_) = false;
};

class StoreMoveTest : public IsladTest {
 protected:
  static std::string Session(const std::string& name, const std::string& cpu = "100m") {
    return R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":")" + name +
           R"("},"spec":{"type":"batch","image":"host","command":["/bin/true"],"resources":{"cpu":")" + cpu +
           R"(","memory":"16Mi"}}})";
  }
  CommandResult Isla(const Islad& islad, std::vector<std::string> arguments, const std::string& input = {}) {
    arguments.insert(arguments.begin(), {std::string(getenv("ISLA_BIN_DIR")) + "/isla", arguments.front(), "--socket=" + islad.ApiSocket()});
    arguments.erase(arguments.begin() + 3);
    isla::testing::CommandOptions options;
    options.input = input;
    options.timeout = std::chrono::seconds(60);
    return isla::testing::RunCommand(arguments, options);
  }
  static json::Value Get(const Islad& islad, const std::string& target) {
    auto value = json::Parse(Call(islad, "GET", target).body, {size_t{64} << 20, 100});
    return value.ok() ? *std::move(value) : json::Value();
  }
  static std::string Phase(const Islad& islad, const std::string& name) {
    return Get(islad, std::string(kSessions) + "/" + name).StringAt({"status", "phase"});
  }
  /// Every session and project without what another store gives it: revisions, and what is known of nodes at the moment.
  static std::string Objects(const Islad& islad) {
    json::Value all = json::Value::MakeArray();
    for (const char* resource : {"sessions", "projects"}) {
      const json::Value list = Get(islad, std::string("/apis/isla/v1/") + resource);
      for (json::Value item : list.Find("items")->items()) {
        item.Member("metadata").Remove("resourceVersion");
        if (json::Value* status = item.Find("status")) {
          status->Remove("conditions");
          status->Remove("message");  // which nodes don't fit, and why
        }
        all.Append(std::move(item));
      }
    }
    return json::Pretty(all, 1);
  }
  /// A file of `count` settings of `bytes` each, and one session.
  static std::string FileOf(int count, size_t bytes) {
    archive::Writer writer;
    archive::Header header;
    header.cluster_id = "7f2c1d52-0000-4000-8000-000000000001";
    header.revision = 99;
    std::string text = writer.Begin(header);
    for (int i = 0; i < count; ++i) {
      text += writer.Add({fmt::format("config/key-{:06}", i), "config", 5, 5, "\"" + std::string(bytes, 'x') + "\""}).value();
    }
    text += writer
                .Add({"spec/session/default/imported", "spec", 7, 7,
                      R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"imported","namespace":"default",)"
                      R"("uid":"0b7bd1a6-1111-4222-8333-444455556666","generation":1,"creationTimestamp":"2026-11-22T10:00:00.000001Z",)"
                      R"("createdBy":"root","finalizers":["isla/session"]},"spec":{"type":"batch","image":"host",)"
                      R"("command":["/bin/true"],"workingDir":"/","network":"none","terminationGracePeriod":"30s",)"
                      R"("resources":{"cpu":"100m","memory":"16Mi","tasks":64}}})"})
                .value();
    return text + writer.Finish();
  }
  std::string File(const std::string& name, const std::string& text) {
    const std::string path = folder_ + "/" + name;
    EXPECT_TRUE(WriteFileAtomically(path, text, 0600, false).ok());
    return path;
  }
  static size_t KeysIn(EtcdProcess& etcd, const std::string& prefix) {
    const CommandResult result = etcd.Etcdctl({"get", "--prefix", "--keys-only", "/isla/default/" + prefix});
    return static_cast<size_t>(std::count(result.out.begin(), result.out.end(), '/')) / 4;
  }
};

/// Says what its journal has: of one container.
isla::v1::Hello HelloWith(const std::string& uid, int64_t highest_term, isla::v1::ContainerState state = isla::v1::RUNNING) {
  auto hello = FakeAgent::MakeHello();
  hello.set_highest_term(highest_term);
  if (uid.empty()) return hello;
  auto& item = *hello.add_inventory();
  item.set_uid(uid);
  item.set_incarnation(1);
  item.set_state(state);
  return hello;
}

TEST_F(StoreMoveTest, AClusterMovesToEtcdAndBackWhileItsContainersRunOn) {
  EtcdProcess etcd;
  etcd.Start();
  Islad& own = Start("own", "embedded:" + folder_ + "/store");
  ASSERT_TRUE(Eventually([&] { return Ready(own); }));
  std::string running;
  int64_t term = 0;
  {
    FakeAgent agent(own.Gateway());
    agent.Join();
    for (const char* name : {"ended", "running"}) {
      ASSERT_EQ(Call(own, "POST", kSessions, Session(name)).status, 201);
      const auto delta = agent.NextDelta();
      ASSERT_TRUE(delta.has_value());
      agent.Ack(*delta);
      running = delta->upserts(0).uid();
      agent.Report(name[0] == 'e' ? 1 : 3, running, isla::v1::RUNNING);
      ASSERT_TRUE(Eventually([&] { return Phase(own, name) == "Running"; }));
      if (name[0] == 'r') continue;
      agent.Report(2, running, isla::v1::EXITED);
      ASSERT_TRUE(Eventually([&] { return Phase(own, name) == "Failed"; }));
    }
    ASSERT_EQ(Call(own, "POST", kSessions, Session("waits", "900")).status, 201);
    ASSERT_EQ(Call(own, "POST", "/apis/isla/v1/projects", R"({"apiVersion":"isla/v1","kind":"Project","metadata":{"name":"demo"},"spec":{}})").status, 201);
    ASSERT_TRUE(Eventually([&] { return Get(own, std::string(kSessions) + "/waits").StringAt({"status", "reason"}) == "Unschedulable"; }));
    const CommandResult sealed = Isla(own, {"store", "export", folder_ + "/moved", "--seal"});
    ASSERT_EQ(sealed.exit_code, 0) << sealed.err;
    EXPECT_THAT(sealed.err, HasSubstr("exported, sealed"));
    // From here on nothing happens there: its agents are let go, its API refuses, nobody leads.
    EXPECT_TRUE(agent.Ended());
    term = agent.term;
    EXPECT_EQ(Call(own, "POST", kSessions, Session("late")).status, 403);
    EXPECT_FALSE(Ready(own));
  }
  const std::string moved = Objects(own);
  EXPECT_THAT(moved, HasSubstr("\"history\""));
  own.daemon->Stop();

  Islad& far = Start("far", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(far); }));
  {
    // Its agent is quicker than the import: what it runs is an orphan to a store that knows nothing of it, and runs on.
    FakeAgent early(far.Gateway());
    early.Join(HelloWith(running, term));
    EXPECT_EQ(early.first.upserts_size(), 0);
    EXPECT_EQ(early.first.removals_size(), 0);
    const CommandResult imported = Isla(far, {"store", "import", folder_ + "/moved"});
    ASSERT_EQ(imported.exit_code, 0) << imported.err;
    EXPECT_THAT(imported.out, HasSubstr("imported: "));
    EXPECT_TRUE(early.Ended());
    EXPECT_FALSE(early.NextDelta(std::chrono::milliseconds(50)).has_value()) << "nothing is told of a half-imported cluster";
    term = early.term;
  }
  ASSERT_TRUE(Eventually([&] { return Ready(far) && Leader(etcd) == "far"; }));
  EXPECT_EQ(Objects(far), moved) << "objects, their statuses and histories";
  {
    FakeAgent agent(far.Gateway());
    agent.Join(HelloWith(running, term));
    ASSERT_EQ(agent.first.upserts_size(), 1) << agent.first.ShortDebugString();
    EXPECT_EQ(agent.first.upserts(0).uid(), running);
    EXPECT_EQ(agent.first.upserts(0).incarnation(), 1) << "it goes on as what it is";
    EXPECT_GT(agent.term, term);
    agent.Report(4, running, isla::v1::EXITED);
    EXPECT_TRUE(Eventually([&] { return Phase(far, "running") == "Failed"; })) << "what it reports counts";
  }
  // The sealed store is opened only if somebody says so.
  own.daemon->Start();
  ASSERT_TRUE(Eventually([&] { return Call(own, "GET", "/healthz").status == 200; }));
  EXPECT_FALSE(Ready(own));

  // And back, over what it was before.
  ASSERT_EQ(Isla(far, {"store", "export", folder_ + "/back", "--seal"}).exit_code, 0);
  const std::string there = Objects(far);
  far.daemon->Stop();
  EXPECT_NE(Isla(own, {"store", "import", folder_ + "/back"}).exit_code, 0) << "it isn't empty";
  const CommandResult back = Isla(own, {"store", "import", folder_ + "/back", "--replace"});
  ASSERT_EQ(back.exit_code, 0) << back.err;
  ASSERT_TRUE(Eventually([&] { return Ready(own); }));
  EXPECT_EQ(Objects(own), there);
  const CommandResult again = Isla(own, {"store", "import", folder_ + "/back"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("unchanged: this file was imported before"));
}

TEST_F(StoreMoveTest, AnIncarnationThatRanAfterTheBackupIsNotStartedAgain) {
  EtcdProcess etcd;
  etcd.Start();
  Islad& own = Start("own", "memory");
  ASSERT_TRUE(Eventually([&] { return Ready(own); }));
  int64_t term = 0;
  {
    FakeAgent agent(own.Gateway());
    agent.Join();
    ASSERT_EQ(Call(own, "POST", kSessions, Session("bound")).status, 201);
    const auto delta = agent.NextDelta();
    ASSERT_TRUE(delta.has_value());
    const std::string uid = delta->upserts(0).uid();
    ASSERT_EQ(Call(own, "POST", kSessions, Session("waits", "900")).status, 201);
    ASSERT_EQ(Isla(own, {"store", "export", folder_ + "/backup"}).exit_code, 0);
    // Since then the one runs, ends and is removed without a trace.
    agent.Ack(*delta);
    agent.Report(1, uid, isla::v1::EXITED);
    ASSERT_TRUE(Eventually([&] { return Phase(own, "bound") == "Failed"; }));
    ASSERT_EQ(Call(own, "DELETE", std::string(kSessions) + "/bound").status, 200);
    for (auto next = agent.NextDelta(); next && next->removals_size() == 0; next = agent.NextDelta()) {
      agent.Ack(*next);
      agent.Report(2, uid, isla::v1::GONE);
    }
    term = agent.term;
  }
  own.daemon->Stop();
  Islad& far = Start("far", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(far); }));
  ASSERT_EQ(Isla(far, {"store", "import", folder_ + "/backup"}).exit_code, 0);
  ASSERT_TRUE(Eventually([&] { return Ready(far) && Leader(etcd) == "far"; }));
  FakeAgent agent(far.Gateway());
  agent.Hello(HelloWith("", term));
  std::vector<int64_t> told;
  while (const auto delta = agent.NextDelta(std::chrono::seconds(5))) {
    for (const auto& desired : delta->upserts()) told.push_back(desired.incarnation());
    agent.Ack(*delta);
    if (!told.empty()) break;
  }
  EXPECT_EQ(told, std::vector<int64_t>{1'000'001});
}

TEST_F(StoreMoveTest, IsladIsKilledInTheMiddleOfAnImportAndARepeatFinishesIt) {
  constexpr int kKeys = 30'000;
  EtcdProcess etcd;
  etcd.Start();
  Islad& islad = Start("a", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(islad) && Leader(etcd) == "a"; }));
  const std::string file = File("file", FileOf(kKeys, 200));
  CommandResult killed;
  store::EtcdOptions options;
  options.endpoints = {etcd.endpoint()};
  const auto client = store::ConnectEtcd(options);
  ASSERT_TRUE(client.ok()) << client.status();
  FirstEvent some;
  const auto watch = (*client)->StartWatch({store::Prefix("/isla/default/config/key-002")}, some);
  ASSERT_TRUE(watch.ok()) << watch.status();
  std::thread import([&] { killed = Isla(islad, {"store", "import", file}); });
  EXPECT_TRUE(some.Wait());
  islad.daemon->Kill9();
  import.join();
  EXPECT_EQ(killed.exit_code, 1);
  EXPECT_THAT(killed.err, HasSubstr("repeat it with the same file"));
  ASSERT_EQ(etcd.Etcdctl({"get", "/isla/default/spec/session/default/imported"}).out, "") << "it was quicker than the kill";

  islad.daemon->Start();
  ASSERT_TRUE(Eventually([&] { return Call(islad, "GET", "/healthz").status == 200; }));
  ASSERT_TRUE(Eventually([&] { return Leader(etcd).empty(); })) << "the lease of the one that was killed ends";
  // Half of a cluster is nobody's to act on.
  client::HttpResponse ready;
  EXPECT_TRUE(Eventually([&] {
    ready = Call(islad, "GET", "/readyz");
    return ready.body.find("an import") != std::string::npos;
  })) << ready.body;
  EXPECT_EQ(ready.status, 503);
  EXPECT_EQ(Leader(etcd), "");
  const auto refused = Call(islad, "POST", kSessions, Session("late"));
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.body, HasSubstr("repeat it with the same file"));
  FakeAgent agent(islad.Gateway());
  agent.Hello();
  EXPECT_FALSE(agent.NextDelta(std::chrono::milliseconds(200)).has_value());
  EXPECT_NE(Isla(islad, {"store", "export", folder_ + "/x"}).exit_code, 0);
  EXPECT_NE(Isla(islad, {"store", "unseal"}).exit_code, 0);
  EXPECT_THAT(Isla(islad, {"store", "import", File("other", FileOf(5, 5))}).err, HasSubstr("half of another import"));

  const CommandResult repeated = Isla(islad, {"store", "import", file});
  ASSERT_EQ(repeated.exit_code, 0) << repeated.err;
  EXPECT_THAT(repeated.out, HasSubstr("going on where another import broke off"));
  EXPECT_THAT(repeated.out, HasSubstr("0 deleted"));
  EXPECT_EQ(repeated.out.find(", 0 unchanged"), std::string::npos) << "what was there wasn't written again: " << repeated.out;
  ASSERT_TRUE(Eventually([&] { return Ready(islad) && Leader(etcd) == "a"; }));
  EXPECT_EQ(KeysIn(etcd, "config/"), static_cast<size_t>(kKeys));
  EXPECT_TRUE(Eventually([&] { return Phase(islad, "imported") == "Pending"; })) << "and it is acted on";
}

TEST_F(StoreMoveTest, DamagedFilesAreRefusedWithTheirLineAndNothingIsWritten) {
  Islad& islad = Start("a", "memory");
  ASSERT_TRUE(Eventually([&] { return Ready(islad); }));
  const std::string whole = FileOf(1000, 100);
  std::string edited = whole;
  edited[edited.find("key-000500") + 30] ^= 1;
  const std::pair<std::string, std::string> bad[] = {
      {whole.substr(0, whole.size() / 2), "it was cut short"},
      {whole.substr(0, whole.rfind("{\"end\"")), "line 1002: the file was cut short: this is not its end"},
      {edited, "line 502: the checksum doesn't fit"},
      {"hello\n", "line 1: this is no export of an isla store"},
  };
  for (const auto& [text, why] : bad) {
    const CommandResult result = Isla(islad, {"store", "import", File("bad", text)});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("Error from server (BadRequest): line ")) << why;
    EXPECT_THAT(result.err, HasSubstr(why));
  }
  EXPECT_THAT(Isla(islad, {"store", "list", "config/"}).err, HasSubstr("No keys found"));
  EXPECT_TRUE(Ready(islad));
  EXPECT_EQ(Isla(islad, {"store", "import", "-"}, whole).exit_code, 0);
}

TEST_F(StoreMoveTest, AReaderWhoIsSlowerThanCompactionIsToldAndBeginsAnew) {
  EtcdProcess etcd;
  etcd.Start();
  Islad& islad = Start("a", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(islad); }));
  // Far more than what lies in sockets and queues between store and reader.
  ASSERT_EQ(Isla(islad, {"store", "import", File("big", FileOf(12'000, 1000))}).exit_code, 0);
  client::Endpoint endpoint;
  endpoint.socket_path = islad.ApiSocket();
  const auto client = client::MakeHttpClient(endpoint);
  auto opened = client->Open({"GET", "/apis/isla/v1/store/export"});
  ASSERT_TRUE(opened.ok() && opened->stream != nullptr);
  archive::LineBuffer lines(archive::kMaxLineBytes);
  archive::Reader reader;
  Status status;
  bool compacted = false;
  uint64_t keys = 0;
  for (bool more = true; more && status.ok();) {
    const auto bytes = opened->stream->Read(std::chrono::seconds(10));
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    more = !bytes->empty();
    lines.Append(*bytes);
    for (auto line = lines.Next(); status.ok() && line.ok() && line->has_value(); line = lines.Next()) {
      const auto item = reader.Take(**line);
      status = item.status();
      keys = reader.keys();
    }
    if (keys > 100 && !compacted) {
      compacted = true;
      etcd.Etcdctl({"put", "/elsewhere", "1"});
      const auto revision = json::Parse(etcd.Etcdctl({"get", "x", "-w", "json"}).out)->Int64At({"header", "revision"});
      ASSERT_TRUE(revision.has_value());
      ASSERT_EQ(etcd.Etcdctl({"compact", std::to_string(*revision)}).exit_code, 0);
    }
  }
  EXPECT_EQ(status.code(), Code::kAborted) << ToString(status);
  EXPECT_THAT(Message(status), HasSubstr("was compacted before all of it was read"));
  EXPECT_LT(keys, 12'000U);
  // A new one is whole.
  const CommandResult whole = Isla(islad, {"store", "export", "-"});
  EXPECT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_THAT(whole.err, StartsWith("1200")) << "the settings, and what became of the session";
}

TEST_F(StoreMoveTest, AnObjectThatCantBeReadIsRepairedByHand) {
  Islad& islad = Start("a", "memory");
  ASSERT_TRUE(Eventually([&] { return Ready(islad); }));
  ASSERT_EQ(Call(islad, "POST", kSessions, Session("s1", "900")).status, 201);
  const std::string key = "spec/session/default/s1";
  const std::string good = Isla(islad, {"store", "get", key}).out;
  const auto revision = [&] { return std::to_string(*json::Parse(Isla(islad, {"store", "get", key, "-o", "json"}).out, {1 << 20, 64})->Int64At({"modRevision"})); };
  EXPECT_THAT(Isla(islad, {"store", "put", key, "-f", "-", "--revision=" + revision()}, "{").err, HasSubstr("makes no sense"));
  EXPECT_THAT(Isla(islad, {"store", "put", key, "-f", "-", "--revision=" + revision()}, good).err, HasSubstr("isla apply"));
  const CommandResult put = Isla(islad, {"store", "put", key, "-f", "-", "--revision=" + revision(), "--force"}, good);
  EXPECT_EQ(put.exit_code, 0) << put.err;
  EXPECT_THAT(Isla(islad, {"store", "put", key, "-f", "-", "--revision=1", "--force"}, good).err, HasSubstr("(Conflict)"));
  EXPECT_THAT(Isla(islad, {"store", "list", "spec/session/"}).out, HasSubstr("spec/session/default/s1   spec"));
  EXPECT_EQ(Isla(islad, {"store", "get", key}).out, good);
  // The inbox may be filled this way too, and is applied.
  EXPECT_EQ(Isla(islad, {"store", "put", "manifest/default/s2", "-f", "-"}, Session("s2", "900")).exit_code, 0);
  EXPECT_TRUE(Eventually([&] { return Phase(islad, "s2") == "Pending"; }));
}

}  // namespace
}  // namespace isla::islad
