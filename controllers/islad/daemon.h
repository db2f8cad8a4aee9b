// islad: the control plane in one process. The object graph, from the store up, and its life.
//
//   store -> watch cache -> registry -> API server          (answers from the first moment; /readyz says what is missing)
//                        -> informer -> gateway, controllers (from when the store has been reached and set up)
//
// Nothing here keeps state: a process that is killed at any instruction leaves leases that end, and another goes on.
// When the store goes away everything waits for it, and goes on by itself.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/status.h"

namespace isla::islad {

struct DaemonOptions {
  /// "embedded:FOLDER", "etcd:ENDPOINT[,ENDPOINT...]" or "memory"; empty = the folder `store` in data_dir.
  std::string store;
  std::string etcd_ca, etcd_certificate, etcd_key;  // files, PEM; empty = plain
  std::string prefix = "/isla/default/";
  std::string data_dir = "/var/lib/isla/islad";
  std::string run_dir = "/run/isla/islad";
  std::string id;  // names this islad; empty = the host's name
  bool serve = true;
  bool controllers = true;

  std::string api_listen = "127.0.0.1:6443";  // "" = no TLS listener

  std::string gateway_listen;  // "" = the unix socket only
  std::string gateway_ca, gateway_certificate, gateway_key;

  std::chrono::seconds lease_ttl{10};
  LogLevel log_level = LogLevel::kInfo;

  /// Called once, from another thread, when this process can't go on and should end: the embedded store was closed by an error
  /// of its disk. What was acknowledged is safe; another process opens it anew.
  std::function<void(const Status&)> on_failure;
};

/// Blocks SIGTERM, SIGINT, SIGHUP and SIGCHLD in the calling thread and all that it starts; ignores SIGPIPE. Before anything else.
void PrepareSignals();

class Daemon {
 public:
  virtual ~Daemon() = default;  // stops, in order; joins every thread

  /// Everything that can be told to be wrong at once is an error: a bad flag, another islad on the same run folder, an
  /// address in use. That the store doesn't answer isn't.
  static StatusOr<std::unique_ptr<Daemon>> Start(const DaemonOptions& options, const Clock& clock = Clock::Real());

  /// OK: the cache is synced, and all roles are up.
  virtual Status ready() const = 0;

  /// OK: every loop of this process has come by within `timeout`, those of the API, the informer and the gateway; else which
  /// one hasn't. Says nothing of the store: while that is away, waiting for it is what they rightly do.
  virtual Status Responds(Duration timeout) = 0;
};

/// Runs until SIGTERM or SIGINT, or until the store fails (exit code 1: whoever started it starts it again). PrepareSignals
/// must have been called. The exit code. Where systemd asks for it (WatchdogSec=), it is told that the process is alive each
/// time that every loop has answered, and only then.
int RunUntilSignal(const DaemonOptions& options);

}  // namespace isla::islad
