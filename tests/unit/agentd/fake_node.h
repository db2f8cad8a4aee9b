// A node in memory: its disk, tmpfs, systemd, shims and clock outlive the isla-agentd on it, which a test may
// kill at any step (KillAgent) or with the whole machine (LosePower), and start again (StartAgent). All that
// the fakes do happens in steps; Step runs one, chosen by the seed among those that may come next, so that a
// seed is an interleaving. Payloads count their starts: more than one of a container is the worst bug there is.
#pragma once

#include <isla/v1/agent.pb.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "agentd/container_manager.h"
#include "agentd/control_plane.h"
#include "agentd/journal.h"
#include "agentd/launcher.h"
#include "agentd/reporter.h"
#include "agentd/systemd_manager.h"
#include "agentd/timers.h"
#include "api/base/clock.h"

namespace isla::agent {

isla::v1::LaunchSpec SmallLaunch();
ContainerKey TestKey(int number, int64_t incarnation = 1);

class FakeNode {
 public:
  explicit FakeNode(uint32_t seed = 1);
  ~FakeNode();

  // ---- The machine.
  struct Shim {
    pid_t pid = 0;
    bool alive = false;
    bool payload = false;    // runs
    bool hung = false;       // ignores commands
    bool deaf = false;       // no connection can be made
    int agent = 0;           // which agent it is connected to; 0 = none
    bool watched = false;    // that agent hears of its death
    std::string policy;      // the version in force
    std::string policy_at_start;
  };
  struct Scope {
    std::string invocation_id;
    ContainerKey key;
    pid_t pid = 0;  // of the shim in it
    bool failed = false;
    int64_t memory_bytes = 0;  // its limit
  };
  int64_t program_room = 0;  // that policies have
  std::map<ContainerKey, Shim> shims;
  std::map<std::string, Scope> scopes;
  std::map<ContainerKey, RunRecords> run;       // tmpfs
  std::set<ContainerKey> folders;               // on disk: logs, overlays
  std::map<ContainerKey, int> payload_starts;
  std::vector<std::string> prepared;  // names of policies, in order
  std::vector<std::string> swapped;   // versions that shims were handed, in order: "VERSION[ after FILTER]"
  std::vector<std::string> compared;  // "STARTED WANTED", in order
  FakeClock clock;
  std::string boot_id = "boot-1";
  std::string journal_bytes;
  size_t synced_bytes = 0;

  // ---- What goes wrong. Each is used up by one use, but for the flags.
  std::deque<Status> start_scope_errors;  // OK = works
  bool start_scope_works_unheard = false;  // with DEADLINE_EXCEEDED: the scope was made
  std::deque<Status> get_unit_errors;
  std::deque<Status> list_errors;
  std::deque<Status> spawn_errors;
  std::deque<Status> prepare_errors;
  std::map<std::string, ShimPolicy> swap_refusals;  // by version: what a shim says (refused, error, takes_restart). Not used up
  std::map<std::string, PolicyChange> changes;  // by version: what comparing it says; a shim takes one that was compared
  int swaps_unanswered = 0;  // so many are done, and the answer is lost
  std::deque<Status> cleanup_errors;
  std::string shim_refusal;  // what shims say instead of ready
  bool disk_stuck = false;  // syncs don't end
  bool payload_fails_to_start = false;
  std::optional<int> payload_exit_code;  // payloads end at once with this

  void EndPayload(const ContainerKey& key, int exit_code);
  /// SIGKILL of the shim; its payload ends with it, without a record.
  void KillShim(const ContainerKey& key);
  /// Only if it is still that process.
  void KillPid(const ContainerKey& key, pid_t pid);

  // ---- The agent.
  void StartAgent(NodeConfig config = {}, ContainerManagerOptions options = {});
  void KillAgent();
  /// The machine dies: what wasn't synced is lost but for `kept` bytes; a new boot follows.
  void LosePower(size_t kept = 0);
  bool agent_runs() const { return agent_ != nullptr; }
  ContainerManager& containers();
  ControlPlane& control_plane();
  Reporter& reporter();
  Journal& journal();
  bool restored() const;

  /// One step; false if nothing is left to do but timers.
  bool Step();
  /// Steps until nothing is left; then fires timers that are due within `horizon`, and so on.
  void Run(Duration horizon = Duration::zero());

  // ---- The gateway, played by the test.
  int64_t cluster_epoch = 1;       // of the welcomes
  void Connect(int64_t term = 0);  // 0: one above what the agent has seen; sends no state
  void Disconnect();
  std::optional<isla::v1::DeltaAck> SendDelta(isla::v1::Delta delta);  // runs until acknowledged
  uint64_t PostDelta(isla::v1::Delta delta);                           // doesn't run; the nonce
  isla::v1::Delta RunDelta(const ContainerKey& key, const isla::v1::LaunchSpec& launch = SmallLaunch());
  isla::v1::Delta StopDelta(const ContainerKey& key, int64_t grace_msec = 1000);
  void SendMessage(const isla::v1::GatewayMessage& message);
  bool ack_reports = true;
  bool answer_pings = true;
  std::vector<isla::v1::AgentMessage> sent;  // by the agent, all streams
  std::vector<std::string> closed;           // why it closed streams
  std::map<ContainerKey, isla::v1::Report> reports;  // the newest of each
  std::optional<isla::v1::DeltaAck> AckOf(uint64_t nonce) const;
  isla::v1::ContainerState ReportedState(const ContainerKey& key) const;

  /// No shim, scope, folder or record in /run of it.
  bool HasTrace(const ContainerKey& key) const;

 private:
  friend class FakeTimers;
  friend class FakeJournal;
  friend class FakeSystemd;
  friend class FakeLauncher;
  friend class FakeLink;
  struct Agent;
  using Work = std::function<void()>;

  // Each of these does one thing after the other; between them there is no order.
  void Systemd(Work work) { queues_["systemd"].push_back(std::move(work)); }
  void Disk(Work work) { queues_["disk"].push_back(std::move(work)); }
  void OfShim(const ContainerKey& key, Work work) { queues_["shim " + Name(key)].push_back(std::move(work)); }
  void Tell(Work work) { queues_["agent"].push_back(std::move(work)); }
  /// A shim says something: the agent that it is connected to, if that lives, hears it.
  void Say(const ContainerKey& key, std::function<void(ShimObserver&)> what);
  void Exec(const ContainerKey& key);
  void Swap(const ContainerKey& key, const std::string& version, bool was_compared);
  void WriteExit(const ContainerKey& key, const std::string& cause, int exit_code, int signal);
  bool FireTimer(Duration horizon);

  std::mt19937 random_;
  int agent_number_ = 0;
  std::map<std::string, std::deque<Work>> queues_;  // "agent" and "disk" die with the agent
  std::map<TimerId, std::pair<MonotonicTime, Work>> timers_;
  TimerId last_timer_ = 0;
  pid_t last_pid_ = 1000;
  int last_invocation_ = 0;
  uint64_t nonce_ = 0;
  int64_t term_ = 0;
  bool connected_ = false;
  std::unique_ptr<Agent> agent_;
};

}  // namespace isla::agent
