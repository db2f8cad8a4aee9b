// The backends that the suite runs on.
#include <unistd.h>

#include <filesystem>

#include "store/embedded/embedded_store.h"
#include "store/etcd/etcd_store.h"
#include "tests/cluster/etcd_process.h"
#include "tests/conformance/decorators.h"
#include "tests/conformance/store_conformance.h"
#include "tests/conformance/temporary_folder.h"

namespace isla::store {
namespace {

class InMemory final : public StoreUnderTest {
 public:
  Store& store() override { return *store_; }

 private:
  std::unique_ptr<EmbeddedStore> store_ = EmbeddedStore::InMemory();
};

/// In a folder of its own, on the disk of the temporary files.
class OnDisk : public StoreUnderTest {
 public:
  explicit OnDisk(const std::string& parent = std::filesystem::temp_directory_path().string()) : folder_(parent) {
    auto store = EmbeddedStore::Open(folder_.path() + "/store");
    ISLA_CHECK_OK(store);
    store_ = std::move(*store);
  }
  Store& store() override { return *store_; }

 private:
  testing::TemporaryFolder folder_;
  std::unique_ptr<EmbeddedStore> store_;
};

/// The same where an fsync takes no time: another pace.
class OnDiskInMemory final : public OnDisk {
 public:
  OnDiskInMemory() : OnDisk(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path().string()) {}
};

/// One etcd for the whole run: it takes longer to start than most cases take.
class SharedEtcd final : public ::testing::Environment {
 public:
  void TearDown() override { Process().reset(); }

  static std::unique_ptr<testing::EtcdProcess>& Process() {
    static std::unique_ptr<testing::EtcdProcess> process;
    return process;
  }
};

class RealEtcd final : public StoreUnderTest {
 public:
  RealEtcd() {
    auto& process = SharedEtcd::Process();
    if (process == nullptr) {
      process = std::make_unique<testing::EtcdProcess>();
      process->Start();
    }
    EtcdOptions options;
    options.endpoints = {process->endpoint()};
    auto store = ConnectEtcd(options);
    ISLA_CHECK_OK(store);
    store_ = std::move(*store);
  }
  Store& store() override { return *store_; }

 private:
  std::unique_ptr<Store> store_;
};

const auto* const kEnvironment = ::testing::AddGlobalTestEnvironment(new SharedEtcd);

/// `Backend`, behind one of decorators.h.
template <typename Inner>
class Decorated final : public StoreUnderTest {
 public:
  explicit Decorated(std::unique_ptr<Store> (*decorate)(Store&, uint64_t)) : store_(decorate(inner_.store(), ++Made())) {}
  Store& store() override { return *store_; }

 private:
  /// The seed: another one for each case, the same in each run.
  static uint64_t& Made() {
    static uint64_t made = 0;
    return made;
  }
  Inner inner_;
  std::unique_ptr<Store> store_;
};

/// `Plain` as it is, and `Inner`, the same backend, behind each decorator.
template <typename Plain, typename Inner = Plain>
std::vector<Backend> PlainAndDecorated() {
  return {{"plain", [] { return std::make_unique<Plain>(); }},
          {"slow", [] { return std::make_unique<Decorated<Inner>>(MakeSlow); }},
          {"breaking", [] { return std::make_unique<Decorated<Inner>>(MakeBreaking); }}};
}

std::string BackendName(const ::testing::TestParamInfo<Backend>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Memory, StoreConformance, ::testing::ValuesIn(PlainAndDecorated<InMemory>()), BackendName);
INSTANTIATE_TEST_SUITE_P(Memory, StoreHistory, ::testing::ValuesIn(PlainAndDecorated<InMemory>()), BackendName);
INSTANTIATE_TEST_SUITE_P(Disk, StoreConformance, ::testing::ValuesIn(PlainAndDecorated<OnDisk, OnDiskInMemory>()), BackendName);
INSTANTIATE_TEST_SUITE_P(Disk, StoreHistory, ::testing::ValuesIn(PlainAndDecorated<OnDisk, OnDiskInMemory>()), BackendName);
INSTANTIATE_TEST_SUITE_P(Etcd, StoreConformance, ::testing::ValuesIn(PlainAndDecorated<RealEtcd>()), BackendName);
INSTANTIATE_TEST_SUITE_P(Etcd, StoreHistory, ::testing::ValuesIn(PlainAndDecorated<RealEtcd>()), BackendName);

}  // namespace
}  // namespace isla::store
