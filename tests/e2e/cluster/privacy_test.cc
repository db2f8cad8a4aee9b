// Another local user reaches neither etcd nor the gateway nor the API.
#include <gtest/gtest.h>

#include "tests/cluster/mini_cluster.h"

namespace isla::testing {
namespace {

constexpr uid_t kNobody = 65534;

TEST(Privacy, AnotherUserReachesNoSocket) {
  MiniClusterOptions options;
  options.islad_flags = {"--api-listen=127.0.0.1:16442"};  // there is a kubeconfig only with a TLS address
  MiniCluster cluster(options);
  cluster.Start();
  CommandOptions nobody;
  nobody.uid = kNobody;
  for (const std::string& socket : {cluster.EtcdSocket(), cluster.GatewaySocket(), cluster.ApiSocket()}) {
    // The same call works for root, so what fails for the other user is the permission.
    EXPECT_NE(RunCommand({"curl", "-s", "-m", "5", "--http2-prior-knowledge", "--unix-socket", socket, "http://x/"}).exit_code, 7)
        << socket;
    const CommandResult result = RunCommand({"curl", "-sS", "-m", "5", "--unix-socket", socket, "http://x/"}, nobody);
    EXPECT_EQ(result.exit_code, 7) << socket << ": " << result.out << result.err;  // 7: couldn't connect
  }
  for (const std::string& file : {cluster.KubeConfig()}) {
    EXPECT_EQ(RunCommand({"cat", file}).exit_code, 0);
    EXPECT_NE(RunCommand({"cat", file}, nobody).exit_code, 0) << file;
  }
}

TEST(Privacy, TlsOnLoopbackWantsTheToken) {
  MiniClusterOptions options;
  options.islad_flags = {"--api-listen=127.0.0.1:16443"};
  MiniCluster cluster(options);
  cluster.Start();
  const CommandResult without = RunCommand({"curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}",
                                     "https://127.0.0.1:16443/apis/isla/v1/namespaces/default/sessions"});
  EXPECT_EQ(without.out, "401") << without.err;
  const CommandResult wrong = RunCommand({"curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Authorization: Bearer wrong",
                                   "https://127.0.0.1:16443/apis/isla/v1/namespaces/default/sessions"});
  EXPECT_EQ(wrong.out, "401");
}

TEST(Privacy, NoSecretIsInArgumentsOrLogs) {
  MiniClusterOptions options;
  options.islad_flags = {"--api-listen=127.0.0.1:16444"};
  MiniCluster cluster(options);
  cluster.Start();
  const std::string config = RunCommand({"cat", cluster.KubeConfig()}).out;
  const size_t at = config.find("\"token\"");
  ASSERT_NE(at, std::string::npos);
  const size_t begin = config.find('"', config.find(':', at)) + 1;
  const std::string token = config.substr(begin, config.find('"', begin) - begin);
  ASSERT_GE(token.size(), 20u);
  EXPECT_EQ(cluster.islad().Log().find(token), std::string::npos);
  EXPECT_EQ(RunCommand({"ps", "axww", "-o", "args"}).out.find(token), std::string::npos);
}

}  // namespace
}  // namespace isla::testing
