// The file of an export. Any bytes as a file: refused with the number of a line, or read, and then written again the same way.
// Any bytes as keys and values: written, and read back byte for byte; the file with one byte changed or its end missing is
// refused. Any bytes with checksums that fit: nothing hurts.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "api/archive/format.h"
#include "api/archive/lines.h"
#include "api/base/crc32c.h"

namespace isla::archive {
namespace {

struct Content {
  Status status;
  Header header;
  std::vector<Entry> entries;
};

Content Read(std::string_view text, size_t step) {
  Content content;
  LineBuffer lines(kMaxLineBytes);
  Reader reader;
  for (size_t at = 0; at < text.size(); at += step) {
    lines.Append(text.substr(at, step));
    for (;;) {
      const auto line = lines.Next();
      content.status = line.status();
      if (!line.ok()) return content;
      if (!line->has_value()) break;
      auto item = reader.Take(**line);
      content.status = item.status();
      if (!item.ok()) return content;
      if (auto* header = std::get_if<Header>(&*item)) content.header = std::move(*header);
      if (auto* entry = std::get_if<Entry>(&*item)) content.entries.push_back(std::move(*entry));
    }
  }
  content.status = reader.Close(lines.rest());
  return content;
}

std::string Write(const Header& header, const std::vector<Entry>& entries) {
  Writer writer;
  std::string text = writer.Begin(header);
  for (const Entry& entry : entries) text += writer.Add(entry).value();
  return text + writer.Finish();
}

bool Same(const Entry& a, const Entry& b) {
  return a.key == b.key && a.key_class == b.key_class && a.created == b.created && a.modified == b.modified &&
         a.value == b.value;
}

void CheckAsFile(std::string_view text) {
  const Content content = Read(text, 4096);
  const Content slowly = Read(text, 7);
  ISLA_CHECK(content.status.code() == slowly.status.code());
  if (!content.status.ok()) {
    if (content.status.code() == Code::kInvalidArgument) ISLA_CHECK(Message(content.status).starts_with("line "));
    return;
  }
  const Content again = Read(Write(content.header, content.entries), 4096);
  ISLA_CHECK_OK(again.status);
  ISLA_CHECK(again.entries.size() == content.entries.size());
  for (size_t i = 0; i < again.entries.size(); ++i) ISLA_CHECK(Same(again.entries[i], content.entries[i]));
}

/// Lines with a length, a key and a value each.
void CheckAsContent(std::string_view bytes) {
  std::map<std::string, std::string> all;
  while (bytes.size() > 2) {
    const size_t key = 1 + static_cast<unsigned char>(bytes[0]) % 16, value = static_cast<unsigned char>(bytes[1]);
    bytes.remove_prefix(2);
    if (bytes.size() < key) break;
    std::string name(bytes.substr(0, key));
    bytes.remove_prefix(key);
    all[std::move(name)] = std::string(bytes.substr(0, value));
    bytes.remove_prefix(std::min(value, bytes.size()));
  }
  std::vector<Entry> entries;
  for (const auto& [key, value] : all) entries.push_back({key, "other", 1, 2, value});
  Header header;
  header.cluster_id = "c";
  header.revision = 3;
  const std::string text = Write(header, entries);
  const Content content = Read(text, 4096);
  ISLA_CHECK_OK(content.status);
  ISLA_CHECK(content.entries.size() == entries.size());
  for (size_t i = 0; i < entries.size(); ++i) ISLA_CHECK(Same(content.entries[i], entries[i]));
  if (text.size() > 4000) return;
  const size_t at = Crc32c(text) % text.size();
  std::string changed = text;
  changed[at] = static_cast<char>(changed[at] ^ 0x40);
  ISLA_CHECK(!Read(changed, 4096).status.ok());
  ISLA_CHECK(!Read(std::string_view(text).substr(0, at), 4096).status.ok());
}

void CheckForged(std::string_view bodies) {
  std::string text;
  uint32_t crc = 0;
  while (!bodies.empty()) {
    const size_t end = std::min(bodies.find('\n'), bodies.size());
    const std::string body(bodies.substr(0, end));
    crc = Crc32c(body, crc);
    text += body + fmt::format(",\"sum\":\"{:08x}\"}}\n", crc);
    bodies.remove_prefix(std::min(end + 1, bodies.size()));
  }
  CheckAsFile(text);
}

}  // namespace
}  // namespace isla::archive

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  isla::archive::CheckAsFile(text);
  isla::archive::CheckAsContent(text);
  isla::archive::CheckForged(text);
  return 0;
}
