// The etcd backend: a thin client of the etcd v3 API (KV, Watch, Lease) on grpc++, made for the bugs and limits of Debian 12's
// etcd 3.4.23 (store/README.md lists them).
//
// Calls are the stub's blocking ones: the thread that waits reads its own answer. With the callback API another thread would read it
// and wake this one, which cost a tenth of a transaction's time with one client, and a fifth of the throughput with 64 (measured
// with bench_store --only=etcd). Watches are of the callback API.
// Channels: for each endpoint one connection for calls and one for watches, so that a large List never stands before
// an event. They connect by themselves, again and again (50 ms to 500 ms apart).
// Calls wait for a connection for at most 2 s, then fail with UNAVAILABLE: nothing was sent. A call that was sent and then lost
// is DEADLINE_EXCEEDED if it may have changed something; reads are sent again, once for each endpoint.
// After a failure the next endpoint is used. Nothing else is retried here.
// Watches end with UNAVAILABLE when the connection goes; who watches starts again (the watch cache does, with backoff).
// Threads: none of its own. gRPC's call the watchers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/base/metrics.h"
#include "store/store.h"

namespace isla::store {

struct EtcdOptions {
  /// "host:port" ("http://host:port", with TLS "https://host:port"), "unix:///absolute/path" or "unix:relative". Tried in turn.
  std::vector<std::string> endpoints;
  // TLS: PEM texts; all empty = plain. The key belongs to the certificate, and has no passphrase.
  std::string ca_pem, certificate_pem, key_pem;
  std::string user, password;  // empty = no authentication
  Metrics* metrics = nullptr;  // null: not counted; else must outlive the store
};

/// Makes the channels; does not wait for a connection. INVALID_ARGUMENT for an unusable endpoint, or certificates that can't be
/// ones.
StatusOr<std::unique_ptr<Store>> ConnectEtcd(const EtcdOptions& options, const Clock& clock = Clock::Real());

}  // namespace isla::store
