// What a step of starting a container failed with. The exit record names the step and its errno, which a
// Status can't carry; so, within the shim, functions that do steps return this instead. Made of a name that
// a person reads ("mount proc") and the errno; a success has neither.
#pragma once

#include <cerrno>
#include <string>
#include <utility>

namespace isla::shim {

struct [[nodiscard]] Step {
  std::string name;
  int error = 0;

  bool ok() const { return error == 0; }
  static Step Done() { return {}; }
  /// A failure of `name` with errno as it is now (EIO if it is 0).
  static Step Failed(std::string name) { return Failed(std::move(name), errno); }
  static Step Failed(std::string name, int error) { return {std::move(name), error != 0 ? error : EIO}; }
};

}  // namespace isla::shim

/// Returns from the function if the step failed.
#define RETURN_IF_FAILED(expression)               \
  do {                                             \
    ::isla::shim::Step isla_step_ = (expression);  \
    if (!isla_step_.ok()) return isla_step_;       \
  } while (false)
