#include "api/base/status.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace isla {
namespace {

TEST(Status, ErrnoHasOneCodeEach) {
  EXPECT_EQ(FromErrno(ENOENT, "open 'x'").code(), Code::kNotFound);
  EXPECT_EQ(FromErrno(EEXIST, "x").code(), Code::kAlreadyExists);
  EXPECT_EQ(FromErrno(EACCES, "x").code(), Code::kPermissionDenied);
  EXPECT_EQ(FromErrno(ENOSPC, "x").code(), Code::kResourceExhausted);
  EXPECT_EQ(FromErrno(EAGAIN, "x").code(), Code::kUnavailable);
  EXPECT_EQ(FromErrno(EINVAL, "x").code(), Code::kInternal);
  EXPECT_EQ(ToString(FromErrno(ENOENT, "open 'x'")), "NOT_FOUND: open 'x': No such file or directory (errno 2)");
}

TEST(Status, AnnotateKeepsTheCode) {
  EXPECT_TRUE(Annotate(OkStatus(), "x").ok());
  EXPECT_EQ(ToString(Annotate(Errorf(Code::kAborted, "lost {}", 1), "write 'k'")), "ABORTED: write 'k': lost 1");
  EXPECT_EQ(ToString(OkStatus()), "OK");
}

Status Twice(int& calls, const Status& status) {
  RETURN_IF_ERROR((++calls, status));
  ++calls;
  return OkStatus();
}

StatusOr<int> Half(int number) {
  if (number % 2 != 0) return Errorf(Code::kInvalidArgument, "{} is odd", number);
  return number / 2;
}

StatusOr<int> Quarter(int number) {
  ASSIGN_OR_RETURN(const int half, Half(number));
  ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

TEST(Status, MacrosReturnTheFirstError) {
  int calls = 0;
  EXPECT_TRUE(Twice(calls, OkStatus()).ok());
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(Twice(calls, Error(Code::kInternal, "x")).code(), Code::kInternal);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(Quarter(8).value(), 2);
  EXPECT_EQ(Message(Quarter(6).status()), "3 is odd");
}

TEST(StatusDeathTest, AFailedCheckSaysWhereAndWhat) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(ISLA_CHECK(1 + 1 == 3), "status_test.cc:[0-9]+: check failed: 1 \\+ 1 == 3");
  EXPECT_DEATH(ISLA_CHECK_OK(Error(Code::kNotFound, "no key")), "NOT_FOUND: no key");
}

}  // namespace
}  // namespace isla
