// The floor under a session's start: what the machine itself charges for the same durable writes, the same
// scope and the same exec, with nothing of isla's around it.
#pragma once

#include <string>

#include "store/store.h"

namespace isla::bench {

/// `count` etcd transactions one after the other, each one put of `bytes` bytes. Milliseconds in all.
double RawTransactions(store::Store& store, int count, size_t bytes);

/// fork; StartTransientUnit of a scope (MemoryMax, CPUQuota, TasksMax, Delegate) with the waiting child; its
/// JobRemoved; exec of /bin/true, known by a close-on-exec pipe. Milliseconds until the exec.
double BareScope(const std::string& name);

}  // namespace isla::bench
