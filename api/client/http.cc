#include "api/client/http.h"

#include <absl/strings/cord.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "api/base/unique_fd.h"

namespace isla::client {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Socket = asio::generic::stream_protocol::socket;
using TlsStream = asio::ssl::stream<Socket>;
using Parser = http::response_parser<http::string_body>;

constexpr const char* kFaultUrl = "isla/fault";
constexpr uint32_t kMaxHeaderBytes = 64 * 1024;
constexpr size_t kReadAheadBytes = 256 * 1024;

/// One connection: a TCP or unix socket, with or without TLS, as one type for Beast, so that the
/// templates are made once.
class Wire {
 public:
  using executor_type = Socket::executor_type;

  explicit Wire(asio::io_context& io) : socket_(io) {}
  executor_type get_executor() { return socket().get_executor(); }

  Socket& socket() { return tls_ ? tls_->next_layer() : socket_; }
  TlsStream& StartTls(asio::ssl::context& context) {
    tls_ = std::make_unique<TlsStream>(std::move(socket_), context);
    return *tls_;
  }
  TlsStream* tls() { return tls_.get(); }

  template <typename Buffers, typename Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) {
      tls_->async_read_some(buffers, std::forward<Handler>(handler));
    } else {
      socket_.async_read_some(buffers, std::forward<Handler>(handler));
    }
  }
  template <typename Buffers, typename Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) {
      tls_->async_write_some(buffers, std::forward<Handler>(handler));
    } else {
      socket_.async_write_some(buffers, std::forward<Handler>(handler));
    }
  }
  void Close() {
    error_code ignored;
    socket().close(ignored);
  }
  /// False if the server has closed it, or sent what nobody asked for.
  bool Idle() {
    pollfd p{socket().native_handle(), POLLIN, 0};
    return poll(&p, 1, 0) == 0;
  }

  beast::flat_buffer buffer{kReadAheadBytes};
  bool used = false;  // has carried a whole exchange

 private:
  Socket socket_;
  std::unique_ptr<TlsStream> tls_;
};

/// The end of one asynchronous operation. Operations are awaited before their Wire goes.
struct Op {
  bool pending = false;
  error_code error;
};

Status FromHttpError(const error_code& error, const std::string& where) {
  if (error == http::error::body_limit || error == http::error::header_limit ||
      error == http::error::buffer_overflow) {
    return FaultError(Fault::kProtocol, Code::kResourceExhausted,
                      fmt::format("the answer of {} is larger than allowed", where));
  }
  const bool lost = error == http::error::end_of_stream || error == http::error::partial_message ||
                    error == asio::error::eof || error == asio::ssl::error::stream_truncated ||
                    error.category() == asio::error::get_system_category();
  if (lost) {
    return FaultError(Fault::kLost, Code::kUnavailable,
                      fmt::format("the connection to {} broke ({})", where, error.message()));
  }
  if (error.category() == asio::error::get_ssl_category()) {
    return FaultError(Fault::kTls, Code::kUnavailable,
                      fmt::format("TLS with {}: {}", where, error.message()));
  }
  return FaultError(Fault::kProtocol, Code::kInvalidArgument,
                    fmt::format("{} did not answer in HTTP ({})", where, error.message()));
}

HttpResponse HeadOf(const Parser& parser) {
  HttpResponse head;
  const auto& message = parser.get();
  head.status = static_cast<int>(message.result_int());
  const auto type = message[http::field::content_type];
  head.content_type.assign(type.data(), type.size());
  const auto [begin, end] = message.equal_range(http::field::warning);
  for (auto it = begin; it != end; ++it) {
    // 299 - "text"
    std::string text(it->value().data(), it->value().size());
    const size_t open = text.find('"');
    const size_t close = text.rfind('"');
    if (open != std::string::npos && close > open) text = text.substr(open + 1, close - open - 1);
    head.warnings.push_back(std::move(text));
  }
  const auto retry = message[http::field::retry_after];
  int seconds = 0;
  const auto parsed = std::from_chars(retry.data(), retry.data() + retry.size(), seconds);
  if (parsed.ec == std::errc() && seconds >= 0) head.retry_after = std::chrono::seconds(seconds);
  return head;
}

class BeastClient;

class BeastStream final : public HttpStream {
 public:
  BeastStream(BeastClient& client, std::unique_ptr<Wire> wire, std::unique_ptr<Parser> parser)
      : client_(client), wire_(std::move(wire)), parser_(std::move(parser)) {}
  ~BeastStream() override;

  StatusOr<std::string> Read(Duration wait) override;

  /// Starts a read unless there is something to return already.
  void Start();
  bool Ready() const {
    return !op_.pending && (finished_ || op_.error.failed() || !parser_->get().body().empty() ||
                            parser_->is_done());
  }

 private:
  BeastClient& client_;
  std::unique_ptr<Wire> wire_;
  std::unique_ptr<Parser> parser_;
  Op op_;
  bool finished_ = false;
};

class BeastClient final : public HttpClient {
 public:
  BeastClient(Endpoint endpoint, HttpOptions options)
      : endpoint_(std::move(endpoint)), options_(std::move(options)), interrupt_(io_) {
    if (options_.interrupt_fd >= 0) {
      const int copy = fcntl(options_.interrupt_fd, F_DUPFD_CLOEXEC, 3);
      error_code ignored;
      if (copy >= 0) interrupt_.assign(copy, ignored);
    }
  }

  StatusOr<HttpResponse> Do(const HttpRequest& request) override {
    ASSIGN_OR_RETURN(Answer answer, Exchange(request, /*stream=*/false));
    return std::move(answer.head);
  }

  StatusOr<Opened> Open(const HttpRequest& request) override {
    ASSIGN_OR_RETURN(Answer answer, Exchange(request, /*stream=*/true));
    Opened opened;
    opened.head = std::move(answer.head);
    if (opened.head.status == 200) {
      opened.stream =
          std::make_unique<BeastStream>(*this, std::move(answer.wire), std::move(answer.parser));
    }
    return opened;
  }

  Status WaitAny(const std::vector<HttpStream*>& streams, Duration wait) override {
    return RunUntil(
        [&streams] {
          bool ready = false;
          for (HttpStream* stream : streams) {
            if (stream == nullptr) continue;
            auto* own = static_cast<BeastStream*>(stream);
            own->Start();  // again too: a read may have found nothing but the size of a chunk
            ready = ready || own->Ready();
          }
          return ready;
        },
        Now() + wait);
  }

  Status Pause(Duration time) override {
    const Status status = RunUntil([] { return false; }, Now() + time);
    return status.code() == Code::kDeadlineExceeded ? OkStatus() : status;
  }

  const Endpoint& endpoint() const override { return endpoint_; }
  std::string Where() const { return endpoint_.Shown(); }

  /// Runs the loop until `done`. DEADLINE_EXCEEDED, or CANCELLED as soon as the interrupt is
  /// readable.
  template <typename Done>
  Status RunUntil(Done done, MonotonicTime deadline) {
    interrupted_ = false;
    ArmInterrupt();
    while (!done()) {
      if (interrupted_) return Error(Code::kCancelled, "interrupted");
      io_.restart();
      if (io_.run_one_until(deadline) == 0 && !done()) {
        if (Now() >= deadline) return Error(Code::kDeadlineExceeded, "timed out");
      }
    }
    return OkStatus();
  }

  /// After Wire::Close: until the operation under way has ended.
  void Drain(const Op& op) {
    while (op.pending) {
      io_.restart();
      io_.run_one();
    }
  }

  static MonotonicTime Now() { return Clock::Real().Monotonic(); }

 private:
  struct Answer {
    HttpResponse head;
    std::unique_ptr<Wire> wire;
    std::unique_ptr<Parser> parser;
  };

  void Trace(int level, const std::string& line) const {
    if (options_.trace) options_.trace(level, line);
  }

  void ArmInterrupt() {
    if (!interrupt_.is_open() || interrupt_armed_) return;
    interrupt_armed_ = true;
    interrupt_.async_wait(asio::posix::stream_descriptor::wait_read,
                          [this](const error_code& error) {
                            interrupt_armed_ = false;
                            if (!error) interrupted_ = true;
                          });
  }

  /// Starts an operation with `start(handler)` and runs until it ends; closes the wire if it
  /// doesn't in time.
  template <typename Start>
  Status Await(Wire& wire, MonotonicTime deadline, error_code& error, Start start) {
    Op op;
    op.pending = true;
    start([&op](const error_code& ended, auto&&...) {
      op.pending = false;
      op.error = ended;
    });
    Status status = RunUntil([&op] { return !op.pending; }, deadline);
    if (!status.ok()) {
      wire.Close();
      Drain(op);
    }
    error = op.error;
    if (status.code() == Code::kDeadlineExceeded) {
      return FaultError(
          Fault::kTimeout, Code::kDeadlineExceeded,
          fmt::format("{} did not answer in time (Client.Timeout exceeded while awaiting)",
                      Where()));
    }
    return status;
  }

  StatusOr<Answer> Exchange(const HttpRequest& request, bool stream) {
    const MonotonicTime start = Now();
    for (bool again = false;; again = true) {
      bool reused = false;
      auto answer = TryExchange(request, stream, start + options_.request_timeout, again, reused);
      if (answer.ok()) {
        TraceAnswer(request, *answer, start);
        return answer;
      }
      // The server closed the idle connection while the request was on its way.
      const bool safe = request.method == "GET" && FaultOf(answer.status()) == Fault::kLost;
      if (again || !reused || !safe) return answer.status();
    }
  }

  StatusOr<Answer> TryExchange(const HttpRequest& request, bool stream, MonotonicTime deadline,
                               bool fresh, bool& reused) {
    Answer answer;
    ASSIGN_OR_RETURN(answer.wire, Connected(fresh, deadline));
    Wire& wire = *answer.wire;
    reused = wire.used;
    error_code error;
    const std::string text = HeadText(request);
    const std::array<asio::const_buffer, 2> buffers{asio::buffer(text), asio::buffer(request.body)};
    Status status = Await(wire, deadline, error,
                          [&](auto handler) { asio::async_write(wire, buffers, handler); });
    RETURN_IF_ERROR(status);
    bool whole = true;
    if (request.body_source) {
      ASSIGN_OR_RETURN(whole, Upload(wire, request.body_source));
      deadline = Now() + options_.request_timeout;
    }
    // A server that refuses a large body answers and closes: its answer counts more than our broken
    // write.
    answer.parser = std::make_unique<Parser>();
    Parser& parser = *answer.parser;
    parser.header_limit(kMaxHeaderBytes);
    parser.body_limit(options_.max_body_bytes);
    status = Await(wire, deadline, error, [&](auto handler) {
      http::async_read_header(wire, wire.buffer, parser, handler);
    });
    RETURN_IF_ERROR(status);
    if (error) return FromHttpError(error, Where());
    answer.head = HeadOf(parser);
    if (stream && answer.head.status == 200) {
      parser.body_limit(boost::none);
      return answer;
    }
    status = Await(wire, deadline, error,
                   [&](auto handler) { http::async_read(wire, wire.buffer, parser, handler); });
    RETURN_IF_ERROR(status);
    if (error) return FromHttpError(error, Where());
    answer.head.body = std::move(parser.get().body());
    wire.used = true;
    if (whole && parser.keep_alive() && !parser.need_eof()) idle_ = std::move(answer.wire);
    return answer;
  }

  /// False: the server answered, or closed, before all of it was sent; its answer counts.
  StatusOr<bool> Upload(Wire& wire, const std::function<StatusOr<std::string>()>& source) {
    for (bool more = true; more;) {
      ASSIGN_OR_RETURN(const std::string piece, source());
      if (!wire.Idle()) return false;
      more = !piece.empty();
      const std::string head = fmt::format("{:x}\r\n", piece.size());
      const std::array<asio::const_buffer, 3> chunk{asio::buffer(head), asio::buffer(piece), asio::buffer("\r\n", 2)};
      error_code error;
      RETURN_IF_ERROR(Await(wire, Now() + options_.request_timeout, error,
                            [&](auto handler) { asio::async_write(wire, chunk, handler); }));
      if (error) return false;
    }
    return true;
  }

  void TraceAnswer(const HttpRequest& request, const Answer& answer, MonotonicTime start) const {
    if (!options_.trace) return;
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Now() - start).count();
    Trace(6, fmt::format("{} {}{} {} in {}.{:03} milliseconds", request.method, Where(),
                         request.target, answer.head.status, took / 1000, took % 1000));
    if (!request.body.empty()) Trace(9, "Request Body: " + request.body);
    Trace(8, fmt::format("Response Content-Type: {}", answer.head.content_type));
    if (!answer.head.body.empty()) Trace(9, "Response Body: " + answer.head.body);
  }

  std::string HeadText(const HttpRequest& request) const {
    std::string text = fmt::format(
        "{} {}{} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nAccept: {}\r\n", request.method,
        endpoint_.base_path, request.target, endpoint_.socket_path.empty() ? Where() : "localhost",
        options_.user_agent, request.accept);
    // Without TLS anyone on the way could read it.
    if (!endpoint_.token.empty() && (endpoint_.tls || !endpoint_.socket_path.empty())) {
      text += "Authorization: Bearer " + endpoint_.token + "\r\n";
    }
    if (request.body_source) {
      text += "Content-Type: " + request.content_type + "\r\nTransfer-Encoding: chunked\r\n";
    } else if (!request.body.empty() || request.method != "GET") {
      if (!request.content_type.empty()) text += "Content-Type: " + request.content_type + "\r\n";
      text += fmt::format("Content-Length: {}\r\n", request.body.size());
    }
    return text + "\r\n";
  }

  StatusOr<std::unique_ptr<Wire>> Connected(bool fresh, MonotonicTime deadline) {
    if (fresh) idle_.reset();
    if (idle_ && idle_->Idle()) return std::move(idle_);
    idle_.reset();
    deadline = std::min(deadline, Now() + options_.connect_timeout);
    return endpoint_.socket_path.empty() ? ConnectTcp(deadline) : ConnectUnix(deadline);
  }

  StatusOr<std::unique_ptr<Wire>> ConnectUnix(MonotonicTime deadline) {
    const std::string& path = endpoint_.socket_path;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
      return Errorf(Code::kInvalidArgument, "the path of the socket '{}' is too long", path);
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    const asio::generic::stream_protocol::endpoint peer(&address, sizeof address);
    auto wire = std::make_unique<Wire>(io_);
    error_code error;
    RETURN_IF_ERROR(Await(*wire, deadline, error,
                          [&](auto handler) { wire->socket().async_connect(peer, handler); }));
    if (error) return ConnectError(error);
    return wire;
  }

  Status ConnectError(const error_code& error) const {
    const std::string text = fmt::format("connect to {}: {}", Where(), error.message());
    switch (error.value()) {
      case ECONNREFUSED:
        return FaultError(Fault::kRefused, Code::kUnavailable, text);
      case ENOENT:
      case ENOTDIR:
      case ENOTSOCK:
        return FaultError(Fault::kNoSocket, Code::kUnavailable, text);
      case EACCES:
      case EPERM:
        return FaultError(Fault::kDenied, Code::kPermissionDenied, text);
      default:
        return FaultError(Fault::kUnreachable, Code::kUnavailable, text);
    }
  }

  StatusOr<std::unique_ptr<Wire>> ConnectTcp(MonotonicTime deadline) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    // Blocks for as long as the resolver is configured to; an address doesn't ask it at all.
    const int failed = getaddrinfo(endpoint_.host.c_str(), endpoint_.port.c_str(), &hints, &found);
    if (failed != 0) {
      return FaultError(
          Fault::kName, Code::kUnavailable,
          fmt::format("dial tcp: lookup {}: {}", endpoint_.host, gai_strerror(failed)));
    }
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, freeaddrinfo);
    Status last = FaultError(Fault::kName, Code::kUnavailable,
                             fmt::format("dial tcp: lookup {}: no address", endpoint_.host));
    for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
      const asio::generic::stream_protocol::endpoint peer(info->ai_addr, info->ai_addrlen);
      auto wire = std::make_unique<Wire>(io_);
      error_code error;
      RETURN_IF_ERROR(Await(*wire, deadline, error,
                            [&](auto handler) { wire->socket().async_connect(peer, handler); }));
      if (error) {
        last = ConnectError(error);
        continue;
      }
      const int on = 1;
      (void)setsockopt(wire->socket().native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      (void)setsockopt(wire->socket().native_handle(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      if (!endpoint_.tls) return wire;
      RETURN_IF_ERROR(Handshake(*wire, deadline));
      return wire;
    }
    return last;
  }

  Status TlsContext() {
    if (tls_) return OkStatus();
    auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
    error_code error;
    const auto bad = [&error](std::string_view what) {
      return Errorf(Code::kInvalidArgument, "{} of the config file: {}", what, error.message());
    };
    (void)SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
    if (endpoint_.insecure) {
      context->set_verify_mode(asio::ssl::verify_none);
    } else {
      context->set_verify_mode(asio::ssl::verify_peer);
      if (endpoint_.ca_pem.empty()) {
        context->set_default_verify_paths(error);
      } else {
        context->add_certificate_authority(asio::buffer(endpoint_.ca_pem), error);
        if (error) return bad("certificate-authority");
      }
    }
    if (!endpoint_.client_certificate_pem.empty()) {
      context->use_certificate_chain(asio::buffer(endpoint_.client_certificate_pem), error);
      if (error) return bad("client-certificate");
      context->use_private_key(asio::buffer(endpoint_.client_key_pem), asio::ssl::context::pem,
                               error);
      if (error) return bad("client-key");
    }
    tls_ = std::move(context);
    return OkStatus();
  }

  Status Handshake(Wire& wire, MonotonicTime deadline) {
    RETURN_IF_ERROR(TlsContext());
    TlsStream& tls = wire.StartTls(*tls_);
    const std::string& name =
        endpoint_.server_name.empty() ? endpoint_.host : endpoint_.server_name;
    in6_addr scratch{};
    const bool address = inet_pton(AF_INET, name.c_str(), &scratch) == 1 ||
                         inet_pton(AF_INET6, name.c_str(), &scratch) == 1;
    if (!address) (void)SSL_set_tlsext_host_name(tls.native_handle(), name.c_str());
    if (!endpoint_.insecure) tls.set_verify_callback(asio::ssl::host_name_verification(name));
    error_code error;
    RETURN_IF_ERROR(Await(wire, deadline, error, [&](auto handler) {
      tls.async_handshake(asio::ssl::stream_base::client, handler);
    }));
    if (!error) return OkStatus();
    const long verified = SSL_get_verify_result(tls.native_handle());
    const std::string why = !endpoint_.insecure && verified != X509_V_OK
                                ? X509_verify_cert_error_string(verified)
                                : error.message();
    return FaultError(Fault::kTls, Code::kUnavailable, fmt::format("tls: {}: {}", Where(), why));
  }

  const Endpoint endpoint_;
  const HttpOptions options_;
  asio::io_context io_{1};
  // Without work the loop wouldn't wait, it would return at once.
  const asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  std::unique_ptr<asio::ssl::context> tls_;
  asio::posix::stream_descriptor interrupt_;
  bool interrupt_armed_ = false;
  bool interrupted_ = false;
  std::unique_ptr<Wire> idle_;
};

BeastStream::~BeastStream() {
  wire_->Close();
  client_.Drain(op_);
}

void BeastStream::Start() {
  if (op_.pending || Ready()) return;
  op_.pending = true;
  http::async_read_some(*wire_, wire_->buffer, *parser_, [this](const error_code& error, size_t) {
    op_.pending = false;
    op_.error = error;
  });
}

StatusOr<std::string> BeastStream::Read(Duration wait) {
  if (finished_) return std::string();
  const MonotonicTime deadline = BeastClient::Now() + wait;
  for (;;) {
    Start();
    RETURN_IF_ERROR(client_.RunUntil([this] { return !op_.pending; }, deadline));
    std::string& body = parser_->get().body();
    if (!body.empty()) return std::exchange(body, std::string());
    if (parser_->is_done()) {
      finished_ = true;
      return std::string();
    }
    if (op_.error) return FromHttpError(op_.error, client_.Where());
  }
}

}  // namespace

Fault FaultOf(const Status& status) {
  const auto payload = status.GetPayload(kFaultUrl);
  if (!payload) return Fault::kNone;
  const std::string text(*payload);
  return text.size() == 1 ? static_cast<Fault>(text[0] - 'a') : Fault::kNone;
}

Status FaultError(Fault fault, Code code, const std::string& message) {
  Status status = Error(code, message);
  status.SetPayload(kFaultUrl,
                    absl::Cord(std::string(1, static_cast<char>('a' + static_cast<int>(fault)))));
  return status;
}

std::unique_ptr<HttpClient> MakeHttpClient(Endpoint endpoint, HttpOptions options) {
  return std::make_unique<BeastClient>(std::move(endpoint), std::move(options));
}

}  // namespace isla::client
