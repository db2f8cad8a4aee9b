// Any bytes as what a server answers where etcd should: whatever comes through keeps the store's promises (revisions
// that rise, transactions whole, lists in order and at one revision, an answer for every operation), or it is refused.
//
// The input is cut into messages, each behind two bytes with its length: responses of a watch, pages of a list, a transaction's.
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <vector>

#include "store/etcd/codec.h"
#include "store/etcd/watch_decoder.h"

namespace isla::store {
namespace {

std::vector<std::string_view> Messages(std::string_view input) {
  std::vector<std::string_view> messages;
  while (input.size() >= 2) {
    const size_t length = static_cast<uint8_t>(input[0]) | static_cast<size_t>(static_cast<uint8_t>(input[1])) << 8;
    messages.push_back(input.substr(2, length));
    input.remove_prefix(std::min(input.size(), 2 + length));
  }
  return messages;
}

template <typename Message>
bool Read(std::string_view bytes, Message& message) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

void CheckWatch(const std::vector<std::string_view>& messages, Revision start) {
  WatchDecoder decoder(start, 0);
  Revision upto = start - 1;
  for (const std::string_view bytes : messages) {
    etcdserverpb::WatchResponse response;
    if (!Read(bytes, response)) return;
    const uint64_t id = response.header().cluster_id();
    const bool fragment = response.fragment(), cancelled = response.canceled();
    const WatchDecoder::Result result = decoder.Handle(response);
    Revision last = upto;
    for (const Event& event : result.batch.events) {
      ISLA_CHECK(event.kv != nullptr && event.kv->mod_revision > upto && event.kv->mod_revision >= last);
      last = event.kv->mod_revision;
    }
    ISLA_CHECK(result.batch.events.empty() || (result.batch.revision == last && !fragment));
    upto = last;
    if (!result.end.ok()) return;
    ISLA_CHECK(!cancelled && (id == 0 || decoder.cluster_id() == id));
  }
}

void CheckList(const std::vector<std::string_view>& messages, const std::string& prefix) {
  ListResult list;
  for (const std::string_view bytes : messages) {
    etcdserverpb::RangeResponse page;
    if (!Read(bytes, page)) return;
    const size_t before = list.kvs.size();
    const auto more = TakePage(Prefix(prefix), page, list);
    if (!more.ok()) {
      ISLA_CHECK(more.status().code() == Code::kUnavailable);
      return;
    }
    ISLA_CHECK(!*more || list.kvs.size() > before);  // a list ends
    for (size_t i = before; i < list.kvs.size(); ++i) {
      ISLA_CHECK(list.kvs[i]->key.starts_with(prefix) && list.kvs[i]->mod_revision <= list.revision);
      ISLA_CHECK(i == 0 || list.kvs[i - 1]->key < list.kvs[i]->key);
    }
    if (!*more) return;
  }
}

void CheckGetAndTransaction(std::string_view bytes) {
  const std::string key = "/t/a";
  if (etcdserverpb::RangeResponse response; Read(bytes, response)) {
    const auto got = TakeGet(key, response);
    ISLA_CHECK(got.ok() ? got->kv == nullptr || got->kv->key == key : got.status().code() == Code::kUnavailable);
  }
  Transaction txn;
  txn.success = {Operation::Put(key, "1"), Operation::Get("/t/b")};
  txn.failure = {Operation::Get(key)};
  if (etcdserverpb::TxnResponse response; Read(bytes, response)) {
    const auto result = DecodeTransaction(txn, response);
    ISLA_CHECK(result.ok() ? result->gets.size() == 1 : result.status().code() == Code::kDeadlineExceeded);
    if (!result.ok() || result->gets[0] == nullptr) return;
    ISLA_CHECK(result->gets[0]->key == (result->succeeded ? "/t/b" : key));
  }
}

}  // namespace
}  // namespace isla::store

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace isla::store;
  static const google::protobuf::LogSilencer silencer;
  const auto messages = Messages({reinterpret_cast<const char*>(data), size});
  for (const Revision start : {1, 5}) CheckWatch(messages, start);
  for (const char* prefix : {"", "/t/"}) CheckList(messages, prefix);
  for (const std::string_view message : messages) CheckGetAndTransaction(message);
  return 0;
}
