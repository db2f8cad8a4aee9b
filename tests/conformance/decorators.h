// Stores in front of another store, through which the suite must pass as it does without: what the layers above may meet.
#pragma once

#include <cstdint>
#include <memory>

#include "store/store.h"

namespace isla::store {

/// Waits up to a millisecond before and after calls and before batches: other interleavings than the backend's own. The pauses
/// follow from `seed`. `inner` must outlive it.
std::unique_ptr<Store> MakeSlow(Store& inner, uint64_t seed);

/// Breaks off every watch after a few batches and starts it again from the revision after the last one, as who lost a
/// connection does. `inner` must outlive it.
std::unique_ptr<Store> MakeBreaking(Store& inner, uint64_t seed);

}  // namespace isla::store
