#include "sandbox/box/built_in.h"

#include <linux/filter.h>

#include <iterator>

namespace isla::sandbox {
namespace {

#include "default_policy.inc"

}  // namespace

CompiledPolicy BuiltInPolicy() {
  CompiledPolicy out;
  out.name = "default";
  out.hash = "built-in";
  out.floor.assign(std::begin(kDefaultFloor), std::end(kDefaultFloor));
  out.filter.assign(std::begin(kDefaultFilter), std::end(kDefaultFilter));
  return out;
}

}  // namespace isla::sandbox
