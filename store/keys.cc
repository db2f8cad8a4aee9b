#include "store/keys.h"

#include <array>
#include <charconv>
#include <utility>
#include <vector>

#include "api/base/status.h"

namespace isla::store {
namespace {

Key Join(const Prefix& prefix, std::initializer_list<std::string_view> parts) {
  size_t size = prefix.size();
  for (std::string_view part : parts) size += part.size() + 1;
  std::string key;
  key.reserve(size);
  key.append(prefix.text());
  bool first = true;
  for (std::string_view part : parts) {
    if (!first) key.push_back('/');
    key.append(part);
    first = false;
  }
  return key;
}

/// Class prefix: the parts up to the first empty one, each followed by '/'.
Prefix JoinPrefix(const Prefix& prefix, std::initializer_list<std::string_view> parts) {
  std::string key = prefix.text();
  for (std::string_view part : parts) {
    if (part.empty()) break;
    key.append(part);
    key.push_back('/');
  }
  return Prefix(std::move(key));
}

struct Class {
  std::string_view word;
  KeyClass key_class;
  size_t parts;  // after the word; 0 = any number
};

constexpr std::array<Class, 15> kClasses = {{
    {"spec", KeyClass::kSpec, 3},
    {"status", KeyClass::kStatus, 3},
    {"bind", KeyClass::kBind, 2},
    {"run", KeyClass::kRun, 3},
    {"node", KeyClass::kNode, 1},
    {"nodeterm", KeyClass::kNodeTerm, 1},
    {"gateway", KeyClass::kGateway, 1},
    {"lead", KeyClass::kLead, 1},
    {"manifest", KeyClass::kManifest, 2},
    {"manifest-status", KeyClass::kManifestStatus, 2},
    {"meta", KeyClass::kMeta, 1},
    {"barrier", KeyClass::kBarrier, 1},
    {"config", KeyClass::kConfig, 0},
    {"sgroup", KeyClass::kConfig, 0},
    {"nodes", KeyClass::kConfig, 0},
}};

std::vector<std::string_view> Split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t slash = text.find('/');
    parts.push_back(text.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    text.remove_prefix(slash + 1);
  }
}

/// A positive decimal number as the layout writes it: no sign, no leading zero.
bool ParseIncarnation(std::string_view text, int64_t& number) {
  if (text.empty() || text[0] < '1' || text[0] > '9') return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

/// Fills the parts in; false if they don't have the shape of their class.
bool Fill(const std::vector<std::string_view>& parts, ParsedKey& parsed) {
  switch (parsed.key_class) {
    case KeyClass::kSpec:
    case KeyClass::kStatus:
      parsed.kind = parts[1];
      parsed.ns = parts[2];
      parsed.name = parts[3];
      return true;
    case KeyClass::kBind:
    case KeyClass::kManifest:
    case KeyClass::kManifestStatus:
      parsed.ns = parts[1];
      parsed.name = parts[2];
      return true;
    case KeyClass::kRun:
      parsed.node = parts[1];
      parsed.container = parts[2];
      return ParseIncarnation(parts[3], parsed.incarnation);
    default:
      parsed.name = parts[1];
      return true;
  }
}

}  // namespace

std::string Prefix::End() const {
  std::string end = text_;
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

Keys::Keys(std::string prefix) : prefix_(std::move(prefix)) {
  ISLA_CHECK(prefix_.text().starts_with('/') && prefix_.text().ends_with('/'));
}

Key Keys::Spec(std::string_view kind, std::string_view ns, std::string_view name) const {
  return Join(prefix_, {"spec", kind, ns, name});
}
Key Keys::Status(std::string_view kind, std::string_view ns, std::string_view name) const {
  return Join(prefix_, {"status", kind, ns, name});
}
Key Keys::Bind(std::string_view ns, std::string_view session) const {
  return Join(prefix_, {"bind", ns, session});
}
Key Keys::Run(std::string_view node, std::string_view container_uid, int64_t incarnation) const {
  return Join(prefix_, {"run", node, container_uid, std::to_string(incarnation)});
}
Key Keys::Node(std::string_view name) const { return Join(prefix_, {"node", name}); }
Key Keys::NodeTerm(std::string_view name) const { return Join(prefix_, {"nodeterm", name}); }
Key Keys::Gateway(std::string_view id) const { return Join(prefix_, {"gateway", id}); }
Key Keys::Lead() const { return Join(prefix_, {"lead", "controllers"}); }
Key Keys::Manifest(std::string_view ns, std::string_view name) const {
  return Join(prefix_, {"manifest", ns, name});
}
Key Keys::ManifestStatus(std::string_view ns, std::string_view name) const {
  return Join(prefix_, {"manifest-status", ns, name});
}
Key Keys::Cluster() const { return Join(prefix_, {"meta", "cluster"}); }
Key Keys::Compacted() const { return Join(prefix_, {"meta", "compacted"}); }
Key Keys::Barrier(std::string_view islad) const { return Join(prefix_, {"barrier", islad}); }

Prefix Keys::SpecPrefix(std::string_view kind, std::string_view ns) const {
  return JoinPrefix(prefix_, {"spec", kind, ns});
}
Prefix Keys::StatusPrefix(std::string_view kind, std::string_view ns) const {
  return JoinPrefix(prefix_, {"status", kind, ns});
}
Prefix Keys::BindPrefix(std::string_view ns) const { return JoinPrefix(prefix_, {"bind", ns}); }
Prefix Keys::RunPrefix(std::string_view node) const { return JoinPrefix(prefix_, {"run", node}); }
Prefix Keys::NodePrefix() const { return JoinPrefix(prefix_, {"node"}); }
Prefix Keys::NodeTermPrefix() const { return JoinPrefix(prefix_, {"nodeterm"}); }
Prefix Keys::GatewayPrefix() const { return JoinPrefix(prefix_, {"gateway"}); }
Prefix Keys::ManifestPrefix() const { return JoinPrefix(prefix_, {"manifest"}); }
Prefix Keys::ManifestStatusPrefix() const { return JoinPrefix(prefix_, {"manifest-status"}); }

std::optional<ParsedKey> Keys::Parse(std::string_view key) const {
  if (!prefix_.Covers(key)) return std::nullopt;
  key.remove_prefix(prefix_.size());
  const std::vector<std::string_view> parts = Split(key);
  ParsedKey parsed;
  for (const Class& known : kClasses) {
    if (parts[0] != known.word) continue;
    if (known.parts == 0) {
      parsed.key_class = known.key_class;
      parsed.name = key;  // the whole path: the tree below is the configuration's own business
      return parsed;
    }
    bool shaped = parts.size() == known.parts + 1;
    for (std::string_view part : parts) shaped = shaped && !part.empty();
    if (!shaped) return ParsedKey{};
    parsed.key_class = known.key_class;
    return Fill(parts, parsed) ? parsed : ParsedKey{};
  }
  return parsed;
}

}  // namespace isla::store
