#include "controllers/runtime/controller_set.h"

#include <algorithm>
#include <utility>

namespace isla::controllers {

struct ControllerSet::Controller {
  Controller(const Reconciler& r, const Clock& clock, WorkQueueOptions options, Metrics* m)
      : reconciler(r), queue(clock, std::move(options), m), metrics(m) {
    if (m != nullptr) {
      seconds = m->AddHistogram("isla_controllers_reconcile_seconds", "time of one reconcile, its write included",
                                {{"controller", std::string(r.name())}});
    }
  }

  void Count(const std::string& what, std::string_view result) const {
    if (metrics == nullptr) return;
    metrics
        ->AddCounter("isla_controllers_reconcile_total", "reconciles that did something, by outcome",
                     {{"controller", std::string(reconciler.name())}, {"what", what}, {"result", std::string(result)}})
        .Increment();
  }

  const Reconciler& reconciler;
  WorkQueue queue;
  Metrics* const metrics;
  Histogram seconds;

  Mutex mu;
  std::map<std::string, store::Revision> gate GUARDED_BY(mu);  // key -> the revision the cache must have
  std::multimap<store::Revision, std::string> held GUARDED_BY(mu);
};

ControllerSet::ControllerSet(const std::vector<std::unique_ptr<Reconciler>>& reconcilers, const ClusterState& state,
                             store::Store& store, store::Revision token, const Clock& clock,
                             ControllerSetOptions options)
    : state_(state), writer_(store, state.keys(), token), clock_(clock), options_(std::move(options)) {
  for (const std::unique_ptr<Reconciler>& reconciler : reconcilers) {
    WorkQueueOptions queue;
    queue.name = std::string(reconciler->name());
    queue.seed = options_.seed + controllers_.size();
    controllers_.push_back(std::make_unique<Controller>(*reconciler, clock, std::move(queue), options_.metrics));
  }
}

ControllerSet::~ControllerSet() { Stop(); }

void ControllerSet::AddAll() {
  for (const auto& controller : controllers_) {
    for (const std::string& key : controller->reconciler.AllKeys(state_)) controller->queue.Add(key);
  }
}

void ControllerSet::Start() {
  for (const auto& controller : controllers_) {
    for (int i = 0; i < controller->reconciler.workers(); ++i) {
      threads_.emplace_back([this, c = controller.get()] { Work(*c); });
    }
  }
}

void ControllerSet::Stop() {
  stopping_ = true;
  for (const auto& controller : controllers_) controller->queue.ShutDown();
  threads_.clear();  // joins
}

void ControllerSet::OnChanges(const std::vector<Change>& changes, store::Revision revision) {
  std::vector<std::string> keys;
  for (const auto& controller : controllers_) {
    keys.clear();
    for (const Change& change : changes) controller->reconciler.KeysFor(change, state_, keys);
    for (const std::string& key : keys) controller->queue.Add(key);
    std::vector<std::string> free;
    {
      MutexLock lock(controller->mu);
      const auto end = controller->held.upper_bound(revision);
      for (auto it = controller->held.begin(); it != end; ++it) free.push_back(it->second);
      controller->held.erase(controller->held.begin(), end);
    }
    for (const std::string& key : free) controller->queue.Add(key);
  }
}

void ControllerSet::OnReset() {
  for (const auto& controller : controllers_) {
    {
      // History may have gone back: a gate at a revision of the old one might never open.
      MutexLock lock(controller->mu);
      controller->gate.clear();
      controller->held.clear();
    }
    for (const std::string& key : controller->reconciler.AllKeys(state_)) controller->queue.Add(key);
  }
}

bool ControllerSet::Held(Controller& controller, const std::string& key) {
  MutexLock lock(controller.mu);
  const auto found = controller.gate.find(key);
  if (found == controller.gate.end()) return false;
  if (state_.revision() >= found->second) {
    controller.gate.erase(found);
    return false;
  }
  controller.held.emplace(found->second, key);
  return true;
}

void ControllerSet::Work(Controller& controller) {
  while (const std::optional<std::string> key = controller.queue.Get()) {
    if (!stopping_) Process(controller, *key);
    controller.queue.Done(*key);
  }
}

bool ControllerSet::Step(size_t index) {
  Controller& controller = *controllers_[index];
  const std::optional<std::string> key = controller.queue.TryGet();
  if (!key) return false;
  if (!stopping_) Process(controller, *key);
  controller.queue.Done(*key);
  return true;
}

void ControllerSet::Process(Controller& controller, const std::string& key) {
  if (Held(controller, key)) return;
  const MonotonicTime begin = clock_.Monotonic();
  const Decision decision = controller.reconciler.Reconcile(key, state_);
  Finish(controller, key, decision);
  controller.seconds.Observe(std::chrono::duration<double>(clock_.Monotonic() - begin).count());
}

void ControllerSet::Finish(Controller& controller, const std::string& key, const Decision& decision) {
  if (decision.nothing()) {
    controller.queue.Forget(key);
    if (decision.look_again) controller.queue.AddAfter(key, *decision.look_again);
    return;
  }
  FencedWriter::Outcome outcome;
  if (decision.txn) {
    outcome = writer_.Commit(*decision.txn, decision.cluster_revision);
  } else {
    const StatusOr<store::Revision> done = decision.request(writer_.Conditions());
    outcome.status = done.status();
    outcome.revision = done.value_or(0);
  }
  controller.Count(decision.what, CodeName(outcome.status.code()));
  if (outcome.revision != 0) {
    MutexLock lock(controller.mu);
    controller.gate[key] = outcome.revision;
  }
  if (outcome.fenced_off) return Fenced(controller, key, outcome.status);
  if (outcome.status.ok()) {
    log_.Debug("done", "controller={} key={} what={} revision={}", controller.reconciler.name(), key,
               decision.what, outcome.revision);
    controller.queue.Forget(key);
    // The write's own event brings the key back; a request may have changed nothing that is watched.
    if (decision.request) controller.queue.Add(key);
    return;
  }
  const Duration delay = controller.queue.AddRateLimited(key);
  if (outcome.status.code() == Code::kAborted) {
    log_.Debug("stale", "controller={} key={} what={}", controller.reconciler.name(), key, decision.what);
    return;
  }
  log_.Warn("failed", "controller={} key={} what={} error='{}' parked={} retry_in_ms={}",
            controller.reconciler.name(), key, decision.what, ToString(outcome.status),
            controller.queue.parked(key), std::chrono::duration_cast<std::chrono::milliseconds>(delay).count());
}

void ControllerSet::Fenced(const Controller& controller, const std::string& key, const Status& status) {
  if (stopping_.exchange(true)) return;
  log_.Warn("fenced off", "controller={} key={} reason='{}', deciding nothing more", controller.reconciler.name(),
            key, Message(status));
  if (options_.on_fenced) options_.on_fenced();
}

std::optional<Duration> ControllerSet::NextDelay() const {
  std::optional<Duration> next;
  for (const auto& controller : controllers_) {
    const std::optional<Duration> delay = controller->queue.NextDelay();
    if (delay && (!next || *delay < *next)) next = delay;
  }
  return next;
}

size_t ControllerSet::depth() const {
  size_t sum = 0;
  for (const auto& controller : controllers_) sum += controller->queue.depth();
  return sum;
}

}  // namespace isla::controllers
