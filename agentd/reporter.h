// What the control plane must hear of containers: the newest report of each until it is acknowledged.
//
// Level-triggered: a report is built when it is sent, from all that is known then; a newer one of a container
// replaces an older one. Sequences grow by one a report and are sent in order, so that an acknowledgement of
// one covers all before it. Loop thread only.
#pragma once

#include <isla/v1/agent.pb.h>

#include <cstdint>
#include <functional>
#include <map>

#include "agentd/container_manager.h"
#include "agentd/journal.h"

namespace isla::agent {

class Reporter {
 public:
  /// Both must outlive this.
  Reporter(Journal& journal, const ContainerManager& containers) : journal_(journal), containers_(containers) {}

  /// Every container is known: whatever the control plane may not have heard is to be reported. Under a boot
  /// other than the journal's, numbering leaps (see journal.h).
  void Start(bool new_boot);
  /// Everything is to be reported again: the control plane may have lost what it acknowledged.
  void ReportAll();
  /// What a report would say of `key` has changed. Before Start: ignored.
  void OnChanged(const ContainerKey& key);
  /// The entry of `key` is gone; nothing is to be said of it any more.
  void Forget(const ContainerKey& key);

  /// From now on reports go to `send`, all that isn't acknowledged first.
  void Connect(std::function<void(const isla::v1::Report&)> send);
  void Disconnect() { send_ = nullptr; }
  void OnAck(uint64_t sequence);

  /// The newest report of `key` is in the store, or there is none to be.
  bool IsAcked(const ContainerKey& key) const { return !by_key_.contains(key); }
  size_t unacked() const { return by_sequence_.size(); }

 private:
  bool IsToReport(const ContainerKey& key) const;
  void Send(uint64_t sequence, const ContainerKey& key);

  Journal& journal_;
  const ContainerManager& containers_;
  std::function<void(const isla::v1::Report&)> send_;
  std::map<uint64_t, ContainerKey> by_sequence_;  // not acknowledged
  std::map<ContainerKey, uint64_t> by_key_;
  bool started_ = false;
};

}  // namespace isla::agent
