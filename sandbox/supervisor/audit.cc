#include "sandbox/supervisor/audit.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "api/base/json.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/supervisor/call_shape.h"

namespace isla::supervisor {
namespace {

constexpr size_t kMaxLine = 4096;   // PIPE_BUF: one write, or none
constexpr size_t kMaxText = 512;   // of one path, with its escapes

/// What JSON can carry of bytes that any process may have chosen.
std::string Clean(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (out.size() >= kMaxText) return out + "...";
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte >= 0x7f ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
  }
  return out;
}

json::Value Arguments(const AuditEvent& event) {
  const CallShape& shape = ShapeOf(event.number);
  json::Object out;
  const auto add = [&out](std::string name, json::Value value) { out.push_back({std::move(name), std::move(value), {}}); };
  for (int i = 0; i < 6; ++i) {
    const uint64_t raw = event.arguments[static_cast<size_t>(i)];
    if (shape.paths > 0 && i == shape.path[0] && !event.paths[0].empty()) {
      add("path", Clean(event.paths[0]));
    } else if (shape.paths > 1 && i == shape.path[1] && !event.paths[1].empty()) {
      add("newPath", Clean(event.paths[1]));
    } else if (i == shape.address && !event.address.empty()) {
      add("address", Clean(event.address));
    } else if (shape.paths > 0 && (i == shape.folder[0] || i == shape.folder[1])) {
      add(i == shape.folder[0] ? "folder" : "newFolder", int64_t{static_cast<int32_t>(raw)});
    } else if (i == shape.socket) {
      add("socket", int64_t{static_cast<int32_t>(raw)});
    } else {
      add(fmt::format("a{}", i), fmt::format("{:#x}", raw));
    }
  }
  return out;
}

}  // namespace

Audit::Audit(UniqueFd sink, AuditOptions options, const Clock& clock)
    : one_of_allowed_(options.one_of_allowed), clock_(clock), rate_(options.lines_per_second) {
  if (sink.valid()) SetSink(std::move(sink));
}

void Audit::SetSink(UniqueFd sink) {
  const int flags = fcntl(sink.get(), F_GETFL);
  // Appending is what keeps the lines of two threads apart: the kernel guards the offset of files, but not that of a memfd.
  if (flags >= 0) fcntl(sink.get(), F_SETFL, flags | O_NONBLOCK | O_APPEND);
  if (held_.valid()) {
    (void)dup3(sink.get(), held_.get(), O_CLOEXEC);
    return;
  }
  held_ = std::move(sink);
  sink_.store(held_.get());
}

void Audit::SetOptions(AuditOptions options) {
  one_of_allowed_.store(options.one_of_allowed);
  rate_.SetBound(options.lines_per_second);
}

bool Audit::Sample() {
  const uint32_t one_of = one_of_allowed_.load(std::memory_order_relaxed);
  if (one_of == 0) return false;
  return allowed_.fetch_add(1, std::memory_order_relaxed) % one_of == 0;
}

bool Audit::Put(std::string_view line) {
  ssize_t done = 0;
  do {
    done = write(sink_.load(std::memory_order_relaxed), line.data(), line.size());
  } while (done < 0 && errno == EINTR);
  return done == static_cast<ssize_t>(line.size());
}

bool Audit::Admit() {
  if (sink_.load(std::memory_order_relaxed) >= 0 && rate_.Take(static_cast<uint64_t>(clock_.Monotonic().time_since_epoch().count()))) return true;
  Drop();
  return false;
}

void Audit::Drop() {
  ++dropped_;
  ++untold_;
}

void Audit::Write(const AuditEvent& event) {
  const std::string time = FormatRfc3339(clock_.Wall(), 6);
  // Those not written are told before the next that is.
  const uint64_t untold = untold_.exchange(0);
  if (untold > 0 && !Put(fmt::format("{{\"time\":\"{}\",\"dropped\":{}}}\n", time, untold))) untold_ += untold;
  const std::string name(sandbox::SyscallName(sandbox::kNativeArch, event.number));
  const json::Value line = json::Value::MakeObject(
      {{"time", time}, {"policyVersion", Clean(event.policy_version)}, {"rule", Clean(event.rule)}, {"tid", event.tid},
       {"exe", Clean(event.executable)}, {"syscall", name.empty() ? std::to_string(event.number) : name},
       {"args", Arguments(event)}, {"verdict", Clean(event.verdict)},
       {"us", int64_t{std::chrono::duration_cast<std::chrono::microseconds>(event.took).count()}}});
  const std::string text = json::Serialize(line) + "\n";
  if (text.size() <= kMaxLine && Put(text)) ++written_;
  else Drop();
}

}  // namespace isla::supervisor
