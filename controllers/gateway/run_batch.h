// What of an agent's reports goes to run/, and the transaction that puts it there. Pure; one stream's strand.
//
// Rules
//   - Only of a container that bind/ names on this node, under this incarnation. Of any other nothing is kept: the agent is
//     told that it was heard, and one that isn't over is an orphan.
//   - An older report never replaces a newer one, nor an earlier state a later one. What says nothing new isn't written.
//   - A transaction holds only while the node's term is ours, meta/cluster is the one that was read, each bind/ is
//     the same life of its key as was read, and each run/ is as it was read: so a write of unknown outcome that
//     arrives late changes nothing.
#pragma once

#include <isla/v1/agent.pb.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controllers/gateway/desired_state.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/runtime/records.h"
#include "store/store.h"

namespace isla::controllers {

/// Fits Store's bound of 128 compares: two a put, and two more.
inline constexpr size_t kMaxPutsInBatch = 60;

/// The reports that aren't in the store yet: of each container the newest, by sequence.
class ReportQueue {
 public:
  void Add(isla::v1::Report report);
  size_t size() const { return by_sequence_.size(); }
  bool empty() const { return by_sequence_.empty(); }
  const std::map<uint64_t, isla::v1::Report>& pending() const { return by_sequence_; }
  void Done(uint64_t sequence);
  /// Every report up to this one is done with. One that was replaced is done when the one in its place is.
  uint64_t done_up_to() const;

 private:
  struct Place {
    uint64_t sequence = 0;
    uint64_t oldest = 0;  // of those that it replaced, and itself
  };
  std::map<uint64_t, isla::v1::Report> by_sequence_;
  std::map<ContainerKey, Place> by_key_;
  std::set<uint64_t> oldest_;  // of all places
  uint64_t highest_ = 0;
};

class RunBatch {
 public:
  /// `state` must outlive it.
  RunBatch(const ClusterState& state, std::string node) : state_(state), node_(std::move(node)) {}

  struct Put {
    ContainerKey key;
    std::string run_key;
    store::Revision run_revision = 0;
    std::string bind_key;
    store::Revision bind_created = 0;
    Run run;
    std::string value;
  };
  struct Verdict {
    std::optional<Put> put;
    bool unbound = false;  // bind/ doesn't name it here
  };
  Verdict Judge(const isla::v1::Report& report) const;
  /// A refusal that came with an acknowledgement, without a sequence of its own.
  Verdict JudgeNack(const ContainerKey& key, const RunNack& nack) const;

  /// `fence`: the mod_revision of nodeterm/<node> that is ours. Its failure branch reads all that is compared.
  store::Transaction Make(const std::vector<Put>& puts, store::Revision fence) const;

  void Wrote(const std::vector<Put>& puts, store::Revision revision);
  /// The transaction didn't hold: what its failure branch read. False: the node's term isn't ours any more.
  bool Learn(const std::vector<Put>& puts, const store::TxnResult& result, store::Revision fence);
  void Forget(const ContainerKey& key) { known_.erase(key); }

 private:
  struct Known {
    store::Revision revision = 0;  // 0: the key isn't there
    std::optional<Run> run;
  };
  struct Place {
    SessionView view;
    const BindContainer* container = nullptr;  // within view
    Known known;
  };
  std::optional<Place> Find(const ContainerKey& key) const;
  Put MakePut(const ContainerKey& key, const Place& place, Run run) const;

  const ClusterState& state_;
  const std::string node_;
  std::map<ContainerKey, Known> known_;  // what was written or read here; the cache may have newer
};

}  // namespace isla::controllers
