#include "api/server/http_server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "api/base/log.h"
#include "api/base/mutex.h"
#include "api/base/roll_call.h"
#include "api/base/unique_fd.h"
#include "api/server/connection.h"

namespace isla::server {

namespace {

constexpr Duration kStopTime = std::chrono::seconds(1);
constexpr Duration kAcceptRetry = std::chrono::milliseconds(100);

using UnixSocket = asio::local::stream_protocol;
using Tcp = asio::ip::tcp;

const Logger& Log() {
  static const Logger log("server");
  return log;
}

StatusOr<sockaddr_un> UnixAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Errorf(Code::kInvalidArgument, "the socket path '{}' is longer than {} bytes", path,
                  sizeof(address.sun_path) - 1);
  }
  path.copy(address.sun_path, path.size());
  return address;
}

/// Removes a socket that nobody listens on. ALREADY_EXISTS if somebody does, or it is something else.
Status RemoveStale(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return OkStatus();
  if (!S_ISSOCK(info.st_mode)) return Errorf(Code::kAlreadyExists, "'{}' is there and is not a socket", path);
  ASSIGN_OR_RETURN(const sockaddr_un address, UnixAddress(path));
  const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!probe.valid()) return FromErrno(errno, "socket");
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return Errorf(Code::kAlreadyExists, "another server listens on '{}'", path);
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return FromErrno(errno, "remove " + path);
  return OkStatus();
}

StatusOr<UniqueFd> BindUnix(const std::string& path) {
  RETURN_IF_ERROR(RemoveStale(path));
  ASSIGN_OR_RETURN(const sockaddr_un address, UnixAddress(path));
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return FromErrno(errno, "socket");
  // The mode of the file comes from the socket's (and the umask), so it is never wider than 0660.
  if (fchmod(fd.get(), 0660) != 0) return FromErrno(errno, "fchmod");
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return FromErrno(errno, "bind " + path);
  }
  if (chmod(path.c_str(), 0660) != 0) return FromErrno(errno, "chmod " + path);
  if (listen(fd.get(), 512) != 0) return FromErrno(errno, "listen " + path);
  return fd;
}

StatusOr<Tcp::endpoint> ParseLoopback(const std::string& address) {
  const size_t colon = address.rfind(':');
  const auto bad = [&address] {
    return Errorf(Code::kInvalidArgument, "'{}' is not an address and port such as 127.0.0.1:6443", address);
  };
  if (colon == std::string::npos) return bad();
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  error_code error;
  const asio::ip::address ip = asio::ip::make_address(host, error);
  if (error) return bad();
  const std::string port = address.substr(colon + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos) return bad();
  const int number = std::stoi(port);
  if (number > 65535) return bad();
  if (!ip.is_loopback()) {
    return Errorf(Code::kInvalidArgument, "'{}' is not a loopback address: isla's own certificate is for those only",
                  address);
  }
  return Tcp::endpoint(ip, static_cast<uint16_t>(number));
}

StatusOr<std::shared_ptr<asio::ssl::context>> MakeContext(const TlsIdentity& identity) {
  error_code error;
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_options(context->native_handle(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  context->use_certificate_chain(asio::buffer(identity.certificate), error);
  if (!error) context->use_private_key(asio::buffer(identity.key), asio::ssl::context::pem, error);
  if (error) return Errorf(Code::kInvalidArgument, "server certificate: {}", error.message());
  return context;
}

Counter Refused(Metrics& metrics, const std::string& reason) {
  return metrics.AddCounter("isla_http_refused_total", "Connections and requests that were cut or turned away.",
                            {{"reason", reason}});
}

class AsioServer final : public HttpServer {
 public:
  AsioServer(const ServerOptions& options, HttpHandler& handler, Metrics& metrics)
      : workers_(options.workers, options.max_queued_requests),
        shared_(options, handler, workers_, metrics) {
    for (int i = 0; i < std::max(1, options.io_threads); ++i) io_.push_back(std::make_unique<IoState>());
  }
  ~AsioServer() override;

  Status ListenUnix(const std::string& path, PeerMapper peers) override {
    ASSIGN_OR_RETURN(UniqueFd fd, BindUnix(path));
    unix_ = std::make_unique<UnixSocket::acceptor>(io_[0]->context);
    error_code error;
    unix_->assign(UnixSocket(), fd.get(), error);
    if (error) return Errorf(Code::kInternal, "listen on '{}': {}", path, error.message());
    (void)fd.Release();
    peers_ = std::move(peers);
    unix_path_ = path;
    return OkStatus();
  }

  StatusOr<int> ListenTls(const std::string& address, const TlsIdentity& identity) override {
    ASSIGN_OR_RETURN(const Tcp::endpoint endpoint, ParseLoopback(address));
    ASSIGN_OR_RETURN(tls_context_, MakeContext(identity));
    tls_ = std::make_unique<Tcp::acceptor>(io_[0]->context);
    error_code error;
    tls_->open(endpoint.protocol(), error);
    if (!error) tls_->set_option(asio::socket_base::reuse_address(true), error);
    if (!error) tls_->bind(endpoint, error);
    if (!error) tls_->listen(512, error);
    if (error == boost::system::errc::address_in_use) {
      return Errorf(Code::kAlreadyExists, "listen on {}: {}", address, error.message());
    }
    if (error) return Errorf(Code::kUnavailable, "listen on {}: {}", address, error.message());
    return tls_->local_endpoint().port();
  }

  void RenewTls(Duration every, std::function<StatusOr<TlsIdentity>()> renew) override {
    renew_every_ = every;
    renew_ = std::move(renew);
  }

  void Serve() override {
    for (const auto& io : io_) {
      guards_.push_back(asio::make_work_guard(io->context));
      threads_.emplace_back([state = io.get()] { state->context.run(); });
    }
    asio::post(io_[0]->context, [this] {
      if (unix_ != nullptr) AcceptUnix();
      if (tls_ != nullptr) AcceptTls();
      if (renew_) ScheduleRenewal();
    });
  }

  bool Responds(Duration timeout) override {
    const auto call = std::make_shared<RollCall>(io_.size());
    for (const auto& io : io_) asio::post(io->context, [call] { call->Answer(); });
    return call->Wait(timeout);
  }

 private:
  IoState& NextIo() { return *io_[next_io_++ % io_.size()]; }

  bool Admit() {
    if (++shared_.open <= shared_.options.max_connections) return true;
    --shared_.open;
    shared_.refused.Increment();
    return false;
  }

  void Begin(IoState& io, std::unique_ptr<Transport> transport, std::optional<registry::Caller> peer) {
    auto held = std::make_shared<std::unique_ptr<Transport>>(std::move(transport));
    asio::post(io.context, [this, &io, held, peer = std::move(peer)] {
      std::make_shared<Connection>(shared_, io, std::move(*held), peer)->Start();
    });
  }

  /// Waits a little after an error of accept (no descriptors left), else goes on at once.
  void Again(const error_code& error, void (AsioServer::*accept)()) {
    if (error == asio::error::operation_aborted) return;
    if (!error) return (this->*accept)();
    Log().Warn("can't accept a connection", "error='{}' retry_in_ms=100", error.message());
    auto timer = std::make_shared<asio::steady_timer>(io_[0]->context, kAcceptRetry);
    timer->async_wait([this, timer, accept](const error_code& failed) {
      if (!failed && !io_[0]->stopping) (this->*accept)();
    });
  }

  void AcceptUnix() {
    if (io_[0]->stopping) return;
    IoState& io = NextIo();
    unix_->async_accept(io.context, [this, &io](const error_code& error, UnixSocket::socket socket) {
      if (!error && Admit()) {
        ucred peer{};
        socklen_t size = sizeof(peer);
        if (getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
          Begin(io, MakeUnixTransport(std::move(socket)), peers_(peer.uid));
        } else {
          --shared_.open;
        }
      }
      Again(error, &AsioServer::AcceptUnix);
    });
  }

  void AcceptTls() {
    if (io_[0]->stopping) return;
    IoState& io = NextIo();
    tls_->async_accept(io.context, [this, &io](const error_code& error, Tcp::socket socket) {
      if (!error && Admit()) {
        error_code ignored;
        socket.set_option(Tcp::no_delay(true), ignored);
        socket.set_option(asio::socket_base::keep_alive(true), ignored);
        Begin(io, MakeTlsTransport(std::move(socket), *tls_context_), std::nullopt);
      }
      Again(error, &AsioServer::AcceptTls);
    });
  }

  void ScheduleRenewal() {
    renewal_ = std::make_unique<asio::steady_timer>(io_[0]->context, renew_every_);
    renewal_->async_wait([this](const error_code& error) {
      if (error || io_[0]->stopping) return;
      const auto identity = renew_();
      const auto context = identity.ok() ? MakeContext(*identity) : identity.status();
      if (context.ok()) {
        tls_context_ = *context;
      } else {
        Log().Warn("can't renew the certificate", "error='{}' keeping the present one", ToString(context.status()));
      }
      ScheduleRenewal();
    });
  }

  void StopConnections(bool force);
  bool WaitForClose(Duration timeout);

  WorkerPool workers_;
  HttpShared shared_;
  std::vector<std::unique_ptr<IoState>> io_;
  std::string unix_path_;
  PeerMapper peers_;
  Duration renew_every_{};
  std::function<StatusOr<TlsIdentity>()> renew_;

  // Of the first I/O thread.
  size_t next_io_ = 0;
  std::unique_ptr<UnixSocket::acceptor> unix_;
  std::unique_ptr<Tcp::acceptor> tls_;
  std::shared_ptr<asio::ssl::context> tls_context_;
  std::unique_ptr<asio::steady_timer> renewal_;

  std::vector<asio::executor_work_guard<asio::io_context::executor_type>> guards_;
  std::vector<std::jthread> threads_;
};

void AsioServer::StopConnections(bool force) {
  for (const auto& io : io_) {
    asio::post(io->context, [state = io.get(), force] {
      state->stopping = true;
      const auto all = state->connections;  // Close takes them out
      for (const auto& connection : all) {
        if (force) {
          connection->Close();
        } else {
          connection->BeginStop();
        }
      }
    });
  }
}

/// True once no connection is left.
bool AsioServer::WaitForClose(Duration timeout) {
  const MonotonicTime deadline = Clock::Real().Monotonic() + timeout;
  MutexLock lock(shared_.mu);
  while (shared_.open > 0) {
    const Duration left = deadline - Clock::Real().Monotonic();
    if (left <= Duration::zero()) return false;
    shared_.closed.WaitFor(shared_.mu, left);
  }
  return true;
}

AsioServer::~AsioServer() {
  if (!threads_.empty()) {
    asio::post(io_[0]->context, [this] {
      error_code ignored;
      io_[0]->stopping = true;
      if (!unix_path_.empty()) unlink(unix_path_.c_str());  // while it is still ours for sure
      if (unix_ != nullptr) unix_->close(ignored);
      if (tls_ != nullptr) tls_->close(ignored);
      if (renewal_ != nullptr) renewal_->cancel();
    });
    StopConnections(false);
    const bool all = WaitForClose(kStopTime);
    workers_.Stop();  // what they do ends within the store's deadlines
    if (!all) {
      StopConnections(true);
      WaitForClose(kStopTime);
    }
    guards_.clear();
    for (const auto& io : io_) {
      if (shared_.open > 0) io->context.stop();
    }
    threads_.clear();
  }
  workers_.Stop();
  if (threads_.empty() && guards_.empty() && unix_ != nullptr && unix_->is_open()) unlink(unix_path_.c_str());
  unix_.reset();
  tls_.reset();
  renewal_.reset();
}

}  // namespace

HttpShared::HttpShared(const ServerOptions& o, HttpHandler& h, WorkerPool& w, Metrics& metrics)
    : options(o),
      handler(h),
      workers(w),
      connections(metrics.AddGauge("isla_http_connections", "Open connections.")),
      streams(metrics.AddGauge("isla_http_streams", "Watches and logs that are being served.")),
      timeouts(Refused(metrics, "timeout")),
      overloads(Refused(metrics, "overload")),
      malformed(Refused(metrics, "malformed")),
      refused(Refused(metrics, "connections")) {}

StatusOr<std::unique_ptr<HttpServer>> HttpServer::Create(const ServerOptions& options, HttpHandler& handler,
                                                         Metrics& metrics) {
  if (options.workers < 1) return Error(Code::kInvalidArgument, "the server needs at least one worker");
  return std::unique_ptr<HttpServer>(std::make_unique<AsioServer>(options, handler, metrics));
}

}  // namespace isla::server
