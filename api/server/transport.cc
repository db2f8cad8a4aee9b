#include <boost/asio/ssl/stream.hpp>

#include "api/server/connection.h"

namespace isla::server {

namespace {

class UnixTransport final : public Transport {
 public:
  explicit UnixTransport(asio::local::stream_protocol::socket socket) : socket_(std::move(socket)) {}

  void Handshake(std::function<void(const error_code&)> done) override {
    asio::post(socket_.get_executor(), [done = std::move(done)] { done({}); });
  }
  void ReadSome(char* data, size_t size, Callback done) override {
    socket_.async_read_some(asio::buffer(data, size), std::move(done));
  }
  void WriteSome(const char* data, size_t size, Callback done) override {
    socket_.async_write_some(asio::buffer(data, size), std::move(done));
  }
  void ShutdownSend() override {
    error_code ignored;
    socket_.shutdown(asio::socket_base::shutdown_send, ignored);
  }
  void Close() override {
    error_code ignored;
    socket_.close(ignored);
  }

 private:
  asio::local::stream_protocol::socket socket_;
};

class TlsTransport final : public Transport {
 public:
  TlsTransport(asio::ip::tcp::socket socket, asio::ssl::context& context) : stream_(std::move(socket), context) {}

  void Handshake(std::function<void(const error_code&)> done) override {
    stream_.async_handshake(asio::ssl::stream_base::server, std::move(done));
  }
  void ReadSome(char* data, size_t size, Callback done) override {
    stream_.async_read_some(asio::buffer(data, size), std::move(done));
  }
  void WriteSome(const char* data, size_t size, Callback done) override {
    stream_.async_write_some(asio::buffer(data, size), std::move(done));
  }
  // Without close_notify: every response says its own length or ends in a last chunk.
  void ShutdownSend() override {
    error_code ignored;
    stream_.lowest_layer().shutdown(asio::socket_base::shutdown_send, ignored);
  }
  void Close() override {
    error_code ignored;
    stream_.lowest_layer().close(ignored);
  }

 private:
  asio::ssl::stream<asio::ip::tcp::socket> stream_;
};

}  // namespace

std::unique_ptr<Transport> MakeUnixTransport(asio::local::stream_protocol::socket socket) {
  return std::make_unique<UnixTransport>(std::move(socket));
}

std::unique_ptr<Transport> MakeTlsTransport(asio::ip::tcp::socket socket, asio::ssl::context& context) {
  return std::make_unique<TlsTransport>(std::move(socket), context);
}

}  // namespace isla::server
