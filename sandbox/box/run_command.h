// isla-box run: a command under a policy, with what the runner (sandbox/runner/run.h) makes of both.
#pragma once

#include <functional>

#include "sandbox/box/box.h"
#include "sandbox/box/keeping.h"
#include "sandbox/box/options.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/runner/request.h"

namespace isla::sandbox {

/// Decodes a text that is there: the same each time.
using PolicySource = std::function<StatusOr<SandboxPolicy>()>;

/// The policy of a file, of standard input ("-"), or the built-in default (""), with `flags`' grant shown if it is that.
StatusOr<PolicySource> LoadPolicy(const RunFlags& flags, BoxIo& io);

/// A request is good as long as what keeps it is there.
struct Prepared {
  Keeping keeping;
  runner::Request request;
};

/// What is to be run: the flags, our environment and folder, and the policy lowered for them. Says on standard error what isn't kept.
StatusOr<Prepared> Prepare(const RunFlags& flags, SandboxPolicy policy, BoxIo& io);

/// Returns the command's exit status as a shell's, or 125 to 127. For a program's main() only: see runner::Run().
int RunCommand(const BoxOptions& options, BoxIo& io);

}  // namespace isla::sandbox
