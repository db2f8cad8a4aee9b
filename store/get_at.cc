#include "store/get_at.h"

#include <utility>

namespace isla::store {

StatusOr<GetResult> GetAt(Store& store, const Key& key, Revision revision, Deadline deadline) {
  ListOptions options;
  options.revision = revision;
  options.limit = 1;  // among the keys that begin with it, it is the first
  ASSIGN_OR_RETURN(ListResult list, store.List(Prefix(key.text()), options, deadline));
  GetResult result;
  result.revision = list.revision;
  if (!list.kvs.empty() && list.kvs.front()->key == key.text()) result.kv = std::move(list.kvs.front());
  return result;
}

}  // namespace isla::store
