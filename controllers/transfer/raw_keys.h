// Single keys of the store, raw: looked at, and put to repair what nothing else can. Every put is checked by its class, and
// compared with the revision that the caller saw.
//
//   class                     put
//   spec                      over what can't be read, or where there is nothing; a readable object is changed through the API, and a uid
//                             that differs from its placement's is another object: both only with force
//   status                    of an object that is there, with its uid; else only with force
//   manifest, config          yes
//   bind, run, node, manifest-status, other, meta/cluster
//                             only with force: controllers decide by them, and take them for what they wrote themselves
//   nodeterm                  only with force, and never a lower term: a gateway of the past could write again
//   gateway, lead, barrier, the rest of meta
//                             never: they are a process's, or about this store's history
//
// A value that makes no sense for its class is refused, with force too. meta/cluster is compared in every transaction; a
// closed store takes nothing but meta/cluster itself, which is how one that nothing else opens is opened.
// Block for a few calls of the store. Any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/base/log.h"
#include "api/base/status.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::transfer {

struct PutOptions {
  std::string by;
  store::Revision revision = 0;  // what it replaces; 0 = nothing: the key isn't there
  bool force = false;
  bool dry_run = false;
};

struct KeyPage {
  std::vector<std::shared_ptr<const store::KeyValue>> kvs;  // with their values
  store::Revision revision = 0;
  bool more = false;
};

class RawKeys {
 public:
  /// `store` must outlive it. Keys are given and returned without the prefix.
  RawKeys(store::Store& store, store::Keys keys) : store_(store), keys_(std::move(keys)) {}

  /// NOT_FOUND.
  StatusOr<store::KeyValue> Get(const std::string& key);
  /// At most `limit` keys under a prefix, from after `after` on ("" = from the first).
  StatusOr<KeyPage> List(const std::string& prefix, const std::string& after, size_t limit);
  /// The key as it is then. INVALID_ARGUMENT: the value makes no sense. FAILED_PRECONDITION: refused, the text says what would
  /// lift it. ABORTED: the key isn't at that revision.
  StatusOr<store::KeyValue> Put(const std::string& key, const std::string& value, const PutOptions& options);

  std::string_view ClassOf(const std::string& key) const;

 private:
  struct Present;
  StatusOr<Present> Read(const std::string& key, const store::ParsedKey& parsed);
  Status Judge(const store::ParsedKey& parsed, const std::string& value, const Present& present,
               const PutOptions& options) const;

  store::Store& store_;
  const store::Keys keys_;
  const Logger log_{"repair"};
};

}  // namespace isla::transfer
