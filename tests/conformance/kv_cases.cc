// Reading, listing, compaction.
#include <thread>

#include "tests/conformance/store_conformance.h"

namespace isla::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_P(StoreConformance, GetOfAMissingKeyIsNullAndNoError) {
  const auto result = store().Get(Key("a"));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->kv, nullptr);
  EXPECT_GT(result->revision, 0);
}

TEST_P(StoreConformance, PutThenGetGivesValueAndRevisions) {
  const Revision revision = Put("a", "1");
  const auto result = store().Get(Key("a"));
  ASSERT_TRUE(result.ok());
  ASSERT_NE(result->kv, nullptr);
  EXPECT_EQ(result->kv->key, Key("a"));
  EXPECT_EQ(result->kv->value, "1");
  EXPECT_EQ(result->kv->create_revision, revision);
  EXPECT_EQ(result->kv->mod_revision, revision);
  EXPECT_EQ(result->kv->version, 1);
  EXPECT_EQ(result->kv->lease, 0);
  EXPECT_GE(result->revision, revision);
}

TEST_P(StoreConformance, OverwritingKeepsTheCreateRevisionAndCountsTheVersion) {
  const Revision created = Put("a", "1");
  Put("a", "2");
  const Revision last = Put("a", "3");
  const auto kv = Get("a");
  ASSERT_NE(kv, nullptr);
  EXPECT_EQ(kv->value, "3");
  EXPECT_EQ(kv->create_revision, created);
  EXPECT_EQ(kv->mod_revision, last);
  EXPECT_EQ(kv->version, 3);
}

TEST_P(StoreConformance, PuttingTheSameValueAgainIsAChange) {
  const Revision first = Put("a", "1");
  EXPECT_EQ(Put("a", "1"), first + 1);
  EXPECT_EQ(There("a").version, 2);
}

TEST_P(StoreConformance, AKeyThatComesBackIsANewOne) {
  Put("a", "1");
  Put("a", "2");
  Delete("a");
  EXPECT_EQ(Get("a"), nullptr);
  const Revision again = Put("a", "3");
  const auto kv = Get("a");
  ASSERT_NE(kv, nullptr);
  EXPECT_EQ(kv->create_revision, again);
  EXPECT_EQ(kv->version, 1);
}

TEST_P(StoreConformance, EmptyAndBinaryValuesComeBackAsTheyWere) {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  Put("empty", "");
  Put("all", all);
  Put("nul", std::string(3, '\0'));
  EXPECT_EQ(There("empty").value, "");
  EXPECT_EQ(There("all").value, all);
  EXPECT_EQ(There("nul").value, std::string(3, '\0'));
}

TEST_P(StoreConformance, KeysAreBytes) {
  const std::string odd = std::string("k\0\xff\x01 '\"/", 8);
  Put(odd, "1");
  ASSERT_NE(Get(odd), nullptr);
  EXPECT_EQ(Get(odd)->key, Key(odd));
  EXPECT_EQ(Get("k"), nullptr);
}

TEST_P(StoreConformance, AMebibyteOfValueComesBack) {
  const std::string big(1 << 20, 'x');
  Put("big", big);
  EXPECT_EQ(There("big").value, big);
}

TEST_P(StoreConformance, GetOfAnEmptyKeyIsRefused) {
  EXPECT_EQ(store().Get("").status().code(), Code::kInvalidArgument);
}

TEST_P(StoreConformance, ListIsSortedBytewise) {
  for (const char* name : {"b", "a/2", "a", "a0", "B", "\xc3\xa4", "a/10"}) Put(name, "v");
  EXPECT_THAT(Texts(List()), ElementsAre("B=v", "a=v", "a/10=v", "a/2=v", "a0=v", "b=v", "\xc3\xa4=v"));
}

TEST_P(StoreConformance, ListTakesThePrefixAndNoNeighbour) {
  for (const char* name : {"a", "a/", "a/x", "a0", "b/x"}) Put(name, "v");
  EXPECT_THAT(Texts(List("a/")), ElementsAre("a/=v", "a/x=v"));
  EXPECT_THAT(Texts(List("a")), ElementsAre("a=v", "a/=v", "a/x=v", "a0=v"));
  EXPECT_THAT(Texts(List("c")), IsEmpty());
}

TEST_P(StoreConformance, ListOfAPrefixThatEndsInTheLastByte) {
  Put("a\xff", "1");
  Put("a\xff\xff", "2");
  Put("b", "3");
  EXPECT_THAT(Texts(List("a\xff")), ElementsAre("a\xff=1", "a\xff\xff=2"));
}

TEST_P(StoreConformance, ListOfNothingHasARevision) {
  const Revision now = Put("a", "1");
  EXPECT_EQ(List("z").revision, now);
}

TEST_P(StoreConformance, ListOfTheEmptyPrefixHasEverything) {
  Put("a", "1");
  const auto list = store().List("");
  ASSERT_TRUE(list.ok());
  bool found = false;
  for (const auto& kv : list->kvs) found = found || kv->key == Key("a");
  EXPECT_TRUE(found);
}

TEST_P(StoreConformance, ListIsTheSameWhateverThePage) {
  for (int i = 0; i < 25; ++i) Put("k" + std::to_string(i), std::to_string(i));
  const auto whole = Texts(List());
  ASSERT_EQ(whole.size(), 25U);
  for (const size_t page : {1, 2, 5, 24, 25, 26}) {
    ListOptions options;
    options.page_size = page;
    EXPECT_EQ(Texts(List("", options)), whole) << page;
  }
}

TEST_P(StoreConformance, ListReadsAllPagesAtOneRevision) {
  for (int i = 0; i < 10; ++i) Put("k" + std::to_string(i), "0");
  std::atomic<bool> stop{false};
  std::thread writer([this, &stop] {
    for (int n = 1; !stop; ++n) {
      Transaction txn;
      for (int i = 0; i < 10; ++i) txn.success.push_back(Operation::Put(Key("k" + std::to_string(i)), std::to_string(n)));
      if (!store().Txn(txn).ok()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  ListOptions options;
  options.page_size = 3;
  for (int i = 0; i < 20; ++i) {
    const auto list = List("", options);
    ASSERT_EQ(list.kvs.size(), 10U);
    for (const auto& kv : list.kvs) {
      EXPECT_EQ(kv->value, list.kvs[0]->value);
      EXPECT_LE(kv->mod_revision, list.revision);
    }
  }
  stop = true;
  writer.join();
}

TEST_P(StoreConformance, PiecesOfAListAreTheWholeWhateverTheirSize) {
  for (int i = 0; i < 25; ++i) Put("k" + std::to_string(i), std::to_string(i));
  Delete("k7");
  const ListResult whole = List();
  EXPECT_FALSE(whole.more);
  for (const size_t limit : {1, 2, 23, 24, 25}) {
    for (const size_t page : {1, 3, 500}) {
      ListOptions options;
      options.limit = limit;
      options.page_size = page;
      std::vector<std::string> all;
      for (bool more = true; more;) {
        const ListResult piece = List("", options);
        ASSERT_LE(piece.kvs.size(), limit);
        ASSERT_TRUE(!piece.more || piece.kvs.size() == limit);
        for (const std::string& text : Texts(piece)) all.push_back(text);
        // What is written meanwhile isn't seen.
        if (options.revision == 0) Put("k99", "later");
        options.revision = piece.revision;
        if (!piece.kvs.empty()) options.from = piece.kvs.back()->key + '\0';
        more = piece.more;
      }
      EXPECT_EQ(all, Texts(whole)) << limit << " " << page;
      Delete("k99");
    }
  }
}

TEST_P(StoreConformance, AListFromAKeyBeginsThere) {
  for (const char* name : {"a/1", "a/2", "b/1"}) Put(name, "v");
  const auto from = [this](const std::string& prefix, const std::string& key) {
    ListOptions options;
    options.from = key;
    return Texts(List(prefix, options));
  };
  EXPECT_THAT(from("a/", Key("a/2")), ElementsAre("a/2=v"));
  EXPECT_THAT(from("a/", Key("a/11")), ElementsAre("a/2=v"));
  EXPECT_THAT(from("a/", Key("a")), ElementsAre("a/1=v", "a/2=v")) << "before the prefix";
  EXPECT_THAT(from("a/", Key("a/3")), IsEmpty());
  EXPECT_THAT(from("a/", Key("b/1")), IsEmpty()) << "behind the prefix";
}

TEST_P(StoreConformance, APieceOfACompactedRevisionIsRefused) {
  const Revision one = Put("a", "1");
  ASSERT_TRUE(store().Compact(Put("b", "1")).ok());
  ListOptions options;
  options.revision = one;
  options.limit = 1;
  EXPECT_EQ(store().List(prefix(), options).status().code(), Code::kOutOfRange);
}

TEST_P(StoreConformance, ListInThePastSeesThePast) {
  const Revision one = Put("a", "1");
  Put("b", "1");
  const Revision two = Put("a", "2");
  Delete("b");
  ListOptions options;
  options.revision = one;
  EXPECT_THAT(Texts(List("", options)), ElementsAre("a=1"));
  EXPECT_EQ(List("", options).revision, one);
  options.revision = two;
  EXPECT_THAT(Texts(List("", options)), ElementsAre("a=2", "b=1"));
  EXPECT_THAT(Texts(List()), ElementsAre("a=2"));
}

TEST_P(StoreConformance, ListInTheFutureIsOutOfRange) {
  ListOptions options;
  options.revision = Put("a", "1") + 100;
  EXPECT_EQ(store().List(prefix(), options).status().code(), Code::kOutOfRange);
}

TEST_P(StoreConformance, ListOfKeysOnlyHasNoValues) {
  const Revision revision = Put("a", "1");
  ListOptions options;
  options.keys_only = true;
  const auto list = List("", options);
  ASSERT_EQ(list.kvs.size(), 1U);
  EXPECT_EQ(list.kvs[0]->key, Key("a"));
  EXPECT_EQ(list.kvs[0]->value, "");
  EXPECT_EQ(list.kvs[0]->mod_revision, revision);
}

TEST_P(StoreConformance, CompactionForgetsWhatIsBelowAndNothingElse) {
  const Revision one = Put("a", "1");
  const Revision two = Put("a", "2");
  Put("b", "1");
  const Revision three = Put("a", "3");
  ASSERT_TRUE(store().Compact(two).ok());
  ListOptions options;
  options.revision = one;
  EXPECT_EQ(store().List(prefix(), options).status().code(), Code::kOutOfRange);
  options.revision = two;
  EXPECT_THAT(Texts(List("", options)), ElementsAre("a=2"));
  options.revision = three;
  EXPECT_THAT(Texts(List("", options)), ElementsAre("a=3", "b=1"));
  EXPECT_EQ(There("a").create_revision, one);
  EXPECT_EQ(There("a").version, 3);
}

TEST_P(StoreConformance, CompactionKeepsKeysThatNobodyTouches) {
  Put("old", "1");
  Put("gone", "1");
  Delete("gone");
  const Revision now = Put("a", "1");
  ASSERT_TRUE(store().Compact(now).ok());
  EXPECT_THAT(Texts(List()), ElementsAre("a=1", "old=1"));
}

TEST_P(StoreConformance, CompactingTwiceOrTheFutureIsOutOfRange) {
  const Revision now = Put("a", "1");
  ASSERT_TRUE(store().Compact(now).ok());
  EXPECT_EQ(store().Compact(now).code(), Code::kOutOfRange);
  EXPECT_EQ(store().Compact(now - 1).code(), Code::kOutOfRange);
  EXPECT_EQ(store().Compact(now + 1000).code(), Code::kOutOfRange);
  EXPECT_EQ(store().Compact(0).code(), Code::kOutOfRange);
}

TEST_P(StoreConformance, AWholeListGoesOnWhileHistoryIsCompacted) {
  for (int i = 0; i < 30; ++i) Put("k" + std::to_string(i), "v");
  std::atomic<bool> stop{false};
  std::thread compactor([this, &stop] {
    while (!stop) {
      Transaction txn;
      txn.success.push_back(Operation::Put(Key("other"), "x"));
      const auto put = store().Txn(txn);
      if (put.ok()) store().Compact(put->revision).IgnoreError();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  ListOptions options;
  options.page_size = 1;  // so every attempt in pages is overtaken
  for (int i = 0; i < 20; ++i) {
    const auto list = store().List(Prefix(Key("k")), options);
    EXPECT_TRUE(list.ok()) << ToString(list.status());
    EXPECT_EQ(list.ok() ? list->kvs.size() : 0, 30U);
  }
  stop = true;
  compactor.join();
}

TEST_P(StoreConformance, LongKeysAndKeysThatBeginTheSameAreTold) {
  const std::string big(4096, 'k');
  Put(big, "1");
  Put(big + "x", "2");
  Put("k", "3");
  EXPECT_EQ(Get(big)->value, "1");
  EXPECT_EQ(Get(big + "x")->value, "2");
  EXPECT_EQ(Get("kk"), nullptr);
  EXPECT_EQ(List(big).kvs.size(), 2U);
}

TEST_P(StoreConformance, ThousandsOfKeysAreListedWholeAndInOrder) {
  for (int i = 0; i < 1500; i += 100) {
    Transaction txn;
    for (int k = i; k < i + 100; ++k) txn.success.push_back(Operation::Put(Key(std::to_string(k)), std::to_string(k)));
    Do(txn);
  }
  const auto list = List();
  ASSERT_EQ(list.kvs.size(), 1500U);
  for (size_t i = 1; i < list.kvs.size(); ++i) EXPECT_LT(list.kvs[i - 1]->key, list.kvs[i]->key);
}

}  // namespace
}  // namespace isla::store
