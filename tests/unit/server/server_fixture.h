// A server over a store in memory, on a unix socket in a temporary folder.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "api/base/log.h"
#include "api/base/metrics.h"
#include "api/base/mutex.h"
#include "api/base/unique_fd.h"
#include "api/registry/registry.h"
#include "api/server/server.h"
#include "store/cache/watch_cache.h"
#include "store/embedded/embedded_store.h"
#include "tests/unit/server/raw_client.h"

namespace isla::server {

/// A log that a test writes: see Add and End.
class TestLogs final : public LogSource {
 public:
  struct Shared {
    Mutex mu;
    std::deque<std::string> lines GUARDED_BY(mu);
    Status end GUARDED_BY(mu);
    std::function<void()> ready GUARDED_BY(mu);
    std::atomic<int> open = 0;
  };
  class Stream final : public LogStream {
   public:
    explicit Stream(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) { ++shared_->open; }
    ~Stream() override {
      MutexLock lock(shared_->mu);
      shared_->ready = nullptr;
      --shared_->open;
    }
    void Notify(std::function<void()> ready) override {
      MutexLock lock(shared_->mu);
      shared_->ready = std::move(ready);
    }
    StatusOr<std::string> Next() override {
      MutexLock lock(shared_->mu);
      if (shared_->lines.empty()) {
        return shared_->end.ok() ? Error(Code::kDeadlineExceeded, "nothing yet") : shared_->end;
      }
      std::string line = std::move(shared_->lines.front());
      shared_->lines.pop_front();
      return line;
    }

   private:
    const std::shared_ptr<Shared> shared_;
  };

  void Add(const std::string& line) {
    MutexLock lock(shared_->mu);
    shared_->lines.push_back(line);
    if (shared_->ready) shared_->ready();
  }
  void End(const Status& status) {
    MutexLock lock(shared_->mu);
    shared_->end = status;
    if (shared_->ready) shared_->ready();
  }
  int open() const { return shared_->open; }
  LogRequest last() {
    MutexLock lock(mu_);
    return last_;
  }
  void Fail(const Status& status) {
    MutexLock lock(mu_);
    fail_ = status;
  }
  StatusOr<std::unique_ptr<LogStream>> Open(const LogRequest& request) override {
    MutexLock lock(mu_);
    last_ = request;
    if (!fail_.ok()) return fail_;
    return std::unique_ptr<LogStream>(std::make_unique<Stream>(shared_));
  }

 private:
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  Mutex mu_;
  LogRequest last_ GUARDED_BY(mu_);
  Status fail_ GUARDED_BY(mu_);
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    SetLogLevel(LogLevel::kWarn);
    char folder[] = "/tmp/isla-server-XXXXXX";
    ISLA_CHECK(mkdtemp(folder) != nullptr);
    dir_ = folder;
    ISLA_CHECK_OK(registry::Bootstrap(*store_, keys_, Clock::Real(), Random::Real()));
    cache_ = store::StartWatchCache(*store_, Clock::Real(), {.keys = keys_, .barrier_id = "test"});
    ISLA_CHECK_OK(cache_->WaitSynced(std::chrono::seconds(10)));
    registry::RegistryOptions registry_options;
    registry_options.watch_history = 64;
    registry_ = registry::MakeRegistry(*store_, *cache_, Clock::Real(), Random::Real(), registry_options);
    options_.socket_path = dir_ + "/api.sock";
    options_.listen = "";
    options_.data_dir = dir_ + "/data";
  }
  ~ServerTest() override {
    server_.reset();
    EXPECT_TRUE(RemoveTree(dir_).ok());
  }

  void Start() {
    auto server = Server::Start(options_, *registry_, logs_, metrics_, Clock::Real(), Random::Real(), [this] {
      MutexLock lock(mu_);
      return ready_;
    });
    ASSERT_TRUE(server.ok()) << ToString(server.status());
    server_ = std::move(*server);
  }
  RawClient Connect() { return RawClient(options_.socket_path); }
  RawClient::Answer Ask(const std::string& target, const std::string& more = {}) {
    RawClient client = Connect();
    client.Get(target, more);
    return client.Read();
  }
  RawClient::Answer Ask(const std::string& method, const std::string& target, const std::string& body,
                        const std::string& type) {
    RawClient client = Connect();
    client.SendBody(method, target, body, type);
    return client.Read();
  }
  static json::Value Json(const RawClient::Answer& answer) {
    auto value = json::Parse(answer.body, {.max_bytes = size_t{64} << 20});
    EXPECT_TRUE(value.ok()) << answer.body.substr(0, 200);
    return value.ok() ? *std::move(value) : json::Value();
  }
  static std::string Manifest(const std::string& name, const std::string& more = {}) {
    return R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":")" + name + "\"" + more +
           R"(},"spec":{"command":["true"]}})";
  }
  static constexpr const char* kSessions = "/apis/isla/v1/namespaces/default/sessions";
  RawClient::Answer Create(const std::string& name, const std::string& more = {}) {
    return Ask("POST", kSessions, Manifest(name, more), "application/json");
  }
  void SetReady(const Status& status) {
    MutexLock lock(mu_);
    ready_ = status;
  }
  store::Revision Put(const std::string& key, const std::string& value) {
    store::Transaction txn;
    txn.success.push_back(store::Operation::Put(key, value));
    return store_->Txn(txn)->revision;
  }

  std::string dir_;
  const store::Keys keys_;
  ServerOptions options_;
  Metrics metrics_;
  TestLogs logs_;
  Mutex mu_;
  Status ready_ GUARDED_BY(mu_);
  const std::unique_ptr<store::EmbeddedStore> store_ = store::EmbeddedStore::InMemory();
  std::unique_ptr<store::WatchCache> cache_;
  std::unique_ptr<registry::Registry> registry_;
  std::unique_ptr<Server> server_;
};

}  // namespace isla::server
