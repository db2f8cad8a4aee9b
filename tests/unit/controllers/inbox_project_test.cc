// The manifest inbox and the project controller, with the registry's real code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controllers/inbox/inbox_controller.h"
#include "tests/unit/controllers/islad_fixture.h"

namespace isla::controllers {
namespace {

using testing::HasSubstr;

class InboxTest : public IsladTest {
 protected:
  InboxTest() : islad_(*store_, "a") {}

  /// Puts a manifest, waits for the verdict on it.
  ManifestVerdict Judge(const std::string& name, const std::string& text, const std::string& ns = "default") {
    islad_.Put(keys_.Manifest(ns, name), text);
    const store::Revision revision = store_->Get(keys_.Manifest(ns, name)).value().kv->mod_revision;
    ManifestVerdict verdict;
    EXPECT_TRUE(islad_.Eventually([&] {
      const StatusOr<ManifestVerdict> now = DecodeManifestVerdict(islad_.Value(keys_.ManifestStatus(ns, name)));
      if (!now.ok() || now->revision != revision) return false;
      verdict = *now;
      return true;
    })) << name;
    return verdict;
  }
  static std::string Manifest(const std::string& command = "/bin/true") {
    return R"({"apiVersion":"isla/v1","kind":"Session","spec":{"command":[")" + command + R"("]}})";
  }

  TestIslad islad_;
};

TEST_F(InboxTest, AGoodManifestBecomesAnObjectOfTheInboxUser) {
  EXPECT_EQ(Judge("a", Manifest()).verdict, "Applied");
  const auto object = islad_.registry->Get(api::SessionKind(), "default", "a");
  ASSERT_TRUE(object.ok()) << object.status();
  EXPECT_EQ((*object)->StringAt({"metadata", "createdBy"}), "system:inbox");
  EXPECT_EQ((*object)->StringAt({"metadata", "namespace"}), "default");
}

TEST_F(InboxTest, TheSameAgainIsUnchangedAndAChangeIsApplied) {
  Judge("a", Manifest());
  EXPECT_EQ(Judge("a", Manifest()).verdict, "Unchanged");
  const ManifestVerdict changed = Judge("a", Manifest("/bin/false"));
  EXPECT_EQ(changed.verdict, "Applied") << changed.message;
  EXPECT_THAT(changed.message, HasSubstr("generation 2"));
}

TEST(SaysTheSame, WhateverTheStatusDoesMeanwhile) {
  const json::Value before = *json::Parse(R"({"metadata":{"uid":"u","generation":1,"resourceVersion":"7","labels":{"a":"b"}},"spec":{"x":1},"status":{"phase":"Pending"}})");
  json::Value after = before;
  after.Find("metadata")->Set("resourceVersion", "9");
  after.Set("status", json::Value::MakeObject({{"phase", "Running"}}));
  EXPECT_TRUE(SaysTheSame(before, after));
  json::Value labelled = after, made_anew = after, other = after;
  labelled.Find("metadata")->Set("labels", json::Value::MakeObject());
  made_anew.Find("metadata")->Set("uid", "v");
  other.Set("spec", json::Value::MakeObject({{"x", 2}}));
  EXPECT_FALSE(SaysTheSame(before, labelled));
  EXPECT_FALSE(SaysTheSame(before, made_anew));
  EXPECT_FALSE(SaysTheSame(before, other));
}

TEST_F(InboxTest, ABadManifestIsToldWhyAndHoldsBackNoOther) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"{\"kind\": ", "line 1"},
      {"[]", "expected an object"},
      {"\xff\xfe", ""},
      {R"({"apiVersion":"isla/v1","kind":"Sesion"})", "no kind"},
      {R"({"apiVersion":"isla/v1","kind":"Session","spec":{"comand":["x"]}})", "command"},
      {R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"other"},"spec":{"command":["x"]}})", "other"},
      {R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"namespace":"other"},"spec":{"command":["x"]}})", "other"},
      {R"({"apiVersion":"isla/v1","kind":"Session","metadata":"x","spec":{"command":["x"]}})", "metadata"},
      {R"({"apiVersion":"isla/v1","kind":"Project","spec":{}})", "manifest/_/"},
      {std::string(300'000, ' '), ""},
      {std::string(100, '['), ""},
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    const ManifestVerdict verdict = Judge("bad-" + std::to_string(i), bad[i].first);
    EXPECT_EQ(verdict.verdict, "Refused") << i;
    EXPECT_THAT(verdict.message, HasSubstr(bad[i].second)) << i;
    EXPECT_FALSE(verdict.message.empty()) << i;
    EXPECT_EQ(islad_.Value(keys_.Spec("session", "default", "bad-" + std::to_string(i))), "") << i;
  }
  EXPECT_EQ(Judge("good", Manifest()).verdict, "Applied");
}

TEST_F(InboxTest, AProjectThatIsMissingIsARefusal) {
  const ManifestVerdict verdict = Judge("a", Manifest(), "nowhere");
  EXPECT_EQ(verdict.verdict, "Refused");
  EXPECT_THAT(verdict.message, HasSubstr("nowhere"));
}

TEST_F(InboxTest, DeletingAManifestDeletesItsVerdictAndNoObject) {
  Judge("a", Manifest());
  islad_.Delete(keys_.Manifest("default", "a"));
  EXPECT_TRUE(islad_.Eventually([&] { return islad_.Value(keys_.ManifestStatus("default", "a")).empty(); }));
  EXPECT_NE(islad_.Value(keys_.Spec("session", "default", "a")), "");
}

TEST_F(InboxTest, AManifestOfAProjectBelongsUnderTheClusterWideFolder) {
  EXPECT_EQ(Judge("lab", R"({"apiVersion":"isla/v1","kind":"Project","spec":{}})", "_").verdict, "Applied");
  EXPECT_EQ(Judge("a", Manifest(), "lab").verdict, "Applied");
}

TEST_F(InboxTest, AProjectIsActiveAndGoesWithEverythingInIt) {
  Judge("lab", R"({"apiVersion":"isla/v1","kind":"Project","spec":{}})", "_");
  const std::string status = keys_.Status("project", store::kClusterWide, "lab");
  ASSERT_TRUE(islad_.Eventually([&] { return islad_.Value(status).find("Active") != std::string::npos; }));
  for (const char* name : {"a", "b", "c"}) Judge(name, Manifest(), "lab");
  registry::DeleteOptions options;
  options.caller.user = "ann";
  ASSERT_TRUE(islad_.registry->Delete(api::ProjectKind(), "", "lab", options).ok());
  ASSERT_TRUE(islad_.Eventually([&] { return islad_.Value(keys_.Spec("project", store::kClusterWide, "lab")).empty(); }));
  const auto left = store_->List(keys_.prefix()).value();
  for (const auto& kv : left.kvs) {
    const std::optional<store::ParsedKey> parsed = keys_.Parse(kv->key);
    const bool of_people = parsed && parsed->key_class == store::KeyClass::kManifest;
    // The inbox is people's; its verdicts were removed with the project, and are given anew.
    if (of_people || (parsed && parsed->key_class == store::KeyClass::kManifestStatus)) continue;
    EXPECT_EQ(kv->key.find("/lab"), std::string::npos) << kv->key;
  }
}

TEST_F(InboxTest, AProjectWaitsForASessionThatStillRuns) {
  Judge("lab", R"({"apiVersion":"isla/v1","kind":"Project","spec":{}})", "_");
  islad_.Put(keys_.Gateway("g1"), "{}");
  islad_.Put(keys_.Node("n1"), Encode(NodeOf("n1")));
  Judge("a", Manifest(), "lab");
  const std::string bind_key = keys_.Bind("lab", "a");
  const auto container = [&] {
    const StatusOr<Bind> bind = DecodeBind(islad_.Value(bind_key));
    return bind.ok() && !bind->containers.empty() ? bind->containers.front() : BindContainer{};
  };
  ASSERT_TRUE(islad_.Eventually([&] { return container().node == "n1"; }));
  ASSERT_TRUE(islad_.registry->Delete(api::ProjectKind(), "", "lab", {}).ok());
  ASSERT_TRUE(islad_.Eventually([&] { return container().desired == Desired::kStop; }));
  const std::string status = keys_.Status("project", store::kClusterWide, "lab");
  ASSERT_TRUE(islad_.Eventually([&] { return islad_.Value(status).find("session a") != std::string::npos; }))
      << islad_.Value(status);
  islad_.Put(keys_.Run("n1", container().uid, 1), Encode(Ended(RunState::kGone, 143, "stopped")));
  EXPECT_TRUE(islad_.Eventually([&] { return islad_.Value(keys_.Spec("project", store::kClusterWide, "lab")).empty(); }));
}

}  // namespace
}  // namespace isla::controllers
