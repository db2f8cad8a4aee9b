// Stores in memory with a cluster in them, exports of them as text, and imports of text.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/archive/format.h"
#include "api/archive/lines.h"
#include "api/base/log.h"
#include "api/base/unique_fd.h"
#include "api/registry/registry.h"
#include "controllers/transfer/closing.h"
#include "controllers/transfer/exporter.h"
#include "controllers/transfer/importer.h"
#include "controllers/transfer/key_value.h"
#include "store/embedded/embedded_store.h"
#include "tests/unit/controllers/world.h"
#include "tests/unit/store/forwarding_store.h"

namespace isla::transfer {

/// Calls `before` with the number of each transaction that writes, from 1; an error in place of it, or after it was done.
class CountingStore final : public store::ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  StatusOr<store::TxnResult> Txn(const store::Transaction& txn, store::Deadline deadline) override {
    bool writes = false;
    for (const store::Operation& operation : txn.success) writes = writes || operation.kind != store::Operation::Kind::kGet;
    if (!writes) return ForwardingStore::Txn(txn, deadline);
    const int number = ++writes_;
    if (before) RETURN_IF_ERROR(before(number));
    StatusOr<store::TxnResult> result = ForwardingStore::Txn(txn, deadline);
    if (after) RETURN_IF_ERROR(after(number));
    return result;
  }
  StatusOr<store::ListResult> List(const store::Prefix& prefix, const store::ListOptions& options,
                                   store::Deadline deadline) override {
    if (before_list) before_list(++lists_);
    return ForwardingStore::List(prefix, options, deadline);
  }
  int writes() const { return writes_; }

  std::function<Status(int number)> before, after;
  std::function<void(int number)> before_list;

 private:
  int writes_ = 0;
  int lists_ = 0;
};

class TransferTest : public ::testing::Test {
 protected:
  using Content = std::map<std::string, std::string>;

  TransferTest() {
    SetLogLevel(LogLevel::kError);
    Fill(*source_);
  }
  ~TransferTest() override { SetLogLevel(LogLevel::kInfo); }

  static store::Revision Put(store::Store& store, const std::string& key, const std::string& value,
                             store::LeaseId lease = 0) {
    const auto result = store.Txn({{}, {store::Operation::Put(key, value, lease)}, {}});
    ISLA_CHECK_OK(result);
    return result->revision;
  }
  static void Delete(store::Store& store, const std::string& key) {
    ISLA_CHECK_OK(store.Txn({{}, {store::Operation::Delete(key)}, {}}));
  }
  std::string Value(store::Store& store, const std::string& key) {
    const auto read = store.Get(key).value();
    return read.kv == nullptr ? "" : read.kv->value;
  }
  registry::ClusterRecord Cluster(store::Store& store) { return registry::ReadCluster(store, keys_).value(); }

  void PutSession(store::Store& store, const std::string& name, const std::string& created) {
    json::Value session = controllers::SessionJson(name);
    session.Member("metadata").Set("creationTimestamp", created);
    Put(store, keys_.Spec("session", "default", name), json::Serialize(session));
  }

  /// A cluster with something of every class, and what belongs to processes.
  void Fill(store::EmbeddedStore& store) {
    ISLA_CHECK_OK(registry::Bootstrap(store, keys_, clock_, Random::Real()));
    const store::LeaseId lease = store.GrantLease(std::chrono::seconds(60)).value();
    Put(store, keys_.Gateway("g1"), "{}", lease);
    Put(store, keys_.Lead(), R"({"id":"a"})", lease);
    Put(store, keys_.Barrier("a"), R"({"n":1})");
    Put(store, keys_.Compacted(), R"({"revision":1,"at":"2026-11-22T10:00:00Z"})");
    Put(store, keys_.prefix() + "leased", "of a process", lease);
    PutSession(store, "zebra", "2026-11-22T10:00:00.000001Z");
    PutSession(store, "apple", "2026-11-22T10:00:00.000002Z");
    PutSession(store, "mango", "2026-11-22T10:00:00.000003Z");
    Put(store, keys_.Status("session", "default", "zebra"),
        R"({"uid":")" + controllers::UidOf("zebra") + R"(","observedGeneration":1,"status":{"phase":"Running","history":[{"phase":"Pending","at":"x"}]}})");
    controllers::Bind bind;
    bind.uid = controllers::UidOf("zebra");
    bind.incarnation = 1;
    bind.containers.resize(1);
    bind.containers[0].uid = controllers::MainContainerUid(bind.uid);
    bind.containers[0].incarnation = 1;
    bind.containers[0].node = "n1";
    Put(store, keys_.Bind("default", "zebra"), controllers::Encode(bind));
    Put(store, keys_.Run("n1", bind.containers[0].uid, 1), controllers::Encode(controllers::RunIn(controllers::RunState::kRunning)));
    controllers::Node node = controllers::NodeOf("n1");
    node.orphans = {{controllers::UidOf("x"), 1, "Running"}};
    Put(store, keys_.Node("n1"), controllers::Encode(node));
    Put(store, keys_.NodeTerm("n1"), R"({"term":7,"owner":"g1","stream":"s"})");
    const store::Revision manifest = Put(store, keys_.Manifest("default", "old"), "anything \xff at all");
    Put(store, keys_.ManifestStatus("default", "old"), R"({"revision":)" + std::to_string(manifest) + R"(,"verdict":"Refused"})");
    Put(store, keys_.Manifest("default", "new"), "{}");
    Put(store, keys_.ManifestStatus("default", "new"), R"({"revision":3,"verdict":"Applied","message":"of another revision"})");
    Put(store, keys_.prefix() + "config/agent/log/level", R"("debug")");
    Put(store, keys_.prefix() + "of/a/newer/islad", std::string("\x00\x01", 2));
    Put(store, "/elsewhere", "not ours");
  }

  /// All content, as it is in the store, without the prefix.
  Content ContentOf(store::Store& store) {
    Content content;
    const store::ListResult all = store.List(keys_.prefix()).value();
    for (const auto& kv : all.kvs) {
      if (IsContent(keys_.Parse(kv->key)->key_class) && kv->lease == 0) content[kv->key.substr(keys_.prefix().size())] = kv->value;
    }
    return content;
  }
  /// The same, of a file.
  static Content ContentOf(const std::string& text) {
    Content content;
    EXPECT_TRUE(Read(text, [&content](const archive::Entry& entry) { content[entry.key] = entry.value; }).ok());
    return content;
  }

  static Status Read(const std::string& text, const std::function<void(const archive::Entry&)>& each,
                     archive::Header* header = nullptr) {
    archive::LineBuffer lines(archive::kMaxLineBytes);
    archive::Reader reader;
    lines.Append(text);
    for (;;) {
      ASSIGN_OR_RETURN(const auto line, lines.Next());
      if (!line) return reader.Close(lines.rest());
      ASSIGN_OR_RETURN(const auto item, reader.Take(*line));
      if (const auto* entry = std::get_if<archive::Entry>(&item)) each(*entry);
      if (header != nullptr && std::holds_alternative<archive::Header>(item)) *header = std::get<archive::Header>(item);
    }
  }

  StatusOr<std::string> TryExport(store::Store& store, size_t piece_keys = 64) {
    ExporterOptions options;
    options.keys = keys_;
    options.by = "ann";
    options.first_piece_keys = piece_keys;
    options.piece_bytes = piece_keys * 100;
    options.history = history_;
    Exporter exporter(store, clock_, options);
    RETURN_IF_ERROR(exporter.Begin());
    std::string text;
    for (std::string piece = exporter.Next(); !piece.empty(); piece = exporter.Next()) text += piece;
    return text;
  }
  std::string Export(store::Store& store, size_t piece_keys = 64) {
    const auto text = TryExport(store, piece_keys);
    EXPECT_TRUE(text.ok()) << ToString(text.status());
    return text.value_or("");
  }

  StatusOr<ImportResult> Import(store::Store& store, const std::string& text, ImportOptions options = {}) {
    const UniqueFd fd(memfd_create("import", MFD_CLOEXEC));
    ISLA_CHECK_OK(WriteAll(fd.get(), text));
    options.by = "ann";
    return Importer(store, clock_, stop_, keys_, options, [](std::string_view, uint64_t, uint64_t) {}).Run(fd.get());
  }
  static ImportOptions Replacing() {
    ImportOptions options;
    options.replace = true;
    return options;
  }
  static ImportOptions DryRun() {
    ImportOptions options;
    options.dry_run = true;
    return options;
  }

  /// A store as a fresh islad has it.
  std::unique_ptr<store::EmbeddedStore> Fresh() {
    auto store = store::EmbeddedStore::InMemory();
    ISLA_CHECK_OK(registry::Bootstrap(*store, keys_, clock_, Random::Real()));
    return store;
  }

  /// A file that says what `change` makes of an export's keys, with checksums that fit.
  std::string Edited(const std::string& text, const std::function<bool(archive::Entry&)>& change) {
    archive::Header header;
    std::vector<archive::Entry> entries;
    EXPECT_TRUE(Read(text, [&entries](const archive::Entry& entry) { entries.push_back(entry); }, &header).ok());
    archive::Writer writer;
    std::string out = writer.Begin(header);
    for (archive::Entry& entry : entries) {
      if (change(entry)) out += writer.Add(entry).value();
    }
    return out + writer.Finish();
  }

  FakeClock clock_;
  const store::Keys keys_;
  std::function<StatusOr<int64_t>()> history_;
  Stop stop_;
  std::unique_ptr<store::EmbeddedStore> source_ = store::EmbeddedStore::InMemory();
};

}  // namespace isla::transfer
