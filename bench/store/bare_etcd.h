// The peer of the etcd backend: the generated stub and nothing else, used as its makers' examples use it. One channel, blocking
// calls, a deadline on each.
#pragma once

#include <etcd.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace isla::bench {

class BareEtcd {
 public:
  /// Waits until it is connected.
  explicit BareEtcd(const std::string& endpoint);

  etcdserverpb::Watch::Stub& watch() { return *watch_; }

  /// A transaction of one put: what any user of the stub must write.
  void Put(const std::string& key, const std::string& value);
  /// All of a prefix in pages of `page` keys at one revision; how many bytes of values there were.
  size_t RangeAll(const std::string& prefix, int64_t page, size_t& keys);

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<etcdserverpb::KV::Stub> kv_;
  std::unique_ptr<etcdserverpb::Watch::Stub> watch_;
};

/// A watch in a thread that reads, on a stream of its own; or, with `ids` above 1, so many watches on that one stream. Returns when
/// etcd has made them. `on_events`: called for each answer that has events.
class BareWatchLoop {
 public:
  BareWatchLoop(BareEtcd& etcd, const std::string& prefix, int ids, std::function<void(int64_t id)> on_events);
  ~BareWatchLoop();

 private:
  struct Loop;
  const std::unique_ptr<Loop> loop_;
};

/// `count` watches, each on a stream of its own, read by gRPC's threads (the callback API). Returns when etcd has made them.
class BareWatches {
 public:
  BareWatches(BareEtcd& etcd, const std::string& prefix, int count, std::function<void(int64_t id)> on_events);
  ~BareWatches();

 private:
  class Reactor;
  std::vector<std::unique_ptr<Reactor>> reactors_;
};

}  // namespace isla::bench
