// One connection and the two transports under it. Private to api/server; the only header with Asio in it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/error_code.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "api/base/metrics.h"
#include "api/base/mutex.h"
#include "api/server/http_server.h"
#include "api/server/worker_pool.h"

namespace isla::server {

namespace asio = boost::asio;
using boost::system::error_code;

/// Bytes to and from a client; callbacks come on the connection's I/O thread.
class Transport {
 public:
  using Callback = std::function<void(const error_code&, size_t)>;
  virtual ~Transport() = default;
  virtual void Handshake(std::function<void(const error_code&)> done) = 0;
  virtual void ReadSome(char* data, size_t size, Callback done) = 0;
  virtual void WriteSome(const char* data, size_t size, Callback done) = 0;
  /// No more bytes will be written; what the client still sends can be read.
  virtual void ShutdownSend() = 0;
  virtual void Close() = 0;
};

std::unique_ptr<Transport> MakeUnixTransport(asio::local::stream_protocol::socket socket);
std::unique_ptr<Transport> MakeTlsTransport(asio::ip::tcp::socket socket, asio::ssl::context& context);

class Connection;

/// An I/O thread's own things; only it touches `connections`, which keeps them until they are closed.
struct IoState {
  asio::io_context context{1};
  std::set<std::shared_ptr<Connection>> connections;
  bool stopping = false;
};

/// What all connections share.
struct HttpShared {
  HttpShared(const ServerOptions& o, HttpHandler& h, WorkerPool& w, Metrics& metrics);

  const ServerOptions options;
  HttpHandler& handler;
  WorkerPool& workers;
  std::atomic<size_t> open{0};  // connections, from accept to destructor
  Mutex mu;
  CondVar closed;  // `open` fell
  Gauge connections;
  Gauge streams;
  Counter timeouts;
  Counter overloads;
  Counter malformed;
  Counter refused;
};

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(HttpShared& shared, IoState& io, std::unique_ptr<Transport> transport,
             std::optional<registry::Caller> peer);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // All on the connection's I/O thread.
  void Start();
  /// The server stops: idle and streaming connections end now, others after their answer.
  void BeginStop();
  void Close();

 private:
  enum class State { kHandshake, kReading, kUploading, kHandling, kWriting, kStreaming, kDraining, kClosed };
  struct Parser;

  void ReadMore();
  void OnRead(const error_code& error, size_t size);
  void Parse();
  void OnHead();
  void ReadBody();
  void Continue();  // "100 Continue", then the body
  void Upload();
  void OnUploaded(const Status& status);
  void Dispatch();
  void Refuse(int status, const std::string& message);
  void Respond(Response response);
  void Finished();

  void StartStream(Response& response);
  void Pump();
  void EndStream(bool clean);

  void Write();
  void OnWritten(const error_code& error, size_t size);
  void Drain();

  /// One timer for the connection: what it is for follows from the state.
  void SetTimer(Duration after);
  void OnTimer();
  std::string Head(const Response& response, bool chunked) const;

  HttpShared& shared_;
  IoState& io_;
  const std::unique_ptr<Transport> transport_;
  const std::optional<registry::Caller> peer_;
  asio::steady_timer timer_;
  uint64_t timer_round_ = 0;  // a timer set before doesn't count any more

  State state_ = State::kHandshake;
  std::unique_ptr<Parser> parser_;
  std::string in_;        // received, not yet parsed
  char buffer_[16384];
  bool reading_ = false;  // a ReadSome is under way
  size_t header_bytes_ = 0;  // taken by the parser, while it reads the header
  bool began_ = false;    // the first byte of the request has come
  std::shared_ptr<Request> request_;  // from its head on
  Status bad_target_;

  bool head_only_ = false;
  bool http10_ = false;
  bool keep_alive_ = true;
  std::string out_;
  size_t written_ = 0;
  bool writing_ = false;
  size_t drained_ = 0;

  std::unique_ptr<BodyStream> stream_;
  std::shared_ptr<std::atomic<bool>> pump_posted_;
  bool ending_ = false;      // the server stops: no more of the stream
  bool last_chunk_ = false;
};

}  // namespace isla::server
