#include "agentd/log_streams.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <utility>

#include "agentd/log_file.h"
#include "api/base/log.h"
#include "api/base/unique_fd.h"

namespace isla::agent {
namespace {

const Logger kLog("agentd");
constexpr size_t kFrameBytes = 64 * 1024;

}  // namespace

class LogStreams::Stream {
 public:
  Stream(isla::v1::OpenStream request, Source source, std::unique_ptr<DataStream> data, std::function<void()> finished)
      : request_(std::move(request)),
        folder_(source.folder),
        known_(source.known),
        ended_(source.ended),
        data_(std::move(data)),
        finished_(std::move(finished)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        thread_([this] { Run(); }) {}

  ~Stream() {
    cancelled_ = true;
    data_->Cancel();
    Wake();
    thread_.join();
  }

  ContainerKey key() const { return {request_.log().uid(), request_.log().incarnation()}; }

  void SetSource(const Source& source) {
    ended_ = source.ended || !source.known;
    Wake();
  }

 private:
  void Wake() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof one);
  }

  void Run() {
    data_->SetOnEnd([this] {
      cancelled_ = true;
      Wake();
    });
    const Status status = Copy();
    isla::v1::DataFrame last;
    last.set_stream_id(request_.stream_id());
    last.set_end(true);
    if (!status.ok()) last.set_error(Message(status));
    if (data_->Write(last)) data_->Finish();
    finished_();
  }

  Status Copy() {
    if (!known_) return Error(Code::kNotFound, "the node has no log of this container");
    isla::v1::DataFrame frame;
    frame.set_stream_id(request_.stream_id());
    // So that the gateway knows the stream before there is anything to say.
    if (!data_->Write(frame)) return OkStatus();
    const auto& log = request_.log();
    LogFile file(folder_, {log.tail_lines(), log.timestamps(), log.since_ns()});
    UniqueFd changes;
    if (log.follow()) changes = WatchFolder();
    while (!cancelled_) {
      // Looked at before the file: what was written before the end is read by this round.
      const bool ended = ended_;
      frame.clear_data();
      ASSIGN_OR_RETURN(const bool more, file.Read(*frame.mutable_data(), kFrameBytes));
      if (!frame.data().empty() && !data_->Write(frame)) return OkStatus();
      if (more) continue;
      if (!log.follow() || ended) return OkStatus();
      if (!changes.valid() && (changes = WatchFolder()).valid()) continue;  // what came before the watch is read
      Sleep(changes.get());
    }
    return OkStatus();
  }

  UniqueFd WatchFolder() const {
    UniqueFd fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (fd.valid() && inotify_add_watch(fd.get(), folder_.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) fd.Reset();
    return fd;
  }

  void Sleep(int changes) const {
    pollfd fds[2] = {{wake_.get(), POLLIN, 0}, {changes, POLLIN, 0}};
    // Without inotify (its limits are per user) the state changes wake it, and a look now and then.
    const int timeout_ms = changes >= 0 ? -1 : 500;
    poll(fds, 2, timeout_ms);
    char drain[4096];
    while (read(wake_.get(), drain, sizeof drain) > 0) {
    }
    while (changes >= 0 && read(changes, drain, sizeof drain) > 0) {
    }
  }

  const isla::v1::OpenStream request_;
  const std::string folder_;
  const bool known_;
  std::atomic<bool> ended_;
  std::atomic<bool> cancelled_{false};
  const std::unique_ptr<DataStream> data_;
  const std::function<void()> finished_;
  const UniqueFd wake_;
  std::thread thread_;
};

LogStreams::LogStreams(Mailbox& mailbox, std::function<Source(const ContainerKey&)> find,
                       std::function<std::unique_ptr<DataStream>()> open)
    : mailbox_(mailbox), find_(std::move(find)), open_(std::move(open)) {}

LogStreams::~LogStreams() {
  *alive_ = false;
  streams_.clear();
}

void LogStreams::Open(const isla::v1::OpenStream& request) {
  if (!request.has_log()) return;
  if (streams_.size() >= kMaxLogStreams) {
    kLog.Warn("too many log streams", "limit={}; the gateway's will time out", kMaxLogStreams);
    return;
  }
  std::unique_ptr<DataStream> data = open_();
  if (data == nullptr) return;
  auto slot = std::make_shared<Stream*>(nullptr);
  const auto finished = [this, slot, alive = alive_, &mailbox = mailbox_] {
    mailbox.Post([this, slot, alive] {
      if (*alive) Reap(*slot);
    });
  };
  const Source source = find_({request.log().uid(), request.log().incarnation()});
  auto stream = std::make_unique<Stream>(request, source, std::move(data), finished);
  *slot = stream.get();  // read on the loop alone, so after this
  streams_.push_back(std::move(stream));
}

void LogStreams::OnChanged(const ContainerKey& key) {
  for (const auto& stream : streams_) {
    if (stream->key() == key) stream->SetSource(find_(key));
  }
}

void LogStreams::Reap(Stream* stream) {
  streams_.remove_if([stream](const std::unique_ptr<Stream>& item) { return item.get() == stream; });
}

}  // namespace isla::agent
