// isla-box: policies on the command line.
//
//   check POLICY                 is it right; what never decides; what compiling makes of it
//   explain POLICY CALL...       which rule decides a call, and why
//   test POLICY TABLE            a table of calls and what should become of them
//   diff OLD NEW                 what two policies do differently, and what it takes to change over
//   export POLICY                as an OCI profile, BPF bytes, or a listing
//   calls [NAME|@GROUP]...       names, arguments and groups that policies are written with
//   completion bash, help, version
//   run [flags] -- COMMAND...    a command under a policy (run_command.h)
//   learn [flags] -- COMMAND...  a least policy from what a command does (learn.h)
//   reload [PID]                 another policy for a running command (control.h)
//   top [PID]                    what supervisors of running commands are asked, by rule
//
// Exit: 0 fine; 1 the answer is no (an invalid policy, a failed test, policies that differ); 2 trouble (usage, a
// file that can't be read). run and learn exit as their command does: 128 + signal, or 125 for a failure of its own, 126 and 127 as shells.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/base/status.h"

namespace isla::sandbox {

/// What a command sees of its process, passed in so that tests run whole commands in their own.
class BoxIo {
 public:
  virtual ~BoxIo() = default;
  virtual void Out(std::string_view text) = 0;
  virtual void Err(std::string_view text) = 0;
  /// A file's bytes, or standard input's for "-"; at most `limit_bytes`.
  virtual StatusOr<std::string> Read(const std::string& path, size_t limit_bytes) = 0;
  /// Whether Write() could: asked before work that would be lost. Leaves nothing behind.
  virtual Status CheckWritable(const std::string& path) = 0;
  /// A file becomes these bytes at once or stays as it was, with the mode that it has; what a link leads to is written, not the link. Pipes and
  /// devices get the bytes; "-" is standard output.
  virtual Status Write(const std::string& path, std::string_view bytes) = 0;
  /// What has an effect is done, memory is all that is left: a program may end here with this exit status, and doesn't come back then.
  virtual void Leave(int) {}
};

/// `args` without the program's name. Returns the exit status.
int BoxMain(const std::vector<std::string>& args, BoxIo& io);

}  // namespace isla::sandbox
