#include "api/object/kind.h"
#include "cli/targets.h"
#include "tests/unit/cli/cli_fixture.h"

namespace isla::testing {
namespace {

using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class ApplyTest : public CliTest {};

std::string Session(const std::string& name, const std::string& more = "") {
  return R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":")" + name +
         R"("},"spec":{"command":["x"])" + more + "}}\n";
}

TEST_F(ApplyTest, CreatedThenUnchangedThenConfigured) {
  const std::string file = File("a.json", Session("hello"));
  EXPECT_EQ(Isla({"apply", "-f", file}).out, "session.isla/hello created\n");
  EXPECT_EQ(Isla({"apply", "-f", file}).out, "session.isla/hello unchanged\n");
  File("a.json", Session("hello", R"(,"image":"dir:/x")"));
  const Result changed = Isla({"apply", "-f", file});
  EXPECT_EQ(changed.out, "session.isla/hello configured\n");
  EXPECT_EQ(changed.err, "");
  EXPECT_EQ(api_.Get("default", "hello").StringAt({"spec", "image"}), "dir:/x");
  EXPECT_EQ(api_.Get("default", "hello").StringAt({"spec", "type"}), "batch")
      << "the server's default stays";
  File("a.json", Session("hello"));
  EXPECT_EQ(Isla({"apply", "-f", file}).out, "session.isla/hello configured\n");
  EXPECT_EQ(api_.Get("default", "hello").FindPath({"spec", "image"}), nullptr)
      << "removed from the manifest";
  EXPECT_EQ(Isla({"apply", "-f", file}).out, "session.isla/hello unchanged\n");
}

TEST_F(ApplyTest, AnnotationIsWhatKubectlWrites) {
  Isla({"apply", "-f", File("a.json", Session("hello", R"(,"args":["<&>"])"))});
  EXPECT_EQ(api_.Get("default", "hello")
                .StringAt({"metadata", "annotations",
                           "kubectl.kubernetes.io/last-applied-configuration"}),
            "{\"apiVersion\":\"isla/"
            "v1\",\"kind\":\"Session\",\"metadata\":{\"annotations\":{},\"name\":\"hello\","
            "\"namespace\":\"default\"},"
            "\"spec\":{\"args\":[\"\\u003c\\u0026\\u003e\"],\"command\":[\"x\"]}}\n");
}

TEST_F(ApplyTest, OneCallForACreation) {
  Isla({"apply", "-f", File("a.json", Session("hello"))});
  EXPECT_THAT(api_.server().Calls(),
              ::testing::ElementsAre("POST /apis/isla/v1/namespaces/default/"
                                     "sessions?fieldManager=kubectl-client-side-apply&fieldValidation=Strict"));
  EXPECT_EQ(api_.server().connections(), 1);
}

TEST_F(ApplyTest, KindsThatAreKnownHereAreThoseThatTheApiHas) {
  client::Endpoint endpoint;
  endpoint.socket_path = api_.socket();
  const auto http = client::MakeHttpClient(endpoint);
  client::ApiClient client(*http, nullptr);
  for (const api::Kind& kind : api::AllKinds()) {
    const auto resource = cli::ResourceOfKind(client, "isla/v1", kind.kind);
    ASSERT_TRUE(resource.ok()) << kind.kind;
    EXPECT_EQ(resource->name, kind.resource);
    EXPECT_EQ(resource->singular, kind.singular);
    EXPECT_EQ(resource->namespaced, kind.namespaced);
    EXPECT_EQ(resource->CollectionPath("n"), kind.namespaced ? "/apis/isla/v1/namespaces/n/" + kind.resource : "/apis/isla/v1/" + kind.resource);
  }
  EXPECT_THAT(api_.server().Calls(), IsEmpty());
}

TEST_F(ApplyTest, WithoutTheRightToCreateAnExistingObjectIsStillChanged) {
  const std::string file = File("a.json", Session("a"));
  Isla({"apply", "-f", file});
  api_.Intercept("POST", [](const FakeRequest&) {
    return FakeReply{.status = 403, .body = R"({"kind":"Status","reason":"Forbidden","message":"no","code":403})"};
  });
  File("a.json", Session("a", R"(,"image":"dir:/x")"));
  EXPECT_EQ(Isla({"apply", "-f", file}).out, "session.isla/a configured\n");
}

TEST_F(ApplyTest, SeveralDocumentsListsFoldersAndStandardInput) {
  File("d/a.json", Session("a") + "---\n" + Session("b"));
  File("d/b.json",
       R"({"apiVersion":"v1","kind":"List","items":[)" + Session("c") + "," + Session("d") + "]}");
  File("d/ignored.txt", "{");
  File("d/deeper/e.json", Session("e"));
  EXPECT_EQ(Isla({"apply", "-f", Folder() + "/d"}).out,
            "session.isla/a created\nsession.isla/b created\nsession.isla/c "
            "created\nsession.isla/d created\n");
  EXPECT_THAT(Isla({"apply", "-R", "-f", Folder() + "/d"}).out,
              EndsWith("session.isla/e created\n"));
  EXPECT_EQ(Isla({"apply", "-f", "-"}, Session("f") + Session("g")).out,
            "session.isla/f created\nsession.isla/g created\n");
}

TEST_F(ApplyTest, GoesOnAfterABadDocumentAndExitsOne) {
  const std::string file =
      File("a.json", Session("a") +
                         "---\n{\"apiVersion\": \"isla/v1\",\n  \"kind\" \"Session\"}\n---\n" +
                         Session("b"));
  const Result result = Isla({"apply", "-f", file});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.out, "session.isla/a created\nsession.isla/b created\n");
  EXPECT_THAT(result.err, StartsWith("error: error parsing " + file + ":4:10: "));
}

TEST_F(ApplyTest, InvalidObjectIsToldWithThePlaceInTheFile) {
  const std::string file = File("a.json", R"({"apiVersion": "isla/v1", "kind": "Session",
  "metadata": {"name": "x"},
  "spec": {"command": ["a"],
    "bad": 1,
    "env": [{"name": "A"},
            {"name": "="}]}})");
  const Result result = Isla({"apply", "-f", file});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err,
            "The Session \"x\" is invalid: \n"
            "* spec.bad: Unknown field (" +
                file +
                ":4:12)\n"
                "* spec.env[1].name: Invalid value: \"=\" (" +
                file + ":6:22)\n");
}

TEST_F(ApplyTest, ErrorOfTheServerNamesTheSource) {
  const std::string file = File("a.json", Session("x"));
  api_.Intercept("POST", [](const FakeRequest&) {
    return FakeReply{
        .status = 403,
        .body = R"({"kind":"Status","reason":"Forbidden","message":"project going","code":403})"};
  });
  EXPECT_EQ(Isla({"apply", "-f", file}).err,
            "Error from server (Forbidden): error when creating \"" + file + "\": project going\n");
}

TEST_F(ApplyTest, DryRunChangesNothing) {
  const std::string file = File("a.json", Session("a"));
  EXPECT_EQ(Isla({"apply", "-f", file, "--dry-run=server"}).out,
            "session.isla/a created (server dry run)\n");
  EXPECT_EQ(Isla({"apply", "-f", file, "--dry-run=client"}).out,
            "session.isla/a created (dry run)\n");
  EXPECT_TRUE(api_.Get("default", "a").is_null());
  Isla({"apply", "-f", file});
  File("a.json", Session("a", R"(,"image":"host")"));
  EXPECT_EQ(Isla({"apply", "-f", file, "--dry-run=server"}).out,
            "session.isla/a configured (server dry run)\n");
  EXPECT_EQ(Isla({"apply", "-f", file, "--dry-run=client"}).out,
            "session.isla/a configured (dry run)\n");
  EXPECT_EQ(api_.Get("default", "a").FindPath({"spec", "image"}), nullptr);
}

TEST_F(ApplyTest, OutputFormats) {
  const std::string file = File("a.json", Session("a"));
  EXPECT_EQ(Isla({"apply", "-f", file, "-o", "name"}).out, "session.isla/a\n");
  EXPECT_THAT(Isla({"apply", "-f", file, "-ojson"}).out, HasSubstr("\"uid\": \"uid-1\""));
  EXPECT_THAT(Isla({"apply", "-f", file, "-o=wide"}).err,
              HasSubstr("unable to match a printer suitable for the output format \"wide\""));
}

TEST_F(ApplyTest, NamespaceOfTheFlagMustBeTheManifests) {
  const std::string own = File(
      "a.json",
      R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"a","namespace":"demo"}})");
  EXPECT_EQ(Isla({"apply", "-f", own}).out, "session.isla/a created\n");
  EXPECT_FALSE(api_.Get("demo", "a").is_null());
  const Result other = Isla({"apply", "-f", own, "-n", "prod"});
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(
      other.err,
      StartsWith(
          "error: the namespace from the provided object \"demo\" does not match the namespace "
          "\"prod\". You must pass '--namespace=demo' to perform this operation."));
  EXPECT_EQ(Isla({"apply", "-f", File("b.json", Session("b")), "-n=prod"}).code, 0);
  EXPECT_FALSE(api_.Get("prod", "b").is_null());
}

TEST_F(ApplyTest, WhatIsNoManifestIsToldApart) {
  const auto error = [this](const std::string& text) {
    return Isla({"apply", "-f", "-"}, text).err;
  };
  EXPECT_EQ(error(""), "error: no objects passed to apply\n");
  EXPECT_EQ(error("[1]"),
            "error: unable to decode \"STDIN:1:1\": expected an object, not a array\n");
  EXPECT_EQ(error("\n {}"), "error: unable to decode \"STDIN:2:2\": Object 'Kind' is missing\n");
  EXPECT_EQ(error(R"({"kind":"Session"})"),
            "error: unable to decode \"STDIN:1:1\": Object 'apiVersion' is missing\n");
  EXPECT_EQ(error(R"({"kind":"Sesion","apiVersion":"isla/v1","metadata":{"name":"x"}})"),
            "error: unable to recognize \"STDIN\": no matches for kind \"Sesion\" in version "
            "\"isla/v1\" (STDIN:1:9); did you mean \"Session\"?\n");
  EXPECT_THAT(error(R"({"kind":"Session","apiVersion":"isla/v1","metadata":{}})"),
              HasSubstr("metadata.name is missing (STDIN:1:53)"));
  EXPECT_THAT(error(R"({"kind":"Session","apiVersion":"isla/v1","metadata":7})"),
              HasSubstr("metadata: expected an object, not a number (STDIN:1:53)"));
}

TEST_F(ApplyTest, PathsThatCannotBeReadAreErrors) {
  EXPECT_EQ(Isla({"apply", "-f", "/no/such.json"}).err,
            "error: the path \"/no/such.json\" does not exist\n");
  EXPECT_TRUE(MakeDirectories(Folder() + "/empty", 0700).ok());
  EXPECT_EQ(Isla({"apply", "-f", Folder() + "/empty"}).err,
            "error: error reading [" + Folder() +
                "/empty]: recognized file extensions are [.json .yaml .yml]\n");
  EXPECT_THAT(Isla({"apply", "-f", "https://x/y.json"}).err, HasSubstr("curl"));
  EXPECT_THAT(Isla({"apply", "-f", File("x.yaml", "kind: Session\n")}).err,
              HasSubstr("isla reads JSON"));
  EXPECT_EQ(Isla({"apply"}).err,
            "error: must specify -f (a file, a folder, or - for standard input)\n");
  EXPECT_THAT(Isla({"apply", "x.json"}).err, StartsWith("error: Unexpected args: [x.json]"));
}

TEST_F(ApplyTest, ObjectWithoutTheAnnotationIsAdoptedWithAWarning) {
  Isla({"create", "-f", File("a.json", Session("a"))});
  const Result applied = Isla({"apply", "-f", File("a.json", Session("a"))});
  EXPECT_EQ(applied.out, "session.isla/a configured\n");
  EXPECT_THAT(applied.err,
              StartsWith("Warning: resource sessions/a is missing the "
                         "kubectl.kubernetes.io/last-applied-configuration annotation"));
  EXPECT_EQ(Isla({"apply", "-f", File("a.json", Session("a"))}).out, "session.isla/a unchanged\n");
}

TEST_F(ApplyTest, ObjectThatIsBeingDeletedIsWarnedAbout) {
  const std::string file = File("a.json", Session("a"));
  Isla({"apply", "-f", file});
  api_.Put("default", "a", [](json::Value& object) {
    object.Member("metadata").Set("deletionTimestamp", "2026-01-01T00:00:00Z");
  });
  File("a.json", Session("a", R"(,"image":"x")"));
  EXPECT_EQ(Isla({"apply", "-f", file}).err,
            "Warning: Detected changes to resource a which is currently being deleted.\n");
}

TEST_F(ApplyTest, WhatGoesBetweenTheCallsIsCreatedAfterAll) {
  // The object is there for our POST, and gone for our GET.
  const std::string file = File("a.json", Session("a"));
  Isla({"apply", "-f", file});
  api_.Intercept("GET /apis/isla/v1/namespaces/default/sessions/a", [this](const FakeRequest&) {
    api_.StopIntercepting();
    api_.Remove("default", "a");
    return FakeReply{.status = 404,
                     .body = R"({"kind":"Status","reason":"NotFound","message":"no","code":404})"};
  });
  EXPECT_EQ(Isla({"apply", "-f", file}).out, "session.isla/a created\n");
}

TEST_F(ApplyTest, CreateTakesGenerateNameAndRefusesWhatIsThere) {
  EXPECT_EQ(Isla({"create", "-f", "-"},
                 R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"generateName":"g-"}})")
                .out,
            "session.isla/g-abcde created\n");
  const std::string file = File("a.json", Session("a"));
  EXPECT_EQ(Isla({"create", "-f", file}).code, 0);
  EXPECT_EQ(Isla({"create", "-f", file}).err,
            "Error from server (AlreadyExists): error when creating \"" + file +
                "\": sessions \"a\" already exists\n");
}

TEST_F(ApplyTest, WarningsOfTheServerAreShown) {
  api_.Intercept("POST", [](const FakeRequest& request) {
    return FakeReply{
        .status = 201, .body = request.body, .headers = "Warning: 299 - \"spec.x is old\"\r\n"};
  });
  EXPECT_EQ(Isla({"apply", "-f", "-"}, Session("a")).err, "Warning: spec.x is old\n");
}

TEST_F(ApplyTest, ServerThatIsGoneIsSaidOnce) {
  api_.server().Stop();
  const Result result = Isla({"apply", "-f", "-"}, Session("a") + Session("b"));
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err, "The connection to the server unix:" + api_.socket() +
                            " was refused - did you specify the right host or port?\n");
}

}  // namespace
}  // namespace isla::testing
