// Between the store's types and etcd's messages, and from etcd's errors to ours. Pure functions.
#pragma once

#include <etcd.pb.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>

#include "store/store.h"

namespace isla::store {

/// Takes key and value out of the message.
std::shared_ptr<const KeyValue> TakeKeyValue(etcdserverpb::KeyValue& from);

/// Sets key and range_end to all keys with this prefix ("" = all keys). Of RangeRequest, DeleteRangeRequest, WatchCreateRequest.
template <typename Request>
void SetPrefix(const Prefix& prefix, Request& request) {
  const std::string end = prefix.End();
  request.set_key(prefix.empty() ? std::string(1, '\0') : prefix.text());
  request.set_range_end(end.empty() ? std::string(1, '\0') : end);  // "\0" = no end
}

/// What a get of `key` was answered with; takes it out of the response. UNAVAILABLE: it is no answer to that.
StatusOr<GetResult> TakeGet(const std::string& key, etcdserverpb::RangeResponse& response);
/// Appends one page to `list`, whose revision 0 becomes the header's. True: there is more, from just behind the last key.
/// UNAVAILABLE: not a page of this list (a key twice or out of order, of another prefix, of a revision to come; "more" but no key to go on
/// from). What isn't noticed here would be a key that is gone, or a list without end.
StatusOr<bool> TakePage(const Prefix& prefix, etcdserverpb::RangeResponse& page, ListResult& list);

etcdserverpb::TxnRequest EncodeTransaction(const Transaction& txn);
/// DEADLINE_EXCEEDED: no answer to this transaction, which may have run.
StatusOr<TxnResult> DecodeTransaction(const Transaction& txn, etcdserverpb::TxnResponse& response);

/// etcd didn't take the token: it has expired, died with etcd's process, or is older than the newest change of users and roles. Said
/// before anything is done, so with a new token the call may be sent again.
bool TokenRefused(const grpc::Status& status);
/// The same of the reason that a watch was cancelled for.
bool TokenRefused(const std::string& cancel_reason);

/// What a failed call means. `may_have_run`: the call was sent, and if it ran it changed something.
Status FromEtcd(const grpc::Status& status, bool may_have_run);

}  // namespace isla::store
