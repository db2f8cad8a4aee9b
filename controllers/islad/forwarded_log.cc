#include "controllers/islad/forwarded_log.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <deque>
#include <thread>
#include <utility>

#include "api/base/json.h"
#include "api/base/mutex.h"
#include "api/base/unique_fd.h"
#include "api/client/http.h"
#include "api/client/url.h"

namespace isla::islad {
namespace {

constexpr size_t kMaxQueuedBytes = size_t{256} << 10;
constexpr Duration kReadWait = std::chrono::hours(1);

std::atomic<int> forwarded{0};

std::string Target(const server::LogRequest& request) {
  std::string target = "/apis/isla/v1/namespaces/" + client::Escape(request.ns) + "/sessions/" +
                       client::Escape(request.session) + "/log?follow=" + (request.follow ? "true" : "false") +
                       "&timestamps=" + (request.timestamps ? "true" : "false");
  if (request.tail_lines) target += "&tailLines=" + std::to_string(*request.tail_lines);
  if (request.since_seconds) target += "&sinceSeconds=" + std::to_string(*request.since_seconds);
  if (!request.container.empty()) target += "&container=" + client::Escape(request.container);
  return target;
}

Status ErrorOf(const client::HttpResponse& response) {
  std::string message = "the other islad answered " + std::to_string(response.status);
  if (const StatusOr<json::Value> body = json::Parse(response.body); body.ok()) {
    message = body->StringAt({"message"}, message);
  }
  if (response.status == 404) return Error(Code::kNotFound, message);
  if (response.status == 400) return Error(Code::kFailedPrecondition, message);
  return Error(Code::kUnavailable, message);
}

class Stream final : public server::LogStream {
 public:
  ~Stream() override {
    {
      MutexLock lock(ready_mu_);
      ready_ = nullptr;
    }
    {
      MutexLock lock(mu_);
      stop_ = true;
      changed_.NotifyAll();
    }
    const uint64_t one = 1;
    if (interrupt_.valid()) [[maybe_unused]] const ssize_t written = write(interrupt_.get(), &one, sizeof one);
    if (thread_.joinable()) thread_.join();
    stream_.reset();
    client_.reset();
    --forwarded;
  }

  Status Open(const std::string& socket_path, const server::LogRequest& request) {
    if (++forwarded > kMaxForwarded) return Error(Code::kResourceExhausted, "too many logs are fetched from other islads");
    interrupt_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!interrupt_.valid()) return FromErrno(errno, "eventfd");
    client::Endpoint endpoint;
    endpoint.socket_path = socket_path;
    client::HttpOptions options;
    options.connect_timeout = std::chrono::seconds(2);
    options.request_timeout = std::chrono::seconds(10);
    options.interrupt_fd = interrupt_.get();
    options.user_agent = "islad";
    client_ = client::MakeHttpClient(endpoint, options);
    client::HttpRequest get;
    get.target = Target(request);
    get.accept = "*/*";
    ASSIGN_OR_RETURN(client::HttpClient::Opened opened, client_->Open(get));
    if (opened.stream == nullptr) return ErrorOf(opened.head);
    stream_ = std::move(opened.stream);
    thread_ = std::thread([this] { Run(); });
    return OkStatus();
  }

  StatusOr<std::string> Next() override {
    MutexLock lock(mu_);
    if (chunks_.empty()) return ended_ ? end_ : Error(Code::kDeadlineExceeded, "nothing yet");
    std::string chunk = std::move(chunks_.front());
    chunks_.pop_front();
    bytes_ -= chunk.size();
    changed_.NotifyAll();
    return chunk;
  }

  void Notify(std::function<void()> ready) override {
    MutexLock lock(ready_mu_);
    ready_ = std::move(ready);
  }

 private:
  void Run() {
    while (true) {
      {
        MutexLock lock(mu_);
        while (!stop_ && bytes_ >= kMaxQueuedBytes) changed_.Wait(mu_);
        if (stop_) return;
      }
      StatusOr<std::string> chunk = stream_->Read(kReadWait);
      if (chunk.status().code() == Code::kDeadlineExceeded) continue;
      const bool more = chunk.ok() && !chunk->empty();
      {
        MutexLock lock(mu_);
        if (more) {
          bytes_ += chunk->size();
          chunks_.push_back(*std::move(chunk));
        } else {
          ended_ = true;
          end_ = chunk.ok() ? Error(Code::kOutOfRange, "the end") : chunk.status();
        }
      }
      {
        MutexLock lock(ready_mu_);
        if (ready_) ready_();
      }
      if (!more) return;
    }
  }

  UniqueFd interrupt_;
  std::unique_ptr<client::HttpClient> client_;
  std::unique_ptr<client::HttpStream> stream_;

  // Held while ready_ runs. Taken before mu_.
  Mutex ready_mu_;
  std::function<void()> ready_ GUARDED_BY(ready_mu_);
  Mutex mu_;
  CondVar changed_;
  std::deque<std::string> chunks_ GUARDED_BY(mu_);
  size_t bytes_ GUARDED_BY(mu_) = 0;
  bool ended_ GUARDED_BY(mu_) = false;
  Status end_ GUARDED_BY(mu_);
  bool stop_ GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace

StatusOr<std::unique_ptr<server::LogStream>> ForwardLog(const std::string& socket_path,
                                                        const server::LogRequest& request) {
  auto stream = std::make_unique<Stream>();
  RETURN_IF_ERROR(stream->Open(socket_path, request));
  return std::unique_ptr<server::LogStream>(std::move(stream));
}

}  // namespace isla::islad
