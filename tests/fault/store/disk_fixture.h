// What the tests of the embedded store's disk share.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "store/embedded/embedded_store.h"
#include "tests/conformance/temporary_folder.h"

namespace isla::store {

inline std::unique_ptr<EmbeddedStore> MustOpen(const std::string& folder, const EmbeddedOptions& options = {}) {
  auto store = EmbeddedStore::Open(folder, Clock::Real(), options);
  ISLA_CHECK_OK(store);
  return std::move(*store);
}

inline StatusOr<Revision> TryPut(Store& store, const std::string& key, const std::string& value, LeaseId lease = 0,
                          Deadline deadline = kDefaultDeadline) {
  Transaction txn;
  txn.success.push_back(Operation::Put(key, value, lease));
  const auto result = store.Txn(txn, deadline);
  if (!result.ok()) return result.status();
  return result->revision;
}

inline Revision Put(Store& store, const std::string& key, const std::string& value, LeaseId lease = 0) {
  const auto revision = TryPut(store, key, value, lease);
  EXPECT_TRUE(revision.ok()) << ToString(revision.status());
  return revision.ok() ? *revision : 0;
}

inline std::vector<std::string> Content(Store& store, Revision at = 0) {
  ListOptions options;
  options.revision = at;
  const auto list = store.List("", options);
  std::vector<std::string> content;
  if (!list.ok()) return {ToString(list.status())};
  for (const auto& kv : list->kvs) {
    content.push_back(fmt::format("{}={} {} {} {}", kv->key, kv->value, kv->create_revision, kv->mod_revision, kv->version));
  }
  return content;
}

inline std::vector<std::string> Keys(Store& store) {
  const auto list = store.List("");
  std::vector<std::string> keys;
  if (!list.ok()) return {ToString(list.status())};
  for (const auto& kv : list->kvs) keys.push_back(kv->key);
  return keys;
}

inline bool Eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 2000; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

/// A folder for a store, which isn't there yet.
class EmbeddedDisk : public ::testing::Test {
 protected:
  std::string folder() const { return temporary_.path() + "/store"; }

 private:
  isla::testing::TemporaryFolder temporary_;
};

}  // namespace isla::store
