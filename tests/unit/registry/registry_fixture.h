// A registry over a store in memory, and short ways to say what the tests say often.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "api/base/log.h"
#include "api/object/field_error.h"
#include "api/registry/registry.h"
#include "store/cache/watch_cache.h"
#include "store/embedded/embedded_store.h"
#include "tests/unit/registry/hooked_store.h"

namespace isla::registry {

using std::chrono::milliseconds;
using std::chrono::seconds;

class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() {
    SetLogLevel(LogLevel::kWarn);
    ISLA_CHECK_OK(Bootstrap(*memory_, keys_, clock_, Random::Real()));
    cache_ = store::StartWatchCache(store_, Clock::Real(), {.keys = keys_, .barrier_id = "test"});
    ISLA_CHECK_OK(cache_->WaitSynced(seconds(10)));
    Restart();
  }

  void Restart(RegistryOptions options = {}) {
    registry_.reset();
    options.keys = keys_;
    registry_ = MakeRegistry(store_, *cache_, clock_, Random::Real(), options);
    while (!registry_->List(session(), "", {}).ok()) {  // the view is there: watches may begin at any later revision
    }
  }

  const api::Kind& session() const { return api::SessionKind(); }
  const api::Kind& project() const { return api::ProjectKind(); }
  const api::Kind& node() const { return api::NodeKind(); }

  static json::Value Read(std::string_view text) {
    auto value = json::Parse(text);
    EXPECT_TRUE(value.ok()) << text << ": " << ToString(value.status());
    return value.ok() ? *std::move(value) : json::Value();
  }
  static json::Value Manifest(const std::string& name, std::string_view spec = R"({"command":["true"]})") {
    return Read(fmt::format(R"({{"apiVersion":"isla/v1","kind":"Session","metadata":{{"name":"{}"}},"spec":{}}})", name,
                            spec));
  }
  static json::Value ProjectManifest(const std::string& name) {
    return Read(fmt::format(R"({{"apiVersion":"isla/v1","kind":"Project","metadata":{{"name":"{}"}},"spec":{{}}}})",
                            name));
  }

  static WriteOptions As(const std::string& user, bool dry_run = false) {
    WriteOptions options;
    options.caller.user = user;
    options.dry_run = dry_run;
    return options;
  }
  StatusOr<ObjectPtr> Create(const json::Value& manifest, const std::string& ns = "default", bool dry_run = false) {
    return registry_->Create(session(), ns, manifest, As("ann", dry_run));
  }
  ObjectPtr MustCreate(const std::string& name, const std::string& ns = "default") {
    auto object = Create(Manifest(name), ns);
    EXPECT_TRUE(object.ok()) << ToString(object.status());
    return object.ok() ? *object : nullptr;
  }
  ObjectPtr MustGet(const std::string& name, const std::string& ns = "default") {
    auto object = registry_->Get(session(), ns, name);
    EXPECT_TRUE(object.ok()) << ToString(object.status());
    return object.ok() ? *object : nullptr;
  }
  StatusOr<ObjectPtr> Patch(const std::string& name, std::string_view patch, bool dry_run = false) {
    return registry_->MergePatch(session(), "default", name, Read(patch), As("ann", dry_run));
  }
  StatusOr<Registry::DeleteResult> Delete(const std::string& name, DeleteOptions options = {}) {
    return registry_->Delete(session(), "default", name, options);
  }
  static DeleteOptions WithGrace(int64_t grace) {
    DeleteOptions options;
    options.grace_period_seconds = grace;
    return options;
  }
  static DeleteOptions If(const std::string& uid, const std::string& resource_version) {
    DeleteOptions options;
    options.uid = uid;
    options.resource_version = resource_version;
    return options;
  }
  static DeleteOptions DryRun() {
    DeleteOptions options;
    options.dry_run = true;
    return options;
  }
  static RegistryOptions WithHistory(size_t events) {
    RegistryOptions options;
    options.watch_history = events;
    return options;
  }
  static RegistryOptions WithReadTimeout(Duration timeout) {
    RegistryOptions options;
    options.read_timeout = timeout;
    return options;
  }

  store::Revision PutRaw(const std::string& key, const std::string& value) {
    store::Transaction txn;
    txn.success.push_back(store::Operation::Put(key, value));
    const auto result = memory_->Txn(txn);
    EXPECT_TRUE(result.ok());
    return result.ok() ? result->revision : 0;
  }
  store::Revision DeleteRaw(const std::vector<std::string>& keys) {
    store::Transaction txn;
    for (const std::string& key : keys) txn.success.push_back(store::Operation::Delete(key));
    const auto result = memory_->Txn(txn);
    EXPECT_TRUE(result.ok());
    return result.ok() ? result->revision : 0;
  }
  std::string Stored(const std::string& key) {
    const auto read = memory_->Get(key);
    return read.ok() && read->kv != nullptr ? read->kv->value : "";
  }
  store::Revision StoreRevision() { return memory_->Get("x")->revision; }
  /// What the leader writes for a session.
  store::Revision PutStatus(const ObjectPtr& object, const std::string& phase) {
    return PutRaw(keys_.Status("session", "default", object->StringAt({"metadata", "name"})),
                  fmt::format(R"({{"uid":"{}","observedGeneration":1,"status":{{"phase":"{}"}}}})",
                              object->StringAt({"metadata", "uid"}), phase));
  }
  store::Revision PutBind(const ObjectPtr& object) {
    return PutRaw(keys_.Bind("default", object->StringAt({"metadata", "name"})),
                  fmt::format(R"({{"uid":"{}","containers":[{{"name":"main"}}]}})",
                              object->StringAt({"metadata", "uid"})));
  }

  static std::string Phase(const ObjectPtr& object) { return object->StringAt({"status", "phase"}); }
  static std::string Rv(const ObjectPtr& object) { return object->StringAt({"metadata", "resourceVersion"}); }
  static std::vector<std::string> Names(const ObjectList& list) {
    std::vector<std::string> names;
    for (const ObjectPtr& object : list.items) names.push_back(object->StringAt({"metadata", "name"}));
    return names;
  }
  static std::vector<std::string> Fields(const Status& status) {
    std::vector<std::string> fields;
    for (const api::FieldError& error : api::FieldErrorsOf(status)) fields.push_back(error.field);
    return fields;
  }

  /// The next `count` events of a watch, as "ADDED name@rv phase".
  static std::vector<std::string> Take(ObjectWatch& watch, size_t count) {
    std::vector<std::string> out;
    const MonotonicTime until = Clock::Real().Monotonic() + seconds(5);
    while (out.size() < count && Clock::Real().Monotonic() < until) {
      auto events = watch.Next(milliseconds(200));
      if (!events.ok() && events.status().code() == Code::kDeadlineExceeded) continue;
      if (!events.ok()) {
        out.push_back(std::string(CodeName(events.status().code())));
        break;
      }
      for (const ObjectEvent& event : *events) {
        if (event.type == ObjectEvent::Type::kBookmark) continue;
        static const char* const kTypes[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
        out.push_back(fmt::format("{} {}@{} {}", kTypes[static_cast<int>(event.type)],
                                  event.object->StringAt({"metadata", "name"}), Rv(event.object), Phase(event.object)));
      }
    }
    return out;
  }

  const store::Keys keys_;
  FakeClock clock_;
  std::unique_ptr<store::EmbeddedStore> memory_ = store::EmbeddedStore::InMemory();
  store::HookedStore store_{*memory_};
  std::unique_ptr<store::WatchCache> cache_;
  std::unique_ptr<Registry> registry_;
};

}  // namespace isla::registry
