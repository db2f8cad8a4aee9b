// A small API server for tests of the commands: sessions and nodes in memory, lists as JSON and as
// Tables, merge patches, watches from any version, deletion with finalizers, and a log that the
// test writes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/base/json.h"
#include "api/base/mutex.h"
#include "tests/unit/client/fake_server.h"

namespace isla::testing {

class FakeApi {
 public:
  FakeApi();
  ~FakeApi();

  FakeServer& server() { return *server_; }
  const std::string& socket() const { return server_->socket_path(); }

  /// Puts a session in namespace `ns` and tells the watchers; `change` gets the object as it is (or
  /// a new one).
  void Put(const std::string& ns, const std::string& name,
           const std::function<void(json::Value&)>& change);
  void SetPhase(const std::string& name, const std::string& phase);
  void Remove(const std::string& ns, const std::string& name);
  /// Null if it isn't there.
  json::Value Get(const std::string& ns, const std::string& name);
  /// More of every session's log; `end` ends the streams that follow it.
  void Log(const std::string& text, bool end = false);
  /// The next requests whose "METHOD path" begins with this are answered by `reply`.
  void Intercept(const std::string& call, std::function<FakeReply(const FakeRequest&)> reply);
  void StopIntercepting();
  /// Called after each creation, without locks held.
  void OnCreate(std::function<void(const std::string& name)> hook);

 private:
  struct Change {
    int64_t version;
    std::string type;
    json::Value object;
  };
  FakeReply Handle(const FakeRequest& request);
  FakeReply HandleSessions(const FakeRequest& request, const std::string& ns,
                           const std::string& name);
  FakeReply List(const FakeRequest& request, const std::string& ns);
  FakeReply WatchFrom(const FakeRequest& request, const std::string& ns);
  FakeReply Create(const FakeRequest& request, const std::string& ns);
  FakeReply Patch(const FakeRequest& request, const std::string& key);
  FakeReply Delete(const FakeRequest& request, const std::string& key);
  FakeReply LogOf(const FakeRequest& request);
  void Record(const std::string& key, const std::string& type) REQUIRES(mu_);

  mutable Mutex mu_;
  std::map<std::string, json::Value> objects_ GUARDED_BY(mu_);  // by ns/name
  std::vector<Change> changes_ GUARDED_BY(mu_);
  int64_t version_ GUARDED_BY(mu_) = 100;
  int created_ GUARDED_BY(mu_) = 0;
  std::string log_ GUARDED_BY(mu_);
  bool log_ended_ GUARDED_BY(mu_) = false;
  std::string intercepted_ GUARDED_BY(mu_);
  std::function<FakeReply(const FakeRequest&)> interceptor_ GUARDED_BY(mu_);
  std::function<void(const std::string&)> on_create_ GUARDED_BY(mu_);
  std::unique_ptr<FakeServer> server_;  // last: its threads use the rest
};

}  // namespace isla::testing
