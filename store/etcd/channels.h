// The connections to etcd's endpoints for one purpose (calls, or watches), and which of them to use now.
// Thread-safe.
#pragma once

#include <etcd.grpc.pb.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/base/mutex.h"
#include "store/etcd/etcd_store.h"

namespace isla::store {

/// A gRPC target for an endpoint as people write it. INVALID_ARGUMENT says what is wrong with it.
StatusOr<std::string> EndpointTarget(const std::string& endpoint, bool tls);

/// `after` from now, as gRPC wants it; measured on the monotonic clock.
gpr_timespec GrpcDeadline(Duration after);

struct Endpoint {
  size_t index = 0;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<etcdserverpb::KV::Stub> kv;
  std::unique_ptr<etcdserverpb::Lease::Stub> lease;
  std::unique_ptr<etcdserverpb::Watch::Stub> watch;
  std::unique_ptr<etcdserverpb::Auth::Stub> auth;
};

class Channels {
 public:
  static StatusOr<std::unique_ptr<Channels>> Make(const EtcdOptions& options);

  /// The endpoint in use, connected or not.
  const Endpoint& Current() const { return endpoints_[current_.load(std::memory_order_relaxed)]; }
  /// A connected one: the one in use if it is, else the first that comes up; one that has just failed a call last of all, since one that is
  /// frozen looks connected until a ping has told. UNAVAILABLE: none within `wait`.
  StatusOr<const Endpoint*> Connected(Duration wait);
  /// A call to `endpoint` failed in a way that another one may not: use the next from now on.
  void Failed(const Endpoint& endpoint);
  size_t size() const { return endpoints_.size(); }

 private:
  struct Suspect {
    size_t index = 0;
    MonotonicTime until;
  };

  Channels() = default;
  /// The endpoint that failed last, while nothing else can have told whether its connection is alive.
  std::optional<size_t> SuspectNow() const EXCLUDES(mu_);

  std::vector<Endpoint> endpoints_;
  std::atomic<size_t> current_{0};
  mutable Mutex mu_;
  std::optional<Suspect> suspect_ GUARDED_BY(mu_);
};

}  // namespace isla::store
