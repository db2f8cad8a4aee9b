#include "controllers/gateway/run_batch.h"

#include <algorithm>
#include <utility>

namespace isla::controllers {

using store::Compare;
using store::Operation;

namespace {

constexpr size_t kMaxWord = 128;
constexpr size_t kMaxText = 4096;

void Cut(std::string& text, size_t limit) {
  if (text.size() <= limit) return;
  // Not within a UTF-8 sequence.
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0U) == 0x80U) --limit;
  text.resize(limit);
}

/// An agent's texts are bounded before they get into the store.
void Bound(Run& run) {
  Cut(run.scope, kMaxWord * 2);
  if (run.nack) {
    Cut(run.nack->reason, kMaxWord);
    Cut(run.nack->message, kMaxText);
  }
  if (run.exit) {
    Cut(run.exit->cause, kMaxWord);
    Cut(run.exit->reason, kMaxWord);
    Cut(run.exit->message, kMaxText);
  }
  if (run.policy) {
    Cut(run.policy->in_force, kMaxWord);
    Cut(run.policy->refused, kMaxWord);
    Cut(run.policy->reason, kMaxWord);
    Cut(run.policy->message, kMaxText);
  }
}

bool SaysNothingNew(const Run& known, Run run) {
  run.sequence = known.sequence;
  return Encode(known) == Encode(run);
}

}  // namespace

void ReportQueue::Add(isla::v1::Report report) {
  const uint64_t sequence = report.sequence();
  highest_ = std::max(highest_, sequence);
  const auto [at, added] = by_key_.try_emplace({report.uid(), report.incarnation()}, Place{sequence, sequence});
  if (added) {
    oldest_.insert(sequence);
  } else {
    if (at->second.sequence > sequence) return;  // out of order: the newer one says all of it
    by_sequence_.erase(at->second.sequence);
    at->second.sequence = sequence;
  }
  by_sequence_[sequence] = std::move(report);
}

void ReportQueue::Done(uint64_t sequence) {
  const auto found = by_sequence_.find(sequence);
  if (found == by_sequence_.end()) return;
  const auto place = by_key_.find({found->second.uid(), found->second.incarnation()});
  if (place != by_key_.end() && place->second.sequence == sequence) {
    oldest_.erase(place->second.oldest);
    by_key_.erase(place);
  }
  by_sequence_.erase(found);
}

uint64_t ReportQueue::done_up_to() const { return oldest_.empty() ? highest_ : *oldest_.begin() - 1; }

std::optional<RunBatch::Place> RunBatch::Find(const ContainerKey& key) const {
  const std::string owner = state_.OwnerOf(key.uid);
  if (owner.empty()) return std::nullopt;
  Place place;
  place.view = state_.Session(owner);
  if (place.view.bind == nullptr || !place.view.bind->ok()) return std::nullopt;
  for (const BindContainer& container : place.view.bind->value.containers) {
    if (container.uid == key.uid && container.incarnation == key.incarnation && container.node == node_) {
      place.container = &container;
    }
  }
  if (place.container == nullptr) return std::nullopt;
  const auto stored = place.view.runs.find({node_, key.uid, key.incarnation});
  if (stored != place.view.runs.end()) {
    place.known.revision = stored->second->mod_revision();
    if (stored->second->ok()) place.known.run = stored->second->value;
  }
  const auto ours = known_.find(key);
  // Under one life of bind/ nobody deletes run/, so the greater revision is the newer.
  if (ours != known_.end() && (ours->second.revision > place.known.revision)) place.known = ours->second;
  return place;
}

RunBatch::Put RunBatch::MakePut(const ContainerKey& key, const Place& place, Run run) const {
  Put put;
  put.key = key;
  put.run_key = state_.keys().Run(node_, key.uid, key.incarnation);
  put.run_revision = place.known.revision;
  put.bind_key = place.view.bind->key();
  put.bind_created = place.view.bind->kv->create_revision;
  run.ns = place.view.ns;
  run.session = place.view.name;
  run.session_uid = place.view.bind->value.uid;
  Bound(run);
  put.value = Encode(run);
  put.run = std::move(run);
  return put;
}

RunBatch::Verdict RunBatch::Judge(const isla::v1::Report& report) const {
  const ContainerKey key{report.uid(), report.incarnation()};
  const std::optional<Place> place = Find(key);
  if (!place) return {std::nullopt, true};
  Run run = RunFromReport(report);
  // An agent that has just started, and hasn't heard the container's shim yet, doesn't unsay what it said before.
  if (!run.policy && place->known.run) run.policy = place->known.run->policy;
  Put put = MakePut(key, *place, std::move(run));
  if (place->known.run) {
    const Run& known = *place->known.run;
    if (known.sequence >= put.run.sequence || known.state > put.run.state) return {};
    if (SaysNothingNew(known, put.run)) return {};
  }
  return {std::move(put), false};
}

RunBatch::Verdict RunBatch::JudgeNack(const ContainerKey& key, const RunNack& nack) const {
  const std::optional<Place> place = Find(key);
  if (!place) return {std::nullopt, true};
  Run run;
  if (place->known.run) {
    // What was started can't be refused any more; its own reports say how it goes. But in a restored store the record
    // may say that it runs of what its node has forgotten since.
    const RunState most = nack.reason == kStoreRestored ? RunState::kRunning : RunState::kAccepted;
    if (place->known.run->nack || place->known.run->state > most) return {};
    run = *place->known.run;
  }
  run.nack = nack;
  return {MakePut(key, *place, std::move(run)), false};
}

store::Transaction RunBatch::Make(const std::vector<Put>& puts, store::Revision fence) const {
  store::Transaction txn;
  const std::string term_key = state_.keys().NodeTerm(node_);
  txn.compares = {Compare::ModRevision(term_key, fence),
                  Compare::ModRevision(state_.keys().Cluster(), state_.cluster_revision())};
  txn.failure = {Operation::Get(term_key)};
  for (const Put& put : puts) {
    txn.compares.push_back(Compare::CreateRevision(put.bind_key, put.bind_created));
    txn.compares.push_back(Compare::ModRevision(put.run_key, put.run_revision));
    txn.success.push_back(Operation::Put(put.run_key, put.value));
    txn.failure.push_back(Operation::Get(put.run_key));
  }
  return txn;
}

void RunBatch::Wrote(const std::vector<Put>& puts, store::Revision revision) {
  for (const Put& put : puts) known_[put.key] = {revision, put.run};
}

bool RunBatch::Learn(const std::vector<Put>& puts, const store::TxnResult& result, store::Revision fence) {
  if (result.gets.size() != puts.size() + 1) return true;
  if (result.gets.front() == nullptr || result.gets.front()->mod_revision != fence) return false;
  for (size_t i = 0; i < puts.size(); ++i) {
    const auto& kv = result.gets[i + 1];
    if (kv == nullptr) {
      known_.erase(puts[i].key);
      continue;
    }
    Known known{kv->mod_revision, std::nullopt};
    if (const StatusOr<Run> run = DecodeRun(kv->value); run.ok()) known.run = *run;
    known_[puts[i].key] = std::move(known);
  }
  return true;
}

}  // namespace isla::controllers
