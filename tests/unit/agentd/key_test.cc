#include "agentd/key.h"

#include <gtest/gtest.h>

namespace isla::agent {
namespace {

const ContainerKey kKey{"0b7bd1a6-8a8e-4c5e-9d2e-1f2a3b4c5d6e", 12};

TEST(Key, NamesAreReadBackAsTheKeyTheyCameFrom) {
  EXPECT_EQ(Name(kKey), "0b7bd1a6-8a8e-4c5e-9d2e-1f2a3b4c5d6e-12");
  EXPECT_EQ(ScopeName(kKey), "isla-0b7bd1a6-8a8e-4c5e-9d2e-1f2a3b4c5d6e-12.scope");
  EXPECT_EQ(KeyFromName(Name(kKey)), kKey);
  EXPECT_EQ(KeyFromScopeName(ScopeName(kKey)), kKey);
}

TEST(Key, OtherNamesAreNoKeys) {
  const std::string uid = kKey.uid;
  for (const std::string& name : {std::string(), uid, uid + "-", uid + "-0", uid + "--1", uid + "-01", uid + "-+1", uid + "-1x",
                                  uid + "-99999999999999999999", std::string("../") + uid + "-1", "X" + uid.substr(1) + "-1"}) {
    EXPECT_FALSE(KeyFromName(name).has_value()) << name;
  }
  EXPECT_FALSE(KeyFromScopeName(Name(kKey)).has_value());
  EXPECT_FALSE(KeyFromScopeName("isla-agentd.service").has_value());
  EXPECT_FALSE(KeyFromScopeName("isla-.scope").has_value());
}

TEST(Key, AUidThatIsNoUuidIsNotValid) {
  EXPECT_TRUE(IsValid(kKey));
  EXPECT_FALSE(IsValid({"../../etc", 1}));
  EXPECT_FALSE(IsValid({"", 1}));
  EXPECT_FALSE(IsValid({kKey.uid, 0}));
  EXPECT_FALSE(IsValid({kKey.uid, -1}));
}

TEST(Key, ADashInANamespaceIsNoLevelOfSlices) {
  EXPECT_EQ(SliceName("default"), "isla-default.slice");
  EXPECT_EQ(SliceName("my-team"), "isla-my\\x2dteam.slice");
  EXPECT_EQ(SliceName(".a/b"), "isla-\\x2ea\\x2fb.slice");
}

}  // namespace
}  // namespace isla::agent
