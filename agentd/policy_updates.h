// New versions of the sandbox policy of what runs: what the journal says should be in force, and what the container's shim says is.
//
// Level-triggered, nothing is kept on a disk: Drive() compares the two and does at most one thing for a container at a time: compile the version that is wanted now
// (isla-policyc), hand it to the shim, hear its answer. Versions that came and went meanwhile are passed over. A restarted agentd is told by the shim what is in
// force, and tries again what had been refused. The shim puts a version in force wholly or not at all; an answer that was lost is had by handing over the same
// version once more.
//
//   wanted is         the shim's answer           then
//   in force          -                           nothing
//   without a text    -                           PolicyChanged: nothing, until a delta has it
//   another           -, it doesn't compile       PolicyNotCompiled: nothing; where the reason may pass, again later
//                     in force                    reported
//                     it takes a restart          compared, by what the two versions do, with the one that the container was started with, whose filter it has:
//                                                 live: handed over once more, with that; else PolicyRestartRequired with what isn't live: nothing
//                     another error, or none      PolicyNotApplied: again later
//
// A shim looks at bytes: it takes what has the same filter, or was compared with the very filter that runs.
// Each row but the first ends in a report, with the version that stays in force. Loop thread only.
#pragma once

#include <isla/v1/agent.pb.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "agentd/launcher.h"
#include "agentd/timers.h"
#include "api/base/clock.h"

namespace isla::agent {

struct PolicyUpdateOptions {
  Duration word_within = std::chrono::seconds(5);     // of a shim that was connected to anew
  Duration answer_within = std::chrono::seconds(20);  // a shim waits for its supervisor, 5 s at most
  Duration retry_first = std::chrono::seconds(1);
  Duration retry_last = std::chrono::seconds(60);
};

class PolicyUpdates {
 public:
  struct Subject {
    PolicyText wanted;
    PolicyText started;    // what it was started with; without a text if that isn't there
    uint32_t id_base = 0;  // of the container's ids
  };
  /// Nothing: this container's policy isn't to be changed (now).
  using SubjectOf = std::function<std::optional<Subject>(const ContainerKey&)>;

  /// All must outlive it. `changed`: what AddTo() says of the container is new.
  PolicyUpdates(PolicyUpdateOptions options, Launcher& launcher, Timers& timers, SubjectOf subject_of, std::function<void(const ContainerKey&)> changed);
  ~PolicyUpdates();

  /// A shim was spawned with this policy.
  void Started(const ContainerKey& key, const PolicyText& policy);
  /// What is wanted may have changed, or whether it may be had.
  void Drive(const ContainerKey& key);
  void OnTold(const ContainerKey& key, const ShimPolicy& told);
  void Forget(const ContainerKey& key);

  /// "" if it isn't known.
  std::string AtStart(const ContainerKey& key) const;
  /// Nothing is added before it is known what is in force.
  void AddTo(const ContainerKey& key, isla::v1::Report& report) const;

 private:
  enum class Step { kIdle, kCompiling, kSwapping, kComparing };
  struct Failure {
    std::string version, reason, message;
    bool final = false;  // not tried again with this version
  };
  struct Update {
    Step step = Step::kIdle;
    std::string in_force, at_start;
    std::string trying;  // the version, unless idle
    bool compared = false;  // it was, before it was handed over
    std::optional<Failure> failure;
    bool word_awaited = false;
    uint64_t op = 0;  // answers to older questions are ignored
    TimerId timer = 0;
    Duration retry_delay{0};
    std::string reported;
  };

  void OnCompiled(const ContainerKey& key, const Status& status);
  void OnRefused(const ContainerKey& key, const ShimPolicy& told);
  void OnCompared(const ContainerKey& key, const std::string& refusal, const StatusOr<PolicyChange>& change);
  void Swap(const ContainerKey& key, const PolicyText& policy, const std::string& compared_with);
  void Fail(const ContainerKey& key, Failure failure);
  void Rest(const ContainerKey& key, Update& update);
  void Arm(const ContainerKey& key, Update& update, Duration delay, void (PolicyUpdates::*fn)(const ContainerKey&));
  void OnSilence(const ContainerKey& key);
  void Report(const ContainerKey& key, Update& update);

  const PolicyUpdateOptions options_;
  Launcher& launcher_;
  Timers& timers_;
  const SubjectOf subject_of_;
  const std::function<void(const ContainerKey&)> changed_;
  std::map<ContainerKey, Update> updates_;
};

}  // namespace isla::agent
