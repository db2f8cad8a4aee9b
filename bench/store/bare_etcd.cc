#include "bench/store/bare_etcd.h"

#include <atomic>
#include <semaphore>
#include <thread>

#include "api/base/status.h"
#include "store/store.h"

namespace isla::bench {
namespace {

using namespace std::chrono_literals;

etcdserverpb::WatchRequest CreateRequest(const std::string& prefix) {
  etcdserverpb::WatchRequest request;
  request.mutable_create_request()->set_key(prefix);
  request.mutable_create_request()->set_range_end(store::Prefix(prefix).End());
  return request;
}

}  // namespace

BareEtcd::BareEtcd(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  channel_ = grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
  ISLA_CHECK(channel_->WaitForConnected(std::chrono::system_clock::now() + 10s));
  kv_ = etcdserverpb::KV::NewStub(channel_);
  watch_ = etcdserverpb::Watch::NewStub(channel_);
}

void BareEtcd::Put(const std::string& key, const std::string& value) {
  etcdserverpb::TxnRequest request;
  auto& put = *request.add_success()->mutable_request_put();
  put.set_key(key);
  put.set_value(value);
  etcdserverpb::TxnResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + 5s);
  const grpc::Status status = kv_->Txn(&context, request, &response);
  ISLA_CHECK(status.ok() && response.succeeded());
}

size_t BareEtcd::RangeAll(const std::string& prefix, int64_t page, size_t& keys) {
  etcdserverpb::RangeRequest request;
  request.set_key(prefix);
  request.set_range_end(store::Prefix(prefix).End());
  request.set_limit(page);
  size_t bytes = 0;
  keys = 0;
  for (;;) {
    etcdserverpb::RangeResponse response;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 30s);
    ISLA_CHECK(kv_->Range(&context, request, &response).ok());
    for (const auto& kv : response.kvs()) bytes += kv.value().size();
    keys += static_cast<size_t>(response.kvs_size());
    if (!response.more()) return bytes;
    request.set_revision(response.header().revision());
    request.set_key(response.kvs(response.kvs_size() - 1).key() + '\0');
  }
}

struct BareWatchLoop::Loop {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<etcdserverpb::WatchRequest, etcdserverpb::WatchResponse>> stream;
  std::binary_semaphore created{0};
  std::thread thread;
};

BareWatchLoop::BareWatchLoop(BareEtcd& etcd, const std::string& prefix, int ids, std::function<void(int64_t)> on_events)
    : loop_(std::make_unique<Loop>()) {
  loop_->stream = etcd.watch().Watch(&loop_->context);
  const auto request = CreateRequest(prefix);
  loop_->thread = std::thread([loop = loop_.get(), ids, on_events = std::move(on_events)] {
    etcdserverpb::WatchResponse response;
    for (int created = 0; loop->stream->Read(&response);) {
      if (response.created() && ++created == ids) loop->created.release();
      if (response.events_size() > 0) on_events(response.watch_id());
    }
  });
  for (int i = 0; i < ids; ++i) ISLA_CHECK(loop_->stream->Write(request));
  loop_->created.acquire();
}

BareWatchLoop::~BareWatchLoop() {
  loop_->context.TryCancel();
  loop_->thread.join();
  loop_->stream->Finish();
}

class BareWatches::Reactor final : public grpc::ClientBidiReactor<etcdserverpb::WatchRequest, etcdserverpb::WatchResponse> {
 public:
  Reactor(BareEtcd& etcd, const std::string& prefix, int64_t id, const std::function<void(int64_t)>& on_events)
      : id_(id), on_events_(on_events), request_(CreateRequest(prefix)) {
    etcd.watch().async()->Watch(&context_, this);
    StartWrite(&request_);
    StartRead(&response_);
    StartCall();
  }
  ~Reactor() override { done_.acquire(); }

  void WaitCreated() { created_.acquire(); }
  void Cancel() { context_.TryCancel(); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (response_.created()) created_.release();
    if (response_.events_size() > 0) on_events_(id_);
    StartRead(&response_);
  }
  void OnDone(const grpc::Status&) override { done_.release(); }

  const int64_t id_;
  const std::function<void(int64_t)> on_events_;
  grpc::ClientContext context_;
  etcdserverpb::WatchRequest request_;
  etcdserverpb::WatchResponse response_;
  std::binary_semaphore created_{0}, done_{0};
};

BareWatches::BareWatches(BareEtcd& etcd, const std::string& prefix, int count, std::function<void(int64_t)> on_events) {
  for (int i = 0; i < count; ++i) reactors_.push_back(std::make_unique<Reactor>(etcd, prefix, i, on_events));
  for (const auto& reactor : reactors_) reactor->WaitCreated();
}

BareWatches::~BareWatches() {
  for (const auto& reactor : reactors_) reactor->Cancel();
}

}  // namespace isla::bench
