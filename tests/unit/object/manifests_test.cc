// The manifests that people start from pass the door as they are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "api/base/unique_fd.h"
#include "api/object/object.h"
#include "tests/unit/object/object_util.h"

namespace isla::api {
namespace {

TEST(Manifests, EachIsAGoodObjectAndStaysAsTyped) {
  const char* source = std::getenv("ISLA_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "run it with ctest, or set ISLA_SOURCE_DIR";
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(source) + "/manifests")) {
    if (entry.path().extension() != ".json") continue;
    SCOPED_TRACE(entry.path().string());
    ++count;
    const json::Value typed = Read(ReadFile(entry.path().string()).value());
    const Kind* kind = FindKind(typed.StringAt({"kind"}));
    ASSERT_NE(kind, nullptr);
    EXPECT_THAT(Texts(CheckSchema(*kind, typed)), testing::IsEmpty());
    json::Value complete = typed;
    ApplyDefaults(*kind, complete);
    EXPECT_THAT(Texts(Validate(*kind, complete)), testing::IsEmpty());
    EXPECT_EQ(MergePatch(complete, typed), complete) << "a second apply would not be 'unchanged'";
    EXPECT_TRUE(ToSession(complete).ok());
  }
  EXPECT_GE(count, 2);
}

}  // namespace
}  // namespace isla::api
