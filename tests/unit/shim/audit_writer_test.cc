#include "agentd/shim/audit_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

namespace isla::shim {
namespace {

using testing::HasSubstr;

class AuditWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/isla-audit-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override { EXPECT_TRUE(RemoveTree(folder_).ok()); }
  std::string Path() const { return folder_ + "/audit"; }
  std::string Text() const { return ReadFile(Path()).value_or("(none)"); }

  std::string folder_;
};

TEST_F(AuditWriterTest, LinesComeTogetherWhateverTheReadsWere) {
  AuditWriter writer(Path());
  EXPECT_EQ(Text(), "(none)") << "nothing is made before there is a line";
  for (const char* piece : {"{\"a\":1}\n{\"b\"", ":2", "}\n", "{\"c\":3}\n{\"d\":4}\n"}) writer.Append(piece);
  EXPECT_EQ(Text(), "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n{\"d\":4}\n");
}

TEST_F(AuditWriterTest, ALineWithoutAnEndTakesNoMoreMemoryThanALine) {
  AuditWriter writer(Path());
  for (int i = 0; i < 100; ++i) writer.Append(std::string(4096, 'x'));
  writer.Append("\nnext\n");
  EXPECT_EQ(Text(), std::string(AuditWriter::kMaxLineBytes, 'x') + "\nnext\n");
}

TEST_F(AuditWriterTest, TheFileIsBoundedAndTheNewestAreKept) {
  AuditWriter writer(Path(), 8192);
  const std::string line(99, 'x');
  for (int i = 0; i < 1000; ++i) writer.Append(line + "\n");
  writer.Append("last\n");
  struct stat st {};
  for (const char* suffix : {"", ".1"}) {
    ASSERT_EQ(stat((Path() + suffix).c_str(), &st), 0);
    EXPECT_LE(st.st_size, 4096);
  }
  EXPECT_TRUE(Text().ends_with("last\n"));
  EXPECT_EQ(writer.dropped_lines(), 0);
}

TEST_F(AuditWriterTest, WhatCantBeWrittenIsCountedAndTold) {
  AuditWriter writer(folder_ + "/later/audit");
  writer.Append("one\ntwo\n");
  EXPECT_EQ(writer.dropped_lines(), 2);
  ASSERT_EQ(mkdir((folder_ + "/later").c_str(), 0755), 0);
  writer.Append("three\n");
  EXPECT_EQ(ReadFile(folder_ + "/later/audit").value_or(""), "{\"dropped\":2}\nthree\n");
  writer.Append("four\n");
  EXPECT_EQ(ReadFile(folder_ + "/later/audit").value_or(""), "{\"dropped\":2}\nthree\nfour\n");
}

}  // namespace
}  // namespace isla::shim
