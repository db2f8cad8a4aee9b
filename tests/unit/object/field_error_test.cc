#include "api/object/field_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/object/object_util.h"

namespace isla::api {
namespace {

TEST(FieldError, TravelsInsideAStatusAndThroughAnnotate) {
  const json::Value cpu = *Read("{\n  \"cpu\": \"-1\"}").Find("cpu");
  const FieldErrors errors = {Invalid("spec.resources.cpu", cpu, "must be greater than 0"), Required("spec.command")};
  const Status status = InvalidObject("Session", "x", errors);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(Message(status),
            "Session \"x\" is invalid:\n  spec.resources.cpu (line 2:10): Invalid value: \"-1\": must be greater than 0\n"
            "  spec.command: Required value");
  for (const Status& each : {status, Annotate(status, "create")}) {
    const FieldErrors back = FieldErrorsOf(each);
    ASSERT_EQ(back.size(), 2u);
    EXPECT_EQ(back[0].reason, "FieldValueInvalid");
    EXPECT_EQ(back[0].field, "spec.resources.cpu");
    EXPECT_EQ(back[0].detail, errors[0].detail);
    EXPECT_EQ(back[0].position.line, 2u);
    EXPECT_EQ(back[0].position.column, 10u);
    EXPECT_EQ(back[1].reason, "FieldValueRequired");
    EXPECT_EQ(back[1].position.line, 0u);
  }
  EXPECT_TRUE(FieldErrorsOf(OkStatus()).empty());
  EXPECT_TRUE(FieldErrorsOf(Error(Code::kInvalidArgument, "x")).empty());
}

TEST(FieldError, OneErrorIsOneLine) {
  EXPECT_EQ(Message(InvalidObject("Session", "x", {Required("spec.command", "the program")})),
            "Session \"x\" is invalid: spec.command: Required value: the program");
  EXPECT_EQ(Message(InvalidObject("Session", "", {TypeInvalid("", Read("[]"), "an object")})),
            "Session \"\" is invalid: (line 1:1): Invalid type: array (array): expected an object");
}

TEST(FieldError, TooManyAreCutAndSaidSo) {
  const FieldErrors many(5000, Required("spec.x"));
  const FieldErrors back = FieldErrorsOf(InvalidObject("Session", "x", many));
  ASSERT_EQ(back.size(), kMostFieldErrors + 1);
  EXPECT_EQ(back.back().detail, "too many errors: those after these are not shown");
}

TEST(FieldError, LongValuesAreCut) {
  EXPECT_LT(Invalid("f", json::Value(std::string(100'000, 'x')), "is bad").detail.size(), 200u);
  EXPECT_LT(Invalid("f", json::Value::Number(std::string(100'000, '1')), "is bad").detail.size(), 200u);
  // A character that is cut in the middle must still make a text that can be read.
  std::string split(99, 'x');
  split += "é tail that makes it long enough to be cut";
  EXPECT_EQ(FieldErrorsOf(InvalidObject("S", "x", {Invalid("f", json::Value(split), "w")})).size(), 1u);
}

TEST(Suggestion, NearNamesOnly) {
  const std::vector<std::string> known = {"image", "command", "workingDir", "terminationGracePeriod", "env", "args"};
  const struct {
    const char *word, *meant;
  } kCases[] = {{"imgae", "image"}, {"Image", "image"}, {"images", "image"}, {"cmd", ""}, {"commands", "command"},
                {"working_dir", "workingDir"}, {"workdir", "workingDir"}, {"WorkingDirectory", "workingDir"},
                {"gracePeriod", "terminationGracePeriod"},
                {"terminationGracePeriodSeconds", "terminationGracePeriod"}, {"environment", ""}, {"arg", "args"}, {"envs", "env"}, {"x", ""}, {"", ""}, {"zzzzz", ""}};
  for (const auto& [word, meant] : kCases) EXPECT_EQ(Suggestion(word, known), meant) << word;
  EXPECT_EQ(Suggestion(std::string(100'000, 'x'), known), "");
  EXPECT_EQ(Suggestion("x", {}), "");
}

}  // namespace
}  // namespace isla::api
