#include "sandbox/box/learn_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "sandbox/box/learn.h"
#include "sandbox/box/mistakes.h"
#include "sandbox/box/run_command.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/runner/command.h"
#include "sandbox/runner/run.h"

namespace isla::sandbox {
namespace {

constexpr size_t kMostBytes = size_t{4} << 20;
constexpr uint32_t kEveryLine = 1'000'000;

/// "/usr/bin/Foo_1" -> "foo-1".
std::string NameOf(const std::string& command) {
  std::string out;
  for (char c : command.substr(command.rfind('/') + 1)) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool inner = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (inner) out += c;
    else if (!out.empty() && out.back() != '-') out += '-';
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out.empty() ? "learnt" : out.substr(0, 63);
}

/// Lines are looked at one by one: a long run makes many.
Status ObserveAll(int fd, Observed& out) {
  std::string rest;
  std::vector<char> bytes(1 << 16);
  for (off_t at = 0;;) {
    const ssize_t got = pread(fd, bytes.data(), bytes.size(), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno(errno, "read what was seen");
    if (got == 0) break;
    at += got;
    rest.append(bytes.data(), static_cast<size_t>(got));
    size_t begin = 0;
    for (size_t end = 0; (end = rest.find('\n', begin)) != std::string::npos; begin = end + 1) {
      // A line that the command's end cut short says nothing.
      (void)Observe(std::string_view(rest).substr(begin, end - begin), out);
    }
    rest.erase(0, begin);
  }
  return OkStatus();
}

/// What the policy will need besides what is seen. Looked at before the command runs: it may run for long, and not twice the same.
struct Wanted {
  std::string name;
  std::optional<json::Value> earlier;
};

std::optional<Wanted> WantedOf(const BoxOptions& options, BoxIo& io) {
  const RunFlags& flags = options.run;
  const auto trouble = [&io](const Status& status) {
    io.Err(fmt::format("isla-box: {}\n", Message(status)));
    return std::nullopt;
  };
  Wanted out = {flags.name.empty() ? NameOf(flags.command[0]) : flags.name, std::nullopt};
  if (!IsPolicyName(out.name)) return trouble(Errorf(Code::kInvalidArgument, "--name={} (expected lower-case letters, digits, inner '-' and '.', at most 63 of them)", out.name));
  if (!options.file.empty()) {
    if (const Status status = io.CheckWritable(options.file); !status.ok()) return trouble(Annotate(status, "--output"));
  }
  if (flags.merge.empty()) return out;
  const StatusOr<std::string> text = io.Read(flags.merge, kMostBytes);
  if (!text.ok()) return trouble(Annotate(text.status(), "--merge"));
  const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(*text, {.max_bytes = kMostBytes, .find_unreachable = false});
  if (!policy.ok()) {
    io.Err(MistakeLines(flags.merge, policy.status()));
    return std::nullopt;
  }
  out.earlier = *json::Parse(*text, {.max_bytes = kMostBytes});
  const Status status = MergeManifests(*out.earlier, json::Value::MakeObject()).status();
  return status.ok() ? std::optional(std::move(out)) : trouble(Annotate(status, "--merge=" + flags.merge));
}

StatusOr<std::string> Manifest(const Wanted& wanted, const Observed& observed, const FileFacts& facts, BoxIo& io) {
  std::vector<std::string> too_wide;
  json::Value manifest = LearntManifest(observed, wanted.name, facts, kNativeArch, &too_wide);
  for (const std::string& path : too_wide) {
    io.Err(fmt::format("isla-box: note: '{}' was listed; to allow it would allow to read all below it, so it isn't in the policy (if the command can't do without, add it to spec.files.allow)\n", path));
  }
  if (wanted.earlier) {
    ASSIGN_OR_RETURN(manifest, MergeManifests(*wanted.earlier, manifest));
  }
  std::string text = json::Pretty(manifest, 4) + "\n";
  // What can't be read again is no policy.
  RETURN_IF_ERROR(Annotate(DecodeSandboxPolicy(text, {.max_bytes = kMostBytes, .find_unreachable = false}).status(), "the policy that was learnt"));
  return text;
}

int Trouble(const Status& status, BoxIo& io) {
  io.Err(fmt::format("isla-box: {}\n", Message(status)));
  return runner::kOwnFailure;
}

}  // namespace

int LearnCommand(const BoxOptions& options, BoxIo& io) {
  const std::optional<Wanted> wanted = WantedOf(options, io);
  if (!wanted) return runner::kOwnFailure;
  SandboxPolicy policy;
  policy.name = policy.hash = "learn";
  policy.policy = LearnPolicy(kNativeArch);
  policy.sections.audit = {.one_of_allowed = 1, .lines_per_second = kEveryLine};
  policy.sections.limits.calls_per_second = 0;
  StatusOr<Prepared> prepared = Prepare(options.run, std::move(policy), io);
  if (!prepared.ok()) return Trouble(prepared.status(), io);
  runner::Request* const request = &prepared->request;
  // Memory takes all lines, however fast they come, where a pipe would be full.
  const UniqueFd lines(memfd_create("isla-box-learn", MFD_CLOEXEC));
  // Run() lets go of standard output.
  const UniqueFd out(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
  if (!lines.valid()) return Trouble(FromErrno(errno, "make a memfd"), io);
  request->audit_fd = lines.get();
  runner::RunObserver nobody;
  const WallTime begin = Clock::Real().Wall();
  const runner::Outcome outcome = runner::Run(*request, nobody);
  if (out.valid()) dup2(out.get(), STDOUT_FILENO);
  if (!outcome.error.empty()) {
    io.Err(fmt::format("isla-box: {}\n", outcome.error));
    return outcome.exit;
  }
  if (const std::string oom = OomText(prepared->keeping, outcome.exit); !oom.empty()) io.Err(fmt::format("isla-box: {}\n", oom));
  Observed observed;
  if (const Status status = ObserveAll(lines.get(), observed); !status.ok()) return Trouble(status, io);
  if (observed.calls.empty()) return outcome.exit;  // it wasn't started, and that was said
  if (observed.dropped > 0) io.Err(fmt::format("isla-box: note: {} calls came faster than they could be written down: learn again and --merge\n", observed.dropped));
  const StatusOr<std::string> text = Manifest(*wanted, observed, FactsOfHost(begin), io);
  if (!text.ok()) return Trouble(text.status(), io);
  if (options.file.empty()) {
    io.Out(*text);
    return outcome.exit;
  }
  const Status written = io.Write(options.file, *text);
  if (written.ok()) return outcome.exit;
  // It could be, before the command ran; what was learnt isn't lost for that.
  io.Out(*text);
  return Trouble(Annotate(written, "the policy is on standard output"), io);
}

}  // namespace isla::sandbox
