#include "api/server/connection.h"

#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>

#include <algorithm>
#include <limits>

namespace isla::server {

namespace http = boost::beast::http;

namespace {

constexpr size_t kUploadWrite = 256 << 10;      // a body that goes to a sink is gathered up to this before a write
constexpr size_t kStreamWrite = 32 << 10;       // a stream's bytes are gathered up to this before a write
constexpr size_t kMaxDrain = size_t{8} << 20;   // read and dropped after an error, so that the client sees it
constexpr Duration kDrainTime = std::chrono::seconds(2);

std::string_view Reason(int status) {
  const auto text = http::obsolete_reason(static_cast<http::status>(status));
  return {text.data(), text.size()};
}

std::string ToLower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

/// As string_body, which would reserve what a Content-Length claims.
struct Body {
  using value_type = std::string;
  class reader {
   public:
    template <bool is_request, typename Fields>
    reader(http::header<is_request, Fields>&, std::string& body) : body_(body) {}
    void init(const boost::optional<uint64_t>&, error_code& error) { error = {}; }
    template <typename Buffers>
    size_t put(const Buffers& buffers, error_code& error) {
      error = {};
      const size_t before = body_.size();
      for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers); ++it) {
        const asio::const_buffer buffer = *it;
        body_.append(static_cast<const char*>(buffer.data()), buffer.size());
      }
      return body_.size() - before;
    }
    void finish(error_code& error) { error = {}; }

   private:
    std::string& body_;
  };
};

}  // namespace

struct Connection::Parser {
  http::request_parser<Body> parser;
};

Connection::Connection(HttpShared& shared, IoState& io, std::unique_ptr<Transport> transport,
                       std::optional<registry::Caller> peer)
    : shared_(shared),
      io_(io),
      transport_(std::move(transport)),
      peer_(std::move(peer)),
      timer_(io.context) {
  shared_.connections.Add(1);
}

Connection::~Connection() {
  shared_.connections.Add(-1);
  MutexLock lock(shared_.mu);
  --shared_.open;
  shared_.closed.NotifyAll();
}

void Connection::Start() {
  io_.connections.insert(shared_from_this());
  SetTimer(shared_.options.header_timeout);
  transport_->Handshake([self = shared_from_this()](const error_code& error) {
    if (error || self->state_ == State::kClosed) return self->Close();
    self->Finished();
  });
}

void Connection::BeginStop() {
  keep_alive_ = false;
  const bool idle = state_ == State::kReading && !began_;
  if (idle || state_ == State::kHandshake || state_ == State::kDraining) return Close();
  if (state_ == State::kStreaming) EndStream(true);
}

void Connection::Close() {
  if (state_ == State::kClosed) return;
  if (stream_ != nullptr) EndStream(false);
  state_ = State::kClosed;
  timer_.cancel();
  transport_->Close();
  io_.connections.erase(shared_from_this());
}

// ---- reading

void Connection::Finished() {
  if (!keep_alive_ || io_.stopping) return Close();
  state_ = State::kReading;
  parser_ = std::make_unique<Parser>();
  // The head first: what becomes of the body, and how much it may be, follows from that.
  parser_->parser.eager(false);
  parser_->parser.header_limit(static_cast<uint32_t>(shared_.options.max_header_bytes));
  // Not boost::none, which Beast of Boost 1.74 takes for less than any length.
  parser_->parser.body_limit(std::numeric_limits<uint64_t>::max());
  request_.reset();
  began_ = false;
  header_bytes_ = 0;
  SetTimer(shared_.options.idle_timeout);
  if (!in_.empty()) return Parse();
  ReadMore();
}

void Connection::ReadMore() {
  if (reading_) return;
  reading_ = true;
  transport_->ReadSome(buffer_, sizeof(buffer_), [self = shared_from_this()](const error_code& error, size_t size) {
    self->OnRead(error, size);
  });
}

void Connection::OnRead(const error_code& error, size_t size) {
  reading_ = false;
  if (state_ == State::kClosed) return;
  if (error) return Close();  // also a client that went away from its watch
  if (state_ == State::kDraining) {
    drained_ += size;
    return drained_ > kMaxDrain ? Close() : ReadMore();
  }
  in_.append(buffer_, size);
  // While a stream runs the next request waits; reading on would only fill memory.
  if (state_ == State::kReading) Parse();
}

void Connection::Parse() {
  if (!began_) {
    began_ = true;
    SetTimer(shared_.options.header_timeout);
  }
  auto& parser = parser_->parser;
  const bool had_header = parser.is_header_done();
  boost::beast::error_code error;
  size_t used = 0;
  while (used < in_.size() && !parser.is_done()) {
    const size_t taken = parser.put(asio::buffer(in_.data() + used, in_.size() - used), error);
    used += taken;
    if (error || taken == 0 || (!had_header && parser.is_header_done())) break;
  }
  in_.erase(0, used);
  header_bytes_ += used;
  // Beast counts the fields of one buffer only, and takes any number of them as they trickle in.
  const bool too_long = !parser.is_header_done() && header_bytes_ + in_.size() > shared_.options.max_header_bytes;
  if (too_long) error = http::error::header_limit;
  if (error && error != http::error::need_more) {
    shared_.malformed.Increment();
    if (error == http::error::body_limit) {
      return Refuse(413, fmt::format("the body is longer than {} bytes", shared_.options.max_body_bytes));
    }
    if (error == http::error::header_limit) {
      return Refuse(431, fmt::format("the headers are longer than {} bytes", shared_.options.max_header_bytes));
    }
    return Refuse(400, "not an HTTP request: " + error.message());
  }
  if (!parser.is_header_done()) return ReadMore();
  if (!had_header) return OnHead();
  ReadBody();
}

void Connection::OnHead() {
  auto& parser = parser_->parser;
  const auto& message = parser.get();
  request_ = std::make_shared<Request>();
  const auto method = message.method_string();
  request_->method.assign(method.data(), method.size());
  keep_alive_ = parser.keep_alive() && keep_alive_;
  http10_ = message.version() < 11;
  head_only_ = request_->method == "HEAD";
  for (const auto& field : message) {
    std::string& value = request_->headers[ToLower({field.name_string().data(), field.name_string().size()})];
    if (!value.empty()) value += ", ";
    value.append(field.value().data(), field.value().size());
  }
  request_->peer = peer_;
  bad_target_ = ParseTarget({message.target().data(), message.target().size()}, *request_);
  HttpHandler::Upload upload;
  if (bad_target_.ok() && !parser.is_done()) upload = shared_.handler.BeginUpload(*request_);
  if (upload.refusal) {
    keep_alive_ = false;
    return Respond(std::move(*upload.refusal));
  }
  request_->upload = std::move(upload.sink);
  parser.eager(true);
  if (request_->upload == nullptr) {
    const size_t limit = shared_.options.max_body_bytes;
    parser.body_limit(limit);
    const auto length = parser.content_length();
    if (length && *length > limit) {
      shared_.malformed.Increment();
      return Refuse(413, fmt::format("the body is longer than {} bytes", limit));
    }
  }
  if (parser.is_done()) return Dispatch();
  SetTimer(shared_.options.body_timeout);
  if (message.find(http::field::expect) != message.end()) return Continue();
  if (!in_.empty()) return Parse();
  ReadMore();
}

void Connection::ReadBody() {
  const bool done = parser_->parser.is_done();
  if (request_->upload == nullptr) return done ? Dispatch() : ReadMore();
  const size_t gathered = parser_->parser.get().body().size();
  if (gathered >= kUploadWrite || (done && gathered > 0)) return Upload();
  if (done) return Dispatch();
  SetTimer(shared_.options.body_timeout);  // the whole may take long; it has to come on
  ReadMore();
}

/// Nothing is read meanwhile: the client is held back by the sink.
void Connection::Upload() {
  state_ = State::kUploading;
  timer_.cancel();
  ++timer_round_;
  auto bytes = std::make_shared<std::string>(std::exchange(parser_->parser.get().body(), {}));
  asio::io_context& context = io_.context;
  const bool accepted = shared_.workers.Submit([self = shared_from_this(), sink = request_->upload, bytes, &context] {
    const Status status = sink->Write(*bytes);
    asio::post(context, [self, status] { self->OnUploaded(status); });
  });
  if (accepted) return;
  shared_.overloads.Increment();
  keep_alive_ = false;
  Respond(shared_.handler.Error(503, "too many requests are waiting"));
}

void Connection::OnUploaded(const Status& status) {
  if (state_ != State::kUploading) return;
  state_ = State::kReading;
  if (!status.ok()) {
    keep_alive_ = false;
    return Respond(shared_.handler.UploadError(status));
  }
  if (!parser_->parser.is_done() && !in_.empty()) return Parse();
  ReadBody();
}

void Connection::Continue() {
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  writing_ = true;  // the body is read only after it, so that no two writes meet
  transport_->WriteSome(kContinue.data(), kContinue.size(),
                        [self = shared_from_this()](const error_code& error, size_t size) {
                          self->writing_ = false;
                          if (error || size != kContinue.size()) return self->Close();
                          if (self->state_ != State::kReading) return;
                          if (self->in_.empty()) return self->ReadMore();
                          self->Parse();
                        });
}

void Connection::Dispatch() {
  const std::shared_ptr<Request> request = std::exchange(request_, nullptr);
  request->body = std::move(parser_->parser.get().body());
  state_ = State::kHandling;
  timer_.cancel();
  ++timer_round_;
  if (!bad_target_.ok()) return Respond(shared_.handler.Error(400, Message(bad_target_)));
  if (shared_.handler.IsQuick(*request)) return Respond(shared_.handler.Handle(*request));
  HttpHandler& handler = shared_.handler;
  asio::io_context& context = io_.context;
  const bool accepted = shared_.workers.Submit([self = shared_from_this(), request, &handler, &context] {
    auto response = std::make_shared<Response>(handler.Handle(*request));
    asio::post(context, [self, response] { self->Respond(std::move(*response)); });
  });
  if (accepted) return;
  shared_.overloads.Increment();
  Respond(shared_.handler.Error(503, "too many requests are waiting"));
}

void Connection::Refuse(int status, const std::string& message) {
  keep_alive_ = false;
  http10_ = false;
  head_only_ = false;
  Respond(shared_.handler.Error(status, message));
}

// ---- writing

std::string Connection::Head(const Response& response, bool chunked) const {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nCache-Control: no-cache, private\r\n",
                                 response.status, Reason(response.status), response.content_type);
  for (const auto& [name, value] : response.headers) head += name + ": " + value + "\r\n";
  if (chunked) {
    head += "Transfer-Encoding: chunked\r\n";
  } else if (response.stream == nullptr) {
    head += fmt::format("Content-Length: {}\r\n", response.body.size());
  }
  if (!keep_alive_) head += "Connection: close\r\n";
  if (keep_alive_ && http10_) head += "Connection: keep-alive\r\n";
  return head + "\r\n";
}

void Connection::Respond(Response response) {
  if (state_ == State::kClosed) return;
  if (io_.stopping) keep_alive_ = false;
  if (response.stream != nullptr) return StartStream(response);
  state_ = State::kWriting;
  out_ = Head(response, false);
  written_ = 0;
  if (!head_only_) out_ += response.body;
  Write();
}

void Connection::Write() {
  writing_ = true;
  SetTimer(stream_ == nullptr ? shared_.options.write_timeout : shared_.options.stream_write_timeout);
  transport_->WriteSome(out_.data() + written_, out_.size() - written_,
                        [self = shared_from_this()](const error_code& error, size_t size) {
                          self->OnWritten(error, size);
                        });
}

void Connection::OnWritten(const error_code& error, size_t size) {
  writing_ = false;
  if (state_ == State::kClosed) return;
  if (error) return Close();
  written_ += size;
  if (written_ < out_.size()) return Write();
  out_.clear();
  written_ = 0;
  if (state_ == State::kStreaming) {
    if (!last_chunk_) return Pump();
    stream_.reset();
    shared_.streams.Add(-1);
  }
  if (!keep_alive_) return io_.stopping ? Close() : Drain();
  Finished();
}

/// Closing with unread bytes in the socket resets it, and the client may lose what we have just written.
void Connection::Drain() {
  transport_->ShutdownSend();
  state_ = State::kDraining;
  SetTimer(kDrainTime);
  ReadMore();
}

// ---- streams

void Connection::StartStream(Response& response) {
  state_ = State::kStreaming;
  if (http10_) keep_alive_ = false;
  out_ = Head(response, !http10_);
  written_ = 0;
  last_chunk_ = false;
  ending_ = false;
  stream_ = std::move(response.stream);
  shared_.streams.Add(1);
  pump_posted_ = std::make_shared<std::atomic<bool>>(false);
  asio::io_context& context = io_.context;
  stream_->Notify([weak = weak_from_this(), posted = pump_posted_, &context] {
    if (posted->exchange(true)) return;
    asio::post(context, [weak, posted] {
      posted->store(false);
      if (const auto self = weak.lock()) self->Pump();
    });
  });
  if (in_.empty()) ReadMore();  // to learn that the client went
  Write();
}

void Connection::Pump() {
  if (state_ != State::kStreaming || writing_ || last_chunk_) return;
  std::string data;
  bool ended = ending_;
  while (!ended && data.size() < kStreamWrite) {
    auto next = stream_->Next();
    if (next.ok()) {
      data += *next;
    } else if (next.status().code() == Code::kDeadlineExceeded) {
      break;
    } else if (next.status().code() == Code::kOutOfRange) {
      ended = true;
    } else {
      return Close();  // without a last chunk: the client must not take it for the whole
    }
  }
  if (http10_) {
    out_ += data;
    if (ended && out_.empty()) return Close();
  } else {
    if (!data.empty()) out_ += fmt::format("{:x}\r\n", data.size()) + data + "\r\n";
    if (ended) out_ += "0\r\n\r\n";
  }
  last_chunk_ = ended;
  if (!out_.empty()) return Write();
  const std::optional<Duration> wake = stream_->WakeAfter();
  if (wake) {
    SetTimer(*wake);
  } else {
    timer_.cancel();
    ++timer_round_;
  }
}

void Connection::EndStream(bool clean) {
  if (stream_ == nullptr) return;
  if (clean && !stream_->MayEndAnywhere()) return Close();
  if (clean) {
    ending_ = true;  // after what is being written now, if the client takes it
    return Pump();
  }
  stream_.reset();
  shared_.streams.Add(-1);
}

// ---- time

void Connection::SetTimer(Duration after) {
  const uint64_t round = ++timer_round_;
  timer_.expires_after(std::max(after, Duration::zero()));
  timer_.async_wait([self = shared_from_this(), round](const error_code& error) {
    if (!error && round == self->timer_round_) self->OnTimer();
  });
}

void Connection::OnTimer() {
  if (state_ == State::kClosed) return;
  if (state_ == State::kStreaming && !writing_) return Pump();
  if (state_ == State::kReading && began_ && !writing_) {
    shared_.timeouts.Increment();
    return Refuse(408, "the request took too long to arrive");
  }
  if (state_ != State::kDraining && !(state_ == State::kReading && !began_)) shared_.timeouts.Increment();
  Close();
}

}  // namespace isla::server
