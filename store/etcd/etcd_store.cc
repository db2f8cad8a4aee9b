#include "store/etcd/etcd_store.h"

#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <utility>

#include "api/base/mutex.h"
#include "store/etcd/channels.h"
#include "store/etcd/codec.h"
#include "store/etcd/completion.h"
#include "store/etcd/etcd_watch.h"
#include "store/transaction.h"

namespace isla::store {
namespace {

constexpr Duration kConnectWait = std::chrono::seconds(2);
constexpr int kPagedAttempts = 2;  // to list the newest

/// Asks once for a lease on a stream of its own. etcd has no unary call for it.
class KeepAliveCall final
    : private grpc::ClientBidiReactor<etcdserverpb::LeaseKeepAliveRequest, etcdserverpb::LeaseKeepAliveResponse> {
 public:
  static grpc::Status Run(const Endpoint& endpoint, grpc::ClientContext& context,
                          const etcdserverpb::LeaseKeepAliveRequest& request,
                          etcdserverpb::LeaseKeepAliveResponse& response) {
    KeepAliveCall call;
    endpoint.lease->async()->LeaseKeepAlive(&context, &call);
    call.StartWriteLast(&request, grpc::WriteOptions());
    call.StartRead(&response);
    call.StartCall();
    grpc::Status status = call.completion_.Wait();
    if (status.ok() && !call.answered_) return {grpc::StatusCode::UNAVAILABLE, "no answer"};
    return status;
  }

 private:
  void OnReadDone(bool ok) override { answered_ = ok; }
  void OnDone(const grpc::Status& status) override { completion_.Set(status); }

  Completion completion_;
  bool answered_ = false;
};

enum class Effect { kRead, kWrite };

class EtcdStore final : public Store {
 public:
  EtcdStore(const EtcdOptions& options, const Clock& clock, std::unique_ptr<Channels> calls, std::unique_ptr<Channels> watches);

  StatusOr<GetResult> Get(const Key& key, Deadline deadline) override;
  StatusOr<ListResult> List(const Prefix& prefix, const ListOptions& options, Deadline deadline) override;
  StatusOr<TxnResult> Txn(const Transaction& txn, Deadline deadline) override;
  StatusOr<std::unique_ptr<Watch>> StartWatch(const WatchOptions& options, Watcher& watcher) override;
  StatusOr<LeaseId> GrantLease(std::chrono::seconds ttl, Deadline deadline) override;
  StatusOr<std::chrono::seconds> KeepAliveLease(LeaseId lease, Deadline deadline) override;
  Status RevokeLease(LeaseId lease, Deadline deadline) override;
  Status Compact(Revision revision, Deadline deadline) override;
  uint64_t Identity() const override { return cluster_id_.load(std::memory_order_relaxed); }

 private:
  /// Runs `send` (which blocks until its call is done) on a connected endpoint. Reads go to each endpoint once at most.
  Status Call(const char* method, Effect effect, Deadline deadline,
              const std::function<grpc::Status(const Endpoint&, grpc::ClientContext&)>& send);
  Status CallOnce(const Endpoint& endpoint, Effect effect, Duration left,
                  const std::function<grpc::Status(const Endpoint&, grpc::ClientContext&)>& send);
  /// A token for metadata; "" without authentication.
  StatusOr<std::string> Token(const Endpoint& endpoint, Duration left);
  void ForgetToken(const std::string& token);
  void Count(const char* method, const Status& status, MonotonicTime begin);

  template <typename Response>
  void See(const Response& response) {
    const uint64_t id = response.header().cluster_id();
    if (id != 0 && cluster_id_.load(std::memory_order_relaxed) != id) cluster_id_.store(id, std::memory_order_relaxed);
  }
  StatusOr<etcdserverpb::RangeResponse> Range(const char* method, const etcdserverpb::RangeRequest& request, Deadline deadline);
  StatusOr<ListResult> ListOnce(const Prefix& prefix, const ListOptions& options, Deadline deadline);

  const std::string user_, password_;
  const Clock& clock_;
  Metrics* const metrics_;
  std::map<std::string, Histogram> seconds_;  // by method; constant after construction
  Counter dropped_;
  const std::unique_ptr<Channels> calls_, watches_;
  std::atomic<uint64_t> cluster_id_{0};
  Mutex mu_;
  std::string token_ GUARDED_BY(mu_);
};

EtcdStore::EtcdStore(const EtcdOptions& options, const Clock& clock, std::unique_ptr<Channels> calls,
                     std::unique_ptr<Channels> watches)
    : user_(options.user), password_(options.password), clock_(clock), metrics_(options.metrics),
      calls_(std::move(calls)), watches_(std::move(watches)) {
  if (metrics_ == nullptr) return;
  for (const char* method : {"get", "list", "txn", "grant", "keep_alive", "revoke", "compact"}) {
    seconds_[method] = metrics_->AddHistogram("isla_store_call_seconds", "Calls to etcd.", {{"method", method}});
  }
  dropped_ = metrics_->AddCounter("isla_store_watch_events_dropped_total", "Events that etcd sent twice or out of range.");
}

Status EtcdStore::Call(const char* method, Effect effect, Deadline deadline,
                       const std::function<grpc::Status(const Endpoint&, grpc::ClientContext&)>& send) {
  const MonotonicTime begin = clock_.Monotonic();
  Status status;
  for (size_t attempt = 0;; ++attempt) {
    const Duration left = deadline - (clock_.Monotonic() - begin);
    const auto endpoint = calls_->Connected(std::min(left, kConnectWait));
    if (!endpoint.ok()) {
      if (attempt == 0) status = endpoint.status();
      break;
    }
    status = CallOnce(**endpoint, effect, deadline - (clock_.Monotonic() - begin), send);
    const bool lost = status.code() == Code::kUnavailable || status.code() == Code::kDeadlineExceeded;
    if (lost) calls_->Failed(**endpoint);
    const bool again = status.code() == Code::kUnavailable && effect == Effect::kRead && attempt < calls_->size();
    if (!again || clock_.Monotonic() - begin >= deadline) break;
  }
  Count(method, status, begin);
  return status;
}

Status EtcdStore::CallOnce(const Endpoint& endpoint, Effect effect, Duration left,
                           const std::function<grpc::Status(const Endpoint&, grpc::ClientContext&)>& send) {
  const MonotonicTime begin = clock_.Monotonic();
  for (bool second = false;; second = true) {
    ASSIGN_OR_RETURN(const std::string token, Token(endpoint, left - (clock_.Monotonic() - begin)));
    grpc::ClientContext context;
    context.set_deadline(GrpcDeadline(left - (clock_.Monotonic() - begin)));
    context.AddMetadata("hasleader", "true");
    if (!token.empty()) context.AddMetadata("token", token);
    const grpc::Status status = send(endpoint, context);
    if (TokenRefused(status) && !token.empty() && !second) {
      ForgetToken(token);
      continue;
    }
    return FromEtcd(status, effect == Effect::kWrite);
  }
}

StatusOr<std::string> EtcdStore::Token(const Endpoint& endpoint, Duration left) {
  if (user_.empty()) return std::string();
  {
    MutexLock lock(mu_);
    if (!token_.empty()) return token_;
  }
  grpc::ClientContext context;
  context.set_deadline(GrpcDeadline(left));
  etcdserverpb::AuthenticateRequest request;
  request.set_name(user_);
  request.set_password(password_);
  etcdserverpb::AuthenticateResponse response;
  const grpc::Status status = endpoint.auth->Authenticate(&context, request, &response);
  if (status.error_code() == grpc::StatusCode::INVALID_ARGUMENT) {
    return Errorf(Code::kUnauthenticated, "etcd refused user '{}': {}", user_, status.error_message());
  }
  if (!status.ok()) return FromEtcd(status, false);
  MutexLock lock(mu_);
  token_ = response.token();
  return token_;
}

void EtcdStore::ForgetToken(const std::string& token) {
  MutexLock lock(mu_);
  if (token_ == token) token_.clear();
}

void EtcdStore::Count(const char* method, const Status& status, MonotonicTime begin) {
  if (metrics_ == nullptr) return;
  seconds_.at(method).Observe(std::chrono::duration<double>(clock_.Monotonic() - begin).count());
  if (status.ok()) return;
  metrics_
      ->AddCounter("isla_store_call_errors_total", "Calls to etcd that failed.",
                   {{"method", method}, {"code", std::string(CodeName(status.code()))}})
      .Increment();
}

StatusOr<etcdserverpb::RangeResponse> EtcdStore::Range(const char* method, const etcdserverpb::RangeRequest& request,
                                                       Deadline deadline) {
  etcdserverpb::RangeResponse response;
  RETURN_IF_ERROR(Call(method, Effect::kRead, deadline, [&request, &response](const Endpoint& endpoint, grpc::ClientContext& context) {
    response.Clear();
    return endpoint.kv->Range(&context, request, &response);
  }));
  See(response);
  return response;
}

StatusOr<GetResult> EtcdStore::Get(const Key& key, Deadline deadline) {
  if (key.empty()) return Error(Code::kInvalidArgument, "a key is empty");
  etcdserverpb::RangeRequest request;
  request.set_key(key);
  ASSIGN_OR_RETURN(etcdserverpb::RangeResponse response, Range("get", request, deadline));
  return TakeGet(key, response);
}

StatusOr<ListResult> EtcdStore::List(const Prefix& prefix, const ListOptions& asked, Deadline deadline) {
  const MonotonicTime begin = clock_.Monotonic();
  ListOptions options = asked;
  options.page_size = std::max<size_t>(options.page_size, 1);
  for (int attempt = 0;; ++attempt) {
    if (attempt == kPagedAttempts) options.page_size = 0;
    auto list = ListOnce(prefix, options, deadline - (clock_.Monotonic() - begin));
    // Compacted between two pages of "the newest": begin again at what is the newest now; at last in one page, which nothing
    // can come between.
    const bool again = list.status().code() == Code::kOutOfRange && options.revision == 0 && attempt < kPagedAttempts;
    if (!again) return list;
  }
}

StatusOr<ListResult> EtcdStore::ListOnce(const Prefix& prefix, const ListOptions& options, Deadline deadline) {
  const MonotonicTime begin = clock_.Monotonic();
  etcdserverpb::RangeRequest request;
  SetPrefix(prefix, request);
  if (options.from > prefix.text()) request.set_key(options.from);
  request.set_revision(options.revision);
  request.set_keys_only(options.keys_only);
  ListResult result;
  result.revision = options.revision;
  for (;;) {
    const Duration left = deadline - (clock_.Monotonic() - begin);
    if (left <= Duration::zero()) return Error(Code::kDeadlineExceeded, "the list took too long");
    size_t size = options.page_size;  // 0: no limit
    if (options.limit != 0) {
      const size_t wanted = options.limit - result.kvs.size();
      size = size == 0 ? wanted : std::min(size, wanted);
    }
    request.set_limit(static_cast<int64_t>(size));
    ASSIGN_OR_RETURN(etcdserverpb::RangeResponse page, Range("list", request, left));
    ASSIGN_OR_RETURN(const bool more, TakePage(prefix, page, result));
    if (!more) return result;
    result.more = options.limit != 0 && result.kvs.size() >= options.limit;
    if (result.more) return result;
    request.set_revision(result.revision);
    request.set_key(result.kvs.back()->key + '\0');
  }
}

StatusOr<TxnResult> EtcdStore::Txn(const Transaction& txn, Deadline deadline) {
  RETURN_IF_ERROR(CheckTransaction(txn));
  const etcdserverpb::TxnRequest request = EncodeTransaction(txn);
  etcdserverpb::TxnResponse response;
  const bool reads_only = std::all_of(txn.success.begin(), txn.success.end(),
                                      [](const Operation& operation) { return operation.kind == Operation::Kind::kGet; });
  RETURN_IF_ERROR(Call("txn", reads_only ? Effect::kRead : Effect::kWrite, deadline,
                       [&request, &response](const Endpoint& endpoint, grpc::ClientContext& context) {
                         response.Clear();
                         return endpoint.kv->Txn(&context, request, &response);
                       }));
  See(response);
  return DecodeTransaction(txn, response);
}

StatusOr<std::unique_ptr<Watch>> EtcdStore::StartWatch(const WatchOptions& options, Watcher& watcher) {
  if (options.start_revision < 0) return Error(Code::kInvalidArgument, "a watch can't start at a negative revision");
  WatchOptions from = options;
  if (from.start_revision == 0) {
    // etcd would take the revision of the member that it asks, which may lag behind what the caller has seen.
    ASSIGN_OR_RETURN(const GetResult now, Get(options.prefix.empty() ? "/" : options.prefix.text(), kDefaultDeadline));
    from.start_revision = now.revision + 1;
    watcher.OnBatch({now.revision, {}});
  }
  std::string token;
  if (!user_.empty()) {
    ASSIGN_OR_RETURN(const Endpoint* endpoint, calls_->Connected(kConnectWait));
    ASSIGN_OR_RETURN(token, Token(*endpoint, kDefaultDeadline));
  }
  return StartEtcdWatch(*watches_, from, {Identity(), token, [this, token] { ForgetToken(token); }, dropped_}, watcher);
}

StatusOr<LeaseId> EtcdStore::GrantLease(std::chrono::seconds ttl, Deadline deadline) {
  if (ttl < std::chrono::seconds(1)) return Error(Code::kInvalidArgument, "a lease lives for at least one second");
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(ttl.count());
  etcdserverpb::LeaseGrantResponse response;
  RETURN_IF_ERROR(Call("grant", Effect::kWrite, deadline, [&request, &response](const Endpoint& endpoint, grpc::ClientContext& context) {
    return endpoint.lease->LeaseGrant(&context, request, &response);
  }));
  See(response);
  if (!response.error().empty()) return Errorf(Code::kUnavailable, "etcd: {}", response.error());
  return response.id();
}

StatusOr<std::chrono::seconds> EtcdStore::KeepAliveLease(LeaseId lease, Deadline deadline) {
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(lease);
  etcdserverpb::LeaseKeepAliveResponse response;
  RETURN_IF_ERROR(Call("keep_alive", Effect::kRead, deadline, [&request, &response](const Endpoint& endpoint, grpc::ClientContext& context) {
    response.Clear();
    return KeepAliveCall::Run(endpoint, context, request, response);
  }));
  See(response);
  // A lease that is gone is answered without an error, with no time to live.
  if (response.ttl() <= 0) return Errorf(Code::kNotFound, "no lease {}", lease);
  return std::chrono::seconds(response.ttl());
}

Status EtcdStore::RevokeLease(LeaseId lease, Deadline deadline) {
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(lease);
  etcdserverpb::LeaseRevokeResponse response;
  const Status status = Call("revoke", Effect::kWrite, deadline, [&request, &response](const Endpoint& endpoint, grpc::ClientContext& context) {
    return endpoint.lease->LeaseRevoke(&context, request, &response);
  });
  return status.code() == Code::kNotFound ? OkStatus() : status;
}

Status EtcdStore::Compact(Revision revision, Deadline deadline) {
  if (revision <= 0) return Errorf(Code::kOutOfRange, "revision {} is already compacted", revision);
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  etcdserverpb::CompactionResponse response;
  return Call("compact", Effect::kWrite, deadline, [&request, &response](const Endpoint& endpoint, grpc::ClientContext& context) {
    return endpoint.kv->Compact(&context, request, &response);
  });
}

}  // namespace

StatusOr<std::unique_ptr<Store>> ConnectEtcd(const EtcdOptions& options, const Clock& clock) {
  ASSIGN_OR_RETURN(auto calls, Channels::Make(options));
  ASSIGN_OR_RETURN(auto watches, Channels::Make(options));
  return std::unique_ptr<Store>(std::make_unique<EtcdStore>(options, clock, std::move(calls), std::move(watches)));
}

}  // namespace isla::store
