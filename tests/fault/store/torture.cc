#include "tests/fault/store/torture.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <utility>

#include "tests/fault/store/checker.h"

namespace isla::store::torture {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kPatience = seconds(40);  // for everyone to come to rest, once all faults have ended
constexpr const char* kPrefix = "/t/";
constexpr const char* kReference = "reference";

bool Eventually(const std::function<bool()>& holds) {
  const auto deadline = SteadyClock::now() + kPatience;
  while (!holds()) {
    if (SteadyClock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

}  // namespace

void Totals::Add(const Totals& other) {
  rounds += other.rounds;
  ops += other.ops;
  unknown += other.unknown;
  refused += other.refused;
  transactions += other.transactions;
  events += other.events;
  watches += other.watches;
  faults = other.faults;
}

std::string Totals::Text() const {
  std::string text = fmt::format("operations={} transactions={} unknown={} refused={} watches={} events={} faults:", ops, transactions, unknown,
                                 refused, watches, events);
  for (const auto& [kind, count] : faults) text += fmt::format(" {}={}", kind, count);
  return text;
}

Torture::Torture(std::unique_ptr<Target> target) : target_(std::move(target)) {
  direct_ = target_->ConnectDirectly();
  shared_ = target_->Connect();
  for (const char* id : {"one", "two"}) {
    auto under_test = std::make_unique<CacheUnderTest>();
    under_test->store = target_->Connect();
    CacheOptions options;
    options.keys = Keys(kPrefix);
    options.barrier_id = id;
    options.compare_every = milliseconds(700);
    options.history = 2000;
    options.subscriber_queue = 200;
    options.metrics = &under_test->metrics;
    under_test->cache = StartWatchCache(*under_test->store, Clock::Real(), options);
    caches_.push_back(std::move(under_test));
  }
}

Torture::~Torture() {
  for (const auto& client : busy_) client->Stop();
  for (const auto& client : readers_) client->Stop();
  for (const auto& client : followers_) client->Stop();
  followers_.clear();
  caches_.clear();  // before what they stand on
}

std::vector<std::string> Torture::Round(uint64_t seed, milliseconds length, bool restore) {
  std::mt19937_64 random(seed);
  std::vector<std::string> complaints;
  Begin(complaints);
  if (!complaints.empty()) return complaints;
  AddClients(seed);
  for (const auto& client : followers_) client->Start();
  for (const auto& client : readers_) client->Start();
  for (const auto& client : busy_) client->Start();
  for (const auto end = SteadyClock::now() + length; SteadyClock::now() < end;) {
    std::this_thread::sleep_for(milliseconds(static_cast<int64_t>(random() % 250)));
    if (random() % 5 == 0) {
      CompactSome(random);
    } else {
      target_->Fault(random);
    }
  }
  Finish(seed, complaints);
  Judge(complaints);
  CarryUnknown();
  if (restore && complaints.empty()) RestoreOld(complaints);
  return complaints;
}

/// What the store is now is where the round begins, for everyone.
void Torture::Begin(std::vector<std::string>& complaints) {
  history_ = History{};
  history_.prefix = kPrefix;
  history_.reference = kReference;
  history_.unclaimed_prefix = Keys(kPrefix).Barrier("");
  history_.ops = carried_;
  // What earlier rounds' writers called their own would make lists longer and longer.
  Transaction forget;
  forget.success.push_back(Operation::DeletePrefix("/t/w/"));
  direct_->Txn(forget).IgnoreError();
  StatusOr<ListResult> list = Error(Code::kUnavailable, "not asked");
  const bool listed = Eventually([&list, this] {
    list = direct_->List(Prefix(kPrefix), {}, seconds(5));
    return list.ok();
  });
  if (!listed) {
    complaints.push_back("the store can't be listed: " + ToString(list.status()));
    return;
  }
  history_.base = list->revision;
  history_.state = list->kvs;
  for (const auto& under_test : caches_) {
    if (Eventually([&under_test] { return under_test->cache->ReadBarrier(seconds(5)).ok(); })) continue;
    complaints.push_back(fmt::format("a cache is stuck at revision {}, the store is at {}", under_test->cache->watermark(), history_.base));
  }
}

void Torture::AddClients(uint64_t seed) {
  busy_.clear();
  followers_.clear();
  readers_.clear();
  uint64_t next = seed * 1000;
  const auto name = [seed](const std::string& what) { return fmt::format("{}-{}", what, seed); };
  const Revision base = history_.base;

  auto reference = std::make_unique<WatcherClient>(kReference, ++next, *direct_, WatchPlan{kPrefix, base, false, false});
  reference_ = reference.get();
  followers_.push_back(std::move(reference));
  followers_.push_back(std::make_unique<WatcherClient>(name("all"), ++next, *shared_, WatchPlan{kPrefix, base, true, true}));
  followers_.push_back(std::make_unique<WatcherClient>(name("steady"), ++next, *shared_, WatchPlan{kPrefix, base, false, false}));
  followers_.push_back(std::make_unique<WatcherClient>(name("part"), ++next, *shared_, WatchPlan{"/t/k/", base, false, true}));
  followers_.push_back(std::make_unique<WatcherClient>(name("own"), ++next, *shared_, WatchPlan{"/t/w/", base, true, true}));
  for (size_t i = 0; i < caches_.size(); ++i) {
    WatchCache& cache = *caches_[i]->cache;
    const std::string suffix = std::to_string(i);
    followers_.push_back(std::make_unique<SubscriberClient>(name("subscriber" + suffix), ++next, cache, kPrefix, false));
    followers_.push_back(std::make_unique<SubscriberClient>(name("slow" + suffix), ++next, cache, "/t/k/", true));
    readers_.push_back(std::make_unique<CacheReaderClient>(name("cache" + suffix), ++next, cache, kPrefix));
  }
  for (const char* writer : {"w1", "w2", "w3"}) busy_.push_back(std::make_unique<WriterClient>(name(writer), ++next, *shared_));
  busy_.push_back(std::make_unique<WriterClient>(name("w4"), ++next, *caches_[0]->store));
  busy_.push_back(std::make_unique<ReaderClient>(name("r1"), ++next, *shared_));
  busy_.push_back(std::make_unique<ReaderClient>(name("r2"), ++next, *caches_[1]->store));
  for (const char* holder : {"h1", "h2"}) busy_.push_back(std::make_unique<HolderClient>(name(holder), ++next, *shared_));
}

/// To a revision that holds no delete, as the product does (Compactor says why). Never above what the reference has: without
/// it nothing could be judged.
void Torture::CompactSome(std::mt19937_64& random) {
  Transaction mark;
  mark.success.push_back(Operation::Put("/mark", "x"));
  if (const auto put = direct_->Txn(mark, milliseconds(500)); put.ok()) marks_.push_back(put->revision);
  if (marks_.size() > 6) marks_.pop_front();
  if (marks_.empty()) return;
  const Revision revision = marks_[random() % marks_.size()];
  if (revision <= reference_->upto() && direct_->Compact(revision, milliseconds(500)).ok()) ++compactions_;
}

void Torture::Finish(uint64_t seed, std::vector<std::string>& complaints) {
  target_->Heal();
  for (const auto& client : busy_) client->Stop();
  for (const auto& client : readers_) client->Stop();
  for (int attempt = 0; attempt < 20 && history_.last == 0; ++attempt) {
    Op op;
    op.client = fmt::format("last-{}.{}", seed, attempt);
    const std::string value = fmt::format("{}.{}", op.client, Now());
    for (const char* key : {"/t/k/last", "/t/w/last", "/t/last"}) op.txn.success.push_back(Operation::Put(key, value));
    op.called = Now();
    const auto result = direct_->Txn(op.txn, seconds(5));
    op.ended = Now();
    op.outcome = result.ok() ? Op::Outcome::kOk
                 : result.status().code() == Code::kDeadlineExceeded ? Op::Outcome::kUnknown
                                                                     : Op::Outcome::kRefused;
    op.error = ToString(result.status());
    if (result.ok()) {
      op.succeeded = true;
      op.revision = history_.last = result->revision;
    }
    history_.ops.push_back(std::move(op));
  }
  if (history_.last == 0) complaints.push_back("the store took no write for long after all faults had ended: " + history_.ops.back().error);
  for (const auto& follower : followers_) follower->Finish(history_.last);
  for (const auto& follower : followers_) {
    if (history_.last != 0 && Eventually([&follower] { return follower->finished(); })) continue;
    complaints.push_back(fmt::format("{}: stuck at revision {} of {}", follower->name(), follower->upto(), history_.last));
  }
  for (const auto& follower : followers_) follower->Stop();
  for (const auto& reader : readers_) {
    if (!Eventually([&reader] { return reader->ReadOnce(true); })) complaints.push_back(reader->name() + ": no barrier was passed");
  }
}

void Torture::Judge(std::vector<std::string>& complaints) {
  for (const auto& client : busy_) client->Collect(history_, complaints);
  for (const auto& client : readers_) client->Collect(history_, complaints);
  for (const auto& client : followers_) client->Collect(history_, complaints);
  for (const auto& under_test : caches_) {
    const double divergence = under_test->metrics.AddCounter("isla_store_cache_divergence_total", "").value();
    if (divergence > 0) complaints.push_back(fmt::format("a cache differed from the store in {} keys", divergence));
  }
  const std::vector<std::string> found = Check(history_);
  complaints.insert(complaints.end(), found.begin(), found.end());
}

/// A write whose outcome is unknown may be done later still.
void Torture::CarryUnknown() {
  std::set<std::string> seen;
  for (const Segment& segment : history_.segments) {
    for (const Segment::Batch& batch : segment.batches) {
      for (const Event& event : batch.events) seen.insert(event.kv->value);
    }
  }
  carried_.clear();
  for (const Op& op : history_.ops) {
    if (op.kind != Op::Kind::kTxn || op.outcome != Op::Outcome::kUnknown) continue;
    const auto put = std::find_if(op.txn.success.begin(), op.txn.success.end(),
                                  [](const Operation& operation) { return operation.kind == Operation::Kind::kPut; });
    if (put != op.txn.success.end() && !seen.contains(put->value)) carried_.push_back(op);
  }
  // It can't be long: what doesn't come within some rounds is lost for good.
  if (carried_.size() > 2000) carried_.erase(carried_.begin(), carried_.end() - 2000);
}

void Torture::RestoreOld(std::vector<std::string>& complaints) {
  std::vector<int64_t> before;
  for (const auto& under_test : caches_) before.push_back(under_test->cache->epoch());
  if (!target_->Restore()) return;
  ++restores_;
  carried_.clear();
  marks_.clear();
  for (size_t i = 0; i < caches_.size(); ++i) {
    const WatchCache& cache = *caches_[i]->cache;
    if (Eventually([&cache, &before, i] { return cache.epoch() > before[i]; })) continue;
    complaints.push_back(fmt::format("a cache didn't notice that a backup was restored; it is at revision {}", cache.watermark()));
  }
}

Totals Torture::Count() const {
  Totals totals;
  totals.rounds = 1;
  totals.ops = history_.ops.size();
  totals.watches = history_.segments.size();
  for (const Op& op : history_.ops) {
    totals.unknown += op.outcome == Op::Outcome::kUnknown ? 1 : 0;
    totals.refused += op.outcome == Op::Outcome::kRefused ? 1 : 0;
    totals.transactions += op.kind == Op::Kind::kTxn ? 1 : 0;
  }
  for (const Segment& segment : history_.segments) {
    for (const Segment::Batch& batch : segment.batches) totals.events += batch.events.size();
  }
  totals.faults = target_->Faults();
  totals.faults["compact"] = compactions_;
  return totals;
}

std::string Torture::DumpLast(uint64_t seed) const {
  const std::string path = fmt::format("/tmp/store_torture.{}.{}.txt", seed, Now());
  std::ofstream file(path);
  file << "seed " << seed << "\n" << target_->Log() << "\n";
  Dump(history_, file);
  return path;
}

}  // namespace isla::store::torture
