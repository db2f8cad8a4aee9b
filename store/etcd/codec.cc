#include "store/etcd/codec.h"

#include <string_view>
#include <utility>

namespace isla::store {
namespace {

using etcdserverpb::RequestOp;

void EncodeOperation(const Operation& operation, RequestOp& to) {
  switch (operation.kind) {
    case Operation::Kind::kPut: {
      auto& put = *to.mutable_request_put();
      put.set_key(operation.key);
      put.set_value(operation.value);
      put.set_lease(operation.lease);
      return;
    }
    case Operation::Kind::kDelete:
      to.mutable_request_delete_range()->set_key(operation.key);
      return;
    case Operation::Kind::kDeletePrefix:
      SetPrefix(Prefix(operation.key), *to.mutable_request_delete_range());
      return;
    case Operation::Kind::kGet:
      to.mutable_request_range()->set_key(operation.key);
      return;
  }
}

void EncodeCompare(const Compare& compare, etcdserverpb::Compare& to) {
  using Wire = etcdserverpb::Compare;
  to.set_key(compare.key);
  switch (compare.op) {
    case Compare::Op::kEqual: to.set_result(Wire::EQUAL); break;
    case Compare::Op::kNotEqual: to.set_result(Wire::NOT_EQUAL); break;
    case Compare::Op::kLess: to.set_result(Wire::LESS); break;
    case Compare::Op::kGreater: to.set_result(Wire::GREATER); break;
  }
  switch (compare.target) {
    case Compare::Target::kVersion:
      to.set_target(Wire::VERSION);
      to.set_version(compare.number);
      break;
    case Compare::Target::kCreateRevision:
      to.set_target(Wire::CREATE);
      to.set_create_revision(compare.number);
      break;
    case Compare::Target::kModRevision:
      to.set_target(Wire::MOD);
      to.set_mod_revision(compare.number);
      break;
    case Compare::Target::kValue:
      to.set_target(Wire::VALUE);
      to.set_value(compare.value);
      break;
  }
}

bool Says(const std::string& message, std::string_view part) { return message.find(part) != std::string::npos; }

}  // namespace

std::shared_ptr<const KeyValue> TakeKeyValue(etcdserverpb::KeyValue& from) {
  auto kv = std::make_shared<KeyValue>();
  kv->key = std::move(*from.mutable_key());
  kv->value = std::move(*from.mutable_value());
  kv->create_revision = from.create_revision();
  kv->mod_revision = from.mod_revision();
  kv->version = from.version();
  kv->lease = from.lease();
  return kv;
}

StatusOr<GetResult> TakeGet(const std::string& key, etcdserverpb::RangeResponse& response) {
  GetResult result;
  result.revision = response.header().revision();
  if (response.kvs_size() == 0) return result;
  if (response.kvs_size() > 1 || response.kvs(0).key() != key) {
    return Errorf(Code::kUnavailable, "etcd answered a get of '{}' with {} keys, first '{}'", key, response.kvs_size(), response.kvs(0).key());
  }
  result.kv = TakeKeyValue(*response.mutable_kvs(0));
  return result;
}

StatusOr<bool> TakePage(const Prefix& prefix, etcdserverpb::RangeResponse& page, ListResult& list) {
  if (list.revision == 0) list.revision = page.header().revision();
  if (page.more() && page.kvs_size() == 0) return Error(Code::kUnavailable, "etcd answered a list with an empty page and more to come");
  list.kvs.reserve(list.kvs.size() + static_cast<size_t>(page.kvs_size()));
  for (etcdserverpb::KeyValue& kv : *page.mutable_kvs()) {
    const std::string* last = list.kvs.empty() ? nullptr : &list.kvs.back()->key;
    if (!prefix.Covers(kv.key()) || (last != nullptr && kv.key() <= *last) || kv.mod_revision() > list.revision) {
      return Errorf(Code::kUnavailable, "etcd answered a list of '{}' at revision {} with key '{}' of revision {} after '{}'", prefix,
                    list.revision, kv.key(), kv.mod_revision(), last == nullptr ? "" : *last);
    }
    list.kvs.push_back(TakeKeyValue(kv));
  }
  return page.more();
}

etcdserverpb::TxnRequest EncodeTransaction(const Transaction& txn) {
  etcdserverpb::TxnRequest request;
  for (const Compare& compare : txn.compares) EncodeCompare(compare, *request.add_compare());
  for (const Operation& operation : txn.success) EncodeOperation(operation, *request.add_success());
  for (const Operation& operation : txn.failure) EncodeOperation(operation, *request.add_failure());
  return request;
}

StatusOr<TxnResult> DecodeTransaction(const Transaction& txn, etcdserverpb::TxnResponse& response) {
  TxnResult result;
  result.succeeded = response.succeeded();
  result.revision = response.header().revision();
  const auto& branch = result.succeeded ? txn.success : txn.failure;
  if (static_cast<size_t>(response.responses_size()) != branch.size()) {
    return Errorf(Code::kDeadlineExceeded, "etcd answered {} operations with {} results", branch.size(), response.responses_size());
  }
  for (size_t i = 0; i < branch.size(); ++i) {
    if (branch[i].kind != Operation::Kind::kGet) continue;
    auto& one = *response.mutable_responses(static_cast<int>(i));
    if (!one.has_response_range()) return Error(Code::kDeadlineExceeded, "etcd answered a get with something else");
    auto got = TakeGet(branch[i].key, *one.mutable_response_range());
    if (!got.ok()) return Error(Code::kDeadlineExceeded, Message(got.status()));
    result.gets.push_back(std::move(got->kv));
  }
  return result;
}

bool TokenRefused(const std::string& cancel_reason) {
  return Says(cancel_reason, "invalid auth token") || Says(cancel_reason, "revision of auth store is old");
}

bool TokenRefused(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAUTHENTICATED || TokenRefused(status.error_message());
}

Status FromEtcd(const grpc::Status& status, bool may_have_run) {
  if (status.ok()) return OkStatus();
  const std::string& message = status.error_message();
  const std::string text = "etcd: " + message;
  switch (status.error_code()) {
    case grpc::StatusCode::INVALID_ARGUMENT:
      if (Says(message, "request is too large") || Says(message, "too many operations")) {
        return Error(Code::kResourceExhausted, text);
      }
      return Error(Code::kInvalidArgument, text);
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Error(Code::kDeadlineExceeded, text);
    case grpc::StatusCode::UNAVAILABLE:
      // Said before anything is proposed; etcd's other texts with this code ("request timed out") tell nothing.
      if (!may_have_run || Says(message, "etcdserver: no leader")) return Error(Code::kUnavailable, text);
      return Error(Code::kDeadlineExceeded, text + " (the outcome is unknown)");
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::ABORTED:
      // A connection that breaks in the middle of an answer shows as any of these.
      if (!may_have_run) return Error(Code::kUnavailable, text);
      return Error(Code::kDeadlineExceeded, text + " (the outcome is unknown)");
    default:
      return Error(static_cast<Code>(status.error_code()), text);  // the numbers are the same
  }
}

}  // namespace isla::store
