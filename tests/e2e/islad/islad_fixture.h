// Processes of islad, each in a folder of its own, and calls of their APIs.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/json.h"
#include "api/base/unique_fd.h"
#include "api/client/http.h"
#include "tests/cluster/etcd_process.h"
#include "tests/cluster/process.h"

namespace isla::islad {

using isla::testing::CommandResult;
using isla::testing::EtcdProcess;

class IsladTest : public ::testing::Test {
 protected:
  struct Islad {
    std::string folder;
    std::unique_ptr<isla::testing::Daemon> daemon;
    std::string ApiSocket() const { return folder + "/run/api.sock"; }
    std::string Gateway() const { return "unix://" + folder + "/run/gateway/gateway.sock"; }
  };

  IsladTest() {
    char name[] = "/tmp/isla-islad-XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~IsladTest() override {
    if (HasFailure()) {
      for (auto& islad : islads_) std::fprintf(stderr, "===== %s\n%s\n", islad->folder.c_str(), islad->daemon->Log().c_str());
    }
    islads_.clear();
    EXPECT_TRUE(RemoveTree(folder_).ok());
  }

  Islad& Start(const std::string& id, const std::string& store, std::vector<std::string> flags = {}) {
    auto islad = std::make_unique<Islad>();
    islad->folder = folder_ + "/" + id;
    mkdir(islad->folder.c_str(), 0700);
    std::vector<std::string> argv{std::string(getenv("ISLA_BIN_DIR")) + "/islad", "--store=" + store, "--id=" + id,
                                  "--run-dir=" + islad->folder + "/run", "--data-dir=" + islad->folder + "/data",
                                  "--api-listen=", "--lease-ttl=2"};
    argv.insert(argv.end(), flags.begin(), flags.end());
    islad->daemon = std::make_unique<isla::testing::Daemon>(id, argv, islad->folder, islad->folder + "/log");
    islad->daemon->Start();
    islads_.push_back(std::move(islad));
    return *islads_.back();
  }

  static client::HttpResponse Call(const Islad& islad, const std::string& method, const std::string& target,
                                   const std::string& body = "") {
    client::Endpoint endpoint;
    endpoint.socket_path = islad.ApiSocket();
    const auto client = client::MakeHttpClient(endpoint);
    const auto response = client->Do({method, target, body, body.empty() ? "" : "application/json", "*/*"});
    return response.ok() ? *response : client::HttpResponse{0, "", {}, {}, ToString(response.status())};
  }
  static bool Ready(const Islad& islad) { return Call(islad, "GET", "/readyz").status == 200; }
  static std::string Leader(EtcdProcess& etcd) {
    const CommandResult result = etcd.Etcdctl({"get", "--print-value-only", "/isla/default/lead/controllers"});
    const auto value = json::Parse(result.out);
    return value.ok() ? value->StringAt({"id"}) : "";
  }
  static std::string SessionField(const Islad& islad, std::initializer_list<std::string_view> path) {
    const auto object =
        json::Parse(Call(islad, "GET", "/apis/isla/v1/namespaces/default/sessions/s1").body, {1 << 20, 64});
    return object.ok() ? object->StringAt(path) : "";
  }

  std::string folder_;
  std::vector<std::unique_ptr<Islad>> islads_;
};

}  // namespace isla::islad
