// For tests that share one MiniCluster: started before the suite's first case, gone after its last.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "tests/cluster/mini_cluster.h"

namespace isla::testing {

class ClusterSuite : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = std::make_unique<MiniCluster>();
    cluster_->Start();
  }
  static void TearDownTestSuite() { cluster_.reset(); }

  static inline std::unique_ptr<MiniCluster> cluster_;
};

}  // namespace isla::testing
