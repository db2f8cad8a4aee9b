#include "controllers/gateway/agent_service.h"

#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>
#include <isla/v1/agent.grpc.pb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <filesystem>
#include <utility>

#include "api/base/unique_fd.h"

namespace isla::controllers {
namespace {

using isla::v1::AgentGateway;
using isla::v1::AgentMessage;
using isla::v1::DataFrame;
using isla::v1::GatewayMessage;

constexpr size_t kMaxIncoming = 64;
constexpr size_t kMaxIncomingBytes = size_t{4} << 20;
constexpr size_t kMaxOutgoing = 4096;
constexpr int kMaxReceivedBytes = 16 << 20;  // a hello with an inventory of 65536 containers has 6 MiB
constexpr int kMaxSentBytes = 64 << 20;      // what agents take
constexpr auto kShutdownTimeout = std::chrono::seconds(5);

grpc::Status ToGrpc(const Status& status) {
  return {static_cast<grpc::StatusCode>(static_cast<int>(status.code())), Message(status)};
}

/// What is still open: counted so that a shutdown can end all of it and wait.
class Calls {
 public:
  class Call {
   public:
    virtual ~Call() = default;
    virtual void Cancel(const Status& why) = 0;
  };
  /// False: shutting down.
  bool Add(const std::shared_ptr<Call>& call) {
    MutexLock lock(mu_);
    if (closing_) return false;
    calls_[call.get()] = call;
    return true;
  }
  void Remove(const Call* call) {
    MutexLock lock(mu_);
    calls_.erase(call);
    changed_.NotifyAll();
  }
  void CancelAll(const Status& why) {
    std::vector<std::shared_ptr<Call>> all;
    {
      MutexLock lock(mu_);
      closing_ = true;
      for (const auto& [key, call] : calls_) all.push_back(call);
    }
    for (const auto& call : all) call->Cancel(why);
  }
  void WaitEmpty(Duration timeout) {
    MutexLock lock(mu_);
    while (!calls_.empty()) {
      if (!changed_.WaitFor(mu_, timeout)) return;
    }
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool closing_ GUARDED_BY(mu_) = false;
  std::map<const Call*, std::shared_ptr<Call>> calls_ GUARDED_BY(mu_);
};

/// Connect. Keeps itself alive until OnDone; others may hold it longer, and talk to nobody then.
class AgentReactor final : public grpc::ServerBidiReactor<AgentMessage, GatewayMessage>,
                           public AgentStream,
                           public Calls::Call,
                           public std::enable_shared_from_this<AgentReactor> {
 public:
  explicit AgentReactor(Calls& calls) : calls_(calls) {}

  void Begin(const AgentService::StartLink& start, std::string certificate_name) {
    self_ = shared_from_this();
    if (!calls_.Add(self_)) {
      MutexLock lock(mu_);
      FinishNow(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the gateway is shutting down"));
      return;
    }
    std::shared_ptr<NodeLink> link = start(self_, std::move(certificate_name));
    MutexLock lock(mu_);
    link_ = std::move(link);
    if (!finished_) StartRead(&incoming_);
  }

  // AgentStream.

  std::optional<AgentMessage> Take() override {
    MutexLock lock(mu_);
    if (in_.empty()) {
      told_ = false;
      return std::nullopt;
    }
    AgentMessage message = std::move(in_.front());
    in_.pop_front();
    in_bytes_ -= message.ByteSizeLong();
    if (paused_ && !finished_) {
      paused_ = false;
      StartRead(&incoming_);
    }
    return message;
  }

  void Send(GatewayMessage message) override {
    MutexLock lock(mu_);
    if (finished_ || closing_) return;
    if (out_.size() >= kMaxOutgoing) {
      FinishNow(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the agent doesn't take what it is sent"));
      return;
    }
    out_.push_back(std::move(message));
    if (out_.size() == 1) StartWrite(&out_.front());
  }

  void Close(const Status& status) override {
    MutexLock lock(mu_);
    if (finished_ || closing_) return;
    if (out_.empty()) {
      FinishNow(ToGrpc(status));
    } else {
      closing_ = ToGrpc(status);
    }
  }

  void Cancel(const Status& why) override {
    std::shared_ptr<NodeLink> link;
    {
      // At once: an agent that doesn't read would hold back the end.
      MutexLock lock(mu_);
      link = link_;
      if (!finished_) FinishNow(ToGrpc(why));
    }
    if (link != nullptr) link->Close(Error(why.code(), Message(why)));
  }

  // Reactions.

  void OnReadDone(bool ok) override {
    std::shared_ptr<NodeLink> tell;
    {
      MutexLock lock(mu_);
      if (!ok) {
        if (!finished_) FinishNow(grpc::Status::OK);
        return;
      }
      in_bytes_ += incoming_.ByteSizeLong();
      in_.push_back(std::move(incoming_));
      incoming_.Clear();
      paused_ = in_.size() >= kMaxIncoming || in_bytes_ >= kMaxIncomingBytes;
      if (!paused_ && !finished_) StartRead(&incoming_);
      if (!std::exchange(told_, true)) tell = link_;
    }
    if (tell != nullptr) tell->OnInput();
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mu_);
    out_.pop_front();
    if (finished_) return;
    if (!ok) return FinishNow(grpc::Status::CANCELLED);
    if (!out_.empty()) return StartWrite(&out_.front());
    if (closing_) FinishNow(*closing_);
  }

  void OnCancel() override {
    MutexLock lock(mu_);
    if (!finished_) FinishNow(grpc::Status::CANCELLED);
  }

  void OnDone() override {
    std::shared_ptr<NodeLink> link;
    {
      // Links hold streams, and this one its link.
      MutexLock lock(mu_);
      link.swap(link_);
    }
    if (link != nullptr) link->OnStreamEnd();
    calls_.Remove(this);
    self_.reset();  // the last that is done: it may destroy this
  }

 private:
  void FinishNow(const grpc::Status& status) REQUIRES(mu_) {
    finished_ = true;
    Finish(status);
  }

  Calls& calls_;
  std::shared_ptr<AgentReactor> self_;
  AgentMessage incoming_;

  Mutex mu_;
  std::shared_ptr<NodeLink> link_ GUARDED_BY(mu_);
  std::deque<AgentMessage> in_ GUARDED_BY(mu_);
  size_t in_bytes_ GUARDED_BY(mu_) = 0;
  std::deque<GatewayMessage> out_;  // its front is gRPC's while a write is under way; else guarded by mu_
  bool told_ GUARDED_BY(mu_) = false;    // OnInput was called, and Take hasn't come to the end since
  bool paused_ GUARDED_BY(mu_) = false;  // no read is under way, because in_ is full
  bool finished_ GUARDED_BY(mu_) = false;
  std::optional<grpc::Status> closing_ GUARDED_BY(mu_);
};

/// Data.
class DataReactor final : public grpc::ServerBidiReactor<DataFrame, DataFrame>,
                          public DataCall,
                          public Calls::Call,
                          public std::enable_shared_from_this<DataReactor> {
 public:
  DataReactor(Calls& calls, DataHub& hub, std::string certificate_name)
      : calls_(calls), hub_(hub), certificate_name_(std::move(certificate_name)) {}

  void Begin() {
    self_ = shared_from_this();
    const bool open = calls_.Add(self_);
    MutexLock lock(mu_);
    if (!open) return FinishNow(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the gateway is shutting down"));
    StartRead(&incoming_);
  }

  void Resume() override {
    MutexLock lock(mu_);
    if (!finished_) StartRead(&incoming_);
  }
  using grpc::ServerBidiReactor<DataFrame, DataFrame>::Finish;
  void Finish(const Status& status) override {
    MutexLock lock(mu_);
    if (!finished_) FinishNow(ToGrpc(status));
  }
  void Cancel(const Status& why) override { Finish(why); }

  void OnReadDone(bool ok) override {
    if (!ok) {
      MutexLock lock(mu_);
      if (!finished_) FinishNow(grpc::Status::OK);
      return;
    }
    if (pipe_ == nullptr) {
      pipe_ = hub_.Claim(incoming_.stream_id(), certificate_name_);
      if (pipe_ == nullptr) return Finish(Error(Code::kNotFound, "nobody waits for this stream"));
      pipe_->Attach(self_);
    }
    // Once it is pushed the reader may begin the next read, into incoming_.
    DataFrame frame;
    frame.Swap(&incoming_);
    if (pipe_->Push(std::move(frame))) Resume();
  }

  void OnCancel() override {
    MutexLock lock(mu_);
    if (!finished_) FinishNow(grpc::Status::CANCELLED);
  }

  void OnDone() override {
    if (pipe_ != nullptr) pipe_->End(Error(Code::kUnavailable, "the node's stream broke off"));
    pipe_.reset();
    calls_.Remove(this);
    self_.reset();
  }

 private:
  void FinishNow(const grpc::Status& status) REQUIRES(mu_) {
    finished_ = true;
    grpc::ServerBidiReactor<DataFrame, DataFrame>::Finish(status);
  }

  Calls& calls_;
  DataHub& hub_;
  const std::string certificate_name_;
  std::shared_ptr<DataReactor> self_;
  std::shared_ptr<DataPipe> pipe_;  // of the reactions
  DataFrame incoming_;
  Mutex mu_;
  bool finished_ GUARDED_BY(mu_) = false;
};

/// The common name of the peer's certificate; "" for a local peer; nothing for a TLS peer without one.
std::optional<std::string> CertificateName(const grpc::CallbackServerContext& context) {
  const auto auth = context.auth_context();
  const auto security = auth->FindPropertyValues("transport_security_type");
  if (security.empty() || security.front() != "ssl") return "";
  const auto names = auth->FindPropertyValues("x509_common_name");
  if (names.size() != 1 || names.front().empty()) return std::nullopt;
  return std::string(names.front().data(), names.front().size());
}

class Service final : public AgentService, public AgentGateway::CallbackService {
 public:
  Service(StartLink start, DataHub& hub) : start_(std::move(start)), hub_(hub) {}
  ~Service() override { Shutdown(); }

  Status ListenUnix(const std::string& path, grpc::ServerBuilder& builder);
  Status ListenTls(const ListenOptions& options, grpc::ServerBuilder& builder);
  Status Serve(const ListenOptions& options, grpc::ServerBuilder& builder);

  grpc::ServerBidiReactor<AgentMessage, GatewayMessage>* Connect(grpc::CallbackServerContext* context) override {
    const auto reactor = std::make_shared<AgentReactor>(calls_);
    const std::optional<std::string> name = CertificateName(*context);
    if (name) {
      reactor->Begin(start_, *name);
    } else {
      reactor->Begin([](std::shared_ptr<AgentStream> stream, const std::string&) -> std::shared_ptr<NodeLink> {
        stream->Close(Error(Code::kUnauthenticated, "the certificate has no common name"));
        return nullptr;
      }, "");
    }
    return reactor.get();
  }

  grpc::ServerBidiReactor<DataFrame, DataFrame>* Data(grpc::CallbackServerContext* context) override {
    const auto reactor = std::make_shared<DataReactor>(calls_, hub_, CertificateName(*context).value_or("/"));
    reactor->Begin();
    return reactor.get();
  }

  void Shutdown() override {
    if (server_ == nullptr) return;
    calls_.CancelAll(Error(Code::kUnavailable, "the gateway is shutting down"));
    calls_.WaitEmpty(kShutdownTimeout);
    server_->Shutdown(
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(kShutdownTimeout.count(), GPR_TIMESPAN)));
    server_.reset();
    if (!socket_path_.empty()) unlink(socket_path_.c_str());
  }
  int port() const override { return port_; }

 private:
  const StartLink start_;
  DataHub& hub_;
  Calls calls_;
  std::string socket_path_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

/// gRPC takes over any socket file that it finds, also one where another process listens: look first.
Status CheckSocket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Errorf(Code::kInvalidArgument, "the path of the socket '{}' has {} bytes; {} are possible", path, path.size(),
                  sizeof address.sun_path - 1);
  }
  path.copy(address.sun_path, path.size());
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0) return OkStatus();
  if (!S_ISSOCK(found.st_mode)) return Errorf(Code::kAlreadyExists, "'{}' is there, and isn't a socket", path);
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return FromErrno(errno, "socket");
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return Errorf(Code::kAlreadyExists, "another process listens on '{}'", path);
  }
  if (unlink(path.c_str()) != 0) return FromErrno(errno, "remove '" + path + "'");
  return OkStatus();
}

Status Service::ListenUnix(const std::string& path, grpc::ServerBuilder& builder) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  if (chmod(folder.c_str(), 0700) != 0) return FromErrno(errno, "chmod '" + folder + "'");
  RETURN_IF_ERROR(CheckSocket(path));
  socket_path_ = path;
  builder.AddListeningPort("unix://" + std::filesystem::absolute(path).string(), grpc::InsecureServerCredentials());
  return OkStatus();
}

Status Service::ListenTls(const ListenOptions& options, grpc::ServerBuilder& builder) {
  if (options.ca_file.empty() || options.certificate_file.empty() || options.key_file.empty()) {
    return Error(Code::kInvalidArgument, "a gateway address needs a CA, a certificate and a key: agents and gateway prove who they are");
  }
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  ASSIGN_OR_RETURN(tls.pem_root_certs, ReadFile(options.ca_file, 1 << 20));
  grpc::SslServerCredentialsOptions::PemKeyCertPair pair;
  ASSIGN_OR_RETURN(pair.private_key, ReadFile(options.key_file, 1 << 20));
  ASSIGN_OR_RETURN(pair.cert_chain, ReadFile(options.certificate_file, 1 << 20));
  tls.pem_key_cert_pairs.push_back(std::move(pair));
  builder.AddListeningPort(options.address, grpc::SslServerCredentials(tls), &port_);
  return OkStatus();
}

Status Service::Serve(const ListenOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxReceivedBytes);
  builder.SetMaxSendMessageSize(kMaxSentBytes);
  // A peer that is gone without a word (its machine lost power) is noticed within 15 s.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || (!options.address.empty() && port_ == 0)) {
    return Errorf(Code::kUnavailable, "can't listen on '{}' {}", options.socket_path, options.address);
  }
  if (!socket_path_.empty() && chmod(socket_path_.c_str(), 0600) != 0) {
    return FromErrno(errno, "chmod '" + socket_path_ + "'");
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<AgentService>> AgentService::Listen(const ListenOptions& options, StartLink start,
                                                             DataHub& hub) {
  auto service = std::make_unique<Service>(std::move(start), hub);
  grpc::ServerBuilder builder;
  if (!options.socket_path.empty()) RETURN_IF_ERROR(service->ListenUnix(options.socket_path, builder));
  if (!options.address.empty()) RETURN_IF_ERROR(service->ListenTls(options, builder));
  RETURN_IF_ERROR(service->Serve(options, builder));
  return std::unique_ptr<AgentService>(std::move(service));
}

}  // namespace isla::controllers
