#include "api/client/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/base/unique_fd.h"
#include "api/client/url.h"

namespace isla::client {
namespace {

using ::testing::HasSubstr;

class ConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/isla-config-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { (void)RemoveTree(folder_); }

  std::string File(const std::string& name, const std::string& text) {
    const std::string path = folder_ + "/" + name;
    EXPECT_TRUE(MakeDirectories(path.substr(0, path.rfind('/')), 0700).ok());
    EXPECT_TRUE(WriteFileAtomically(path, text, 0600, false).ok());
    return path;
  }
  /// An environment with HOME in the test's folder and these.
  GetEnv Env(std::map<std::string, std::string> more = {}) {
    more["HOME"] = folder_;
    return [more](const std::string& name) -> std::optional<std::string> {
      const auto it = more.find(name);
      if (it == more.end()) return std::nullopt;
      return it->second;
    };
  }

  std::string folder_;
};

constexpr const char* kConfig = R"({
  "apiVersion": "v1", "kind": "Config", "current-context": "isla", "preferences": {},
  "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": "Q0EK"}},
               {"name": "d", "cluster": {"server": "https://[::1]:7443/base/", "insecure-skip-tls-verify": true}}],
  "users": [{"name": "u", "user": {"token": "secret"}}, {"name": "v", "user": {"tokenFile": "tok"}}],
  "contexts": [{"name": "isla", "context": {"cluster": "c", "user": "u"}},
               {"name": "other", "context": {"cluster": "d", "user": "v", "namespace": "demo"}},
               {"name": "broken", "context": {"cluster": "nowhere", "user": "u"}}]})";

TEST(ParseServer, TakesUrlsAddressesAndSockets) {
  struct Row {
    const char* url;
    const char* shown;
    bool tls;
    const char* base;
  };
  for (const Row& row :
       {Row{"https://127.0.0.1:6443", "127.0.0.1:6443", true, ""},
        Row{"127.0.0.1:6443", "127.0.0.1:6443", true, ""},
        Row{"http://localhost:8080", "localhost:8080", false, ""},
        Row{"https://host", "host:443", true, ""}, Row{"http://host", "host:80", false, ""},
        Row{"https://[::1]:6443", "[::1]:6443", true, ""},
        Row{"https://host:1/a/b/", "host:1", true, "/a/b"},
        Row{"unix:/run/x.sock", "unix:/run/x.sock", false, ""},
        Row{"unix:///run/x.sock", "unix:/run/x.sock", false, ""}}) {
    const auto endpoint = ParseServer(row.url);
    ASSERT_TRUE(endpoint.ok()) << row.url;
    EXPECT_EQ(endpoint->Shown(), row.shown);
    EXPECT_EQ(endpoint->tls, row.tls) << row.url;
    EXPECT_EQ(endpoint->base_path, row.base);
  }
}

TEST(ParseServer, RefusesWhatItCannotReach) {
  for (const char* url : {"", "ftp://x", "https://", "https://host:abc", "https://host:123456",
                          "unix:relative", "https://[::1", "https://[::1]x", "https://user@host",
                          "https://ho st", "https://host\r\n:1"}) {
    EXPECT_EQ(ParseServer(url).status().code(), Code::kInvalidArgument) << url;
  }
}

TEST_F(ConfigTest, ContextOfTheFileGivesServerCredentialsAndNamespace) {
  const std::string path = File("kubeconfig", kConfig);
  File("tok", " spaced \n");
  auto connection = ResolveConnection({.kubeconfig = path}, Env());
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_EQ(connection->endpoint.Shown(), "127.0.0.1:6443");
  EXPECT_EQ(connection->endpoint.ca_pem, "CA\n");
  EXPECT_EQ(connection->endpoint.token, "secret");
  EXPECT_EQ(connection->ns, "default");
  EXPECT_EQ(connection->context, "isla");
  EXPECT_EQ(connection->source, path);

  connection = ResolveConnection({.kubeconfig = path, .context = "other"}, Env());
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_EQ(connection->endpoint.Shown(), "[::1]:7443");
  EXPECT_EQ(connection->endpoint.base_path, "/base");
  EXPECT_TRUE(connection->endpoint.insecure);
  EXPECT_EQ(connection->endpoint.token, "spaced");
  EXPECT_EQ(connection->ns, "demo");
}

TEST_F(ConfigTest, FlagBeatsEnvironmentBeatsHome) {
  File(".isla/config", kConfig);
  const std::string other = File("env", kConfig);
  EXPECT_EQ(FindConfigFile({.kubeconfig = "/x"}, Env({{"ISLA_CONFIG", other}})), "/x");
  EXPECT_EQ(FindConfigFile({}, Env({{"ISLA_CONFIG", other}})), other);
  EXPECT_EQ(FindConfigFile({}, Env()), folder_ + "/.isla/config");
}

TEST_F(ConfigTest, SocketNeedsNoConfig) {
  const auto connection =
      ResolveConnection({.socket = "/run/x"}, Env({{"ISLA_CONFIG", "/does/not/exist"}}));
  ASSERT_TRUE(connection.ok());
  EXPECT_EQ(connection->endpoint.Shown(), "unix:/run/x");
}

TEST_F(ConfigTest, ServerFlagKeepsTheCredentialsOfTheFile) {
  const auto connection =
      ResolveConnection({.server = "https://10.0.0.1:1", .kubeconfig = File("k", kConfig)}, Env());
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_EQ(connection->endpoint.Shown(), "10.0.0.1:1");
  EXPECT_EQ(connection->endpoint.token, "secret");
  EXPECT_EQ(connection->endpoint.ca_pem, "CA\n");
}

TEST_F(ConfigTest, YamlIsRefusedWithTheWayBack) {
  const std::string path = File("k", "apiVersion: v1\nclusters: []\n");
  const auto connection = ResolveConnection({.kubeconfig = path}, Env());
  ASSERT_EQ(connection.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(Message(connection.status()), HasSubstr(path + " is not JSON"));
  EXPECT_THAT(Message(connection.status()), HasSubstr("config view --raw -o json"));
}

TEST_F(ConfigTest, MissingPiecesAreNamed) {
  const std::string path = File("k", kConfig);
  EXPECT_THAT(Message(ResolveConnection({.kubeconfig = path, .context = "zz"}, Env()).status()),
              HasSubstr("context \"zz\" does not exist"));
  EXPECT_THAT(Message(ResolveConnection({.kubeconfig = path, .context = "broken"}, Env()).status()),
              HasSubstr("cluster \"nowhere\""));
  EXPECT_EQ(ResolveConnection({.kubeconfig = folder_ + "/none"}, Env()).status().code(),
            Code::kNotFound);
}

TEST_F(ConfigTest, HostileFilesAreErrors) {
  for (
      const char* text :
      {"", "[]", "null", "{\"current-context\": 7}", "{\"contexts\": {}}",
       "{\"contexts\": [7, null, {}]}",
       R"({"current-context":"a","contexts":[{"name":"a","context":[]}]})",
       R"({"current-context":"a","contexts":[{"name":"a","context":{"cluster":"c"}}],"clusters":[{"name":"c","cluster":7}]})",
       R"({"current-context":"a","contexts":[{"name":"a","context":{"cluster":"c","user":"u"}}],"clusters":[{"name":"c","cluster":{"server":"https://h"}}],"users":[{"name":"u","user":{"token":"a\r\nX: y"}}]})"}) {
    EXPECT_FALSE(ResolveConnection({.kubeconfig = File("k", text)}, Env()).ok()) << text;
  }
}

TEST(Url, EscapesAllThatCouldLeaveItsPlace) {
  EXPECT_EQ(Escape("a-b_c.d~e"), "a-b_c.d~e");
  EXPECT_EQ(Escape("a/b?c#d e%\r\n"), "a%2Fb%3Fc%23d%20e%25%0D%0A");
  EXPECT_EQ(Escape(".."), "%2E%2E");
  EXPECT_EQ(Query({{"a", "x=y"}, {"b", ""}, {"c", "1"}}), "?a=x%3Dy&c=1");
  EXPECT_EQ(Query({{"a", ""}}), "");
}

}  // namespace
}  // namespace isla::client
