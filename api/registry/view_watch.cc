// A watch: a cursor in the ring of its kind's events.
#include "api/base/clock.h"
#include "api/registry/view_state.h"

namespace isla::registry {

namespace {

constexpr size_t kBatch = 64;

class ViewWatch final : public ObjectWatch {
 public:
  ViewWatch(std::shared_ptr<ObjectView::State> state, const api::Kind& kind, const std::string& ns,
            const ListOptions& options, WatchStart start)
      : state_(std::move(state)),
        kind_(kind.singular),
        options_(options),
        generation_(start.generation),
        listener_(std::make_shared<Listener>()),
        initial_(std::move(start.initial)),
        cursor_(start.cursor),
        after_(start.after),
        reported_(start.known) {
    listener_->ns = ns;
    listener_->name = options.fields.name;
    MutexLock lock(state_->mu);
    state_->kinds[kind_].listeners.insert(listener_);
  }

  ~ViewWatch() override {
    {
      MutexLock lock(state_->mu);
      state_->kinds[kind_].listeners.erase(listener_);
    }
    listener_->ready.Clear();
  }

  void Notify(std::function<void()> ready) override { listener_->ready.Set(std::move(ready)); }

  StatusOr<std::vector<ObjectEvent>> Next(std::chrono::nanoseconds wait) override {
    const MonotonicTime deadline = Clock::Real().Monotonic() + wait;
    for (;;) {
      std::vector<StoredEvent> raw;
      store::Revision watermark = 0;
      RETURN_IF_ERROR(Take(raw, watermark));
      if (initial_sent_ < initial_.size()) return TakeInitial();
      std::vector<ObjectEvent> events;
      for (const StoredEvent& event : raw) Select(event, events);
      if (!events.empty()) return events;
      if (!raw.empty()) continue;
      const Duration left = deadline - Clock::Real().Monotonic();
      if (left <= Duration::zero()) {
        if (watermark <= reported_) return Error(Code::kDeadlineExceeded, "nothing yet");
        reported_ = watermark;
        return std::vector<ObjectEvent>{{ObjectEvent::Type::kBookmark, nullptr, watermark}};
      }
      MutexLock lock(state_->mu);
      if (!state_->stopped && generation_ == state_->generation && cursor_ == state_->kinds[kind_].end()) {
        state_->changed.WaitFor(state_->mu, left);
      }
    }
  }

 private:
  /// The next events of the ring that are of this watch's namespace and name; `watermark`: if there are none.
  Status Take(std::vector<StoredEvent>& raw, store::Revision& watermark) {
    MutexLock lock(state_->mu);
    if (state_->stopped) return Error(Code::kCancelled, "shutting down");
    const KindState& kind = state_->kinds[kind_];
    if (generation_ != state_->generation || cursor_ < kind.first) {
      return Error(Code::kOutOfRange, "too old resource version: the watch fell behind, list again");
    }
    watermark = state_->watermark;
    if (initial_sent_ < initial_.size()) return OkStatus();
    for (; cursor_ < kind.end() && raw.size() < kBatch; ++cursor_) {
      const StoredEvent& event = kind.events[cursor_ - kind.first];
      if (event.revision <= after_) continue;
      if (!listener_->ns.empty() && listener_->ns != event.key.first) continue;
      if (!listener_->name.empty() && listener_->name != event.key.second) continue;
      raw.push_back(event);
    }
    return OkStatus();
  }

  std::vector<ObjectEvent> TakeInitial() {
    std::vector<ObjectEvent> events;
    for (; initial_sent_ < initial_.size() && events.size() < kBatch; ++initial_sent_) {
      events.push_back({ObjectEvent::Type::kAdded, std::move(initial_[initial_sent_]), after_});
    }
    if (initial_sent_ == initial_.size()) reported_ = after_;
    return events;
  }

  bool Matches(const ObjectPtr& object) const {
    return object != nullptr && options_.fields.Matches(*object) && options_.labels.Matches(*object);
  }

  /// What this watch sees of the event: an object that stops matching is deleted, one that begins to is added.
  void Select(const StoredEvent& event, std::vector<ObjectEvent>& events) {
    const bool before = Matches(event.before);
    const bool after = Matches(event.after);
    if (!before && !after) return;
    using Type = ObjectEvent::Type;
    if (after) {
      events.push_back({before ? Type::kModified : Type::kAdded, event.after, event.revision});
    } else {
      const ObjectPtr last = event.after == nullptr ? event.before : WithRevision(*event.before, event.revision);
      events.push_back({Type::kDeleted, last, event.revision});
    }
    reported_ = event.revision;
  }

  const std::shared_ptr<ObjectView::State> state_;
  const std::string kind_;
  const ListOptions options_;
  const uint64_t generation_;
  const std::shared_ptr<Listener> listener_;
  std::vector<ObjectPtr> initial_;
  size_t initial_sent_ = 0;
  uint64_t cursor_;
  const store::Revision after_;  // events up to this one aren't for this watch
  store::Revision reported_;     // the last revision that the user knows of
};

}  // namespace

std::unique_ptr<ObjectWatch> MakeWatch(std::shared_ptr<ObjectView::State> state, const api::Kind& kind,
                                       const std::string& ns, const ListOptions& options, WatchStart start) {
  return std::make_unique<ViewWatch>(std::move(state), kind, ns, options, std::move(start));
}

}  // namespace isla::registry
