// Certificates as the user gave them. gRPC takes anything, and a bad one shows only as a connection that never comes.
#pragma once

#include "store/etcd/etcd_store.h"

namespace isla::store {

/// INVALID_ARGUMENT: one of the texts is no PEM of its kind, a certificate comes without its key (or the other way round), or the
/// two don't belong together. Whether a server will accept them isn't known here.
Status CheckTls(const EtcdOptions& options);

}  // namespace isla::store
