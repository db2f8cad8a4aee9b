#include "agentd/gateway_client.h"

#include <grpcpp/grpcpp.h>
#include <isla/v1/agent.grpc.pb.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "api/base/log.h"
#include "api/base/mutex.h"
#include "api/base/unique_fd.h"

namespace isla::agent {
namespace {

using isla::v1::AgentGateway;
using isla::v1::AgentMessage;
using isla::v1::DataFrame;
using isla::v1::GatewayMessage;

const Logger kLog("agentd");
constexpr size_t kMaxIncoming = 64;
// Every container may have a report under way at once (kMaxEntries), and some more.
constexpr size_t kMaxOutgoing = 16384;
constexpr int kMaxMessageBytes = 64 << 20;
constexpr auto kFinishTimeout = std::chrono::seconds(5);

bool IsLocal(const std::string& gateway) { return gateway.starts_with("unix:"); }

class DataReactor final : public DataStream, public grpc::ClientBidiReactor<DataFrame, DataFrame> {
 public:
  explicit DataReactor(std::shared_ptr<AgentGateway::Stub> stub) : stub_(std::move(stub)) {
    stub_->async()->Data(&context_, this);
    AddHold();  // writes are started from outside the reactions
    StartRead(&incoming_);
    StartCall();
  }

  ~DataReactor() override {
    context_.TryCancel();
    MutexLock lock(mu_);
    if (!released_) {
      released_ = true;
      RemoveHold();
    }
    while (!done_) changed_.Wait(mu_);
  }

  bool Write(const DataFrame& frame) override {
    MutexLock lock(mu_);
    if (ended_) return false;
    outgoing_ = frame;
    written_ = false;
    StartWrite(&outgoing_);
    while (!written_) changed_.Wait(mu_);
    return !ended_;
  }

  void Finish() override {
    MutexLock lock(mu_);
    if (!released_) {
      if (!ended_) StartWritesDone();
      released_ = true;
      RemoveHold();
    }
    if (!done_) changed_.WaitFor(mu_, kFinishTimeout);
    if (!done_) context_.TryCancel();
    while (!done_) changed_.Wait(mu_);
  }

  void Cancel() override { context_.TryCancel(); }

  void SetOnEnd(std::function<void()> fn) override {
    MutexLock lock(mu_);
    on_end_ = std::move(fn);
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      StartRead(&incoming_);
      return;
    }
    MutexLock lock(mu_);
    ended_ = true;
    if (on_end_) on_end_();
    changed_.NotifyAll();
  }
  void OnWriteDone(bool ok) override {
    MutexLock lock(mu_);
    written_ = true;
    if (!ok) ended_ = true;
    changed_.NotifyAll();
  }
  void OnDone(const grpc::Status&) override {
    MutexLock lock(mu_);
    done_ = ended_ = true;
    // Under the lock: its owner may destroy this as soon as it sees done_.
    changed_.NotifyAll();
  }

 private:
  const std::shared_ptr<AgentGateway::Stub> stub_;
  grpc::ClientContext context_;
  DataFrame incoming_;
  DataFrame outgoing_;
  Mutex mu_;
  CondVar changed_;
  std::function<void()> on_end_ GUARDED_BY(mu_);
  bool written_ GUARDED_BY(mu_) = true;
  bool ended_ GUARDED_BY(mu_) = false;
  bool released_ GUARDED_BY(mu_) = false;
  bool done_ GUARDED_BY(mu_) = false;
};

}  // namespace

class GatewayClient::Stream final : public grpc::ClientBidiReactor<AgentMessage, GatewayMessage> {
 public:
  /// `on_input` and `on_done` run on the loop; after `on_done` this may be destroyed.
  Stream(AgentGateway::Stub& stub, Mailbox& mailbox, std::function<void()> on_input,
         std::function<void(grpc::Status)> on_done)
      : mailbox_(mailbox), on_input_(std::move(on_input)), on_done_(std::move(on_done)) {
    stub.async()->Connect(&context_, this);
    AddHold();  // the loop starts writes, and reads after a pause
    StartRead(&incoming_);
    StartCall();
  }

  // Loop thread.

  /// False: too much is waiting already.
  bool Send(AgentMessage message) {
    const AgentMessage* first = nullptr;
    {
      MutexLock lock(mu_);
      if (released_ || failed_) return true;  // its end is on the way; all is said again on the next one
      if (out_.size() >= kMaxOutgoing) return false;
      out_.push_back(std::move(message));
      if (writing_) return true;
      writing_ = true;
      first = &out_.front();  // stays where it is while others are put behind it
    }
    StartWrite(first);
    return true;
  }

  std::deque<GatewayMessage> Take(bool& ended) {
    std::deque<GatewayMessage> taken;
    bool resume = false;
    {
      MutexLock lock(mu_);
      taken.swap(in_);
      posted_ = false;
      ended = failed_;
      resume = std::exchange(paused_, false) && !released_;
    }
    if (resume) StartRead(&incoming_);
    return taken;
  }

  /// Nothing more is started; OnDone follows.
  void Release() {
    {
      MutexLock lock(mu_);
      if (std::exchange(released_, true)) return;
    }
    context_.TryCancel();
    RemoveHold();
  }

  // gRPC's threads.

  void OnReadDone(bool ok) override {
    bool post = false;
    bool read = false;
    {
      MutexLock lock(mu_);
      if (ok) {
        in_.push_back(std::move(incoming_));
        incoming_.Clear();
        read = in_.size() < kMaxIncoming && !released_;
        paused_ = !read;
      } else {
        failed_ = true;
      }
      post = !std::exchange(posted_, true);
    }
    if (read) StartRead(&incoming_);
    if (post) mailbox_.Post(on_input_);
  }

  void OnWriteDone(bool ok) override {
    const AgentMessage* next = nullptr;
    {
      MutexLock lock(mu_);
      out_.pop_front();
      if (!ok || out_.empty() || released_) {
        writing_ = false;
        return;
      }
      next = &out_.front();
    }
    StartWrite(next);
  }

  void OnDone(const grpc::Status& status) override {
    mailbox_.Post([on_done = on_done_, status] { on_done(status); });
  }

 private:
  Mailbox& mailbox_;
  const std::function<void()> on_input_;
  const std::function<void(grpc::Status)> on_done_;
  grpc::ClientContext context_;
  GatewayMessage incoming_;
  Mutex mu_;
  std::deque<GatewayMessage> in_ GUARDED_BY(mu_);
  std::deque<AgentMessage> out_ GUARDED_BY(mu_);  // its front is gRPC's to read while writing_
  bool writing_ GUARDED_BY(mu_) = false;
  bool paused_ GUARDED_BY(mu_) = false;
  bool posted_ GUARDED_BY(mu_) = false;
  bool failed_ GUARDED_BY(mu_) = false;
  bool released_ GUARDED_BY(mu_) = false;
};

struct GatewayClient::Impl {
  Impl(GatewayClientOptions o, GatewayEvents e, Loop& l, Random& r)
      : options(std::move(o)), events(std::move(e)), loop(l), random(r) {}

  GatewayClientOptions options;
  GatewayEvents events;
  Loop& loop;
  Random& random;
  std::shared_ptr<grpc::ChannelCredentials> tls;  // for the gateways that aren't local

  size_t next = 0;
  std::shared_ptr<AgentGateway::Stub> stub;
  std::unique_ptr<Stream> stream;
  bool up = false;     // `connected` was called, `disconnected` not yet
  bool heard = false;  // this stream brought something
  bool told_away = false;  // it was logged that no gateway answers
  Duration delay{0};
  TimerId retry = 0;
  std::function<void()> shutdown;
  bool shutting_down = false;

  void Dial();
  void OnInput();
  void OnStreamDone(const grpc::Status& status);
  void Down();
  void RetryLater();
};

StatusOr<std::unique_ptr<GatewayClient>> GatewayClient::Create(GatewayClientOptions options, GatewayEvents events,
                                                               Loop& loop, Random& random) {
  if (options.gateways.empty()) return Error(Code::kInvalidArgument, "no gateway is given");
  auto impl = std::make_unique<Impl>(std::move(options), std::move(events), loop, random);
  const auto& o = impl->options;
  const bool remote = !std::all_of(o.gateways.begin(), o.gateways.end(), IsLocal);
  if (remote) {
    if (o.tls_ca.empty() || o.tls_cert.empty() || o.tls_key.empty()) {
      return Error(Code::kInvalidArgument, "a gateway that is no unix socket needs --tls-ca, --tls-cert and --tls-key");
    }
    grpc::SslCredentialsOptions ssl;
    ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadFile(o.tls_ca, 1 << 20));
    ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadFile(o.tls_cert, 1 << 20));
    ASSIGN_OR_RETURN(ssl.pem_private_key, ReadFile(o.tls_key, 1 << 20));
    impl->tls = grpc::SslCredentials(ssl);
  }
  return std::unique_ptr<GatewayClient>(new GatewayClient(std::move(impl)));
}

GatewayClient::GatewayClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

GatewayClient::~GatewayClient() {
  impl_->loop.Cancel(impl_->retry);
  // Shutdown comes first; where the loop failed instead, gRPC may still be in the stream: it is left behind.
  if (impl_->stream != nullptr) {
    impl_->stream->Release();
    (void)impl_->stream.release();
  }
}

void GatewayClient::Start() { impl_->Dial(); }

void GatewayClient::Impl::Dial() {
  retry = 0;
  const std::string& gateway = options.gateways[next];
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  // A channel each time: a channel that failed would wait by its own clock before it dials again.
  const auto channel = grpc::CreateCustomChannel(
      gateway, IsLocal(gateway) ? grpc::InsecureChannelCredentials() : tls, arguments);
  stub = AgentGateway::NewStub(channel);
  heard = false;
  up = true;
  kLog.Debug("dialing", "gateway={}", gateway);
  stream = std::make_unique<Stream>(*stub, loop, [this] { OnInput(); },
                                    [this](const grpc::Status& status) { OnStreamDone(status); });
  events.connected();
}

void GatewayClient::Impl::OnInput() {
  if (stream == nullptr) return;
  bool ended = false;
  for (const GatewayMessage& message : stream->Take(ended)) {
    if (!up) return;
    if (!std::exchange(heard, true)) delay = Duration::zero();
    told_away = false;
    events.message(message);
  }
  if (ended && stream != nullptr) {
    Down();
    stream->Release();
  }
}

void GatewayClient::Impl::Down() {
  if (std::exchange(up, false)) events.disconnected();
}

void GatewayClient::Impl::OnStreamDone(const grpc::Status& status) {
  Down();
  const bool was_served = heard;
  stream.reset();
  if (shutting_down) {
    stub.reset();
    if (shutdown) shutdown();
    return;
  }
  if (was_served) {
    kLog.Warn("stream to the gateway ended", "gateway={} error='{}'; dialing again", options.gateways[next],
              status.error_message());
  } else if (!std::exchange(told_away, true)) {  // once an outage
    kLog.Warn("gateway not reached", "gateway={} error='{}'; dialing on", options.gateways[next], status.error_message());
  } else {
    kLog.Debug("gateway not reached", "gateway={} error='{}'", options.gateways[next], status.error_message());
  }
  next = (next + 1) % options.gateways.size();
  RetryLater();
}

void GatewayClient::Impl::RetryLater() {
  delay = std::min(std::max(delay * 2, options.backoff_first), options.backoff_last);
  uint32_t noise = 0;
  random.Fill(&noise, sizeof noise);
  // Between half and all of it, so that a thousand agents don't come back in step.
  const Duration jittered = delay / 2 + delay / 2 * (noise % 1024) / 1024;
  retry = loop.After(jittered, [this] { Dial(); });
}

void GatewayClient::Send(AgentMessage message) {
  if (impl_->stream == nullptr || !impl_->up) return;
  if (!impl_->stream->Send(std::move(message))) Close("the gateway doesn't take what it is sent");
}

void GatewayClient::Close(const std::string& why) {
  if (impl_->stream == nullptr || !impl_->up) return;
  kLog.Debug("closing the stream", "why='{}'", why);
  impl_->heard = false;  // it counts as a failure: the next one is tried after a while
  impl_->stream->Release();
  impl_->Down();
}

std::unique_ptr<DataStream> GatewayClient::OpenData() {
  if (!impl_->up || impl_->stub == nullptr) return nullptr;
  return std::make_unique<DataReactor>(impl_->stub);
}

void GatewayClient::Shutdown(std::function<void()> done) {
  impl_->shutting_down = true;
  impl_->shutdown = std::move(done);
  impl_->loop.Cancel(std::exchange(impl_->retry, 0));
  if (impl_->stream == nullptr) {
    impl_->loop.Post([impl = impl_.get()] {
      if (impl->shutdown) impl->shutdown();
    });
    return;
  }
  impl_->stream->Release();
  impl_->Down();
}

const std::string& GatewayClient::target() const { return impl_->options.gateways[impl_->next]; }
bool GatewayClient::connected() const { return impl_->up; }

}  // namespace isla::agent
