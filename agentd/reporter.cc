#include "agentd/reporter.h"

#include <utility>
#include <vector>

namespace isla::agent {

// Of an orphan that was found on the node nothing is known that a report could name; the inventory has it.
bool Reporter::IsToReport(const ContainerKey& key) const {
  const journal::Entry* entry = journal_.Find(key);
  if (entry == nullptr) return false;
  return entry->desired().has_launch() || entry->desired().desired() == isla::v1::DesiredContainer::STOP;
}

void Reporter::Start(bool new_boot) {
  started_ = true;
  if (new_boot) {
    journal::Record record;
    record.set_sequence(journal_.state().sequence + kSequenceLeap);
    journal_.Append(std::move(record), nullptr);
  }
  std::vector<ContainerKey> keys;
  for (const auto& [key, entry] : journal_.state().entries) {
    const bool acked = entry.report_sequence() != 0 && entry.report_sequence() <= journal_.state().acked_sequence;
    // What is alive is said again: that the store has it isn't known here.
    const bool final = entry.has_exit() || entry.gone() || entry.has_nack();
    if (!acked || !final || entry.reported_state() != containers_.StateOf(key)) keys.push_back(key);
  }
  for (const ContainerKey& key : keys) OnChanged(key);
}

void Reporter::ReportAll() {
  std::vector<ContainerKey> keys;
  for (const auto& [key, entry] : journal_.state().entries) keys.push_back(key);
  for (const ContainerKey& key : keys) OnChanged(key);
}

void Reporter::OnChanged(const ContainerKey& key) {
  if (!started_ || !IsToReport(key)) return;
  if (const auto it = by_key_.find(key); it != by_key_.end()) by_sequence_.erase(it->second);
  const uint64_t sequence = journal_.state().sequence + 1;
  journal::Record record;
  journal::Reported& reported = *record.add_reported();
  reported.set_uid(key.uid);
  reported.set_incarnation(key.incarnation);
  reported.set_sequence(sequence);
  reported.set_state(containers_.StateOf(key));
  journal_.Append(std::move(record), nullptr);
  by_sequence_[sequence] = key;
  by_key_[key] = sequence;
  Send(sequence, key);
}

void Reporter::Forget(const ContainerKey& key) {
  const auto it = by_key_.find(key);
  if (it == by_key_.end()) return;
  by_sequence_.erase(it->second);
  by_key_.erase(it);
}

void Reporter::Connect(std::function<void(const isla::v1::Report&)> send) {
  send_ = std::move(send);
  for (const auto& [sequence, key] : by_sequence_) Send(sequence, key);
}

void Reporter::Send(uint64_t sequence, const ContainerKey& key) {
  if (!send_) return;
  isla::v1::Report report = containers_.MakeReport(key);
  report.set_sequence(sequence);
  send_(report);
}

void Reporter::OnAck(uint64_t sequence) {
  // A number that was never given acknowledges nothing.
  if (sequence > journal_.state().sequence || sequence <= journal_.state().acked_sequence) return;
  while (!by_sequence_.empty() && by_sequence_.begin()->first <= sequence) {
    by_key_.erase(by_sequence_.begin()->second);
    by_sequence_.erase(by_sequence_.begin());
  }
  journal::Record record;
  record.set_acked_sequence(sequence);
  journal_.Append(std::move(record), nullptr);
}

}  // namespace isla::agent
