#include "api/base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/base/json_mistake.h"

namespace isla::json {
namespace {

using testing::HasSubstr;
using testing::Optional;

std::string ErrorOf(std::string_view text, const Limits& limits = {}) {
  const StatusOr<Value> value = Parse(text, limits);
  if (value.ok()) return "no error";
  EXPECT_EQ(value.status().code(), Code::kInvalidArgument);
  return Message(value.status());
}

Value Read(std::string_view text) {
  StatusOr<Value> value = Parse(text);
  EXPECT_TRUE(value.ok()) << text << ": " << ToString(value.status());
  return value.ok() ? *std::move(value) : Value();
}

std::string At(const Value* value) {
  if (value == nullptr) return "none";
  return fmt::format("{}:{}", value->position().line, value->position().column);
}

TEST(Json, TextComesBackAsTyped) {
  for (const std::string_view text :
       {R"({"b":1,"a":[],"c":{},"d":false,"e":null,"f":0,"g":""})", R"([1.0,1.50,-0,1e3,1E+2,18446744073709551616])",
        R"("\u0000\u001f\"\\")", R"("žluťoučký 😀")", "12", "true", "null", R"("")",
        R"({"n":0.1000000000000000055511151231257827})"}) {
    EXPECT_EQ(Serialize(Read(text)), text);
  }
}

TEST(Json, EscapesAreDecoded) {
  EXPECT_EQ(Read(R"("\u00e9\ud83d\ude00\/\b\f\n\r\t")").as_string(), "é😀/\b\f\n\r\t");
  EXPECT_EQ(Read(R"("a\u0000b")").as_string(), std::string("a\0b", 3));
  EXPECT_EQ(Read(R"({"\u0061":1})").members()[0].name, "a");
}

TEST(Json, WhatIsWrongIsFoundAtEveryDistanceFromTheBeginning) {
  // Texts are looked at eight bytes at a time.
  for (size_t before = 0; before < 40; ++before) {
    const std::string blanks(before, ' '), letters(before, 'x');
    EXPECT_EQ(ErrorOf("\"" + letters + "\xFF" + letters + "\""), fmt::format("line 1:{}: byte 0xff is not valid UTF-8", before + 2));
    EXPECT_EQ(ErrorOf("\"" + letters + "\\ud800\""), fmt::format("line 1:{}: '\\ud800' is half of a surrogate pair", before + 2));
    EXPECT_EQ(ErrorOf(blanks + "\f1"), fmt::format("line 1:{}: unexpected control character 0x0c", before + 1));
    // A control character is one in a string, too, and a quote that is escaped doesn't end it.
    EXPECT_EQ(Read("\"" + letters + "\\\"é" + letters + "\"").as_string(), letters + "\"é" + letters);
  }
}

TEST(Json, EveryValueAndNameKnowsItsLineAndColumn) {
  const Value value = Read("{\n  \"a\" :  1 ,\n  \"b\\u0062\": [ true,\n\t{\"c\":null}, \"x\\\"y\", [] ]\n , \"é\":-1.5e3}");
  EXPECT_EQ(At(&value), "1:1");
  EXPECT_EQ(At(value.Find("a")), "2:10");
  const Value* b = value.Find("bb");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(At(b), "3:14");
  EXPECT_EQ(At(&b->items()[0]), "3:16");
  EXPECT_EQ(At(&b->items()[1]), "4:2");
  EXPECT_EQ(At(b->items()[1].Find("c")), "4:7");
  EXPECT_EQ(At(&b->items()[2]), "4:14");
  EXPECT_EQ(At(&b->items()[3]), "4:22");
  EXPECT_EQ(At(value.Find("é")), "5:9");
  EXPECT_EQ(value.members()[1].position.line, 3u);
  EXPECT_EQ(value.members()[1].position.column, 3u);
  EXPECT_EQ(value.members()[2].position.column, 4u);
}

TEST(Json, ANumberAloneAtTheEndOfTheTextHasItsPosition) {
  const Value value = Read(" \n 42");
  EXPECT_EQ(At(&value), "2:2");
  EXPECT_EQ(value.number_text(), "42");
}

TEST(Json, BrokenTextSaysWhereAndWhatWasExpected) {
  const struct {
    std::string_view text, error;
  } kCases[] = {
      {"", "line 1:1: the text ends too early (expected a value)"},
      {" \n", "line 2:1: the text ends too early (expected a value)"},
      {"{", "line 1:2: the text ends too early (expected a member name in double quotes or '}')"},
      {"{\"a\"", "line 1:5: the text ends too early (expected ':')"},
      {"{\"a\":", "line 1:6: the text ends too early (expected a value)"},
      {"{\"a\":1", "line 1:7: the text ends too early (expected ',' or '}')"},
      {"{\"a\":1,", "line 1:8: the text ends too early (expected a member name in double quotes)"},
      {"{\"a\":1,}", "line 1:8: unexpected '}' (expected a member name in double quotes)"},
      {"[1,]", "line 1:4: unexpected ']' (expected a value)"},
      {"[1 2]", "line 1:4: unexpected '2' (expected ',' or ']')"},
      {"[01]", "line 1:3: unexpected '1' (expected ',' or ']')"},
      {"{\"a\" 1}", "line 1:6: unexpected '1' (expected ':')"},
      {"{\"a\":1 \"b\":2}", "line 1:8: unexpected '\"' (expected ',' or '}')"},
      {"{a:1}", "line 1:2: unexpected 'a' (expected a member name in double quotes or '}')"},
      {"{'a':1}", "line 1:2: unexpected ''' (expected a member name in double quotes or '}')"},
      {"{\n  \"a\": tru\n}", "line 2:8: unexpected 'tru' (expected a value)"},
      {"{\"a\": NaN}", "line 1:7: unexpected 'NaN' (expected a value)"},
      {"[1.]", "line 1:2: unexpected '1.' (expected a value or ']')"},
      {"[-]", "line 1:2: unexpected '-' (expected a value or ']')"},
      {"[+1]", "line 1:2: unexpected '+1' (expected a value or ']')"},
      {"// c\n{}", "line 1:1: unexpected '/' (expected a value)"},
      {"{} {}", "line 1:4: unexpected '{' (expected the end of the text)"},
      {"{}\n]", "line 2:1: unexpected ']' (expected the end of the text)"},
      {"{}x", "line 1:3: unexpected 'x' (expected the end of the text)"},
      {"{\"a\":1,\f\"b\":2}", "line 1:8: unexpected control character 0x0c"},
      {"\v1", "line 1:1: unexpected control character 0x0b"},
      {"{}-", "line 1:3: unexpected '-' (expected the end of the text)"},
      {"{} \"x", "line 1:4: unexpected '\"' (expected the end of the text)"},
      {"{} tr", "line 1:4: unexpected 'tr' (expected the end of the text)"},
      {"1 -", "line 1:3: unexpected '-' (expected the end of the text)"},
      {"[}", "line 1:2: unexpected '}' (expected a value or ']')"},
      {"[,1]", "line 1:2: unexpected ',' (expected a value or ']')"},
      {"{\"a\":\"x\ny\"}", "line 1:8: the line ends within a string (expected '\"' before it)"},
      {"{\"a\":\"x", "line 1:6: the string that begins here has no end (expected '\"')"},
      {"{\"a", "line 1:2: the member name that begins here has no end (expected '\"')"},
      {"[\"a\\qb\"]", "line 1:4: bad escape in a string (expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX)"},
      {"[\"a\\u12G4\"]", "line 1:4: bad escape in a string (expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX)"},
      {"[\"a\tb\"]", "line 1:4: control character 0x09 in a string (expected \\u0009)"},
  };
  for (const auto& [text, error] : kCases) EXPECT_EQ(ErrorOf(text), error) << text;
}

TEST(Json, AMistakeIsTakenOutOfAStatusWithItsPlace) {
  const auto broken = MistakeOf(Parse("{\n  \"a\": tru}").status());
  ASSERT_TRUE(broken);
  EXPECT_EQ(broken->position.line, 2u);
  EXPECT_GT(broken->position.column, 1u);
  EXPECT_EQ(broken->what.find("line"), std::string::npos) << broken->what;
  EXPECT_FALSE(broken->what.empty());

  EXPECT_FALSE(MistakeOf(OkStatus()));
  for (const char* other : {"no such file", "line", "line 3", "line 3:", "line 3:4", "line x:4: y", "line 3:4 y", "line 99999999999:4: y"}) {
    EXPECT_FALSE(MistakeOf(Errorf(Code::kInvalidArgument, "{}", other))) << other;
  }
}

TEST(Json, DuplicateMembersAreRefusedWithTheirPath) {
  EXPECT_EQ(ErrorOf("{\"spec\": {\"image\": 1,\n  \"image\": 2}}"),
            "line 2:3: spec.image: duplicate member, first at line 1:11");
  EXPECT_EQ(ErrorOf(R"({"spec":{"env":[{},{"name":"A","n\u0061me":"B"}]}})"),
            "line 1:32: spec.env[1].name: duplicate member, first at line 1:21");
  EXPECT_EQ(ErrorOf(R"({"a":1,"a":1})"), "line 1:8: a: duplicate member, first at line 1:2");
}

TEST(Json, DuplicatesAmongManyMembersAreFoundWithoutComparingAllPairs) {
  std::string text = "{";
  for (int i = 0; i < 20'000; ++i) text += fmt::format("\"m{}\":0,", i);
  const std::string good = text + "\"end\":0}";
  ASSERT_LT(good.size(), Limits().max_bytes);
  const Value value = Read(good);
  EXPECT_EQ(value.members().size(), 20'001u);
  Value reversed = value;
  std::reverse(reversed.members().begin(), reversed.members().end());
  EXPECT_EQ(value, reversed);
  reversed.members()[7].value = 1;
  EXPECT_FALSE(value == reversed);
  EXPECT_THAT(ErrorOf(text + "\"m17\":0}"), HasSubstr("m17: duplicate member, first at line 1:"));
}

TEST(Json, DepthIsBounded) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(Parse(nested(32)).ok());
  EXPECT_EQ(ErrorOf(nested(33)), "line 1:33: nested deeper than 32 levels");
  EXPECT_EQ(ErrorOf(std::string(100'000, '[')), "line 1:33: nested deeper than 32 levels");
  EXPECT_EQ(ErrorOf(std::string(200'000, '['), {.max_depth = 1'000'000}), "line 1:1001: nested deeper than 1000 levels");
}

TEST(Json, SizeIsBounded) {
  EXPECT_EQ(ErrorOf("[1,2,3]", {.max_bytes = 6}), "the text is too large: 7 bytes (at most 6)");
  EXPECT_TRUE(Parse("[1,2,3]", {.max_bytes = 7}).ok());
}

TEST(Json, BytesThatAreNotUtf8AreRefused) {
  for (const std::string_view bad : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80"}) {
    EXPECT_THAT(ErrorOf(fmt::format("{{\n\"a\":\"x{}\"}}", bad)), HasSubstr("line 2:7: byte 0x")) << bad;
  }
  EXPECT_EQ(ErrorOf("\xEF\xBB\xBF{}"), "line 1:1: the text begins with a byte order mark (expected plain UTF-8)");
}

TEST(Json, LoneSurrogatesAreRefused) {
  EXPECT_EQ(ErrorOf(R"(["a\ud800b"])"), "line 1:4: '\\ud800' is half of a surrogate pair");
  EXPECT_EQ(ErrorOf(R"(["\ud800\u0041"])"), "line 1:3: '\\ud800' is half of a surrogate pair");
  EXPECT_EQ(ErrorOf(R"(["\udc00"])"), "line 1:3: '\\udc00' is half of a surrogate pair");
  EXPECT_EQ(ErrorOf(R"({"\uDFFF":1})"), "line 1:3: '\\uDFFF' is half of a surrogate pair");
  EXPECT_EQ(Read(R"("\\ud800")").as_string(), "\\ud800");
}

TEST(Json, ParseAllReadsTextsOneAfterTheOther) {
  const StatusOr<std::vector<Value>> values = ParseAll("\n---\n{\"a\":1}{\"a\":2}\n---  \n[3]\n\n 4 \n---\n");
  ASSERT_TRUE(values.ok()) << ToString(values.status());
  ASSERT_EQ(values->size(), 4u);
  EXPECT_EQ(Serialize((*values)[1]), "{\"a\":2}");
  EXPECT_EQ(At((*values)[1].Find("a")), "3:13");
  EXPECT_EQ(At(&(*values)[2]), "5:1");
  EXPECT_EQ(At(&(*values)[3]), "7:2");
  EXPECT_TRUE(ParseAll("").value().empty());
  EXPECT_TRUE(ParseAll(" \n---\n").value().empty());
}

TEST(Json, ParseAllNamesTheLineInTheWholeText) {
  EXPECT_EQ(Message(ParseAll("{}\n---\n{\"a\": }").status()), "line 3:7: unexpected '}' (expected a value)");
  EXPECT_EQ(Message(ParseAll("{}\n--- x\n{}").status()), "line 2:1: unexpected '---' (expected a value)");
  EXPECT_EQ(Message(ParseAll("{}\n[1,2,3,4]", {.max_bytes = 5}).status()),
            "line 2:1: the text is too large: 9 bytes (at most 5)");
}

TEST(Json, IntegersAreExactAndNothingElse) {
  const auto integer = [](std::string_view text) { return Read(text).ToInt64(); };
  EXPECT_THAT(integer("9223372036854775807"), Optional(INT64_MAX));
  EXPECT_THAT(integer("-9223372036854775808"), Optional(INT64_MIN));
  EXPECT_THAT(integer("1e3"), Optional(1000));
  EXPECT_THAT(integer("1.0"), Optional(1));
  EXPECT_THAT(integer("1.50e1"), Optional(15));
  EXPECT_THAT(integer("-0.0e99"), Optional(0));
  EXPECT_THAT(integer("0e999999999999999999999"), Optional(0));
  for (const char* text : {"9223372036854775808", "-9223372036854775809", "1.5", "1e-1", "1e19", "1e999999999999999999",
                           "1e-999999999999999999", "\"1\"", "true", "null"}) {
    EXPECT_EQ(integer(text), std::nullopt) << text;
  }
  EXPECT_THAT(Read("1.5e2").ToDouble(), Optional(150.0));
  EXPECT_EQ(Read("1e999").ToDouble(), std::nullopt);
}

TEST(Json, EqualityIgnoresPositionsAndOrderButNotTheTextOfNumbers) {
  EXPECT_EQ(Read("{\"a\":1,\"b\":[2]}"), Read("{ \"b\":[2], \"a\":1 }"));
  EXPECT_FALSE(Read("1.0") == Read("1"));
  EXPECT_FALSE(Read("[1,2]") == Read("[2,1]"));
  EXPECT_FALSE(Read("{\"a\":null}") == Read("{}"));
  EXPECT_FALSE(Read("\"1\"") == Read("1"));
}

TEST(Json, SetKeepsThePlaceOfAMember) {
  Value value = Read(R"({"a":1,"b":2})");
  value.Set("a", "x");
  value.Member("c").Set("d", true);
  EXPECT_TRUE(value.Remove("b"));
  EXPECT_FALSE(value.Remove("b"));
  EXPECT_EQ(Serialize(value), R"({"a":"x","c":{"d":true}})");
  Value null;
  null.Set("x", int64_t{-1});
  EXPECT_EQ(Serialize(null), R"({"x":-1})");
  Value list;
  list.Append(1);
  EXPECT_EQ(Serialize(list), "[1]");
  EXPECT_EQ(Serialize(Value::MakeObject({{"a", 1}, {"b", Value::MakeArray({"x", Value()})}})), R"({"a":1,"b":["x",null]})");
}

TEST(Json, PathsStopAtWhatIsNotAnObject) {
  const Value value = Read(R"({"metadata":{"name":"x","generation":3},"spec":[]})");
  EXPECT_EQ(value.StringAt({"metadata", "name"}), "x");
  EXPECT_EQ(value.StringAt({"metadata", "generation"}, "none"), "none");
  EXPECT_EQ(value.StringAt({"spec", "image"}, "none"), "none");
  EXPECT_THAT(value.Int64At({"metadata", "generation"}), Optional(3));
  EXPECT_EQ(value.Int64At({"metadata", "name"}), std::nullopt);
}

TEST(JsonPrint, PrettyPrintsAsKubectlDoes) {
  EXPECT_EQ(Pretty(Read(R"({"a":{"b":[1,{}],"c":[]}})")),
            "{\n    \"a\": {\n        \"b\": [\n            1,\n            {}\n        ],\n        \"c\": []\n    }\n}");
}

TEST(JsonPrint, BytesThatAreNotUtf8BecomeReplacementCharacters) {
  EXPECT_EQ(Serialize(Value("a\xff\xc3z")), "\"a\xEF\xBF\xBD\xEF\xBF\xBDz\"");
  EXPECT_TRUE(Parse(Serialize(Value("\xff"))).ok());
}

TEST(JsonPrint, YamlPrintsAsKubectlDoes) {
  EXPECT_EQ(ToYaml(Read(R"({"kind":"Session","spec":{"command":["sh","-c","a\nb\n"],"env":[{"name":"A","value":"1"},
                        {"name":"B"}],"x":{},"y":[],"n":[[1,2],[]],"t":true,"z":null}})")),
            "kind: Session\n"
            "spec:\n"
            "  command:\n"
            "  - sh\n"
            "  - -c\n"
            "  - |\n"
            "    a\n"
            "    b\n"
            "  env:\n"
            "  - name: A\n"
            "    value: \"1\"\n"
            "  - name: B\n"
            "  x: {}\n"
            "  \"y\": []\n"
            "  \"n\":\n"
            "  - - 1\n"
            "    - 2\n"
            "  - []\n"
            "  t: true\n"
            "  z: null\n");
}

TEST(JsonPrint, YamlQuotesStringsThatWouldReadAsSomethingElse) {
  for (const char* text : {"", "true", "No", "null", "~", "1", "1.5", "0x1F", "1e3", "-1", "+1", ".5", "12:30",
                           "2026-01-31", "a: b", "a #b", "- a", "-", "?", "#a", "&a", "*a", "!a", "|", ">", "'a", "%a",
                           "@a", "`a", "[a", "{a", " a", "a ", "a:", "---", "a\tb", "a\x7f"}) {
    EXPECT_EQ(ToYaml(Value(text)), Serialize(Value(text)) + "\n") << text;
  }
  for (const char* text : {"a", "batch", "dir:/srv/x", "64Mi", "500m", "30s", "a b", "a'b", "/bin/sh", "x-y", "a#b",
                           "http://x", "é"}) {
    EXPECT_EQ(ToYaml(Value(text)), std::string(text) + "\n") << text;
  }
}

TEST(JsonPrint, YamlBlocksKeepTheirLastLineEnds) {
  EXPECT_EQ(ToYaml(Read(R"({"a":"x\ny"})")), "a: |-\n  x\n  y\n");
  EXPECT_EQ(ToYaml(Read(R"({"a":"x\n\ny\n"})")), "a: |\n  x\n\n  y\n");
  EXPECT_EQ(ToYaml(Read(R"({"a":"x\n\n"})")), "a: |+\n  x\n\n");
  EXPECT_EQ(ToYaml(Read(R"({"a":" x\ny"})")), "a: \" x\\ny\"\n");
  EXPECT_EQ(ToYaml(Read(R"({"a":"\n"})")), "a: \"\\n\"\n");
}

}  // namespace
}  // namespace isla::json
