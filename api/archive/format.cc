#include "api/archive/format.h"

#include <algorithm>
#include <initializer_list>

#include "api/base/base64.h"
#include "api/base/crc32c.h"
#include "api/base/utf8.h"

namespace isla::archive {
namespace {

constexpr std::string_view kKind = "store-export";
constexpr std::string_view kSumBegin = ",\"sum\":\"";
constexpr size_t kSumBytes = kSumBegin.size() + 8 + 2;  // ,"sum":"xxxxxxxx"}
constexpr json::Limits kValueLimits{.max_bytes = kMaxValueBytes, .max_depth = 64};
constexpr json::Limits kLineLimits{.max_bytes = kMaxLineBytes, .max_depth = 72};
// A text of control characters takes six bytes for each; base64 is shorter then.
constexpr size_t kMaxEscapedBytes = 3;

std::string Quoted(std::string_view text) { return json::Serialize(json::Value(text)); }

/// ,"name":"text", or ,"nameBase64":"..." for what isn't UTF-8.
std::string KeyMember(std::string_view key) {
  if (FindBadUtf8(key) == std::string_view::npos) return "\"key\":" + Quoted(key);
  return "\"keyBase64\":\"" + EncodeBase64(key) + "\"";
}

std::string ValueMember(const std::string& value) {
  const StatusOr<json::Value> tree = json::Parse(value, kValueLimits);
  // As it is, not printed anew: what is read back must be the same bytes.
  if (tree.ok() && json::Serialize(*tree) == value) return "\"json\":" + value;
  if (FindBadUtf8(value) == std::string_view::npos) {
    std::string quoted = Quoted(value);
    if (quoted.size() <= kMaxEscapedBytes * value.size() + 2) return "\"text\":" + quoted;
  }
  return "\"base64\":\"" + EncodeBase64(value) + "\"";
}

/// OK if the object has these members, in any order, and no others.
Status CheckMembers(const json::Value& tree, std::initializer_list<std::string_view> names) {
  for (const json::Member& member : tree.members()) {
    if (std::find(names.begin(), names.end(), member.name) == names.end()) {
      return Errorf(Code::kInvalidArgument, "unknown member '{}'", member.name.substr(0, 64));
    }
  }
  return OkStatus();
}

StatusOr<std::string> TextOf(const json::Value& tree, std::string_view name) {
  const json::Value* value = tree.Find(name);
  if (value == nullptr || !value->is_string()) return Errorf(Code::kInvalidArgument, "'{}' is missing or no string", name);
  return value->as_string();
}

StatusOr<int64_t> NumberOf(const json::Value& tree, std::string_view name, int64_t least) {
  const std::optional<int64_t> number = tree.Int64At({name});
  if (!number || *number < least) return Errorf(Code::kInvalidArgument, "'{}' is missing or no number from {}", name, least);
  return *number;
}

StatusOr<Header> ParseHeader(const json::Value& tree) {
  RETURN_IF_ERROR(CheckMembers(tree, {"isla", "version", "cluster", "revision", "at", "by", "sealed", "sum"}));
  const json::Value* cluster = tree.Find("cluster");
  const json::Value* sealed = tree.Find("sealed");
  if (cluster == nullptr || !cluster->is_object()) return Error(Code::kInvalidArgument, "'cluster' is missing or no object");
  if (sealed == nullptr || !sealed->is_bool()) return Error(Code::kInvalidArgument, "'sealed' is missing or no boolean");
  RETURN_IF_ERROR(CheckMembers(*cluster, {"id", "epoch", "level"}));
  Header header;
  ASSIGN_OR_RETURN(header.cluster_id, TextOf(*cluster, "id"));
  if (header.cluster_id.empty()) return Error(Code::kInvalidArgument, "the cluster has no id");
  ASSIGN_OR_RETURN(header.epoch, NumberOf(*cluster, "epoch", 1));
  ASSIGN_OR_RETURN(header.level, NumberOf(*cluster, "level", 1));
  ASSIGN_OR_RETURN(header.revision, NumberOf(tree, "revision", 1));
  ASSIGN_OR_RETURN(header.at, TextOf(tree, "at"));
  ASSIGN_OR_RETURN(header.by, TextOf(tree, "by"));
  header.sealed = sealed->as_bool();
  return header;
}

StatusOr<std::string> ParseKey(const json::Value& tree) {
  const json::Value* encoded = tree.Find("keyBase64");
  if (encoded == nullptr) return TextOf(tree, "key");
  if (!encoded->is_string() || tree.Find("key") != nullptr) return Error(Code::kInvalidArgument, "the line has two keys");
  ASSIGN_OR_RETURN(std::string key, DecodeStrictBase64(encoded->as_string()));
  // One spelling for each key, so that a file can be compared as text.
  if (FindBadUtf8(key) == std::string_view::npos) return Error(Code::kInvalidArgument, "'keyBase64' of a key that is text");
  return key;
}

StatusOr<std::string> ParseValue(const json::Value& tree) {
  const json::Value* value = tree.Find("json");
  const json::Value* text = tree.Find("text");
  const json::Value* base64 = tree.Find("base64");
  if ((value != nullptr) + (text != nullptr) + (base64 != nullptr) != 1) {
    return Error(Code::kInvalidArgument, "the line needs one of 'json', 'text' and 'base64'");
  }
  if (value != nullptr) return json::Serialize(*value);
  if (text != nullptr) return TextOf(tree, "text");
  ASSIGN_OR_RETURN(const std::string encoded, TextOf(tree, "base64"));
  return DecodeStrictBase64(encoded);
}

StatusOr<Entry> EntryOf(const json::Value& tree) {
  RETURN_IF_ERROR(
      CheckMembers(tree, {"key", "keyBase64", "class", "created", "modified", "json", "text", "base64", "sum"}));
  Entry entry;
  ASSIGN_OR_RETURN(entry.key, ParseKey(tree));
  ASSIGN_OR_RETURN(entry.key_class, TextOf(tree, "class"));
  ASSIGN_OR_RETURN(entry.created, NumberOf(tree, "created", 0));
  ASSIGN_OR_RETURN(entry.modified, NumberOf(tree, "modified", 0));
  ASSIGN_OR_RETURN(entry.value, ParseValue(tree));
  if (entry.key.empty() || entry.key.size() > kMaxKeyBytes || entry.value.size() > kMaxValueBytes) {
    return Errorf(Code::kInvalidArgument, "a key of {} bytes with a value of {} is out of bounds", entry.key.size(),
                  entry.value.size());
  }
  return entry;
}

}  // namespace

// ---- writing ---------------------------------------------------------------------------------------------

/// `body`: an object without its last brace.
std::string Writer::Line(std::string body) {
  crc_ = Crc32c(body, crc_);
  body += fmt::format("{}{:08x}\"}}\n", kSumBegin, crc_);
  sha_.Update(body);
  return body;
}

std::string Writer::Begin(const Header& header) {
  return Line(fmt::format(R"({{"isla":"{}","version":{},"cluster":{{"id":{},"epoch":{},"level":{}}},"revision":{},"at":{},"by":{},"sealed":{})",
                          kKind, kVersion, Quoted(header.cluster_id), header.epoch, header.level, header.revision,
                          Quoted(header.at), Quoted(header.by), header.sealed));
}

StatusOr<std::string> Writer::Add(const Entry& entry) {
  if (entry.key.empty() || entry.key.size() > kMaxKeyBytes || entry.value.size() > kMaxValueBytes) {
    return Errorf(Code::kInvalidArgument, "key '{}' ({} bytes) or its value ({} bytes) is larger than a file takes",
                  entry.key.substr(0, 200), entry.key.size(), entry.value.size());
  }
  if (keys_ > 0 && entry.key <= last_key_) {
    return Errorf(Code::kInvalidArgument, "key '{}' comes after '{}'", entry.key, last_key_);
  }
  last_key_ = entry.key;
  ++keys_;
  return Line(fmt::format(R"({{{},"class":{},"created":{},"modified":{},{})", KeyMember(entry.key), Quoted(entry.key_class),
                          entry.created, entry.modified, ValueMember(entry.value)));
}

std::string Writer::Finish() { return Line(fmt::format(R"({{"end":true,"keys":{},"sha256":"{}")", keys_, sha_.Hex())); }

std::string Writer::Fail(const std::string& why, bool again) {
  return Line(fmt::format(R"({{"end":false,"error":{},"again":{})", Quoted(why), again));
}

// ---- reading ---------------------------------------------------------------------------------------------

StatusOr<Entry> ParseEntry(std::string_view line) {
  ASSIGN_OR_RETURN(const json::Value tree, json::Parse(line, kLineLimits));
  if (!tree.is_object()) return Error(Code::kInvalidArgument, "it is no object");
  return EntryOf(tree);
}

StatusOr<Reader::Item> Reader::Take(std::string_view line) {
  ++line_;
  StatusOr<Item> item = Parse(line);
  if (item.ok() || item.status().code() != Code::kInvalidArgument) return item;
  return Annotate(item.status(), fmt::format("line {}", line_));
}

StatusOr<Reader::Item> Reader::Parse(std::string_view line) {
  if (ended_) return Error(Code::kInvalidArgument, "there is text behind the end");
  StatusOr<json::Value> tree = Error(Code::kInvalidArgument, "not parsed yet");
  if (line_ == 1) {
    tree = json::Parse(line, kLineLimits);
    if (!tree.ok() || !tree->is_object() || tree->StringAt({"isla"}) != kKind) {
      return Error(Code::kInvalidArgument, "this is no export of an isla store");
    }
    const int64_t version = tree->Int64At({"version"}).value_or(0);
    // Before the checksum: another version may have another one.
    if (version != kVersion) {
      return Errorf(Code::kInvalidArgument, "the file has version {} of the format, and this isla reads version {}", version,
                    kVersion);
    }
  }
  if (line.size() < kSumBytes || line.substr(line.size() - kSumBytes, kSumBegin.size()) != kSumBegin) {
    return Error(Code::kInvalidArgument, "it doesn't end in a checksum: it was cut short or changed");
  }
  crc_ = Crc32c(line.substr(0, line.size() - kSumBytes), crc_);
  if (line.substr(line.size() - kSumBytes) != fmt::format("{}{:08x}\"}}", kSumBegin, crc_)) {
    return Error(Code::kInvalidArgument,
                 "the checksum doesn't fit: this line was changed, or lines before it were changed, lost, added or moved");
  }
  if (line_ > 1) tree = json::Parse(line, kLineLimits);
  RETURN_IF_ERROR(tree);
  if (!tree->is_object()) return Error(Code::kInvalidArgument, "it is no object");
  if (tree->Find("end") != nullptr) {
    ASSIGN_OR_RETURN(End end, ParseEnd(*tree));
    ended_ = true;
    return Item(std::move(end));
  }
  sha_.Update(line);
  sha_.Update("\n");
  if (line_ == 1) {
    ASSIGN_OR_RETURN(Header header, ParseHeader(*tree));
    return Item(std::move(header));
  }
  ASSIGN_OR_RETURN(Entry entry, EntryOf(*tree));
  RETURN_IF_ERROR(CheckOrder(entry));
  return Item(std::move(entry));
}

Status Reader::CheckOrder(const Entry& entry) {
  if (keys_ > 0 && entry.key <= last_key_) {
    return Errorf(Code::kInvalidArgument, "key '{}' comes after '{}', which belongs behind it", entry.key, last_key_);
  }
  last_key_ = entry.key;
  ++keys_;
  return OkStatus();
}

StatusOr<End> Reader::ParseEnd(const json::Value& tree) const {
  const json::Value* whole = tree.Find("end");
  if (!whole->is_bool()) return Error(Code::kInvalidArgument, "'end' is no boolean");
  if (!whole->as_bool()) {
    const json::Value* again = tree.Find("again");
    const bool retry = again != nullptr && again->is_bool() && again->as_bool();
    return Error(retry ? Code::kAborted : Code::kUnavailable, tree.StringAt({"error"}, "the export broke off"));
  }
  RETURN_IF_ERROR(CheckMembers(tree, {"end", "keys", "sha256", "sum"}));
  End end;
  ASSIGN_OR_RETURN(const int64_t keys, NumberOf(tree, "keys", 0));
  ASSIGN_OR_RETURN(end.sha256, TextOf(tree, "sha256"));
  end.keys = static_cast<uint64_t>(keys);
  if (line_ == 1 || end.keys != keys_) {
    return Errorf(Code::kInvalidArgument, "the file says that it has {} keys, and it has {}", end.keys, keys_);
  }
  if (end.sha256 != sha_.Hex()) return Error(Code::kInvalidArgument, "the SHA-256 of the file doesn't fit");
  return end;
}

Status Reader::Close(std::string_view rest) const {
  if (!rest.empty()) return Errorf(Code::kInvalidArgument, "line {}: it was cut short: it has no end of line", line_ + 1);
  if (ended_) return OkStatus();
  return Errorf(Code::kInvalidArgument, "line {}: the file was cut short: this is not its end", line_);
}

}  // namespace isla::archive
