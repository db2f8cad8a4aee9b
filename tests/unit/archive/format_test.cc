// The file of an export: what goes in comes out, and what was damaged, cut or edited is refused where it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/archive/format.h"
#include "api/archive/lines.h"
#include "api/base/crc32c.h"

namespace isla::archive {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Header SomeHeader() {
  Header header;
  header.cluster_id = "7f2c";
  header.epoch = 3;
  header.revision = 4711;
  header.at = "2026-11-22T10:00:00.000000Z";
  header.by = "root";
  header.sealed = true;
  return header;
}

Entry EntryOf(const std::string& key, const std::string& value) { return {key, "other", 7, 9, value}; }

std::string FileOf(const std::vector<Entry>& entries) {
  Writer writer;
  std::string text = writer.Begin(SomeHeader());
  for (const Entry& entry : entries) text += writer.Add(entry).value();
  return text + writer.Finish();
}

struct Content {
  Status status;
  Header header;
  std::vector<Entry> entries;
  uint64_t keys = 0;
};

Content Read(std::string_view text) {
  Content content;
  LineBuffer lines(kMaxLineBytes);
  Reader reader;
  lines.Append(text);
  for (;;) {
    const auto line = lines.Next();
    if (!line.ok() || !line->has_value()) break;
    auto item = reader.Take(**line);
    content.status = item.status();
    if (!item.ok()) return content;
    if (auto* header = std::get_if<Header>(&*item)) content.header = *header;
    if (auto* entry = std::get_if<Entry>(&*item)) content.entries.push_back(*entry);
    if (auto* end = std::get_if<End>(&*item)) content.keys = end->keys;
  }
  content.status = reader.Close(lines.rest());
  return content;
}

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

TEST(Archive, WhatGoesInComesOutByteForByte) {
  const std::vector<Entry> entries = {
      EntryOf("a", R"({"x":1.50,"y":[null,true,"ä\u0000"]})"),  // JSON as isla prints it or not
      EntryOf("b", R"({ "spaced" : 1 })"),
      EntryOf("c", ""),
      EntryOf("d", "plain text\n\"quoted\"\ttab"),
      EntryOf("e", std::string("\x00\xff\xfe binary \n", 13)),
      EntryOf("f", std::string(300, '\x01')),
      EntryOf("g", "5"),
      EntryOf("h", R"("a\/b")"),
      EntryOf("i", R"({"a":1,"a":2})"),
      EntryOf("key with \xff and \n", "v"),
      EntryOf("\xc3\xa4", "umlaut"),
  };
  const Content content = Read(FileOf(entries));
  ASSERT_TRUE(content.status.ok()) << ToString(content.status);
  EXPECT_EQ(content.header.cluster_id, "7f2c");
  EXPECT_EQ(content.header.epoch, 3);
  EXPECT_EQ(content.header.revision, 4711);
  EXPECT_EQ(content.header.by, "root");
  EXPECT_TRUE(content.header.sealed);
  EXPECT_EQ(content.keys, entries.size());
  ASSERT_EQ(content.entries.size(), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    EXPECT_EQ(content.entries[i].key, entries[i].key);
    EXPECT_EQ(content.entries[i].value, entries[i].value) << i;
    EXPECT_EQ(content.entries[i].created, 7);
    EXPECT_EQ(content.entries[i].modified, 9);
  }
}

TEST(Archive, JsonStandsInTheFileAsJsonAndTextAsText) {
  const auto lines = LinesOf(FileOf({EntryOf("a", R"({"x":1})"), EntryOf("b", "no json"), EntryOf("c", "\xff")}));
  EXPECT_THAT(lines[0], StartsWith(R"({"isla":"store-export","version":1,"cluster":{"id":"7f2c","epoch":3,"level":1},)"));
  EXPECT_THAT(lines[1], StartsWith(R"({"key":"a","class":"other","created":7,"modified":9,"json":{"x":1},"sum":")"));
  EXPECT_THAT(lines[2], HasSubstr(R"("text":"no json")"));
  EXPECT_THAT(lines[3], HasSubstr(R"("base64":"/w==")"));
  EXPECT_THAT(lines[4], StartsWith(R"({"end":true,"keys":3,"sha256":")"));
}

TEST(Archive, AnEmptyStoreHasAFile) { EXPECT_TRUE(Read(FileOf({})).status.ok()); }

TEST(Archive, EveryCutIsRefused) {
  const std::string whole = FileOf({EntryOf("a", "1"), EntryOf("b", R"({"c":2})")});
  for (size_t size = 0; size < whole.size(); ++size) {
    const Status status = Read(whole.substr(0, size)).status;
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << size;
    EXPECT_THAT(Message(status), StartsWith("line ")) << size;
  }
}

TEST(Archive, EveryChangedByteIsRefused) {
  const std::string whole = FileOf({EntryOf("a", "1"), EntryOf("b", R"({"c":2})"), EntryOf("c", "\xff\xfe")});
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const char flip : {'\x01', '\x20', '\x80'}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      EXPECT_EQ(Read(changed).status.code(), Code::kInvalidArgument) << at;
    }
  }
}

TEST(Archive, AnEditIsRefusedInItsLine) {
  std::vector<std::string> lines = LinesOf(FileOf({EntryOf("a", "1"), EntryOf("b", R"({"c":2})"), EntryOf("d", "3")}));
  lines[2].replace(lines[2].find("\"c\":2"), 5, "\"c\":3");
  EXPECT_THAT(Message(Read(Joined(lines)).status), StartsWith("line 3: the checksum doesn't fit"));
}

TEST(Archive, LinesThatWereLostAddedOrMovedAreRefusedBehindTheFirst) {
  const std::vector<std::string> lines = LinesOf(FileOf({EntryOf("a", "1"), EntryOf("b", "2"), EntryOf("c", "3")}));
  std::vector<std::string> lost = lines;
  lost.erase(lost.begin() + 2);
  EXPECT_THAT(Message(Read(Joined(lost)).status), StartsWith("line 3: the checksum doesn't fit"));
  std::vector<std::string> twice = lines;
  twice.insert(twice.begin() + 2, lines[1]);
  EXPECT_THAT(Message(Read(Joined(twice)).status), StartsWith("line 3: the checksum doesn't fit"));
  std::vector<std::string> moved = lines;
  std::swap(moved[1], moved[2]);
  EXPECT_THAT(Message(Read(Joined(moved)).status), StartsWith("line 2: the checksum doesn't fit"));
  std::vector<std::string> behind = lines;
  behind.push_back(lines[1]);
  EXPECT_THAT(Message(Read(Joined(behind)).status), StartsWith("line 6: there is text behind the end"));
}

/// A line whose checksum fits, whatever it says: `before` are the bodies of the lines before.
class Forger {
 public:
  std::string Line(const std::string& body) {
    crc_ = Crc32c(body, crc_);
    text_ += body + fmt::format(",\"sum\":\"{:08x}\"}}\n", crc_);
    return text_;
  }

 private:
  uint32_t crc_ = 0;
  std::string text_;
};

std::string Header1() {
  return R"({"isla":"store-export","version":1,"cluster":{"id":"x","epoch":1,"level":1},"revision":5,"at":"","by":"","sealed":false)";
}

TEST(Archive, WhatAWriterDoesntWriteIsRefusedThoughItsChecksumsFit) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {R"({"key":"a","class":"other","created":1,"modified":1)", "needs one of"},
      {R"({"key":"a","class":"other","created":1,"modified":1,"text":"1","json":1)", "needs one of"},
      {R"({"key":"a","class":"other","created":1,"modified":1,"text":5)", "'text'"},
      {R"({"key":"a","class":"other","created":-1,"modified":1,"text":"")", "'created'"},
      {R"({"key":"a","class":"other","created":1,"modified":1,"text":"","more":1)", "unknown member 'more'"},
      {R"({"key":"","class":"other","created":1,"modified":1,"text":"")", "out of bounds"},
      {R"({"key":"a","keyBase64":"/w==","class":"other","created":1,"modified":1,"text":"")", "two keys"},
      {R"({"keyBase64":"YQ==","class":"other","created":1,"modified":1,"text":"")", "a key that is text"},
      {R"({"key":"a","class":"other","created":1,"modified":1,"base64":"AB==")", "not base64"},
      {R"({"key":"a","class":"other","created":1,"modified":1,"base64":"A")", "not base64"},
      {R"({"key":"a","key":"b","class":"other","created":1,"modified":1,"text":"")", "duplicate"},
      {R"([1)", ""},
      {R"({"end":true,"keys":1,"sha256":"")", "has 1 keys, and it has 0"},
      {R"({"end":true,"keys":0,"sha256":"00")", "SHA-256"},
      {R"({"end":1,"keys":0,"sha256":"00")", "'end'"},
  };
  for (const auto& [body, why] : wrong) {
    Forger forger;
    forger.Line(Header1());
    const Status status = Read(forger.Line(body)).status;
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << body;
    EXPECT_THAT(Message(status), StartsWith("line 2: ")) << body;
    EXPECT_THAT(Message(status), HasSubstr(why)) << body;
  }
  for (const std::string& body :
       {std::string(R"({"isla":"store-export","version":1,"cluster":{"id":"","epoch":1,"level":1},"revision":5,"at":"","by":"","sealed":false)"),
        std::string(R"({"isla":"store-export","version":1,"cluster":{"id":"x","epoch":0,"level":1},"revision":5,"at":"","by":"","sealed":false)"),
        std::string(R"({"isla":"store-export","version":1,"revision":5,"at":"","by":"","sealed":false)"),
        std::string(R"({"isla":"store-export","version":1,"cluster":{"id":"x","epoch":1,"level":1},"revision":5,"at":"","by":"","sealed":0)")}) {
    EXPECT_THAT(Message(Read(Forger().Line(body)).status), StartsWith("line 1: ")) << body;
  }
}

TEST(Archive, KeysOutOfOrderAreRefused) {
  Forger forger;
  forger.Line(Header1());
  forger.Line(R"({"key":"b","class":"other","created":1,"modified":1,"text":"")");
  EXPECT_THAT(Message(Read(forger.Line(R"({"key":"a","class":"other","created":1,"modified":1,"text":"")")).status),
              StartsWith("line 3: key 'a' comes after 'b'"));
  Writer writer;
  writer.Begin(SomeHeader());
  ASSERT_TRUE(writer.Add(EntryOf("b", "")).ok());
  EXPECT_FALSE(writer.Add(EntryOf("b", "")).ok());
  EXPECT_FALSE(writer.Add(EntryOf("c", std::string(kMaxValueBytes + 1, 'x'))).ok());
}

TEST(Archive, AnotherKindOfFileOrAnotherVersionIsSaidToBe) {
  EXPECT_THAT(Message(Read("hello\n").status), HasSubstr("no export of an isla store"));
  EXPECT_THAT(Message(Read("{\"a\":1}\n").status), HasSubstr("no export of an isla store"));
  EXPECT_THAT(Message(Read(R"({"isla":"store-export","version":2,"new":"things"})" "\n").status),
              HasSubstr("version 2 of the format, and this isla reads version 1"));
  EXPECT_THAT(Message(Read("").status), HasSubstr("line 0: the file was cut short"));
}

TEST(Archive, AnExportThatBrokeOffSaysWhyInPlaceOfItsEnd) {
  for (const bool again : {true, false}) {
    Writer writer;
    std::string text = writer.Begin(SomeHeader());
    text += writer.Add(EntryOf("a", "1")).value();
    text += writer.Fail("compacted under \"it\"", again);
    const Status status = Read(text).status;
    EXPECT_EQ(status.code(), again ? Code::kAborted : Code::kUnavailable);
    EXPECT_EQ(Message(status), "compacted under \"it\"");
  }
}

TEST(Archive, OneLineCanBeReadByItself) {
  const auto lines = LinesOf(FileOf({EntryOf("a", "1"), EntryOf("b", R"({"c":2})")}));
  const auto entry = ParseEntry(lines[2]);
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(entry->key, "b");
  EXPECT_EQ(entry->value, R"({"c":2})");
}

TEST(LineBuffer, LinesComeWholeHoweverTheyArrive) {
  const std::string text = "a\n\nbc\nd";
  for (size_t step = 1; step <= text.size(); ++step) {
    LineBuffer lines(10);
    std::vector<std::string> found;
    for (size_t at = 0; at < text.size(); at += step) {
      lines.Append(std::string_view(text).substr(at, step));
      for (;;) {
        const auto line = lines.Next();
        ASSERT_TRUE(line.ok());
        if (!line->has_value()) break;
        found.emplace_back(**line);
      }
    }
    EXPECT_EQ(found, (std::vector<std::string>{"a", "", "bc"}));
    EXPECT_EQ(lines.rest(), "d");
  }
}

TEST(LineBuffer, ALineThatIsTooLongIsRefusedBeforeItsEnd) {
  LineBuffer lines(4);
  lines.Append("1234\n12345");
  EXPECT_EQ(**lines.Next(), "1234");
  EXPECT_EQ(lines.Next().status().code(), Code::kResourceExhausted);
}

}  // namespace
}  // namespace isla::archive
