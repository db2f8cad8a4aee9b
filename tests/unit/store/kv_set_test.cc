#include "store/kv_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace isla::store {
namespace {

std::shared_ptr<const KeyValue> Kv(const std::string& key, const std::string& value) {
  return std::make_shared<const KeyValue>(KeyValue{key, value, 1, 1, 1, 0});
}

std::vector<std::string> Content(const KvSet& set) {
  std::vector<std::string> content;
  for (const auto& kv : set) content.push_back(kv->key + "=" + kv->value);
  return content;
}

TEST(KvSet, AKeyIsThereOnceWithItsLastValueAndInOrder) {
  KvSet set;
  for (const char* const key : {"b", "a", "c", "\xff", ""}) Put(set, Kv(key, "1"));
  for (const char* const key : {"\xff", "a", "", "b"}) Put(set, Kv(key, "2"));
  EXPECT_THAT(Content(set), testing::ElementsAre("=2", "a=2", "b=2", "c=1", "\xff=2"));
}

TEST(KvSet, TheKeyOfAReplacedValueIsNotLookedAtAnyMore) {
  KvSet set;
  auto old = Kv("k", "old");
  Put(set, old);
  Put(set, Kv("k", "new"));
  EXPECT_EQ(old.use_count(), 1);  // a set that still ordered by its text would hold it
  old.reset();
  ASSERT_NE(Find(set, "k"), nullptr);
  EXPECT_EQ(Find(set, "k")->value, "new");
  EXPECT_EQ(Find(set, "l"), nullptr);
  set.erase(set.find(std::string_view("k")));
  EXPECT_TRUE(set.empty());
}

}  // namespace
}  // namespace isla::store
