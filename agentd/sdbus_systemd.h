// SystemdManager over sd-bus(3), asynchronous, on the loop.
//
// Root talks to systemd on its private socket (/run/systemd/private): no dbus-daemon in between, which halves the
// time of a start, and it works before D-Bus is up. Otherwise, or if that can't be reached, the system bus.
// A connection that breaks (systemd re-executes itself) is made again with backoff; what was under way then
// gets DEADLINE_EXCEEDED, as its outcome is unknown, and what is asked meanwhile UNAVAILABLE.
// Properties that this systemd doesn't know are left out, once it has said so, if the scope can do without.
#pragma once

#include <systemd/sd-bus.h>

#include <map>
#include <memory>
#include <set>
#include <string>

#include "agentd/loop.h"
#include "agentd/systemd_manager.h"

namespace isla::agent {

struct SdbusOptions {
  std::string private_socket = "/run/systemd/private";
  std::string after_unit;      // scopes are ordered after it, so that a shutdown ends them first; may be empty
  bool swap_limit = false;     // cgroup v2: MemorySwapMax=0
  Duration call_timeout = std::chrono::seconds(25);
  Duration job_timeout = std::chrono::seconds(25);
  Duration reconnect_first = std::chrono::milliseconds(100);
  Duration reconnect_last = std::chrono::seconds(5);
};

class SdbusSystemd final : public SystemdManager {
 public:
  /// Connects. UNAVAILABLE if neither way to systemd is there. `loop` must outlive this.
  static StatusOr<std::unique_ptr<SdbusSystemd>> Connect(SdbusOptions options, Loop& loop);
  /// Callbacks that haven't run never do.
  ~SdbusSystemd() override;

  void StartScope(const ScopeSpec& spec, Callback<StatusOr<UnitInfo>> done) override;
  void StopUnit(const std::string& unit, Callback<Status> done) override;
  void KillUnit(const std::string& unit, int signal, Callback<Status> done) override;
  void ResetFailed(const std::string& unit, Callback<Status> done) override;
  void GetUnit(const std::string& unit, Callback<StatusOr<UnitInfo>> done) override;
  void ListScopes(Callback<StatusOr<std::vector<UnitInfo>>> done) override;

  /// systemd's version, as it says; "" before the first answer.
  const std::string& version() const { return version_; }

 private:
  struct Call;
  struct Job {
    std::string unit;
    TimerId timeout = 0;
    Callback<StatusOr<std::string>> done;  // the job's result
  };
  using Reply = std::function<void(StatusOr<sd_bus_message*>)>;

  SdbusSystemd(SdbusOptions options, Loop& loop) : options_(std::move(options)), loop_(loop) {}
  Status Open();
  Status OpenBus(bool private_socket);
  void OnBroken();
  void Reconnect();
  StatusOr<sd_bus_message*> NewCall(const char* path, const char* interface, const char* member);
  /// Consumes `message`. `reply` runs later, exactly once.
  void Send(sd_bus_message* message, Reply reply);
  void Fail(Reply reply, Status status);
  void WaitForJob(const std::string& path, const std::string& unit, Callback<StatusOr<std::string>> done);
  void FinishJob(const std::string& path, StatusOr<std::string> result);
  StatusOr<sd_bus_message*> BuildStart(const ScopeSpec& spec);
  bool DropProperty(const std::string& error);
  static int OnReply(sd_bus_message* message, void* data, sd_bus_error* error);
  static int OnJobRemoved(sd_bus_message* message, void* data, sd_bus_error* error);
  static int OnDisconnected(sd_bus_message* message, void* data, sd_bus_error* error);
  void ReadVersion();
  void GetProperties(const std::string& unit, Callback<StatusOr<UnitInfo>> done);
  void ReadStarted(const std::string& unit, Callback<StatusOr<UnitInfo>> done);

  const SdbusOptions options_;
  Loop& loop_;
  sd_bus* bus_ = nullptr;
  std::set<Call*> calls_;
  std::map<std::string, Job> jobs_;  // by the job's path
  std::set<std::string> dropped_;    // properties that this systemd refuses
  std::string version_;
  TimerId reconnect_ = 0;
  Duration reconnect_delay_{0};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace isla::agent
