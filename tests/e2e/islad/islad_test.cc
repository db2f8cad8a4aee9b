#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <climits>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "api/base/json.h"
#include "api/base/unique_fd.h"
#include "api/client/http.h"
#include "tests/cluster/etcd_process.h"
#include "tests/e2e/islad/islad_fixture.h"
#include "tests/unit/gateway/fake_agent.h"

namespace isla::islad {
namespace {

using controllers::FakeAgent;
using isla::testing::CommandResult;
using isla::testing::EtcdProcess;
using isla::testing::Eventually;
using isla::v1::GatewayMessage;

constexpr const char* kSession = R"({"apiVersion": "isla/v1", "kind": "Session", "metadata": {"name": "s1"},
  "spec": {"type": "batch", "image": "host", "command": ["/bin/true"], "resources": {"cpu": "100m", "memory": "16Mi"}}})";

TEST_F(IsladTest, ServesFromAStoreInMemoryAndStopsAtOnce) {
  Islad& islad = Start("a", "memory");
  ASSERT_TRUE(Eventually([&] { return Ready(islad); }));
  EXPECT_EQ(Call(islad, "POST", "/apis/isla/v1/namespaces/default/sessions", kSession).status, 201);
  EXPECT_TRUE(Eventually([&] { return SessionField(islad, {"status", "phase"}) == "Pending"; }));
  const auto begun = std::chrono::steady_clock::now();
  islad.daemon->Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(3));
  EXPECT_NE(islad.daemon->Log().find("stopped"), std::string::npos);
}

TEST_F(IsladTest, ASessionGoesFromTheApiToAnAgentAndBack) {
  Islad& islad = Start("a", "memory");
  ASSERT_TRUE(Eventually([&] { return Ready(islad); }));
  FakeAgent agent(islad.Gateway());
  agent.Join();
  ASSERT_EQ(Call(islad, "POST", "/apis/isla/v1/namespaces/default/sessions", kSession).status, 201);
  const auto delta = agent.NextDelta();
  ASSERT_TRUE(delta.has_value());
  ASSERT_EQ(delta->upserts_size(), 1);
  EXPECT_EQ(delta->upserts(0).launch().argv(0), "/bin/true");
  agent.Ack(*delta);
  const std::string uid = delta->upserts(0).uid();
  agent.Report(1, uid, isla::v1::RUNNING);
  EXPECT_TRUE(Eventually([&] { return SessionField(islad, {"status", "phase"}) == "Running"; }));
  agent.Report(2, uid, isla::v1::EXITED);
  EXPECT_TRUE(Eventually([&] { return SessionField(islad, {"status", "phase"}) == "Failed"; }));
  ASSERT_EQ(Call(islad, "DELETE", "/apis/isla/v1/namespaces/default/sessions/s1").status, 200);
  const auto stop = agent.NextDelta();
  ASSERT_TRUE(stop.has_value());
  ASSERT_EQ(stop->upserts_size(), 1);
  EXPECT_EQ(stop->upserts(0).desired(), isla::v1::DesiredContainer::STOP);
  agent.Ack(*stop);
  agent.Report(3, uid, isla::v1::GONE);
  EXPECT_TRUE(Eventually(
      [&] { return Call(islad, "GET", "/apis/isla/v1/namespaces/default/sessions/s1").status == 404; }));
  const auto removal = agent.NextDelta();
  ASSERT_TRUE(removal.has_value());
  EXPECT_FALSE(removal->full());
  EXPECT_EQ(removal->removals_size(), 1);
}

TEST_F(IsladTest, WhatWasAnsweredIsThereAfterKill9OnTheEmbeddedStore) {
  Islad& islad = Start("a", "embedded:" + folder_ + "/store");
  for (int life = 0; life < 3; ++life) {
    ASSERT_TRUE(Eventually([&] { return Ready(islad); }));
    const int made = Call(islad, "POST", "/apis/isla/v1/namespaces/default/sessions", kSession).status;
    EXPECT_EQ(made, life == 0 ? 201 : 409);
    // A leader again, although the one before left its key.
    EXPECT_TRUE(Eventually([&] { return SessionField(islad, {"status", "phase"}) == "Pending"; }));
    islad.daemon->Kill9();
    islad.daemon->Start();
  }
}

TEST_F(IsladTest, AnswersBeforeItsStoreDoes) {
  EtcdProcess etcd;
  Islad& islad = Start("a", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Call(islad, "GET", "/healthz").status == 200; }));
  const auto ready = Call(islad, "GET", "/readyz");
  EXPECT_NE(ready.status, 200);
  EXPECT_NE(ready.body.find("store"), std::string::npos) << ready.body;
  etcd.Start();
  EXPECT_TRUE(Eventually([&] { return Ready(islad); }));
}

TEST_F(IsladTest, ASecondProcessOnTheSameFolderIsToldSo) {
  Islad& islad = Start("a", "memory");
  ASSERT_TRUE(Eventually([&] { return Ready(islad); }));
  const CommandResult second = isla::testing::RunCommand(islad.daemon->argv());
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_NE(second.err.find("another islad (pid " + std::to_string(islad.daemon->pid()) + ")"), std::string::npos)
      << second.err;
  EXPECT_TRUE(Ready(islad));
}

TEST_F(IsladTest, LeadershipIsHandedOverAndTakenOver) {
  EtcdProcess etcd;
  etcd.Start();
  Islad& a = Start("a", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(a) && Leader(etcd) == "a"; }));
  Islad& b = Start("b", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(b); }));
  EXPECT_EQ(Leader(etcd), "a");
  a.daemon->Stop();
  EXPECT_TRUE(Eventually([&] { return Leader(etcd) == "b"; }, std::chrono::seconds(1)));
  Islad& c = Start("c", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(c); }));
  b.daemon->Kill9();
  EXPECT_TRUE(Eventually([&] { return Leader(etcd) == "c"; }, std::chrono::seconds(8)));
}

TEST_F(IsladTest, AnAgentOfAKilledReplicaIsServedByTheOther) {
  EtcdProcess etcd;
  etcd.Start();
  Islad& a = Start("a", "etcd:" + etcd.endpoint());
  Islad& b = Start("b", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(a) && Ready(b); }));
  FakeAgent first(a.Gateway());
  first.Join();
  a.daemon->Kill9();
  ASSERT_TRUE(first.Ended());
  FakeAgent second(b.Gateway());  // at once, though a's lease still lives
  second.Join();
  EXPECT_GT(second.term, first.term);
  ASSERT_EQ(Call(b, "POST", "/apis/isla/v1/namespaces/default/sessions", kSession).status, 201);
  EXPECT_TRUE(second.NextDelta(std::chrono::seconds(15)).has_value());
}

TEST_F(IsladTest, SettingsArePassedToAgentsOfEveryReplicaAndBadOnesAreReported) {
  EtcdProcess etcd;
  etcd.Start();
  Islad& a = Start("a", "etcd:" + etcd.endpoint());
  Islad& b = Start("b", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(a) && Ready(b); }));
  FakeAgent agent(b.Gateway());
  agent.Join();  // told before its first delta that nothing is set
  const auto told = [&agent] {
    const auto message = agent.Next(GatewayMessage::kSettings, std::chrono::seconds(10));
    return message ? message->settings() : isla::v1::NodeSettings();
  };
  const auto patch = [](const Islad& islad, const std::string& body) {
    client::Endpoint endpoint;
    endpoint.socket_path = islad.ApiSocket();
    const auto response = client::MakeHttpClient(endpoint)->Do(
        {"PATCH", "/apis/isla/v1/config", body, "application/merge-patch+json", "*/*"});
    return response.ok() ? response->status : 0;
  };
  ASSERT_EQ(patch(a, R"({"values":{"agent/log/level":"warn","islad/log/level":"error"}})"), 200);
  EXPECT_EQ(told().log_level(), "warn");
  for (const Islad* islad : {&a, &b}) {
    EXPECT_TRUE(Eventually([&] { return islad->daemon->Log().find("log level changed level=error from=global") != std::string::npos; }));
  }
  ASSERT_EQ(patch(b, R"({"values":{"islad/log/level":null}})"), 200);
  const std::string key = "/isla/default/nodes/agents/n1/config/agent/log/level";
  for (const char* value : {"{", "7", "\"loud\""}) ASSERT_EQ(etcd.Etcdctl({"put", key, value}).exit_code, 0);
  for (const Islad* islad : {&a, &b}) {
    EXPECT_TRUE(Eventually([&] { return islad->daemon->Log().find("level=info from=--log-level") != std::string::npos; }));
    EXPECT_TRUE(Eventually([&] {
      return islad->daemon->Log().find("setting can't be used key='nodes/agents/n1/config/agent/log/level' error='Unsupported value: "
                                       "\"loud\"") != std::string::npos;
    }));
  }
  // The agent hears nothing of them, but of the next good one.
  ASSERT_EQ(etcd.Etcdctl({"put", key, "\"debug\""}).exit_code, 0);
  EXPECT_EQ(told().log_level(), "debug");
  EXPECT_TRUE(Ready(a) && Ready(b));
}

TEST_F(IsladTest, LogsOfANodeThatIsConnectedElsewhereAreFetchedThere) {
  EtcdProcess etcd;
  etcd.Start();
  Islad& a = Start("a", "etcd:" + etcd.endpoint());
  Islad& b = Start("b", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(a) && Ready(b); }));
  FakeAgent agent(a.Gateway());
  agent.Join();
  ASSERT_EQ(Call(b, "POST", "/apis/isla/v1/namespaces/default/sessions", kSession).status, 201);
  const auto delta = agent.NextDelta();
  ASSERT_TRUE(delta.has_value());
  agent.Ack(*delta);
  agent.Report(1, delta->upserts(0).uid(), isla::v1::RUNNING);
  ASSERT_TRUE(Eventually([&] { return SessionField(b, {"status", "phase"}) == "Running"; }));
  client::HttpResponse log;
  std::thread reader([&] { log = Call(b, "GET", "/apis/isla/v1/namespaces/default/sessions/s1/log?tailLines=7"); });
  const auto asked = agent.Next(GatewayMessage::kOpenStream);
  if (asked) {
    EXPECT_EQ(asked->open_stream().log().tail_lines(), 7);
    grpc::ClientContext context;
    const auto data = agent.stub().Data(&context);
    isla::v1::DataFrame frame;
    frame.set_stream_id(asked->open_stream().stream_id());
    frame.set_data("from afar\n");
    frame.set_end(true);
    data->Write(frame);
    data->WritesDone();
    EXPECT_TRUE(data->Finish().ok());
  }
  reader.join();
  ASSERT_TRUE(asked.has_value()) << log.body;
  EXPECT_EQ(log.status, 200);
  EXPECT_EQ(log.body, "from afar\n");
}

TEST_F(IsladTest, RecoversByItselfFromAStoreThatWasAwayLongerThanItsLeases) {
  EtcdProcess etcd;
  etcd.Start();
  Islad& islad = Start("a", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(islad); }));
  {
    FakeAgent agent(islad.Gateway());
    agent.Join();
    etcd.Kill9();
    EXPECT_TRUE(Eventually([&] { return !Ready(islad); }));
    std::this_thread::sleep_for(std::chrono::seconds(5));
    EXPECT_EQ(Call(islad, "GET", "/healthz").status, 200);
    etcd.Start();
  }
  ASSERT_TRUE(Eventually([&] { return Ready(islad); }));
  ASSERT_TRUE(Eventually([&] { return Leader(etcd) == "a"; }));
  FakeAgent agent(islad.Gateway());
  agent.Join();
  ASSERT_EQ(Call(islad, "POST", "/apis/isla/v1/namespaces/default/sessions", kSession).status, 201);
  EXPECT_TRUE(agent.NextDelta(std::chrono::seconds(10)).has_value());
}

/// A session is bound, a backup is taken, the session runs, ends, and is removed on its node; then the backup is restored.
/// Its bind/ is back, with the incarnation that has run.
class RestoreTest : public IsladTest, public ::testing::WithParamInterface<bool> {};

TEST_P(RestoreTest, AnIncarnationThatRanBeforeARestoreIsNotStartedAgain) {
  const bool islad_is_restarted = GetParam();
  EtcdProcess etcd;
  etcd.Start();
  Islad& islad = Start("a", "etcd:" + etcd.endpoint());
  ASSERT_TRUE(Eventually([&] { return Ready(islad); }));
  const std::string snapshot = folder_ + "/snapshot";
  std::string uid;
  int64_t term = 0;
  {
    FakeAgent agent(islad.Gateway());
    agent.Join();
    ASSERT_EQ(Call(islad, "POST", "/apis/isla/v1/namespaces/default/sessions", kSession).status, 201);
    const auto delta = agent.NextDelta();
    ASSERT_TRUE(delta.has_value());
    uid = delta->upserts(0).uid();
    ASSERT_EQ(etcd.Etcdctl({"snapshot", "save", snapshot}).exit_code, 0);
    agent.Ack(*delta);
    agent.Report(1, uid, isla::v1::EXITED);
    ASSERT_TRUE(Eventually([&] { return SessionField(islad, {"status", "phase"}) == "Failed"; }));
    ASSERT_EQ(Call(islad, "DELETE", "/apis/isla/v1/namespaces/default/sessions/s1").status, 200);
    for (auto next = agent.NextDelta(); next && next->removals_size() == 0; next = agent.NextDelta()) {
      agent.Ack(*next);
      agent.Report(2, uid, isla::v1::GONE);
    }
    term = agent.term;
  }
  {
    // Only by its own terms could the agent tell a restarted islad.
    FakeAgent again(islad.Gateway());
    auto hello = FakeAgent::MakeHello();
    hello.set_highest_term(term);
    again.Join(hello);
    term = again.term;
  }
  if (islad_is_restarted) islad.daemon->Stop();
  etcd.RestoreFrom(snapshot);
  etcd.Start();
  if (islad_is_restarted) islad.daemon->Start();
  ASSERT_TRUE(Eventually([&] { return Ready(islad) && Leader(etcd) == "a"; }));
  auto hello = FakeAgent::MakeHello();
  hello.set_highest_term(term);
  std::vector<int64_t> told;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (told.empty() && std::chrono::steady_clock::now() < until) {
    FakeAgent agent(islad.Gateway());
    agent.Hello(hello);
    while (const auto delta = agent.NextDelta(std::chrono::seconds(2))) {
      for (const auto& desired : delta->upserts()) {
        EXPECT_EQ(desired.uid(), uid);
        told.push_back(desired.incarnation());
      }
      agent.Ack(*delta);
      hello.set_highest_term(std::max(hello.highest_term(), delta->term()));
      if (!told.empty()) break;
    }
  }
  EXPECT_EQ(told, std::vector<int64_t>{1'000'001});  // an incarnation of the new epoch's
  const CommandResult cluster = etcd.Etcdctl({"get", "--print-value-only", "/isla/default/meta/cluster"});
  EXPECT_EQ(json::Parse(cluster.out)->Int64At({"epoch"}), 2);
}

INSTANTIATE_TEST_SUITE_P(Islad, RestoreTest, ::testing::Bool(), [](const auto& test) {
  return test.param ? std::string("Restarted") : std::string("RunningOn");
});

/// The socket that sd_notify talks to.
class NotifySocket {
 public:
  explicit NotifySocket(const std::string& path) : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  /// How often `text` was said in the next `time`; until `enough`.
  int Count(const std::string& text, std::chrono::milliseconds time, int enough = INT_MAX) {
    const auto until = std::chrono::steady_clock::now() + time;
    int count = 0;
    while (count < enough) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
      pollfd fd{fd_.get(), POLLIN, 0};
      if (left.count() <= 0 || poll(&fd, 1, static_cast<int>(left.count())) != 1) break;
      char buffer[4096];
      const ssize_t size = recv(fd_.get(), buffer, sizeof(buffer), 0);
      if (size > 0 && std::string(buffer, static_cast<size_t>(size)).find(text) != std::string::npos) ++count;
    }
    return count;
  }

 private:
  UniqueFd fd_;
};

TEST_F(IsladTest, TheWatchdogHearsOfItWhileItsLoopsRunAndNotWhileOnlyTheMainThreadDoes) {
  NotifySocket notify(folder_ + "/notify");
  const std::string folder = folder_ + "/a";
  mkdir(folder.c_str(), 0700);
  isla::testing::Daemon islad("a",
                              {"env", "NOTIFY_SOCKET=" + folder_ + "/notify", "WATCHDOG_USEC=2000000",
                               std::string(getenv("ISLA_BIN_DIR")) + "/islad", "--store=memory", "--id=a",
                               "--run-dir=" + folder + "/run", "--data-dir=" + folder + "/data", "--api-listen="},
                              folder, folder + "/log");
  islad.Start();
  ASSERT_EQ(notify.Count("READY=1", std::chrono::seconds(15), 1), 1) << islad.Log();
  EXPECT_EQ(notify.Count("WATCHDOG=1", std::chrono::seconds(10), 3), 3) << islad.Log();
  // Every thread but the main one stops.
  std::vector<pid_t> frozen;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(islad.pid()) + "/task")) {
    const pid_t thread = std::stoi(entry.path().filename());
    if (thread == islad.pid()) continue;
    if (ptrace(PTRACE_SEIZE, thread, 0, 0) != 0) GTEST_SKIP() << "threads can't be traced here: " << strerror(errno);
    ASSERT_EQ(ptrace(PTRACE_INTERRUPT, thread, 0, 0), 0);
    ASSERT_EQ(waitpid(thread, nullptr, __WALL), thread);
    frozen.push_back(thread);
  }
  ASSERT_GT(frozen.size(), 5U);
  notify.Count("", std::chrono::milliseconds(300));  // what was on its way
  EXPECT_EQ(notify.Count("WATCHDOG=1", std::chrono::milliseconds(2500)), 0);
  for (const pid_t thread : frozen) ptrace(PTRACE_DETACH, thread, 0, 0);
  EXPECT_EQ(notify.Count("WATCHDOG=1", std::chrono::seconds(10), 2), 2) << islad.Log();
  EXPECT_NE(islad.Log().find("this process hangs"), std::string::npos);
  islad.Stop();
}

}  // namespace
}  // namespace isla::islad
