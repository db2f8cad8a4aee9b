#include "api/server/streams.h"

#include <algorithm>
#include <utility>

#include "api/server/status_json.h"

namespace isla::server {

namespace {

Status End() { return Error(Code::kOutOfRange, "the end"); }

class WatchStream final : public BodyStream {
 public:
  WatchStream(std::unique_ptr<registry::ObjectWatch> watch, const api::Kind& kind,
              const WatchStreamOptions& options, const Clock& clock)
      : watch_(std::move(watch)),
        kind_(kind),
        options_(options),
        clock_(clock),
        revision_(options.revision) {
    const MonotonicTime now = clock_.Monotonic();
    if (options_.timeout) end_ = now + *options_.timeout;
    if (options_.bookmark_interval) bookmark_ = now + *options_.bookmark_interval;
  }

  void Notify(std::function<void()> ready) override { watch_->Notify(std::move(ready)); }

  std::optional<Duration> WakeAfter() const override {
    std::optional<MonotonicTime> next = end_;
    if (bookmark_ && (!next || *bookmark_ < *next)) next = bookmark_;
    if (!next) return std::nullopt;
    return *next - clock_.Monotonic();
  }

  bool MayEndAnywhere() const override { return true; }

  StatusOr<std::string> Next() override {
    if (ended_) return End();
    if (end_ && clock_.Monotonic() >= *end_) return LastBookmark();
    const auto events = watch_->Next(Duration::zero());
    if (!events.ok()) {
      if (events.status().code() == Code::kDeadlineExceeded) return Idle();
      ended_ = true;
      if (events.status().code() == Code::kCancelled) return End();
      return EncodeErrorEvent(ErrorObject(events.status(), {&kind_, {}}));
    }
    std::string out;
    for (const registry::ObjectEvent& event : *events) {
      revision_ = std::max(revision_, event.revision);
      if (event.type != registry::ObjectEvent::Type::kBookmark) out += Encode(event);
    }
    if (out.empty()) return Idle();
    return out;
  }

 private:
  std::string Encode(const registry::ObjectEvent& event) {
    return EncodeEvent(options_.how, kind_, event, std::exchange(first_, false), clock_.Wall());
  }

  /// Nothing has happened: a bookmark if one is due.
  StatusOr<std::string> Idle() {
    const MonotonicTime now = clock_.Monotonic();
    const Status nothing = Error(Code::kDeadlineExceeded, "nothing yet");
    if (!bookmark_ || now < *bookmark_) return nothing;
    bookmark_ = now + *options_.bookmark_interval;
    if (revision_ == 0) return nothing;
    return Encode({registry::ObjectEvent::Type::kBookmark, nullptr, revision_});
  }

  StatusOr<std::string> LastBookmark() {
    ended_ = true;
    if (!bookmark_ || revision_ == 0) return End();
    return Encode({registry::ObjectEvent::Type::kBookmark, nullptr, revision_});
  }

  const std::unique_ptr<registry::ObjectWatch> watch_;
  const api::Kind& kind_;
  const WatchStreamOptions options_;
  const Clock& clock_;
  std::optional<MonotonicTime> end_;
  std::optional<MonotonicTime> bookmark_;  // when the next is due
  store::Revision revision_;               // all up to here has been sent
  bool first_ = true;
  bool ended_ = false;
};

class TextStream final : public BodyStream {
 public:
  explicit TextStream(std::string text) : text_(std::move(text)) {}
  void Notify(std::function<void()>) override {}
  std::optional<Duration> WakeAfter() const override { return std::nullopt; }
  bool MayEndAnywhere() const override { return false; }
  StatusOr<std::string> Next() override {
    if (text_.empty()) return End();
    return std::exchange(text_, {});
  }

 private:
  std::string text_;
};

class LogBody final : public BodyStream {
 public:
  explicit LogBody(std::unique_ptr<LogStream> log) : log_(std::move(log)) {}
  void Notify(std::function<void()> ready) override { log_->Notify(std::move(ready)); }
  std::optional<Duration> WakeAfter() const override { return std::nullopt; }
  bool MayEndAnywhere() const override { return false; }
  StatusOr<std::string> Next() override { return log_->Next(); }

 private:
  const std::unique_ptr<LogStream> log_;
};

}  // namespace

std::unique_ptr<BodyStream> MakeWatchStream(std::unique_ptr<registry::ObjectWatch> watch, const api::Kind& kind,
                                            const WatchStreamOptions& options, const Clock& clock) {
  return std::make_unique<WatchStream>(std::move(watch), kind, options, clock);
}

std::unique_ptr<BodyStream> MakeErrorStream(const Status& status, const api::Kind& kind) {
  return std::make_unique<TextStream>(EncodeErrorEvent(ErrorObject(status, {&kind, {}})));
}

std::unique_ptr<BodyStream> MakeLogStream(std::unique_ptr<LogStream> log) {
  return std::make_unique<LogBody>(std::move(log));
}

}  // namespace isla::server
