// The store's endpoints: who may use them, what they take, and bodies that are larger than memory.
#include "api/server/store_admin.h"

#include "api/server/auth.h"
#include "tests/unit/server/server_fixture.h"

namespace isla::server {
namespace {

using ::testing::HasSubstr;

/// Text that is there.
class Text final : public BodyStream {
 public:
  explicit Text(std::string text) : text_(std::move(text)) {}
  StatusOr<std::string> Next() override {
    if (text_.empty()) return Error(Code::kOutOfRange, "the end");
    return std::exchange(text_, {});
  }
  void Notify(std::function<void()>) override {}
  std::optional<Duration> WakeAfter() const override { return std::nullopt; }
  bool MayEndAnywhere() const override { return false; }

 private:
  std::string text_;
};

class FakeAdmin final : public StoreAdmin {
 public:
  class Sink final : public BodySink {
   public:
    explicit Sink(FakeAdmin& admin) : admin_(admin) {}
    Status Write(std::string_view bytes) override {
      MutexLock lock(admin_.mu_);
      if (!admin_.write_error_.ok()) return admin_.write_error_;
      EXPECT_LE(bytes.size(), size_t{512} << 10);
      got += bytes;
      return OkStatus();
    }
    std::string got;

   private:
    FakeAdmin& admin_;
  };

  StatusOr<std::unique_ptr<BodyStream>> Export(const registry::Caller& caller) override {
    return std::unique_ptr<BodyStream>(std::make_unique<Text>("export for " + caller.user + "\n"));
  }
  StatusOr<std::shared_ptr<BodySink>> BeginUpload(const registry::Caller&) override {
    ++uploads;
    return std::shared_ptr<BodySink>(std::make_shared<Sink>(*this));
  }
  StatusOr<std::unique_ptr<BodyStream>> Import(const registry::Caller&, std::shared_ptr<BodySink> uploaded,
                                               const StoreImport& options) override {
    MutexLock lock(mu_);
    uploaded_ = static_cast<Sink&>(*uploaded).got;
    options_ = options;
    return std::unique_ptr<BodyStream>(std::make_unique<Text>("{\"result\":{}}\n"));
  }
  StatusOr<json::Value> Seal(const registry::Caller&) override { return json::Value::MakeObject({{"sealed", true}}); }
  StatusOr<json::Value> Unseal(const registry::Caller&) override { return Error(Code::kFailedPrecondition, "half of an import"); }
  StatusOr<StoreKey> GetKey(const std::string& key) override {
    if (key == "none") return Error(Code::kNotFound, "there is no key 'none'");
    return StoreKey{key, "other", {key, "\xff", 3, 9, 2, 0}};
  }
  StatusOr<StoreKeys> ListKeys(const std::string& prefix, const std::string& after, size_t limit) override {
    return StoreKeys{{{prefix + "|" + after + "|" + std::to_string(limit), "other", {"", "12345", 1, 2, 1, 0}}}, 77, true};
  }
  StatusOr<StoreKey> PutKey(const registry::Caller& caller, const std::string& key, const std::string& value,
                            const StorePut& options) override {
    MutexLock lock(mu_);
    put_ = fmt::format("{} {}={} {} {} {}", caller.user, key, value, options.revision, options.force, options.dry_run);
    return StoreKey{key, "config", {key, value, 3, 12, 2, 0}};
  }

  void FailWrites(const Status& status) {
    MutexLock lock(mu_);
    write_error_ = status;
  }
  std::string uploaded() {
    MutexLock lock(mu_);
    return uploaded_;
  }
  StoreImport options() {
    MutexLock lock(mu_);
    return options_;
  }
  std::string put() {
    MutexLock lock(mu_);
    return put_;
  }
  std::atomic<int> uploads = 0;

 private:
  Mutex mu_;
  Status write_error_ GUARDED_BY(mu_);
  std::string uploaded_ GUARDED_BY(mu_);
  StoreImport options_ GUARDED_BY(mu_);
  std::string put_ GUARDED_BY(mu_);
};

class StoreEndpointTest : public ServerTest {
 protected:
  static constexpr const char* kImport = "/apis/isla/v1/store/import";

  void StartWith(StoreAdmin* admin) {
    auto server = Server::Start(options_, *registry_, logs_, metrics_, Clock::Real(), Random::Real(), [] { return OkStatus(); }, admin);
    ASSERT_TRUE(server.ok()) << ToString(server.status());
    server_ = std::move(*server);
  }
  static bool SendHead(RawClient& client, const std::string& more, const std::string& query = "") {
    return client.Send(std::string("POST ") + kImport + query + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n");
  }
  /// The first chunk of an answer that streams.
  static std::string FirstChunk(RawClient& client) {
    const RawClient::Answer answer = client.Read();
    return answer.status == 200 ? client.ReadChunk() : answer.body;
  }
  static std::string Bytes(size_t size) {
    std::string bytes;
    bytes.reserve(size);
    for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(i * 2654435761U >> 24);
    return bytes;
  }

  FakeAdmin admin_;
};

TEST_F(StoreEndpointTest, OnlyAdministratorsMay) {
  for (const char* resource : {"store/export", "store/import", "store/seal", "store/keys"}) {
    EXPECT_TRUE(Authorize(CallerOfUid(0), {"get", resource, "", ""}).ok());
    EXPECT_TRUE(Authorize(CallerOfToken(), {"get", resource, "", ""}).ok());
    EXPECT_EQ(Authorize(CallerOfUid(54321), {"get", resource, "", ""}).code(), Code::kPermissionDenied);
  }
  EXPECT_TRUE(Authorize(CallerOfUid(54321), {"get", "sessions", "", ""}).ok());
}

TEST_F(StoreEndpointTest, WithoutAnAdminThereAreNone) {
  Start();
  EXPECT_EQ(Ask("/apis/isla/v1/store/export").status, 404);
  EXPECT_EQ(Ask("POST", kImport, "x", "").status, 404);
}

TEST_F(StoreEndpointTest, AnExportIsStreamed) {
  StartWith(&admin_);
  RawClient client = Connect();
  client.Get("/apis/isla/v1/store/export");
  const RawClient::Answer answer = client.Read();
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.head, HasSubstr("Content-Type: application/x-ndjson"));
  EXPECT_EQ(client.ReadChunk(), "export for root\n");
  EXPECT_EQ(client.ReadChunk(), "");
}

TEST_F(StoreEndpointTest, MethodsPathsAndOptionsThatDontExistAreRefused) {
  StartWith(&admin_);
  EXPECT_EQ(Ask("POST", "/apis/isla/v1/store/export", "", "").status, 405);
  EXPECT_EQ(Ask(kImport).status, 405);
  EXPECT_EQ(Ask("DELETE", "/apis/isla/v1/store/keys/a", "", "").status, 405);
  EXPECT_EQ(Ask("/apis/isla/v1/store/nothing").status, 404);
  EXPECT_EQ(Ask("/apis/isla/v1/store").status, 404);
  EXPECT_EQ(Ask("/apis/isla/v1/store/export/more").status, 404);
  EXPECT_EQ(Ask("/apis/isla/v1/store/export?revision=5").status, 400);
  EXPECT_EQ(Ask("/apis/isla/v1/store/keys?limit=0").status, 400);
  EXPECT_EQ(Ask("/apis/isla/v1/store/keys?limit=99999").status, 400);
  EXPECT_EQ(Ask("PUT", "/apis/isla/v1/store/keys/a?revision=-1", "1", "").status, 400);
  EXPECT_EQ(Ask("PUT", "/apis/isla/v1/store/keys/a?force=yes", "1", "").status, 400);
  EXPECT_EQ(Ask("POST", std::string(kImport) + "?dryRun=Some", "x", "").status, 400);
  EXPECT_EQ(Ask("POST", std::string(kImport) + "?replace=true&dryRun=All&dryRun=", "x", "").status, 400) << "a real import otherwise";
  EXPECT_EQ(Ask("POST", std::string(kImport) + "?dryrun=All", "x", "").status, 400);
  EXPECT_EQ(admin_.uploaded(), "");
}

TEST_F(StoreEndpointTest, SingleKeys) {
  StartWith(&admin_);
  RawClient::Answer answer = Ask("/apis/isla/v1/store/keys/spec%2Fsession/default%2Fa");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, R"({"key":"spec/session/default/a","class":"other","createRevision":3,"modRevision":9,"valueBase64":"/w=="})");
  EXPECT_EQ(Ask("/apis/isla/v1/store/keys/none").status, 404);
  answer = Ask("/apis/isla/v1/store/keys?prefix=a%2F&after=a%2Fb&limit=7");
  EXPECT_EQ(answer.body, R"({"revision":77,"more":true,"items":[{"key":"a/|a/b|7","class":"other","createRevision":1,"modRevision":2,"bytes":5}]})");
  answer = Ask("PUT", "/apis/isla/v1/store/keys/config/x?revision=9&force=true&dryRun=All", "{}", "");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(admin_.put(), "root config/x={} 9 true true");
}

TEST_F(StoreEndpointTest, SealAndUnseal) {
  StartWith(&admin_);
  EXPECT_EQ(Ask("POST", "/apis/isla/v1/store/seal", "", "").body, R"({"sealed":true})");
  const RawClient::Answer answer = Ask("POST", "/apis/isla/v1/store/unseal", "{}", "application/json");
  EXPECT_EQ(answer.status, 403);
  EXPECT_THAT(answer.body, HasSubstr("half of an import"));
}

TEST_F(StoreEndpointTest, ABodyOfManyMegabytesGoesToTheSinkInPieces) {
  StartWith(&admin_);
  const std::string body = Bytes(size_t{5} << 20);
  RawClient client = Connect();
  SendHead(client, "Content-Length: " + std::to_string(body.size()) + "\r\n", "?replace=true&keepInvalid=true&dryRun=All");
  ASSERT_TRUE(client.Send(body));
  EXPECT_EQ(FirstChunk(client), "{\"result\":{}}\n");
  EXPECT_EQ(client.ReadChunk(), "");
  EXPECT_TRUE(admin_.uploaded() == body);
  EXPECT_TRUE(admin_.options().replace && admin_.options().keep_invalid && admin_.options().dry_run);
  // The connection goes on.
  client.Get("/healthz");
  EXPECT_EQ(client.Read().status, 200);
}

TEST_F(StoreEndpointTest, AChunkedBodyOfUnknownLengthToo) {
  StartWith(&admin_);
  const std::string body = Bytes(size_t{3} << 20);
  RawClient client = Connect();
  SendHead(client, "Transfer-Encoding: chunked\r\n");
  for (size_t at = 0; at < body.size();) {
    const std::string piece = body.substr(at, 1 + at % 70000);
    ASSERT_TRUE(client.Send(fmt::format("{:x}\r\n", piece.size()) + piece + "\r\n"));
    at += piece.size();
  }
  client.Send("0\r\n\r\n");
  EXPECT_EQ(FirstChunk(client), "{\"result\":{}}\n");
  EXPECT_TRUE(admin_.uploaded() == body);
}

TEST_F(StoreEndpointTest, BodiesArriveWholeHoweverTheyAreCut) {
  StartWith(&admin_);
  for (const size_t step : {1, 3, 50}) {
    RawClient client = Connect();
    const std::string request = std::string("POST ") + kImport +
                                " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    for (size_t at = 0; at < request.size(); at += step) ASSERT_TRUE(client.Send(request.substr(at, step)));
    EXPECT_EQ(FirstChunk(client), "{\"result\":{}}\n");
    EXPECT_EQ(admin_.uploaded(), "hello world");
  }
}

TEST_F(StoreEndpointTest, AClientThatAsksFirstIsToldToGoOn) {
  StartWith(&admin_);
  RawClient client = Connect();
  SendHead(client, "Content-Length: 5\r\nExpect: 100-continue\r\n");
  EXPECT_EQ(client.Read().status, 100);
  client.Send("hello");
  EXPECT_EQ(FirstChunk(client), "{\"result\":{}}\n");
  EXPECT_EQ(admin_.uploaded(), "hello");
}

TEST_F(StoreEndpointTest, WrongOptionsAreToldBeforeTheUpload) {
  StartWith(&admin_);
  for (const char* query : {"?replace=maybe", "?keepinvalid=true", "?dryRun=Some"}) {
    RawClient client = Connect();
    SendHead(client, "Content-Length: 100000000\r\n", query);
    EXPECT_EQ(client.Read().status, 400) << query;
  }
  EXPECT_EQ(admin_.uploads, 0);
}

TEST_F(StoreEndpointTest, ASinkThatTakesNoMoreEndsTheRequest) {
  StartWith(&admin_);
  admin_.FailWrites(Error(Code::kResourceExhausted, "no space left on device"));
  RawClient client = Connect();
  SendHead(client, "Content-Length: 100000000\r\n");
  client.Send(Bytes(size_t{1} << 20));
  const RawClient::Answer answer = client.Read();
  EXPECT_EQ(answer.status, 507);
  EXPECT_THAT(answer.body, HasSubstr("no space left on device"));
  EXPECT_THAT(answer.head, HasSubstr("Connection: close"));
  EXPECT_TRUE(client.Ends());
}

TEST_F(StoreEndpointTest, AnUploadThatStallsIsGivenUp) {
  options_.body_timeout = std::chrono::seconds(2);
  StartWith(&admin_);
  RawClient client = Connect();
  SendHead(client, "Content-Length: 1000\r\n");
  // It may take longer than that as a whole.
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(client.Send("x"));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  EXPECT_EQ(client.Read().status, 408);
  EXPECT_EQ(admin_.uploaded(), "");
}

TEST_F(StoreEndpointTest, AnUploadWhoseClientGoesAwayImportsNothing) {
  StartWith(&admin_);
  {
    RawClient client = Connect();
    SendHead(client, "Content-Length: 10000000\r\n");
    client.Send(Bytes(size_t{2} << 20));
  }
  RawClient client = Connect();
  SendHead(client, "Content-Length: 5\r\n");
  client.Send("hello");
  EXPECT_EQ(FirstChunk(client), "{\"result\":{}}\n");
  EXPECT_EQ(admin_.uploaded(), "hello");
  EXPECT_EQ(admin_.uploads, 2);
}

TEST_F(StoreEndpointTest, OtherBodiesAreBoundedAsEver) {
  StartWith(&admin_);
  options_.max_body_bytes = size_t{1} << 20;
  RawClient client = Connect();
  client.Send("PUT /apis/isla/v1/store/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n");
  EXPECT_EQ(client.Read().status, 413);
  RawClient chunked = Connect();
  chunked.Send("PUT /apis/isla/v1/store/keys/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" "1E8480\r\n");
  EXPECT_EQ(chunked.Read().status, 413);
}

TEST_F(StoreEndpointTest, AnImportWithoutABodyIsRefused) {
  StartWith(&admin_);
  EXPECT_EQ(Ask("POST", kImport, "", "").status, 400);
}

}  // namespace
}  // namespace isla::server
