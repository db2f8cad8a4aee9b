// Any bytes as a key of the store: taken apart it makes the same key again, or it has no known shape; it is found under the
// prefix of its class and under no other; and a prefix's end is the first key behind all that begin with it.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "api/base/status.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::store {
namespace {

/// The key that the parts are of; "" where the class has no maker (scoped configuration has its own).
std::string Made(const Keys& keys, const ParsedKey& parsed) {
  switch (parsed.key_class) {
    case KeyClass::kSpec: return keys.Spec(parsed.kind, parsed.ns, parsed.name);
    case KeyClass::kStatus: return keys.Status(parsed.kind, parsed.ns, parsed.name);
    case KeyClass::kBind: return keys.Bind(parsed.ns, parsed.name);
    case KeyClass::kRun: return keys.Run(parsed.node, parsed.container, parsed.incarnation);
    case KeyClass::kNode: return keys.Node(parsed.name);
    case KeyClass::kNodeTerm: return keys.NodeTerm(parsed.name);
    case KeyClass::kGateway: return keys.Gateway(parsed.name);
    case KeyClass::kManifest: return keys.Manifest(parsed.ns, parsed.name);
    case KeyClass::kManifestStatus: return keys.ManifestStatus(parsed.ns, parsed.name);
    case KeyClass::kBarrier: return keys.Barrier(parsed.name);
    default: return "";
  }
}

void CheckKey(const Keys& keys, const std::string& key) {
  const auto parsed = keys.Parse(key);
  ISLA_CHECK(parsed.has_value() == keys.prefix().Covers(key));
  if (!parsed) return;
  const std::string made = Made(keys, *parsed);
  ISLA_CHECK(made.empty() || made == key);
  for (const std::string* part : {&parsed->kind, &parsed->ns, &parsed->node, &parsed->container}) {
    ISLA_CHECK(part->find('/') == std::string::npos);
  }
  const std::vector<std::pair<KeyClass, Prefix>> classes = {
      {KeyClass::kSpec, keys.SpecPrefix()},         {KeyClass::kStatus, keys.StatusPrefix()},
      {KeyClass::kBind, keys.BindPrefix()},         {KeyClass::kRun, keys.RunPrefix()},
      {KeyClass::kNode, keys.NodePrefix()},         {KeyClass::kNodeTerm, keys.NodeTermPrefix()},
      {KeyClass::kGateway, keys.GatewayPrefix()},   {KeyClass::kManifest, keys.ManifestPrefix()},
      {KeyClass::kManifestStatus, keys.ManifestStatusPrefix()}};
  for (const auto& [key_class, prefix] : classes) {
    if (parsed->key_class == key_class) ISLA_CHECK(prefix.Covers(key));
    if (prefix.Covers(key)) ISLA_CHECK(parsed->key_class == key_class || parsed->key_class == KeyClass::kOther);
  }
}

void CheckEnd(const Prefix& prefix, const std::string& key) {
  const std::string end = prefix.End();
  const bool within = key >= prefix.text() && (end.empty() || key < end);
  ISLA_CHECK(within == prefix.Covers(key));
}

}  // namespace
}  // namespace isla::store

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace isla::store;
  const std::string input(reinterpret_cast<const char*>(data), size);
  const Keys keys("/t/");
  CheckKey(keys, input);
  CheckKey(keys, "/t/" + input);
  for (const size_t cut : {size_t{0}, size_t{1}, size / 2, size}) {
    CheckEnd(Prefix(input.substr(0, std::min(cut, size))), input);
    CheckEnd(Prefix(input.substr(0, std::min(cut, size))), input.substr(std::min(cut, size)));
  }
  return 0;
}
