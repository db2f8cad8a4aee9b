// How the etcd client connects: certificates, passwords, several members, messages of all sizes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fstream>
#include <thread>

#include "api/base/unique_fd.h"
#include "store/cache/watch_cache.h"
#include "store/etcd/etcd_store.h"
#include "tests/cluster/etcd_cluster.h"
#include "tests/cluster/etcd_process.h"
#include "tests/conformance/store_conformance.h"

namespace isla::store {
namespace {

using isla::testing::EtcdCluster;
using isla::testing::EtcdProcess;
using isla::testing::Eventually;
using isla::testing::RunCommand;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using Clk = std::chrono::steady_clock;

std::unique_ptr<Store> Connect(const EtcdOptions& options) {
  auto store = ConnectEtcd(options);
  ISLA_CHECK_OK(store);
  return std::move(*store);
}

StatusOr<TxnResult> Put(Store& store, const std::string& key, const std::string& value, Deadline deadline = kDefaultDeadline) {
  Transaction txn;
  txn.success.push_back(Operation::Put(key, value));
  return store.Txn(txn, deadline);
}

std::unique_ptr<WatchCache> StartCache(Store& store, Metrics* metrics = nullptr) {
  CacheOptions options;
  options.keys = Keys("/t/");
  options.metrics = metrics;
  auto cache = StartWatchCache(store, Clock::Real(), options);
  EXPECT_TRUE(cache->WaitSynced(seconds(10)).ok());
  return cache;
}

// ---- TLS

/// An authority, and what it has signed, in a folder; made by the openssl program.
class Authority {
 public:
  Authority() {
    std::string folder = "/tmp/isla-certs-XXXXXX";
    ISLA_CHECK(mkdtemp(folder.data()) != nullptr);
    folder_ = folder;
    OpenSsl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=authority", "-days", "2",
             "-keyout", Path("ca.key"), "-out", Path("ca.crt")});
  }
  ~Authority() { RemoveTree(folder_).IgnoreError(); }

  /// <name>.crt and <name>.key, for `alternative` ("IP:127.0.0.1", "DNS:localhost").
  void Sign(const std::string& name, const std::string& alternative) {
    OpenSsl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name, "-keyout", Path(name + ".key"), "-out",
             Path(name + ".csr")});
    std::ofstream(Path("extensions")) << "subjectAltName=" << alternative << "\nextendedKeyUsage=serverAuth,clientAuth\n";
    OpenSsl({"x509", "-req", "-in", Path(name + ".csr"), "-CA", Path("ca.crt"), "-CAkey", Path("ca.key"), "-CAcreateserial", "-days", "2", "-extfile",
             Path("extensions"), "-out", Path(name + ".crt")});
  }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::string Pem(const std::string& name) const { return *ReadFile(Path(name)); }

 private:
  static void OpenSsl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "openssl");
    const auto result = RunCommand(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  std::string folder_;
};

/// A port that was free a moment ago.
int FreePort() {
  const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ISLA_CHECK(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  ISLA_CHECK(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

class EtcdTls : public ::testing::Test {
 protected:
  void StartEtcd(const std::string& server_certificate, const std::string& alternative) {
    authority_.Sign(server_certificate, alternative);
    authority_.Sign("client", "DNS:client");
    const std::string url = fmt::format("https://127.0.0.1:{}", port_);
    etcd_ = std::make_unique<EtcdProcess>(std::vector<std::string>{
        "--listen-client-urls=" + url, "--advertise-client-urls=" + url, "--cert-file=" + authority_.Path(server_certificate + ".crt"),
        "--key-file=" + authority_.Path(server_certificate + ".key"), "--trusted-ca-file=" + authority_.Path("ca.crt"), "--client-cert-auth"});
    etcd_->Start();
  }
  EtcdOptions Options() const {
    EtcdOptions options;
    options.endpoints = {fmt::format("https://127.0.0.1:{}", port_)};
    options.ca_pem = authority_.Pem("ca.crt");
    options.certificate_pem = authority_.Pem("client.crt");
    options.key_pem = authority_.Pem("client.key");
    return options;
  }
  static void ExpectRefused(const EtcdOptions& options) {
    const auto store = Connect(options);
    const auto begin = Clk::now();
    EXPECT_EQ(Put(*store, "/t/a", "1").status().code(), Code::kUnavailable);  // and so: nothing was done
    EXPECT_LT(Clk::now() - begin, seconds(4));
  }

  Authority authority_;
  const int port_ = FreePort();
  std::unique_ptr<EtcdProcess> etcd_;
};

TEST_F(EtcdTls, CallsAndWatchesGoThroughAndSurviveARestart) {
  StartEtcd("server", "IP:127.0.0.1");
  const auto store = Connect(Options());
  const auto cache = StartCache(*store);
  for (const std::string value : {"1", "2"}) {
    const auto put = Put(*store, "/t/a", value);
    ASSERT_TRUE(put.ok()) << ToString(put.status());
    EXPECT_TRUE(cache->WaitFor(put->revision, seconds(10)).ok());
    EXPECT_EQ(cache->Get("/t/a")->value, value);
    etcd_->Restart();
  }
}

TEST_F(EtcdTls, AClientWithoutACertificateIsRefused) {
  StartEtcd("server", "IP:127.0.0.1");
  EtcdOptions options = Options();
  options.certificate_pem = options.key_pem = "";
  ExpectRefused(options);
}

TEST_F(EtcdTls, AClientOfAnotherAuthorityIsRefused) {
  StartEtcd("server", "IP:127.0.0.1");
  Authority other;
  other.Sign("client", "DNS:client");
  EtcdOptions options = Options();
  options.certificate_pem = other.Pem("client.crt");
  options.key_pem = other.Pem("client.key");
  ExpectRefused(options);
}

TEST_F(EtcdTls, AServerOfAnotherAuthorityIsNotTalkedTo) {
  StartEtcd("server", "IP:127.0.0.1");
  EtcdOptions options = Options();
  options.ca_pem = Authority().Pem("ca.crt");
  ExpectRefused(options);
}

TEST_F(EtcdTls, AServerOfAnotherNameIsNotTalkedTo) {
  StartEtcd("server", "DNS:elsewhere.example");
  ExpectRefused(Options());
}

TEST_F(EtcdTls, APlainClientGetsNowhere) {
  StartEtcd("server", "IP:127.0.0.1");
  EtcdOptions options;
  options.endpoints = {fmt::format("127.0.0.1:{}", port_)};
  ExpectRefused(options);
}

TEST_F(EtcdTls, WhatIsNoCertificateIsRefusedAtOnce) {
  authority_.Sign("client", "DNS:client");
  for (auto EtcdOptions::*part : {&EtcdOptions::ca_pem, &EtcdOptions::certificate_pem, &EtcdOptions::key_pem}) {
    EtcdOptions options = Options();
    options.*part = "-----BEGIN NONSENSE-----";
    EXPECT_EQ(ConnectEtcd(options).status().code(), Code::kInvalidArgument);
  }
  EtcdOptions half = Options();
  half.key_pem.clear();
  EXPECT_EQ(ConnectEtcd(half).status().code(), Code::kInvalidArgument);
  half = Options();
  half.certificate_pem.clear();
  EXPECT_EQ(ConnectEtcd(half).status().code(), Code::kInvalidArgument);
}

// ---- User and password

class EtcdAuth : public ::testing::Test {
 protected:
  static constexpr seconds kTokenLife{1};

  void StartEtcd(const std::vector<std::string>& flags) {
    etcd_ = std::make_unique<EtcdProcess>(flags);
    etcd_->Start();
    Etcdctl({"user", "add", "root:secret"}, false);
    Etcdctl({"user", "grant-role", "root", "root"}, false);
    Etcdctl({"user", "add", "isla:password"}, false);
    Etcdctl({"role", "add", "isla"}, false);
    Etcdctl({"role", "grant-permission", "isla", "--prefix=true", "readwrite", "/t/"}, false);
    Etcdctl({"user", "grant-role", "isla", "isla"}, false);
    Etcdctl({"auth", "enable"}, false);
  }
  void StartWithSimpleTokens() { StartEtcd({fmt::format("--auth-token-ttl={}", kTokenLife.count())}); }
  /// These carry the revision of the users and roles that they were made at.
  void StartWithJwt(seconds life = kTokenLife) {
    std::string folder = "/tmp/isla-jwt-XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    jwt_ = folder;
    ASSERT_EQ(RunCommand({"openssl", "genrsa", "-out", jwt_ + "/key", "2048"}).exit_code, 0);
    ASSERT_EQ(RunCommand({"openssl", "rsa", "-in", jwt_ + "/key", "-pubout", "-out", jwt_ + "/public"}).exit_code, 0);
    StartEtcd({fmt::format("--auth-token=jwt,pub-key={}/public,priv-key={}/key,sign-method=RS256,ttl={}s", jwt_, jwt_, life.count())});
  }
  void TearDown() override {
    if (!jwt_.empty()) RemoveTree(jwt_).IgnoreError();
  }
  void Etcdctl(std::vector<std::string> arguments, bool as_root = true) {
    if (as_root) arguments.insert(arguments.begin(), "--user=root:secret");
    const auto result = etcd_->Etcdctl(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  std::unique_ptr<Store> ConnectAsIsla() const {
    EtcdOptions options;
    options.endpoints = {etcd_->endpoint()};
    options.user = "isla";
    options.password = "password";
    return Connect(options);
  }
  static void OutliveTheToken() { std::this_thread::sleep_for(kTokenLife + milliseconds(1500)); }

  /// A watch that is started anew whenever it is unavailable, as its users do, sees the next put; how often it was started.
  int WatchThePut(Store& store) {
    const auto first = Put(store, "/t/watched", "0");
    EXPECT_TRUE(first.ok()) << ToString(first.status());
    if (!first.ok()) return 0;
    OutliveTheToken();  // from here on nothing but the watch is asked for
    for (int start = 1; start <= 3; ++start) {
      RecordingWatcher watcher;
      const auto watch = store.StartWatch({"/t/", first->revision, false}, watcher);
      EXPECT_TRUE(watch.ok()) << ToString(watch.status());
      if (!watch.ok()) return 0;
      EXPECT_TRUE(Eventually([&watcher] { return watcher.ended() || !watcher.events().empty(); }));
      if (!watcher.events().empty()) return start;
      EXPECT_EQ(watcher.WaitForEnd().code(), Code::kUnavailable) << ToString(watcher.WaitForEnd());
      std::fprintf(stderr, "%s\n", ToString(watcher.WaitForEnd()).c_str());
    }
    ADD_FAILURE() << "the watch was refused again and again";
    return 0;
  }

  std::unique_ptr<EtcdProcess> etcd_;
  std::string jwt_;
};

TEST_F(EtcdAuth, ACallAfterTheTokensEndGetsAnotherToken) {
  StartWithSimpleTokens();
  const auto store = ConnectAsIsla();
  ASSERT_TRUE(Put(*store, "/t/a", "1").ok());
  OutliveTheToken();
  const auto put = Put(*store, "/t/a", "2");
  ASSERT_TRUE(put.ok()) << ToString(put.status());
  EXPECT_EQ(store->Get("/t/a")->kv->version, 2);
}

TEST_F(EtcdAuth, AWatchAfterTheTokensEndGetsAnotherToken) {
  StartWithSimpleTokens();
  const auto store = ConnectAsIsla();
  EXPECT_LE(WatchThePut(*store), 2);
}

TEST_F(EtcdAuth, AWatchAfterTheEndOfAJwtGetsAnotherOne) {
  StartWithJwt();
  const auto store = ConnectAsIsla();
  EXPECT_LE(WatchThePut(*store), 2);
}

TEST_F(EtcdAuth, ACacheLivesThroughManyTokens) {
  StartWithSimpleTokens();
  const auto store = ConnectAsIsla();
  const auto cache = StartCache(*store);
  for (int i = 0; i < 3; ++i) {
    OutliveTheToken();
    if (i == 1) etcd_->Restart();
    StatusOr<TxnResult> put = Put(*store, "/t/a", std::to_string(i));
    // Right behind the restart a call may find nobody there.
    for (int tries = 0; i == 1 && !put.ok() && tries < 5; ++tries) put = Put(*store, "/t/a", std::to_string(i));
    ASSERT_TRUE(put.ok()) << ToString(put.status());
    EXPECT_TRUE(cache->WaitFor(put->revision, seconds(10)).ok());
  }
}

TEST_F(EtcdAuth, AChangeOfUsersDoesNotDisturbThoseWhoHaveATokenOfBefore) {
  StartWithJwt(seconds(300));  // their ends are whole seconds: one of a second may be over before it is used
  const auto store = ConnectAsIsla();
  for (const std::string user : {"one", "two", "three"}) {
    const auto before = Put(*store, "/t/a", user);
    ASSERT_TRUE(before.ok()) << ToString(before.status());
    Etcdctl({"user", "add", user + ":x"});  // etcd then says "revision of auth store is old"
    const auto put = Put(*store, "/t/b", user);
    EXPECT_TRUE(put.ok()) << ToString(put.status());
    Etcdctl({"user", "delete", user});
    const auto get = store->Get("/t/b");
    EXPECT_TRUE(get.ok()) << ToString(get.status());
  }
}

TEST_F(EtcdAuth, WhatIsNotPermittedIsSaidToBeSo) {
  StartWithSimpleTokens();
  const auto store = ConnectAsIsla();
  EXPECT_EQ(Put(*store, "/other/a", "1").status().code(), Code::kPermissionDenied);
  EXPECT_EQ(store->Get("/other/a").status().code(), Code::kPermissionDenied);
  ASSERT_TRUE(Put(*store, "/t/a", "1").ok());
  // At most one try with a token that was there already.
  Status end;
  for (int i = 0; i < 2 && end.code() != Code::kPermissionDenied; ++i) {
    RecordingWatcher watcher;
    const auto watch = store->StartWatch({"/other/", 1, false}, watcher);
    ASSERT_TRUE(watch.ok());
    end = watcher.WaitForEnd();
  }
  EXPECT_EQ(end.code(), Code::kPermissionDenied) << ToString(end);
}

TEST_F(EtcdAuth, APasswordThatWasChangedIsUnauthenticated) {
  StartWithSimpleTokens();
  const auto store = ConnectAsIsla();
  ASSERT_TRUE(Put(*store, "/t/a", "1").ok());
  ASSERT_EQ(etcd_->Etcdctl({"--user=root:secret", "user", "passwd", "isla", "--interactive=false"}, "changed\n").exit_code, 0);
  EXPECT_EQ(Put(*store, "/t/a", "2").status().code(), Code::kUnauthenticated);
}

// ---- Several members

class EtcdMembers : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_.Start();
    EtcdOptions options;
    options.endpoints = cluster_.endpoints();
    store_ = Connect(options);
  }
  /// Until one is acknowledged: with the leader gone, writes fail until there is another.
  Revision PutEventually(const std::string& value) {
    StatusOr<TxnResult> put = Error(Code::kUnavailable, "not tried");
    EXPECT_TRUE(Eventually(
        [this, &value, &put] {
          put = Put(*store_, "/t/a", value, seconds(2));
          return put.ok();
        },
        seconds(30)))
        << ToString(put.status());
    return put.ok() ? put->revision : 0;
  }
  double Relists() { return metrics_.AddCounter("isla_store_cache_relists_total", "", {{"reason", "first"}}).value(); }

  EtcdCluster cluster_;
  Metrics metrics_;
  std::unique_ptr<Store> store_;
};

TEST_F(EtcdMembers, WhenTheOneInUseDiesCallsAndWatchesGoOnWithTheNext) {
  const auto cache = StartCache(*store_, &metrics_);
  const auto subscription = cache->Subscribe("/t/", 0);
  ASSERT_TRUE(subscription.ok());
  ASSERT_TRUE(cache->WaitFor(PutEventually("0"), seconds(10)).ok());
  // Each in turn, so whichever is in use, and whichever leads, dies once.
  for (size_t member = 0; member < cluster_.size(); ++member) {
    SCOPED_TRACE(member);
    cluster_.Kill9(member);
    const Revision revision = PutEventually(std::to_string(member + 1));
    EXPECT_TRUE(cache->WaitFor(revision, seconds(10)).ok());
    EXPECT_EQ(cache->Get("/t/a")->value, std::to_string(member + 1));
    cluster_.StartMember(member);
  }
  EXPECT_EQ(cache->epoch(), 0);
  EXPECT_EQ(Relists(), 1);
  Revision last = 0;
  while (last < cache->watermark()) {  // what the subscriber has seen has no hole
    const auto batch = (*subscription)->Next(seconds(5));
    ASSERT_TRUE(batch.ok()) << ToString(batch.status());
    ASSERT_GT(batch->revision, last);
    last = batch->revision;
  }
}

TEST_F(EtcdMembers, AFrozenOneIsLeftAfterOneCall) {
  PutEventually("0");
  cluster_.Freeze(0);
  PutEventually("1");
  const auto begin = Clk::now();
  EXPECT_TRUE(Put(*store_, "/t/a", "2").ok());
  EXPECT_LT(Clk::now() - begin, seconds(2));
  cluster_.Thaw(0);
}

TEST_F(EtcdMembers, WithoutAMajorityNothingIsServedAndAllGoesOnAfterwards) {
  const auto cache = StartCache(*store_, &metrics_);
  ASSERT_TRUE(cache->WaitFor(PutEventually("0"), seconds(10)).ok());
  cluster_.Kill9(1);
  cluster_.Kill9(2);
  EXPECT_TRUE(Eventually([this] { return !Put(*store_, "/t/a", "lost?", seconds(1)).ok(); }));
  const auto read = store_->Get("/t/a", seconds(2));
  EXPECT_FALSE(read.ok());  // a member alone might be behind
  cluster_.StartMember(1, false);
  const Revision revision = PutEventually("1");
  EXPECT_TRUE(cache->WaitFor(revision, seconds(20)).ok());
  EXPECT_EQ(cache->Get("/t/a")->value, "1");
  EXPECT_EQ(Relists(), 1);
}

// ---- Sizes

class EtcdSizes : public ::testing::Test {
 protected:
  void SetUp() override {
    etcd_.Start();
    EtcdOptions options;
    options.endpoints = {etcd_.endpoint()};
    store_ = Connect(options);
  }
  static Transaction Large(char fill) {
    Transaction txn;
    for (int i = 0; i < 100; ++i) txn.success.push_back(Operation::Put(fmt::format("/t/{:03}", i), std::string(14'000, fill)));
    return txn;
  }

  EtcdProcess etcd_;
  std::unique_ptr<Store> store_;
};

TEST_F(EtcdSizes, ATransactionInFragmentsIsOneBatch) {
  const auto first = store_->Txn(Large('a'));
  const auto second = store_->Txn(Large('b'));
  ASSERT_TRUE(first.ok() && second.ok()) << ToString(second.status());
  // With the previous values the second is 2.8 MB: etcd sends at most 2 MiB in a fragment, so it is cut within a transaction.
  for (const Revision from : {first->revision, second->revision}) {
    RecordingWatcher watcher;
    const auto watch = store_->StartWatch({"/t/", from, true}, watcher);
    ASSERT_TRUE(watch.ok());
    ASSERT_TRUE(watcher.WaitForRevision(second->revision));
    std::map<Revision, size_t> events;
    for (const WatchBatch& batch : watcher.batches()) {
      std::map<Revision, size_t> here;
      for (const Event& event : batch.events) ++here[event.kv->mod_revision];
      for (const auto& [revision, count] : here) {
        EXPECT_EQ(count, 100U) << "torn at revision " << revision;
        events[revision] += count;
      }
    }
    EXPECT_EQ(events.size(), from == first->revision ? 2U : 1U);
    const Event last = watcher.events().back();
    EXPECT_EQ(last.kv->value, std::string(14'000, 'b'));
    ASSERT_NE(last.previous, nullptr);
    EXPECT_EQ(last.previous->value, std::string(14'000, 'a'));
  }
}

TEST_F(EtcdSizes, APageOfManyMegabytesArrives) {
  for (const char fill : {'a', 'b', 'c', 'd', 'e', 'f'}) {
    Transaction txn;
    for (int i = 0; i < 80; ++i) txn.success.push_back(Operation::Put(fmt::format("/t/{}{:03}", fill, i), std::string(18'000, fill)));
    ASSERT_TRUE(store_->Txn(txn).ok());
  }
  const auto list = store_->List("/t/");  // 8.6 MB in one page of 480 keys; gRPC's own bound is 4 MiB
  ASSERT_TRUE(list.ok()) << ToString(list.status());
  EXPECT_EQ(list->kvs.size(), 480U);
  EXPECT_EQ(list->kvs.back()->value, std::string(18'000, 'f'));
}

TEST_F(EtcdSizes, ATransactionThatIsTooLargeIsRefusedBeforeItIsSent) {
  ASSERT_TRUE(Put(*store_, "/t/a", "1").ok());
  etcd_.Freeze();  // so whatever is sent isn't answered
  Transaction many;
  for (int i = 0; i < 129; ++i) many.success.push_back(Operation::Put(fmt::format("/t/{}", i), "x"));
  const Status too_many = store_->Txn(many).status();
  EXPECT_EQ(too_many.code(), Code::kResourceExhausted);
  EXPECT_THAT(Message(too_many), HasSubstr("129 parts (at most 128)"));
  const Status too_large = Put(*store_, "/t/a", std::string(1'600'000, 'x')).status();
  EXPECT_EQ(too_large.code(), Code::kResourceExhausted);
  EXPECT_THAT(Message(too_large), HasSubstr("bytes (at most 1571840)"));
  etcd_.Thaw();
  EXPECT_EQ(store_->Get("/t/a")->kv->version, 1);
  many.success.pop_back();
  EXPECT_TRUE(store_->Txn(many).ok());
}

}  // namespace
}  // namespace isla::store
