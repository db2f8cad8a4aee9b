#include "api/registry/view.h"

#include <tuple>

#include "api/base/log.h"
#include "api/registry/view_state.h"

namespace isla::registry {

namespace {

constexpr Duration kRetry = std::chrono::milliseconds(100);

const Logger& Log() {
  static const Logger log("registry");
  return log;
}

bool Selected(const ListOptions& options, const Object& object) {
  return options.fields.Matches(object) && options.labels.Matches(object);
}

}  // namespace

/// Rung by the subscription, by readers who wait, and to stop.
struct ObjectView::Bell {
  Mutex mu;
  CondVar rung;
  bool ringing GUARDED_BY(mu) = false;

  void Ring() {
    MutexLock lock(mu);
    ringing = true;
    rung.NotifyAll();
  }
  void Wait(const std::stop_token& stop, Duration timeout) {
    MutexLock lock(mu);
    if (!ringing && !stop.stop_requested()) rung.WaitFor(mu, timeout);
    ringing = false;
  }
};

ObjectPtr WithRevision(const Object& object, store::Revision revision) {
  json::Value copy = object;
  copy.Member("metadata").Set("resourceVersion", std::to_string(revision));
  return std::make_shared<const Object>(std::move(copy));
}

bool ObjectView::State::Store(const store::Event& event, Touched& touched) {
  const auto parsed = keys.Parse(event.kv->key);
  if (!parsed) return false;
  const bool is_status = parsed->key_class == store::KeyClass::kStatus;
  const bool is_node = parsed->key_class == store::KeyClass::kNode;
  if (!is_status && !is_node && parsed->key_class != store::KeyClass::kSpec) return false;
  touched.kind = is_node ? &api::NodeKind() : nullptr;
  for (const api::Kind& kind : api::AllKinds()) {
    if (!is_node && kind.singular == parsed->kind && kind.kind != api::NodeKind().kind) touched.kind = &kind;
  }
  if (touched.kind == nullptr) return false;
  const bool cluster_wide = parsed->ns == store::kClusterWide;
  if (!is_node && touched.kind->namespaced == cluster_wide) return false;
  touched.key = {touched.kind->namespaced ? parsed->ns : std::string(), parsed->name};
  KindState::Entry& entry = kinds[touched.kind->singular].objects[touched.key];
  (is_status ? entry.status : entry.spec) = event.type == store::Event::Type::kPut ? event.kv : nullptr;
  return true;
}

void ObjectView::State::Push(KindState& kind, StoredEvent event, std::set<std::shared_ptr<Listener>>& wake) {
  for (const auto& listener : kind.listeners) {
    if (!listener->ns.empty() && listener->ns != event.key.first) continue;
    if (!listener->name.empty() && listener->name != event.key.second) continue;
    wake.insert(listener);
  }
  kind.events.push_back(std::move(event));
  while (kind.events.size() > history) {
    kind.dropped = kind.events.front().revision;
    kind.events.pop_front();
    ++kind.first;
  }
}

void ObjectView::State::Emit(const Touched& touched, store::Revision revision,
                             std::set<std::shared_ptr<Listener>>& wake) {
  KindState& kind = kinds[touched.kind->singular];
  const auto it = kind.objects.find(touched.key);
  if (it == kind.objects.end()) return;
  KindState::Entry& entry = it->second;
  const ObjectPtr before = entry.object;
  entry.object = JoinObject(*touched.kind, entry.spec.get(), entry.status.get());
  const ObjectPtr after = entry.object;
  if (entry.spec == nullptr && entry.status == nullptr) kind.objects.erase(it);
  if (before == nullptr && after == nullptr) return;
  // Another object of the same name in one step: two events, so that no watcher takes it for the old one.
  const bool replaced = before && after &&
                        before->StringAt({"metadata", "uid"}) != after->StringAt({"metadata", "uid"}) &&
                        before->StringAt({"status", "phase"}) != "Invalid" &&
                        after->StringAt({"status", "phase"}) != "Invalid";
  if (replaced || after == nullptr) {
    Push(kind, {revision, touched.key, WithRevision(*before, revision), nullptr}, wake);
  }
  if (after != nullptr) Push(kind, {revision, touched.key, replaced ? nullptr : before, after}, wake);
}

std::vector<std::shared_ptr<Listener>> ObjectView::State::Apply(const store::CacheBatch& batch) {
  std::set<std::shared_ptr<Listener>> wake;
  MutexLock lock(mu);
  // The two keys of an object that one transaction wrote are one event: a run of one revision is taken whole.
  for (size_t begin = 0; begin < batch.events.size();) {
    const store::Revision revision = batch.events[begin].kv->mod_revision;
    std::set<Touched> touched;
    size_t end = begin;
    for (; end < batch.events.size() && batch.events[end].kv->mod_revision == revision; ++end) {
      Touched one;
      if (Store(batch.events[end], one)) touched.insert(one);
    }
    for (const Touched& one : touched) Emit(one, revision, wake);
    begin = end;
  }
  watermark = std::max(watermark, batch.revision);
  changed.NotifyAll();
  return {wake.begin(), wake.end()};
}

std::vector<std::shared_ptr<Listener>> ObjectView::State::AllListeners() {
  std::vector<std::shared_ptr<Listener>> all;
  for (const auto& [name, kind] : kinds) all.insert(all.end(), kind.listeners.begin(), kind.listeners.end());
  return all;
}

void ObjectView::State::Rebuild(const store::ListResult& list) {
  std::vector<std::shared_ptr<Listener>> wake;
  {
    MutexLock lock(mu);
    wake = AllListeners();
    for (auto& [name, kind] : kinds) {
      kind.objects.clear();
      kind.first = kind.end();
      kind.events.clear();
    }
    for (const api::Kind& kind : api::AllKinds()) kinds[kind.singular].dropped = list.revision;
    for (const auto& kv : list.kvs) {
      Touched ignored;
      Store({store::Event::Type::kPut, kv, nullptr}, ignored);
    }
    for (const api::Kind& kind : api::AllKinds()) {
      for (auto& [key, entry] : kinds[kind.singular].objects) {
        entry.object = JoinObject(kind, entry.spec.get(), entry.status.get());
      }
    }
    watermark = list.revision;
    built = true;
    ++generation;
    changed.NotifyAll();
  }
  for (const auto& listener : wake) listener->ready.Call();
}

void ObjectView::State::Stop() {
  std::vector<std::shared_ptr<Listener>> wake;
  {
    MutexLock lock(mu);
    stopped = true;
    wake = AllListeners();
    changed.NotifyAll();
  }
  for (const auto& listener : wake) listener->ready.Call();
}

ObjectView::ObjectView(store::WatchCache& cache, const store::Keys& keys, size_t history)
    : cache_(cache),
      keys_(keys),
      state_(std::make_shared<State>(keys, history)),
      bell_(std::make_shared<Bell>()),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

ObjectView::~ObjectView() {
  thread_.request_stop();
  thread_.join();
  state_->Stop();
}

void ObjectView::Run(const std::stop_token& stop) {
  const auto bell = bell_;
  const std::stop_callback wake(stop, [bell] { bell->Ring(); });
  while (!stop.stop_requested()) {
    if (const Status synced = cache_.WaitSynced(kRetry); !synced.ok()) {
      if (synced.code() != Code::kDeadlineExceeded) bell->Wait(stop, kRetry);
      continue;
    }
    const store::ListResult list = cache_.List(keys_.prefix());
    auto subscription = cache_.Subscribe(keys_.prefix(), list.revision);
    if (!subscription.ok()) {
      Log().Debug("no subscription", "error='{}' retry_in_ms=100", ToString(subscription.status()));
      bell->Wait(stop, kRetry);
      continue;
    }
    (*subscription)->Notify([bell] { bell->Ring(); });
    state_->Rebuild(list);
    while (!stop.stop_requested()) {
      auto batch = (*subscription)->Next(Duration::zero());
      if (batch.ok()) {
        for (const auto& listener : state_->Apply(*batch)) listener->ready.Call();
      } else if (batch.status().code() == Code::kDeadlineExceeded) {
        bell->Wait(stop, std::chrono::seconds(1));
      } else {
        Log().Debug("building the view anew", "reason='{}'", ToString(batch.status()));
        if (batch.status().code() == Code::kCancelled) bell->Wait(stop, kRetry);
        break;
      }
    }
  }
}

Status ObjectView::WaitFor(store::Revision revision, Duration timeout) {
  {
    MutexLock lock(state_->mu);
    if (state_->built && state_->watermark >= revision) return OkStatus();
  }
  bell_->Ring();  // the cache may have moved by revisions that changed none of our keys, and rings for those no bell
  const MonotonicTime deadline = Clock::Real().Monotonic() + timeout;
  MutexLock lock(state_->mu);
  while (!state_->built || state_->watermark < revision) {
    if (state_->stopped) return Error(Code::kCancelled, "shutting down");
    const Duration left = deadline - Clock::Real().Monotonic();
    if (left <= Duration::zero()) {
      if (!state_->built) return Error(Code::kUnavailable, "the cache isn't synced yet");
      return Errorf(Code::kDeadlineExceeded, "too large resource version: {}, current: {}", revision,
                    state_->watermark);
    }
    state_->changed.WaitFor(state_->mu, left);
  }
  return OkStatus();
}

store::Revision ObjectView::watermark() const {
  MutexLock lock(state_->mu);
  return state_->watermark;
}

uint64_t ObjectView::generation() const {
  MutexLock lock(state_->mu);
  return state_->generation;
}

ObjectPtr ObjectView::FindExact(const api::Kind& kind, const std::string& ns, const std::string& name,
                                store::Revision spec, store::Revision status) const {
  MutexLock lock(state_->mu);
  const KindState& all = state_->kinds[kind.singular];
  const auto it = all.objects.find({kind.namespaced ? ns : std::string(), name});
  if (it == all.objects.end() || it->second.spec == nullptr) return nullptr;
  const KindState::Entry& entry = it->second;
  if (entry.spec->mod_revision != spec) return nullptr;
  if ((entry.status == nullptr ? 0 : entry.status->mod_revision) != status) return nullptr;
  return entry.object;
}

namespace {

std::vector<ObjectPtr> Collect(const KindState& kind, const std::string& ns, const std::string& name) {
  std::vector<ObjectPtr> items;
  auto it = ns.empty() ? kind.objects.begin() : kind.objects.lower_bound({ns, name});
  for (; it != kind.objects.end(); ++it) {
    if (!ns.empty() && it->first.first != ns) break;
    if (!name.empty() && it->first.second != name) {
      if (!ns.empty()) break;
      continue;
    }
    if (it->second.object != nullptr) items.push_back(it->second.object);
  }
  return items;
}

}  // namespace

ObjectList ObjectView::List(const api::Kind& kind, const std::string& ns, const ListOptions& options) const {
  ObjectList list;
  {
    MutexLock lock(state_->mu);
    list.items = Collect(state_->kinds[kind.singular], ns, options.fields.name);
    list.revision = state_->watermark;
  }
  std::erase_if(list.items, [&options](const ObjectPtr& object) { return !Selected(options, *object); });
  return list;
}

StatusOr<std::unique_ptr<ObjectWatch>> ObjectView::Watch(const api::Kind& kind, const std::string& ns,
                                                         const ListOptions& options, store::Revision revision) {
  WatchStart start;
  start.after = revision;
  start.known = revision;
  {
    MutexLock lock(state_->mu);
    const KindState& all = state_->kinds[kind.singular];
    start.generation = state_->generation;
    if (revision == 0) {
      start.initial = Collect(all, ns, options.fields.name);
      start.cursor = all.end();
      start.after = state_->watermark;
    } else if (revision < all.dropped) {
      return Errorf(Code::kOutOfRange, "too old resource version: {} ({})", revision, all.dropped);
    } else {
      start.cursor = all.first;
      while (start.cursor < all.end() && all.events[start.cursor - all.first].revision <= revision) ++start.cursor;
    }
  }
  std::erase_if(start.initial, [&options](const ObjectPtr& object) { return !Selected(options, *object); });
  return MakeWatch(state_, kind, ns, options, std::move(start));
}

}  // namespace isla::registry
