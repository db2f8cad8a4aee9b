#include "controllers/runtime/decoded_key.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

namespace isla::controllers {

using store::KeyClass;
using KvPtr = std::shared_ptr<const store::KeyValue>;

namespace {

constexpr size_t kAtOnce = 64;  // keys that a thread takes: about a millisecond's work

template <typename T>
StoredPtr<T> MakeStored(const KvPtr& kv, StatusOr<T> decoded) {
  auto stored = std::make_shared<Stored<T>>();
  stored->kv = kv;
  if (decoded.ok()) {
    stored->value = std::move(decoded).value();
  } else {
    stored->error = decoded.status();
  }
  return stored;
}

void DecodeValue(DecodedKey& decoded) {
  const KvPtr& kv = decoded.kv;
  switch (decoded.key.key_class) {
    case KeyClass::kSpec:
      if (decoded.key.kind == "session") decoded.value = MakeStored(kv, DecodeStoredSession(*kv));
      if (decoded.key.kind == "project") decoded.value = MakeStored(kv, DecodeStoredProject(*kv));
      if (decoded.key.kind == "sandboxpolicy") decoded.value = MakeStored(kv, DecodeStoredPolicy(*kv));
      return;
    case KeyClass::kStatus: decoded.value = MakeStored(kv, DecodeStatusRecord(kv->value)); return;
    case KeyClass::kBind: decoded.value = MakeStored(kv, DecodeBind(kv->value)); return;
    case KeyClass::kRun: decoded.value = MakeStored(kv, DecodeRun(kv->value)); return;
    case KeyClass::kNode: decoded.value = MakeStored(kv, DecodeNode(kv->value)); return;
    case KeyClass::kNodeTerm: decoded.value = MakeStored(kv, DecodeNodeTerm(kv->value)); return;
    case KeyClass::kGateway: decoded.value = MakeStored(kv, DecodeGateway(kv->value)); return;
    case KeyClass::kManifestStatus: decoded.value = MakeStored(kv, DecodeManifestVerdict(kv->value)); return;
    default: return;
  }
}

}  // namespace

std::optional<DecodedKey> DecodeKey(const store::Keys& keys, const std::string& key, const KvPtr& kv) {
  std::optional<store::ParsedKey> parsed = keys.Parse(key);
  if (!parsed) return std::nullopt;
  DecodedKey decoded{std::move(*parsed), key, kv, {}};
  if (kv != nullptr) DecodeValue(decoded);
  return decoded;
}

std::vector<DecodedKey> DecodeKeys(const store::Keys& keys, const std::vector<KvPtr>& kvs) {
  std::vector<std::optional<DecodedKey>> decoded(kvs.size());
  std::atomic<size_t> next{0};
  const auto work = [&keys, &kvs, &decoded, &next] {
    for (size_t begin = next.fetch_add(kAtOnce); begin < kvs.size(); begin = next.fetch_add(kAtOnce)) {
      for (size_t i = begin; i < std::min(begin + kAtOnce, kvs.size()); ++i) decoded[i] = DecodeKey(keys, kvs[i]->key, kvs[i]);
    }
  };
  {
    std::vector<std::jthread> helpers;
    const size_t useful = kvs.size() / kAtOnce / 4;
    for (size_t i = 1; i < std::min<size_t>(useful, std::thread::hardware_concurrency()); ++i) helpers.emplace_back(work);
    work();
  }
  std::vector<DecodedKey> out;
  out.reserve(kvs.size());
  for (auto& one : decoded) {
    if (one) out.push_back(std::move(*one));
  }
  return out;
}

}  // namespace isla::controllers
