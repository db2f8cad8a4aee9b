// What is tortured: a real etcd behind a proxy, or the embedded store, in memory or on a disk that refuses.
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "store/embedded/embedded_store.h"
#include "store/etcd/etcd_store.h"
#include "tests/cluster/etcd_process.h"
#include "tests/conformance/temporary_folder.h"
#include "tests/fault/store/fault_proxy.h"
#include "tests/fault/store/faulty_vfs.h"
#include "tests/fault/store/torture.h"

namespace isla::store::torture {
namespace {

using isla::testing::EtcdProcess;
using isla::testing::FaultProxy;
using isla::testing::StreamFault;
using std::chrono::milliseconds;

uint64_t Below(std::mt19937_64& random, uint64_t bound) { return random() % bound; }

class EtcdTarget final : public Target {
 public:
  EtcdTarget() : etcd_({"--snapshot-count=2000"}), proxy_(etcd_.folder() + "/proxy", etcd_.socket()) { etcd_.Start(); }

  std::unique_ptr<Store> Connect() override { return ConnectTo("unix://" + proxy_.path()); }
  std::unique_ptr<Store> ConnectDirectly() override { return ConnectTo(etcd_.endpoint()); }

  void Fault(std::mt19937_64& random) override {
    const uint64_t dice = Below(random, 40);
    if (dice < 20) {
      Stream(random);
    } else if (dice < 29) {
      Link(random);
    } else if (dice < 32) {
      ++faults_["kill"];
      etcd_.Kill9();
      SleepBelow(random, 300);
      Start();
    } else if (dice < 35) {
      ++faults_["freeze"];
      etcd_.Freeze();
      SleepBelow(random, 2500);
      etcd_.Thaw();
    } else if (dice < 37) {
      Stutter(random);
    } else if (dice < 38) {
      HalfOpen(random);
    } else {
      Save();
    }
  }

  std::map<std::string, uint64_t> Faults() const override {
    std::map<std::string, uint64_t> faults = faults_;
    for (size_t i = 0; i < isla::testing::kStreamFaults; ++i) {
      const auto fault = static_cast<StreamFault>(i);
      faults[isla::testing::StreamFaultName(fault)] = proxy_.done(fault);
    }
    return faults;
  }

  void Heal() override {
    proxy_.Heal();
    proxy_.Inject(StreamFault::kReset);  // also of what is half-open
  }

  bool Restore() override {
    if (!saved_) return false;
    saved_ = false;
    ++faults_["restore"];
    etcd_.RestoreFrom(Snapshot());
    Start();
    return true;
  }

  std::string Log() const override { return etcd_.Log(); }

 private:
  static std::unique_ptr<Store> ConnectTo(const std::string& endpoint) {
    EtcdOptions options;
    options.endpoints = {endpoint};
    auto store = ConnectEtcd(options);
    ISLA_CHECK_OK(store);
    return std::move(*store);
  }

  void Start() {
    // Looked through at every start.
    ISLA_CHECK(truncate((etcd_.folder() + "/log").c_str(), 0) == 0);
    etcd_.Start();
  }

  static void SleepBelow(std::mt19937_64& random, uint64_t most) {
    std::this_thread::sleep_for(milliseconds(static_cast<int64_t>(Below(random, most))));
  }

  /// One frame, or one moment.
  void Stream(std::mt19937_64& random) {
    static constexpr StreamFault kKinds[] = {StreamFault::kCutAfterRequest, StreamFault::kCutAfterRequest, StreamFault::kTruncateAnswer,
                                             StreamFault::kTruncateRequest, StreamFault::kGarbage,         StreamFault::kDuplicate,
                                             StreamFault::kReorder,         StreamFault::kReset};
    proxy_.Inject(kKinds[Below(random, std::size(kKinds))], static_cast<uint32_t>(Below(random, 8)));
    SleepBelow(random, 150);
  }

  /// For a while.
  void Link(std::mt19937_64& random) {
    switch (Below(random, 5)) {
      case 0: proxy_.Inject(StreamFault::kDelay, static_cast<uint32_t>(1 + Below(random, 120))); break;
      case 1: proxy_.Inject(StreamFault::kThrottle, static_cast<uint32_t>(20'000 + Below(random, 500'000))); break;
      case 2: proxy_.Inject(StreamFault::kHoldRequests); break;
      case 3: proxy_.Inject(StreamFault::kHoldAnswers); break;
      default:
        proxy_.Inject(StreamFault::kRefuse);
        proxy_.Inject(StreamFault::kReset);
        break;
    }
    SleepBelow(random, 1200);
    if (Below(random, 4) == 0) proxy_.Inject(StreamFault::kReset);  // what was held is lost with its connection
    proxy_.Heal();
  }

  /// The nearest thing to a slow disk that needs nothing installed: it runs a little, and stops in the middle of whatever.
  void Stutter(std::mt19937_64& random) {
    ++faults_["stutter"];
    for (uint64_t i = 10 + Below(random, 40); i > 0; --i) {
      etcd_.Freeze();
      SleepBelow(random, 30);
      etcd_.Thaw();
      SleepBelow(random, 12);
    }
  }

  void HalfOpen(std::mt19937_64& random) {
    proxy_.Inject(StreamFault::kHalfOpen);
    SleepBelow(random, 2000);
    if (Below(random, 3) != 0) proxy_.Inject(StreamFault::kReset);  // else the client's own pings find it out
  }

  std::string Snapshot() const { return etcd_.folder() + "/snapshot"; }
  void Save() {
    unlink(Snapshot().c_str());
    saved_ = etcd_.Etcdctl({"snapshot", "save", Snapshot()}).exit_code == 0;
  }

  EtcdProcess etcd_;
  FaultProxy proxy_;
  std::map<std::string, uint64_t> faults_;
  bool saved_ = false;
};

/// Calls to the one store of the process.
class Shared final : public Store {
 public:
  explicit Shared(Store& store) : store_(store) {}
  StatusOr<GetResult> Get(const Key& key, Deadline deadline) override { return store_.Get(key, deadline); }
  StatusOr<ListResult> List(const Prefix& prefix, const ListOptions& options, Deadline deadline) override {
    return store_.List(prefix, options, deadline);
  }
  StatusOr<TxnResult> Txn(const Transaction& txn, Deadline deadline) override { return store_.Txn(txn, deadline); }
  StatusOr<std::unique_ptr<Watch>> StartWatch(const WatchOptions& options, Watcher& watcher) override {
    return store_.StartWatch(options, watcher);
  }
  StatusOr<LeaseId> GrantLease(std::chrono::seconds ttl, Deadline deadline) override { return store_.GrantLease(ttl, deadline); }
  StatusOr<std::chrono::seconds> KeepAliveLease(LeaseId lease, Deadline deadline) override { return store_.KeepAliveLease(lease, deadline); }
  Status RevokeLease(LeaseId lease, Deadline deadline) override { return store_.RevokeLease(lease, deadline); }
  Status Compact(Revision revision, Deadline deadline) override { return store_.Compact(revision, deadline); }
  uint64_t Identity() const override { return store_.Identity(); }

 private:
  Store& store_;
};

class EmbeddedTarget final : public Target {
 public:
  std::unique_ptr<Store> Connect() override { return std::make_unique<Shared>(*store_); }
  std::unique_ptr<Store> ConnectDirectly() override { return Connect(); }
  /// Nothing can happen between it and its client; compactions and restless clients are all there is.
  void Fault(std::mt19937_64& random) override { std::this_thread::sleep_for(milliseconds(static_cast<int64_t>(Below(random, 50)))); }
  std::map<std::string, uint64_t> Faults() const override { return {}; }
  void Heal() override {}

 private:
  std::unique_ptr<EmbeddedStore> store_ = EmbeddedStore::InMemory();
};

/// On a disk that is full, or hangs, for a while.
class DiskTarget final : public Target {
 public:
  DiskTarget() {
    EmbeddedOptions options;
    options.vfs = vfs_.name();
    auto opened = EmbeddedStore::Open(folder_.path(), Clock::Real(), options);
    ISLA_CHECK_OK(opened);
    store_ = std::move(*opened);
  }

  std::unique_ptr<Store> Connect() override { return std::make_unique<Shared>(*store_); }
  std::unique_ptr<Store> ConnectDirectly() override { return Connect(); }
  void Fault(std::mt19937_64& random) override {
    const uint64_t dice = Below(random, 10);
    const milliseconds lasts(static_cast<int64_t>(Below(random, 60)));
    if (dice < 4) {
      ++faults_["full"];
      // A disk fills up in the middle of a commit, or of writing back.
      vfs_.FailWrites(dice < 3 ? SQLITE_FULL : SQLITE_IOERR_WRITE, static_cast<int>(Below(random, 12)));
      std::this_thread::sleep_for(lasts);
      vfs_.FailWrites(SQLITE_OK);
    } else if (dice < 6) {
      ++faults_["hang"];
      vfs_.BlockSyncs(true);
      std::this_thread::sleep_for(dice == 4 ? lasts : 20 * lasts);
      vfs_.BlockSyncs(false);
    }
    std::this_thread::sleep_for(lasts);
  }
  std::map<std::string, uint64_t> Faults() const override { return faults_; }
  void Heal() override {}

 private:
  isla::testing::TemporaryFolder folder_;
  FaultyVfs vfs_;
  std::unique_ptr<EmbeddedStore> store_;
  std::map<std::string, uint64_t> faults_;
};

}  // namespace

std::unique_ptr<Target> MakeDiskTarget() { return std::make_unique<DiskTarget>(); }
std::unique_ptr<Target> MakeEtcdTarget() { return std::make_unique<EtcdTarget>(); }
std::unique_ptr<Target> MakeEmbeddedTarget() { return std::make_unique<EmbeddedTarget>(); }

}  // namespace isla::store::torture
