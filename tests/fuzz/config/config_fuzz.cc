// Any name and any stored bytes: "<name>\n<bytes>". Nothing crashes; what passes the check of a put holds in the merge as it
// was put and reads back the same; what doesn't hides nothing; a key says its scope and name again; all that a client is shown of
// them is JSON.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "api/config/merge.h"

namespace isla::config {
namespace {

void Check(const Scope& scope, const std::string& name, const std::string& bytes) {
  const store::Keys keys;
  const bool named = CheckName(name).empty();
  const auto parsed = keys.Parse((KeyPrefix(keys, scope) + name).text());
  const auto path = parsed ? ParsePath(parsed->name) : std::nullopt;
  ISLA_CHECK(path.has_value() == named);
  if (named) ISLA_CHECK(path->first == scope && path->second == name && IsBelow(name, name) && IsBelow(name, ""));
  auto kv = std::make_shared<store::KeyValue>();
  kv->key = KeyPrefix(keys, scope) + name;
  kv->value = bytes;
  const Layer layer{scope, ReadLeaves(keys, scope, {kv})};
  ISLA_CHECK(layer.leaves.size() == (named ? 1U : 0U));
  for (const auto& [its, leaf] : layer.leaves) {
    // What a client is shown is JSON, whatever was stored.
    ISLA_CHECK(json::Parse(json::Serialize(json::Value::MakeObject({{"value", leaf.value}, {"error", leaf.error}}))).ok());
  }
  if (FindSetting(name) == nullptr) {
    const FieldError error = UnknownSetting(name);
    ISLA_CHECK(json::Parse(json::Serialize(json::Value::MakeObject({{"field", error.field}, {"detail", error.detail}}))).ok());
  } else {
    ISLA_CHECK(named && CheckPrefix(name).ok());
  }
  const Layer below{Scope::Global(), {}};
  for (const Effective& effective : Merge({below, layer})) {
    if (effective.setting->name != name) {
      ISLA_CHECK(!effective.from);
      continue;
    }
    const auto value = json::Parse(bytes);
    const bool good = value.ok() && !CheckPut(scope, name, *value);
    ISLA_CHECK(effective.from.has_value() == good);
    if (good) ISLA_CHECK(*effective.value == *value);
    else ISLA_CHECK(effective.others.size() == 1 && !effective.others[0].error.empty());
    if (good && value->is_number()) ISLA_CHECK(value->ToInt64() >= effective.setting->least);
  }
}

}  // namespace
}  // namespace isla::config

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(text.find('\n'), text.size());
  const std::string name = text.substr(0, line);
  const std::string bytes = line < text.size() ? text.substr(line + 1) : "";
  using isla::config::Scope;
  for (const Scope& scope : {Scope::Global(), Scope::Group("g"), Scope::Node("n.x")}) isla::config::Check(scope, name, bytes);
  return 0;
}
