#include "controllers/transfer/import_file.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "controllers/runtime/records.h"
#include "controllers/transfer/key_value.h"
#include "store/transaction.h"

namespace isla::transfer {
namespace {

constexpr size_t kBlock = size_t{128} << 10;
constexpr size_t kMaxInvalidTold = 20;
constexpr uint64_t kProgressEvery = 512;
// In one transaction with the compare of meta/cluster.
constexpr size_t kMaxPutBytes = store::kMaxTransactionBytes - 2048;

StatusOr<size_t> ReadAt(int fd, char* buffer, size_t size, uint64_t offset) {
  for (;;) {
    const ssize_t got = pread(fd, buffer, size, static_cast<off_t>(offset));
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) return FromErrno(errno, "read the uploaded file");
  }
}

}  // namespace

Status ImportFile::ReadLines(const Line& each) const {
  archive::Reader reader;
  archive::LineBuffer lines(archive::kMaxLineBytes);
  std::vector<char> block(kBlock);
  uint64_t offset = 0;  // of the next line
  for (uint64_t at = 0;;) {
    ASSIGN_OR_RETURN(const size_t got, ReadAt(fd_, block.data(), block.size(), at));
    if (got == 0) return reader.Close(lines.rest());
    at += got;
    lines.Append({block.data(), got});
    for (;;) {
      const auto line = lines.Next();
      if (!line.ok()) {
        return Errorf(Code::kInvalidArgument, "line {}: {}", reader.line() + 1, Message(line.status()));
      }
      if (!line->has_value()) break;
      StatusOr<archive::Reader::Item> item = reader.Take(**line);
      // What an export wrote in place of its end.
      if (!item.ok() && item.status().code() != Code::kInvalidArgument) {
        return Errorf(Code::kInvalidArgument, "line {}: the export broke off: {}", reader.line(), Message(item.status()));
      }
      RETURN_IF_ERROR(item);
      const uint64_t begin = std::exchange(offset, offset + (*line)->size() + 1);
      RETURN_IF_ERROR(each(*std::move(item), reader.line(), begin));
    }
  }
}

StatusOr<FileFacts> ImportFile::Check(const Progress& progress) const {
  FileFacts facts;
  const auto each = [this, &facts, &progress](archive::Reader::Item item, uint64_t line, uint64_t offset) -> Status {
    if (auto* header = std::get_if<archive::Header>(&item)) {
      facts.header = std::move(*header);
      facts.epoch = facts.header.epoch;
      return OkStatus();
    }
    if (auto* end = std::get_if<archive::End>(&item)) {
      facts.keys = end->keys;
      facts.sha256 = end->sha256;
      return progress(facts.keys);
    }
    if (line % kProgressEvery == 0) RETURN_IF_ERROR(progress(line - 1));
    Item key{std::get<archive::Entry>(std::move(item)), {}, offset};
    key.parsed = keys_.Parse((keys_.prefix() + key.entry.key).text()).value_or(store::ParsedKey());
    return Annotate(CheckEntry(key, line, facts), fmt::format("line {}: key '{}'", line, key.entry.key.substr(0, 300)));
  };
  RETURN_IF_ERROR(ReadLines(each));
  return facts;
}

Status ImportFile::CheckEntry(const Item& item, uint64_t line, FileFacts& facts) const {
  const archive::Entry& entry = item.entry;
  const store::KeyClass key_class = item.parsed.key_class;
  const std::string key = keys_.prefix() + entry.key;
  if (!IsContent(key_class)) {
    return Errorf(Code::kInvalidArgument, "no export has a key of class '{}'", ClassName(key_class));
  }
  if (key.size() + entry.value.size() > kMaxPutBytes) {
    return Errorf(Code::kInvalidArgument, "{} bytes are more than a store takes", key.size() + entry.value.size());
  }
  ++facts.classes[std::string(ClassName(key_class))];
  Status valid = CheckValue(keys_, item.parsed, key, entry.value);
  if (valid.ok() && entry.key_class != ClassName(key_class)) {
    valid = Errorf(Code::kInvalidArgument, "it was exported as '{}', which this isla doesn't know as such", entry.key_class);
  }
  if (!valid.ok()) {
    ++facts.invalid_keys;
    if (facts.invalid.size() < kMaxInvalidTold) {
      facts.invalid.push_back(fmt::format("line {}: key '{}': {}", line, entry.key, Message(valid)));
    }
    return OkStatus();
  }
  if (key_class == store::KeyClass::kBind) {
    facts.epoch = std::max(facts.epoch, controllers::DecodeBind(entry.value)->epoch);
  } else if (key_class == store::KeyClass::kNode) {
    facts.node_uids[item.parsed.name] = controllers::DecodeNode(entry.value)->uid;
  } else if (key_class == store::KeyClass::kManifest) {
    facts.manifests[item.parsed.ns + "/" + item.parsed.name] = entry.modified;
  }
  return OkStatus();
}

Status ImportFile::ForEach(const std::function<Status(Item item)>& each) const {
  return ReadLines([this, &each](archive::Reader::Item item, uint64_t, uint64_t offset) -> Status {
    auto* entry = std::get_if<archive::Entry>(&item);
    if (entry == nullptr) return OkStatus();
    Item key{std::move(*entry), {}, offset};
    key.parsed = keys_.Parse((keys_.prefix() + key.entry.key).text()).value_or(store::ParsedKey());
    return each(std::move(key));
  });
}

StatusOr<archive::Entry> ImportFile::Read(uint64_t offset) const {
  archive::LineBuffer lines(archive::kMaxLineBytes);
  std::vector<char> block(kBlock);
  for (uint64_t at = offset;;) {
    ASSIGN_OR_RETURN(const size_t got, ReadAt(fd_, block.data(), block.size(), at));
    at += got;
    lines.Append({block.data(), got});
    ASSIGN_OR_RETURN(const auto line, lines.Next());
    if (line) return archive::ParseEntry(*line);
    if (got == 0) return Error(Code::kInternal, "the uploaded file has changed");
  }
}

}  // namespace isla::transfer
