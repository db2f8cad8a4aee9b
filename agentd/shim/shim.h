// The life of one container, from the launch request to the exit record. One thread, one epoll loop.
//
//   state    | go          | stop                  | report                      | PID 1 gone  | control EOF
//   waiting  | -> starting | record; -> cleaning   |                             |             | leave nothing, exit
//   starting | -           | kill                  | started -> running          | record;     | -
//            |             |                       | failed: record; -> cleaning | -> cleaning |
//   running  | -           | signal; kill at the   | exited: record; -> cleaning | record;     | -
//            |             | end of the grace time |                             | -> cleaning |
//   cleaning | -           | -                     | -                           | -> done when payload/ is empty
//
// In `cleaning` the record is in place: whatever happens to the shim from there on, agentd has the outcome. A step
// that fails before go is kept and told after go, since before go nothing may be left behind.
#pragma once

#include <list>
#include <optional>
#include <string>

#include "agentd/init/report.h"
#include "agentd/shim/cgroup.h"
#include "agentd/shim/container.h"
#include "agentd/shim/control.h"
#include "agentd/shim/exit_cause.h"
#include "agentd/shim/log_writer.h"
#include "agentd/shim/protocol.h"
#include "agentd/shim/supervision.h"
#include "api/base/clock.h"
#include "api/base/log.h"

namespace isla::shim {

class Shim {
 public:
  /// `control` is the socket to the agentd that started this process.
  Shim(LaunchRequest request, sandbox::CompiledPolicy policy, UniqueFd control, const Clock& clock);

  /// Returns the exit status of the process: 0 once the record is written and everything is gone, or when nothing was
  /// ever started.
  int Run();

 private:
  enum class State { kWaiting, kStarting, kRunning, kCleaning, kDone };

  // Loop (shim.cc)
  Step Open();
  Step Watch(int fd, uint32_t events);
  void Unwatch(int fd);
  int WaitMsec() const;
  void Dispatch(int fd, uint32_t events);
  void OnTimers();
  void OnSignal();
  bool TakeSignals();
  void OnListener();
  void OnConnection(int fd);
  void OnCommand(const Connection& from, const Command& command, const UniqueFd& attached);
  void OnPolicy(const Connection& from, const UniqueFd& attached, const std::string& compared_with);
  Status ReplacePolicy(const sandbox::CompiledPolicy& next, const std::string& compared_with);
  void Broadcast(const json::Value& packet) const;
  json::Value StateEvent() const;

  // Life (life.cc)
  void Go();
  Step Start();
  Step WatchContainer();
  void Stop(int64_t grace_period_msec, const std::string& cause);
  void OnHandover();
  void Supervise(void (Supervision::*step)());
  void OnReport();
  void OnStarted();
  void OnInitGone();
  void OnOutOfMemory();
  void KillContainer();
  void Fail(const Step& step, bool at_command = false);
  void End(const Ending& ending, const init::Report* report);
  void WriteRecord(ExitRecord record);
  void Clean();
  void LeaveNothing();

  // Output (life.cc)
  void ReadOutput(UniqueFd& pipe, Stream stream);
  void DrainOutput();

  const Limits granted_;
  const LaunchRequest request_;  // with what its policy has of it: the host name, and limits below the grant, as of the start
  const sandbox::CompiledPolicy policy_;
  const Clock& clock_;
  const Logger log_{"shim"};

  State state_ = State::kWaiting;
  UniqueFd epoll_, signals_, listener_;
  std::list<Connection> connections_;
  int first_control_ = -1;  // the connection whose end before go ends this process

  Step prepare_failure_;
  Limits limits_;  // of payload/
  Leaves leaves_;
  Container container_;
  Supervision supervision_;
  int supervised_fd_ = -1;
  bool init_gone_ = false;
  LogWriter writer_;

  std::string stop_cause_;
  bool told_to_stop_ = false;  // by SIGTERM or SIGINT
  bool killed_by_stop_ = false;
  WallTime started_at_;
  ExitRecord record_;

  std::optional<MonotonicTime> timeout_at_;      // the request's timeout
  std::optional<MonotonicTime> kill_at_;         // the end of a stop's grace period
  std::optional<MonotonicTime> flush_at_;        // unfinished lines
  std::optional<MonotonicTime> oom_check_at_;    // v1: has the kernel killed yet?
  std::optional<MonotonicTime> clean_at_;        // payload/ wasn't empty: try again
  Duration clean_backoff_{};
  int oom_checks_ = 0;
};

/// Reads the launch request from kLaunchRequestFd and the policy from kPolicyFd, and checks both, and that they go together.
StatusOr<LaunchRequest> ReadLaunchRequest(int fd);
StatusOr<sandbox::CompiledPolicy> ReadPolicy(int fd, const LaunchRequest& request);

}  // namespace isla::shim
