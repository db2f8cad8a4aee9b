#include "store/transaction.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace isla::store {
namespace {

/// Keys written by one operation: [begin, end), end "" = no end.
struct Range {
  std::string begin;
  std::string end;
};

Status CheckOperations(const std::vector<Operation>& operations, bool writes_allowed) {
  std::vector<Range> written;
  for (const Operation& operation : operations) {
    if (operation.key.empty() && operation.kind != Operation::Kind::kDeletePrefix) {
      return Error(Code::kInvalidArgument, "a key is empty");
    }
    if (operation.kind == Operation::Kind::kGet) continue;
    if (!writes_allowed) {
      return Error(Code::kInvalidArgument, "the failure branch of a transaction may only read");
    }
    written.push_back({operation.key, operation.kind == Operation::Kind::kDeletePrefix
                                          ? Prefix(operation.key).End()
                                          : operation.key + '\0'});
  }
  if (written.size() < 2) return OkStatus();
  std::sort(written.begin(), written.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < written.size(); ++i) {
    // Sorted by begin, and ranges are points or prefixes, which nest or are apart: neighbours suffice.
    if (written[i - 1].end.empty() || written[i].begin < written[i - 1].end) {
      return Errorf(Code::kInvalidArgument, "key '{}' is written twice in a transaction", written[i].begin);
    }
  }
  return OkStatus();
}

size_t Bytes(const std::vector<Operation>& operations) {
  size_t bytes = 0;
  for (const Operation& operation : operations) bytes += operation.key.size() + operation.value.size() + 32;
  return bytes;
}

}  // namespace

Status CheckTransaction(const Transaction& txn) {
  const size_t parts = std::max({txn.compares.size(), txn.success.size(), txn.failure.size()});
  if (parts > kMaxTransactionParts) {
    return Errorf(Code::kResourceExhausted, "a transaction of {} parts (at most {})", parts, kMaxTransactionParts);
  }
  size_t bytes = Bytes(txn.success) + Bytes(txn.failure);
  for (const Compare& compare : txn.compares) {
    if (compare.key.empty()) return Error(Code::kInvalidArgument, "a key is empty");
    bytes += compare.key.size() + compare.value.size() + 32;
  }
  if (bytes > kMaxTransactionBytes) {
    return Errorf(Code::kResourceExhausted, "a transaction of {} bytes (at most {})", bytes, kMaxTransactionBytes);
  }
  RETURN_IF_ERROR(CheckOperations(txn.success, true));
  return CheckOperations(txn.failure, false);
}

}  // namespace isla::store
