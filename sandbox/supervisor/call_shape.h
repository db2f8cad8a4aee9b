// Which arguments of a system call are what: where its paths, folders, socket address and struct of flags are. Data
// for the native architecture, from the kernel's own table; used to look up what a policy asks about, and for the audit.
#pragma once

#include <cstdint>
#include <string_view>

namespace isla::supervisor {

struct CallShape {
  enum class Kind : uint8_t { kOther, kOpen, kConnect, kBind, kMakeNode };
  /// What the last component of a path may be.
  enum class Last : uint8_t {
    kFollow,    // a link is followed
    kKeep,      // a link is meant itself (unlink, rename, lstat)
    kByFlags,   // as the call's flags say (open: O_NOFOLLOW; *at: AT_SYMLINK_NOFOLLOW)
  };
  Kind kind = Kind::kOther;
  Last last = Last::kFollow;
  int8_t paths = 0;
  int8_t path[2] = {-1, -1};    // index of the argument
  int8_t folder[2] = {-1, -1};  // index of its folder's descriptor; -1: the working directory
  int8_t flags = -1;
  int8_t address = -1, address_bytes = -1;
  int8_t socket = -1;
  int8_t fields = -1, fields_bytes = -1;
};

/// Of a call that has nothing behind pointers that is known here: all -1.
const CallShape& ShapeOf(int number);

}  // namespace isla::supervisor
