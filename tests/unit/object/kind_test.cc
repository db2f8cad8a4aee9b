#include "api/object/kind.h"

#include <gtest/gtest.h>

#include <set>

#include "isla/v1/objects.pb.h"

namespace isla::api {
namespace {

TEST(Kind, IsFoundByEveryNameInAnyCase) {
  for (const char* word : {"Session", "session", "sessions", "SESSIONS", "se", "sess", "session.isla", "sessions.v1.isla"}) {
    EXPECT_EQ(FindKind(word), &SessionKind()) << word;
  }
  EXPECT_EQ(FindKind("no"), &NodeKind());
  EXPECT_EQ(FindKind("Project"), &ProjectKind());
  for (const char* word : {"", "pod", "session.core", ".isla", "sessionss", "all"}) EXPECT_EQ(FindKind(word), nullptr) << word;
}

TEST(Kind, NoTwoShareAName) {
  std::set<std::string> names;
  for (const Kind& kind : AllKinds()) {
    std::vector<std::string> mine = kind.short_names;
    mine.insert(mine.end(), {kind.resource, kind.singular});
    for (const std::string& name : mine) EXPECT_TRUE(names.insert(name).second) << name;
  }
}

TEST(Kind, DescriptorIsTheMessageOfItsName) {
  for (const Kind& kind : AllKinds()) EXPECT_EQ(kind.descriptor->name(), kind.kind);
  EXPECT_TRUE(SessionKind().namespaced);
  EXPECT_FALSE(NodeKind().namespaced);
}

}  // namespace
}  // namespace isla::api
