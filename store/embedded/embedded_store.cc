#include "store/embedded/embedded_store.h"

#include <utility>

#include "store/embedded/local_store.h"
#include "store/embedded/log_file.h"

namespace isla::store {

std::unique_ptr<EmbeddedStore> EmbeddedStore::InMemory(const Clock& clock, const EmbeddedOptions& options) {
  auto store = std::make_unique<LocalStore>(clock, options, nullptr);
  ISLA_CHECK_OK(store->Start());
  return store;
}

StatusOr<std::unique_ptr<EmbeddedStore>> EmbeddedStore::Open(const std::string& folder, const Clock& clock,
                                                             const EmbeddedOptions& options) {
  ASSIGN_OR_RETURN(auto log, LogFile::Open(folder, {options.vfs}));
  auto store = std::make_unique<LocalStore>(clock, options, std::move(log));
  RETURN_IF_ERROR(Annotate(store->Start(), fmt::format("read '{}'", folder)));
  return std::unique_ptr<EmbeddedStore>(std::move(store));
}

}  // namespace isla::store
