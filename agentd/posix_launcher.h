// The Launcher within agentd: posix_spawn of isla-shim, its control socket and pidfd, the folders of a container.
//
//   <run-dir>/<uid>-<incarnation>/       created, running, exit, shim.sock (tmpfs)
//   <state-dir>/logs/<uid>-<incarnation>/     log, log.1
//   <state-dir>/overlay/<uid>-<incarnation>/  upper and work of dir: images
//
// agentd has gRPC's threads, so nothing here forks: posix_spawn shares no lock and no memory with a copy of
// agentd. The shim gets descriptors 0 to 5 and nothing else, its own session, no signal blocked.
// A shim's death is told by its pidfd, never by its silence.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "agentd/launcher.h"
#include "agentd/loop.h"
#include "agentd/migration_warmup.h"
#include "agentd/policy_compiler.h"
#include "api/base/json.h"
#include "api/base/mutex.h"
#include "api/base/unique_fd.h"

namespace isla::agent {

struct PosixLauncherOptions {
  std::string run_dir;
  std::string state_dir;
  std::string shim_path;
  std::string init_path;
  std::string supervisor_path;
  std::string policyc_path;
};

class PosixLauncher final : public Launcher {
 public:
  /// Makes the folders. `loop` must outlive this.
  static StatusOr<std::unique_ptr<PosixLauncher>> Create(PosixLauncherOptions options, Loop& loop);
  /// Closes the sockets of shims (those that wait for go exit); containers that run go on. Waits for a cleanup
  /// that is under way.
  ~PosixLauncher() override;

  void SetObserver(ShimObserver* observer) override { observer_ = observer; }
  bool IsReady(const PolicyText& policy) override { return policies_->IsReady(policy); }
  void Prepare(const PolicyText& policy, uint32_t id_base, std::function<void(Status)> done) override;
  StatusOr<pid_t> Spawn(const LaunchPlan& plan) override;
  Status Adopt(const ContainerKey& key) override;
  Status Go(const ContainerKey& key, const std::string& scope, const std::string& invocation_id,
            int64_t now_ns) override;
  void Abandon(const ContainerKey& key) override;
  int64_t ProgramRoom(const PolicyText& policy) override { return policies_->ProgramRoom(policy); }
  void Compare(const PolicyText& started, const PolicyText& wanted, uint32_t id_base, std::function<void(StatusOr<PolicyChange>)> done) override;
  Status SwapPolicy(const ContainerKey& key, const PolicyText& policy, const std::string& compared_with) override;
  Status Stop(const ContainerKey& key, Duration grace) override;
  RunRecords Read(const ContainerKey& key) override;
  std::vector<ContainerKey> List() override;
  void Cleanup(const ContainerKey& key, std::function<void(Status)> done) override;
  bool CgroupGone(const std::string& control_group) override;

  std::string LogFolder(const ContainerKey& key) const;

 private:
  struct Shim {
    UniqueFd control;
    std::unique_ptr<Watch> control_watch;
    UniqueFd pidfd;
    std::unique_ptr<Watch> pid_watch;
    bool child = false;
  };
  struct Removal {
    ContainerKey key;
    std::function<void(Status)> done;
  };

  PosixLauncher(PosixLauncherOptions options, Loop& loop) : options_(std::move(options)), loop_(loop) {}
  std::string RunFolder(const ContainerKey& key) const;
  std::string OverlayFolder(const ContainerKey& key) const;
  Status WatchShim(const ContainerKey& key, Shim shim);
  void OnControl(const ContainerKey& key);
  void OnPacket(const ContainerKey& key, const json::Value& packet);
  void OnDead(const ContainerKey& key);
  /// With a descriptor, if it isn't -1.
  Status SendPacket(const ContainerKey& key, const json::Value& packet, int attached = -1);
  StatusOr<UniqueFd> FindByRecord(const ContainerKey& key);
  void RunRemovals();
  Status Remove(const ContainerKey& key);

  const PosixLauncherOptions options_;
  Loop& loop_;
  ShimObserver* observer_ = nullptr;
  std::map<ContainerKey, Shim> shims_;
  std::unique_ptr<PolicyCompiler> policies_;
  std::string packet_;
  MigrationWarmup warmup_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  Mutex mu_;
  CondVar wake_;
  std::deque<Removal> removals_ GUARDED_BY(mu_);  // at most one a container
  bool stop_ GUARDED_BY(mu_) = false;
  std::jthread worker_;
};

}  // namespace isla::agent
