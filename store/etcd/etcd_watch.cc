#include "store/etcd/etcd_watch.h"

#include <grpcpp/support/client_callback.h>

#include <utility>

#include "api/base/mutex.h"
#include "store/etcd/codec.h"
#include "store/etcd/watch_decoder.h"

namespace isla::store {
namespace {

/// Reads are started one at a time, the next one when the watcher has returned: that is how a watcher that takes its
/// time pushes back, through HTTP/2's flow control, up to etcd.
class EtcdWatch final : public Watch, private grpc::ClientBidiReactor<etcdserverpb::WatchRequest, etcdserverpb::WatchResponse> {
 public:
  EtcdWatch(Channels& channels, const WatchOptions& options, EtcdWatchContext store, Watcher& watcher)
      : channels_(channels), endpoint_(channels.Current()), watcher_(watcher), store_(std::move(store)),
        decoder_(options.start_revision, store_.cluster_id) {
    auto& create = *request_.mutable_create_request();
    SetPrefix(options.prefix, create);
    create.set_start_revision(decoder_.asks_from());
    create.set_prev_kv(options.previous_values);
    create.set_fragment(true);
    // A member that has lost its leader must say so, instead of going quiet.
    context_.AddMetadata("hasleader", "true");
    if (!store_.token.empty()) context_.AddMetadata("token", store_.token);
  }

  ~EtcdWatch() override {
    MutexLock lock(mu_);
    stopping_ = true;
    // Outside reactions nothing but TryCancel is called, so no hold is needed.
    context_.TryCancel();
    while (!done_) done_changed_.Wait(mu_);
  }

  void Start() {
    endpoint_.watch->async()->Watch(&context_, this);
    StartWrite(&request_);
    StartRead(&response_);
    StartCall();
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return;  // OnDone says why
    WatchDecoder::Result result = decoder_.Handle(response_);
    if (const size_t dropped = decoder_.dropped(); dropped > counted_) {
      store_.dropped.Increment(static_cast<double>(dropped - std::exchange(counted_, dropped)));
    }
    if (!result.batch.events.empty()) watcher_.OnBatch(std::move(result.batch));
    if (!result.end.ok()) {
      end_ = result.end;
      context_.TryCancel();
      return;
    }
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    bool stopping = false;
    {
      MutexLock lock(mu_);
      stopping = stopping_;
    }
    Status end = end_;
    if (stopping && end.ok()) end = Error(Code::kCancelled, "the watch was cancelled");
    if (end.ok()) end = status.ok() ? Error(Code::kUnavailable, "etcd ended the watch") : FromEtcd(status, false);
    if (end.code() == Code::kUnauthenticated && !store_.token.empty()) {
      store_.token_refused();
      end = Error(Code::kUnavailable, Message(end));
    } else if (end.code() == Code::kUnavailable || end.code() == Code::kDeadlineExceeded) {
      channels_.Failed(endpoint_);
    }
    watcher_.OnEnd(end);
    MutexLock lock(mu_);
    done_ = true;
    done_changed_.NotifyAll();
  }

  Channels& channels_;
  const Endpoint& endpoint_;
  Watcher& watcher_;
  const EtcdWatchContext store_;
  grpc::ClientContext context_;
  // Of the reactions, which follow one another.
  etcdserverpb::WatchRequest request_;
  etcdserverpb::WatchResponse response_;
  WatchDecoder decoder_;
  size_t counted_ = 0;
  Status end_;

  Mutex mu_;
  CondVar done_changed_;
  bool stopping_ GUARDED_BY(mu_) = false;
  bool done_ GUARDED_BY(mu_) = false;
};

}  // namespace

std::unique_ptr<Watch> StartEtcdWatch(Channels& channels, const WatchOptions& options, EtcdWatchContext context, Watcher& watcher) {
  auto watch = std::make_unique<EtcdWatch>(channels, options, std::move(context), watcher);
  watch->Start();
  return watch;
}

}  // namespace isla::store
