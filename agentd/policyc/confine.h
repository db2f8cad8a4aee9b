// Gives up everything but reading, writing and computing. One thread; for a program's start, before it reads what isn't trusted.
#pragma once

#include <cstdint>

#include "api/base/status.h"

namespace isla::policyc {

struct Bounds {
  uint64_t memory_bytes = uint64_t{512} << 20;
  uint64_t cpu_seconds = 10;
  uint64_t output_bytes = uint64_t{24} << 20;
};

/// `uid`: also its gid; 0: stays who it is (a developer's own run). What it holds are descriptors 0 to 2 from then on, and it can open no others.
Status Confine(uint32_t uid, const Bounds& bounds);

}  // namespace isla::policyc
