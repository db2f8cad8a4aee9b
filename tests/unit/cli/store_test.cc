// isla store: files that appear only when they are whole, uploads, and what the server says.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "api/archive/format.h"
#include "tests/unit/cli/cli_fixture.h"

namespace isla::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr const char* kExport = "GET /apis/isla/v1/store/export";

class StoreTest : public CliTest {
 protected:
  static std::string ExportOf(int keys, bool sealed = false) {
    archive::Writer writer;
    archive::Header header;
    header.cluster_id = "c1";
    header.revision = 42;
    header.sealed = sealed;
    std::string text = writer.Begin(header);
    for (int i = 0; i < keys; ++i) text += writer.Add({fmt::format("config/{:06}", i), "config", 1, 1, "1"}).value();
    return text + writer.Finish();
  }
  /// A stream of these pieces.
  static FakeReply Streamed(std::vector<std::string> pieces, bool cut = false) {
    FakeReply reply;
    reply.content_type = "application/x-ndjson";
    reply.cut = cut;
    reply.stream = [pieces = std::move(pieces)](StreamWriter& writer) {
      for (const std::string& piece : pieces) writer.Chunk(piece);
    };
    return reply;
  }
  static std::string Refusal(int code, const std::string& reason, const std::string& message) {
    return fmt::format(R"({{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"{}","message":"{}","code":{}}})", reason,
                       message, code);
  }
  void Answer(const std::string& call, const FakeReply& reply) {
    api_.Intercept(call, [reply](const FakeRequest&) { return reply; });
  }
  std::vector<std::string> FilesLike(const std::string& name) {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
      if (entry.path().filename().string().starts_with(name)) found.push_back(entry.path().filename());
    }
    return found;
  }
};

TEST_F(StoreTest, AnExportIsAFileOfItsOwnersOnly) {
  const std::string text = ExportOf(300);
  Answer(kExport, Streamed({text.substr(0, 100), text.substr(100, 5000), text.substr(5100)}));
  const std::string path = Folder() + "/backup";
  const Result result = Isla({"store", "export", path});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_EQ(result.err, "300 keys of cluster c1 at revision 42 exported\n");
  EXPECT_EQ(ReadFile(path).value(), text);
  struct stat file {};
  ASSERT_EQ(stat(path.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777, 0600U);
  EXPECT_THAT(FilesLike("backup"), ElementsAre("backup"));
}

TEST_F(StoreTest, AnExportReplacesAFileOnlyWhenItIsWhole) {
  const std::string path = File("backup", "the one of yesterday");
  const std::string text = ExportOf(10);
  std::string edited = text;
  edited.replace(edited.find("config/000003"), 13, "config/000099");
  for (const std::string& broken : {text.substr(0, text.size() / 2), text.substr(0, text.size() - 10), edited, std::string()}) {
    Answer(kExport, Streamed({broken}));
    const Result result = Isla({"store", "export", path});
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, StartsWith("error: ")) << broken;
    EXPECT_EQ(ReadFile(path).value(), "the one of yesterday");
    EXPECT_THAT(FilesLike("backup"), ElementsAre("backup"));
  }
  Answer(kExport, Streamed({text}));
  EXPECT_EQ(Isla({"store", "export", path}).code, 0);
  EXPECT_EQ(ReadFile(path).value(), text);
}

TEST_F(StoreTest, AnExportThatBreaksOffIsBegunAnewThreeTimes) {
  archive::Writer writer;
  std::string failed = writer.Begin({"c1", 1, 1, 7, "", "", false});
  failed += writer.Fail("revision 7 was compacted", true);
  std::atomic<int> asked = 0;
  api_.Intercept(kExport, [&](const FakeRequest&) {
    return ++asked == 1 ? Streamed({failed}) : (asked == 2 ? Streamed({ExportOf(5).substr(0, 200)}, true) : Streamed({ExportOf(5)}));
  });
  const std::string path = Folder() + "/backup";
  Result result = Isla({"store", "export", path});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("revision 7 was compacted; beginning anew\n"));
  EXPECT_THAT(result.err, HasSubstr("the export broke off"));
  EXPECT_EQ(ReadFile(path).value(), ExportOf(5));
  asked = 0;
  api_.Intercept(kExport, [&](const FakeRequest&) {
    ++asked;
    return Streamed({failed});
  });
  result = Isla({"store", "export", path});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(asked, 3);
  EXPECT_THAT(result.err, HasSubstr("error: revision 7 was compacted"));
}

TEST_F(StoreTest, AnExportToStandardOutputIsJustThatAndFailsIfItBreaksOff) {
  Answer(kExport, Streamed({ExportOf(5)}));
  Result result = Isla({"store", "export", "-"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, ExportOf(5));
  Answer(kExport, Streamed({ExportOf(5).substr(0, 200)}, true));
  result = Isla({"store", "export", "-"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.out, ExportOf(5).substr(0, 200));
}

TEST_F(StoreTest, WhatIsNoFileIsntReplacedByOne) {
  Answer(kExport, Streamed({ExportOf(5)}));
  const Result result = Isla({"store", "export", "/dev/null"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("'/dev/null' is no regular file"));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  // A link stays one; the file behind it is replaced.
  const std::string path = File("real", "");
  std::filesystem::create_symlink(path, Folder() + "/link");
  EXPECT_EQ(Isla({"store", "export", Folder() + "/link"}).code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(Folder() + "/link"));
  EXPECT_EQ(ReadFile(path).value(), ExportOf(5));
}

TEST_F(StoreTest, ExportWithSealClosesTheStoreFirst) {
  std::vector<std::string> calls;
  api_.Intercept("", [&](const FakeRequest& request) {
    calls.push_back(request.method + " " + request.target);
    if (request.method == "GET") return Streamed({ExportOf(1, true)});
    return FakeReply{200, R"({"sealed":true,"cluster":"c1","epoch":2})"};
  });
  const Result result = Isla({"store", "export", Folder() + "/x", "--seal"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(calls, ElementsAre("POST /apis/isla/v1/store/seal", kExport));
  EXPECT_THAT(result.err, HasSubstr("isla store unseal"));
  EXPECT_THAT(result.err, HasSubstr("exported, sealed\n"));
}

TEST_F(StoreTest, WhoMayNotIsTold) {
  Answer(kExport, {403, Refusal(403, "Forbidden", "user 'bob' cannot get store/export")});
  const Result result = Isla({"store", "export", Folder() + "/x"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err, "Error from server (Forbidden): user 'bob' cannot get store/export\n");
  EXPECT_THAT(FilesLike("x"), IsEmpty());
}

TEST_F(StoreTest, AnImportSendsTheFileAndSaysWhatCameOfIt) {
  const std::string text = ExportOf(20000);  // many pieces
  std::string sent, target;
  api_.Intercept("POST /apis/isla/v1/store/import", [&](const FakeRequest& request) {
    sent = request.body;
    target = request.target;
    return Streamed({"{\"progress\":{\"phase\":\"checking\",\"done\":5,\"all\":9}}\n{\"progress\":{\"phase\":\"checking\",\"done\"",
                     ":9,\"all\":9}}\n{\"progress\":{\"phase\":\"writing\",\"done\":1,\"all\":9}}\n",
                     R"({"result":{"cluster":"c1","epoch":2,"written":7,"deleted":1,"unchanged":2,"invalid":0,"resumed":true}})" "\n"});
  });
  Result result = Isla({"store", "import", File("f", text), "--replace", "--keep-invalid"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(sent == text);
  EXPECT_EQ(target, "/apis/isla/v1/store/import?replace=true&keepInvalid=true");
  EXPECT_EQ(result.out,
            "cluster c1 imported, going on where another import broke off: 7 keys written, 1 deleted, 2 unchanged\n");
  EXPECT_EQ(result.err, "checking ...\nwriting ...\n");
  result = Isla({"store", "import", "-", "--dry-run=server", "-o", "json"}, "from standard input");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(sent, "from standard input");
  EXPECT_EQ(target, "/apis/isla/v1/store/import?dryRun=All");
  EXPECT_THAT(result.out, HasSubstr("\"written\": 7"));
}

TEST_F(StoreTest, AnImportThatFailsOrBreaksOffSaysSo) {
  const std::string path = File("f", "x\n");
  Answer("POST", Streamed({"{\"error\":" + Refusal(400, "BadRequest", "line 3: the checksum doesn't fit") + "}\n"}));
  Result result = Isla({"store", "import", path});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err, "Error from server (BadRequest): line 3: the checksum doesn't fit\n");
  for (const bool cut : {true, false}) {
    Answer("POST", Streamed({"{\"progress\":{\"phase\":\"writing\"}}\n"}, cut));
    result = Isla({"store", "import", path});
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, HasSubstr("repeat it with the same file"));
  }
  Answer("POST", {507, Refusal(507, "Unknown", "keep the uploaded file: No space left on device")});
  EXPECT_THAT(Isla({"store", "import", path}).err, HasSubstr("No space left on device"));
  EXPECT_THAT(Isla({"store", "import", Folder() + "/none"}).err, StartsWith("error: open"));
  EXPECT_EQ(Isla({"store", "import", path, "--dry-run=client"}).code, 1);
}

TEST_F(StoreTest, UnsealOpensTheStore) {
  Answer("POST /apis/isla/v1/store/unseal", {200, R"({"sealed":false,"cluster":"c1","epoch":2})"});
  const Result result = Isla({"store", "unseal"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "the store of cluster c1 is open\n");
}

TEST_F(StoreTest, AFlagThatTheCommandWouldOverlookIsRefusedAndNothingIsAsked) {
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"store", "unseal", "--dry-run=server"},
           {"store", "export", "-", "--seal", "--dry-run=server"},
           {"store", "import", "-", "--seal"},
           {"store", "export", "-", "--replace"},
           {"store", "get", "spec/session/default/a", "--force"}}) {
    const Result result = Isla(command);
    EXPECT_NE(result.code, 0) << command[1];
    EXPECT_THAT(result.err, HasSubstr("is a flag of 'isla store")) << command[1];
    EXPECT_EQ(result.out, "") << command[1];
  }
}

TEST_F(StoreTest, AKeyIsPrintedAsItIs) {
  std::string target;
  api_.Intercept("GET", [&](const FakeRequest& request) {
    target = request.target;
    return FakeReply{200, R"({"key":"spec/session/default/a","class":"spec","createRevision":3,"modRevision":9,"valueBase64":"/wAK"})"};
  });
  Result result = Isla({"store", "get", "spec/session/default/a"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, std::string("\xff\x00\n", 3));
  EXPECT_EQ(target, "/apis/isla/v1/store/keys/spec%2Fsession%2Fdefault%2Fa");
  result = Isla({"store", "get", "spec/session/default/a", "-o", "json"});
  EXPECT_THAT(result.out, HasSubstr("\"modRevision\": 9"));
}

TEST_F(StoreTest, KeysAreListedPageByPage) {
  std::vector<std::string> queries;
  const auto pages = [&](const FakeRequest& request) {
    queries.push_back(request.query);
    if (queries.size() % 2 == 1) {
      return FakeReply{200, R"({"revision":9,"more":true,"items":[{"key":"a/1","class":"other","modRevision":5,"bytes":10}]})"};
    }
    return FakeReply{200, R"({"revision":9,"more":false,"items":[{"key":"a/2","class":"other","modRevision":15,"bytes":2}]})"};
  };
  api_.Intercept("GET", pages);
  Result result = Isla({"store", "list", "a/"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "KEY   CLASS   REVISION   BYTES\na/1   other   5          10\na/2   other   15         2\n");
  EXPECT_THAT(queries, ElementsAre("prefix=a%2F", "prefix=a%2F&after=a%2F1"));
  EXPECT_EQ(Isla({"store", "list", "-o", "name"}).out, "a/1\na/2\n");
  Answer("GET", {200, R"({"revision":9,"more":false,"items":[]})"});
  result = Isla({"store", "list", "b"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err, "No keys found.\n");
}

TEST_F(StoreTest, AKeyIsPut) {
  std::string target, body;
  api_.Intercept("PUT", [&](const FakeRequest& request) {
    target = request.target;
    body = request.body;
    return FakeReply{200, R"({"key":"config/x","class":"config","createRevision":9,"modRevision":12})"};
  });
  Result result = Isla({"store", "put", "config/x", "-f", File("v", "{}"), "--revision=9", "--force"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "config/x put, revision 12\n");
  EXPECT_EQ(body, "{}");
  EXPECT_EQ(target, "/apis/isla/v1/store/keys/config%2Fx?revision=9&force=true");
  result = Isla({"store", "put", "config/x", "-f", "-", "--dry-run=server"}, "5");
  EXPECT_EQ(result.out, "config/x put (server dry run)\n");
  EXPECT_EQ(body, "5");
  EXPECT_EQ(target, "/apis/isla/v1/store/keys/config%2Fx?revision=0&dryRun=All");
  Answer("PUT", {409, Refusal(409, "Conflict", "key 'config/x' is at revision 12, not 9")});
  result = Isla({"store", "put", "config/x", "-f", "-", "--revision=9"}, "5");
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err, "Error from server (Conflict): key 'config/x' is at revision 12, not 9\n");
}

TEST_F(StoreTest, WhatIsMissingIsSaid) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"store"}, {"store", "export"}, {"store", "import"}, {"store", "get"}, {"store", "move", "x"}, {"store", "export", "a", "b"}}) {
    const Result result = Isla(args);
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, HasSubstr("isla store -h")) << args.back();
  }
  EXPECT_THAT(Isla({"store", "put", "a"}).err, HasSubstr("-f FILE"));
  EXPECT_THAT(Isla({"store", "put", "a", "-f", "-", "--revision=x"}).err, HasSubstr("--revision"));
}

TEST_F(StoreTest, WordsAndFilesAreCompleted) {
  EXPECT_EQ(Isla({"__complete", "store", ""}).out, "export\nget\nimport\nlist\nput\nunseal\n");
  EXPECT_EQ(Isla({"__complete", "store", "export", ""}).out, ":files\n");
  EXPECT_EQ(Isla({"__complete", "store", "put", "x", "-f", ""}).out, ":files\n");
  EXPECT_EQ(Isla({"__complete", "store", "get", "sp"}).out, "spec/\n");
  EXPECT_THAT(Isla({"__complete", "store", "--"}).out, HasSubstr("--keep-invalid\n"));
}

}  // namespace
}  // namespace isla::testing
