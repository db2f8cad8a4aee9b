// What a node should have, and what it was told: makes the deltas between the two. Pure; one stream's strand.
//
// Invariants
//   - told_ is what the agent has if it took every delta that was made.
//   - Absence is never a command: a container is removed from the agent's records only after bind/ has stopped naming it and
//     its end was seen (Gone, or refused). One that vanishes from bind/ before is left out of a full delta,
//     which makes it an orphan: kept, listed, ended by a person.
//   - A bind/ that can't be read changes nothing.
//   - No incarnation is started twice, not even if the store went back to a backup: an entry that was bound before that
//     (its epoch is below the cluster's) may have run, ended and been removed in the history that is lost. Its Run is told
//     only if the agent's own records have the container, which then won't start it again; otherwise it is refused,
//     and the session gets the next incarnation.
#pragma once

#include <isla/v1/agent.pb.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controllers/runtime/cluster_state.h"

namespace isla::controllers {

struct ContainerKey {
  std::string uid;
  int64_t incarnation = 0;
  auto operator<=>(const ContainerKey&) const = default;
};

class DesiredState {
 public:
  /// The hash under which the agent's journal has the container, as far as it has said: "" if it lacks something of that. Null: it hasn't the container.
  using Known = std::function<const std::string*(const ContainerKey&)>;

  /// `state` must outlive it.
  DesiredState(const ClusterState& state, std::string node, Known known)
      : state_(state), node_(std::move(node)), known_(std::move(known)) {}

  /// A session's bind/ has changed, or its SandboxPolicy.
  void MarkDirty(const std::string& session) { dirty_.insert(session); }
  /// The next delta is a full one.
  void WantFull() { full_ = true; }
  bool IsDirty() const { return full_ || !dirty_.empty(); }

  /// What the agent must be told now; nothing if there is nothing to tell. `over(key)`: the container ended and left no
  /// trace, or was refused. Term and nonce are the caller's to fill in.
  template <typename Over>
  std::optional<isla::v1::Delta> Next(const Over& over) {
    if (full_) return Full();
    isla::v1::Delta delta;
    std::vector<ContainerKey> vanished;
    for (const std::string& session : dirty_) Compare(session, delta, vanished);
    dirty_.clear();
    for (const ContainerKey& key : vanished) {
      if (!over(key)) return Full();
    }
    for (const ContainerKey& key : vanished) Remove(key, delta);
    if (delta.upserts().empty() && delta.removals().empty()) return std::nullopt;
    return delta;
  }

  bool Has(const ContainerKey& key) const { return told_.contains(key); }
  size_t size() const { return told_.size(); }
  /// As Digest in agent.proto.
  std::string Digest() const;

  /// Containers that are not told (the launch document can't be read, or the store was restored), to be written as
  /// refused; taken once.
  struct Bad {
    ContainerKey key;
    std::string session;
    std::string reason;
    std::string why;
  };
  std::vector<Bad> TakeBad() { return std::exchange(bad_, {}); }

 private:
  struct Told {
    std::string session;
    std::string hash;
    Desired desired = Desired::kRun;
    int64_t grace_period_msec = 0;
    std::string lacks_policy;  // the version of its policy that it should have, and that wasn't there to be told
  };

  isla::v1::Delta Full();
  void Compare(const std::string& session, isla::v1::Delta& delta, std::vector<ContainerKey>& vanished);
  /// False: it can't be told.
  bool Tell(const std::string& session, const BindContainer& container, isla::v1::Delta& delta);
  bool IsToTell(const Told& told, const BindContainer& container) const;
  /// False: there is no text of that version.
  bool AddPolicy(const isla::v1::LaunchSpec& launch, const std::string& hash, isla::v1::Delta& delta) const;
  /// It may have run in a history that is lost, and its node has no record of it.
  bool MayHaveRun(const std::string& session, const BindContainer& container) const;
  void Remove(const ContainerKey& key, isla::v1::Delta& delta);

  const ClusterState& state_;
  const std::string node_;
  const Known known_;
  std::map<ContainerKey, Told> told_;
  std::set<ContainerKey> told_before_;  // while a full state is made: what was told until then
  std::map<std::string, std::set<ContainerKey>> by_session_;
  std::set<std::string> dirty_;
  bool full_ = true;
  std::vector<Bad> bad_;
};

}  // namespace isla::controllers
