// What root reads of others: launch requests, control packets, filters, cgroup tables, log lines. And what it
// writes of a container's bytes: the log, which must give them back exactly.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "agentd/shim/cgroup.h"
#include "agentd/shim/control.h"
#include "agentd/shim/launch_check.h"
#include "agentd/shim/log_format.h"
#include "agentd/shim/log_writer.h"
#include "agentd/shim/policy.h"
#include "agentd/shim/protocol.h"
#include "api/base/unique_fd.h"
#include "sandbox/bpf/evaluator.h"

namespace isla::shim {
namespace {

void FuzzRequest(std::string_view text) {
  const StatusOr<json::Value> value = json::Parse(text);
  if (!value.ok()) return;
  const StatusOr<LaunchRequest> request = LaunchRequestFromJson(*value);
  if (request.ok()) {
    (void)CheckLaunchRequest(*request);
    const StatusOr<LaunchRequest> again = LaunchRequestFromJson(ToJson(*request));
    ISLA_CHECK(again.ok() && ToJson(*again) == ToJson(*request));
  }
  const StatusOr<ExitRecord> record = ExitRecordFromJson(*value);
  if (record.ok()) ISLA_CHECK_OK(ExitRecordFromJson(ToJson(*record)));
}

void FuzzFilter(std::string_view bytes) {
  const StatusOr<sandbox::Program> program = sandbox::FromBytes(bytes);
  if (!program.ok()) return;
  (void)sandbox::Dump(*program);
  const bool sound = sandbox::Check(*program).ok();
  ISLA_CHECK(sandbox::Evaluate(*program, sandbox::NativeCall(1, {2, 3})).ok() == sound);
}

/// Cuts the input into writes, to both streams, and reads the log back.
void FuzzLog(std::string_view bytes) {
  static const std::string path = fmt::format("/tmp/isla-fuzz-log-{}", getpid());
  std::string wrote[2], read_back[2];
  {
    LogWriter writer(path, 1 << 20);
    std::string_view rest = bytes.substr(0, 200'000);
    for (unsigned turn = 0; !rest.empty(); ++turn) {
      const size_t size = 1 + static_cast<unsigned char>(rest[0]) * 73 % 5000;
      const std::string_view part = rest.substr(0, size);
      const auto stream = static_cast<Stream>(turn % 3 == 2);
      writer.Append(stream, part, WallTime(std::chrono::seconds(turn)));
      wrote[static_cast<size_t>(stream)] += part;
      if (turn % 5 == 4) writer.FlushPartial(WallTime(std::chrono::seconds(turn)));
      rest.remove_prefix(part.size());
    }
    writer.FlushPartial(WallTime{});
    ISLA_CHECK(writer.dropped_bytes() == 0);
  }
  bool whole = true;
  for (const std::string& segment : {path + ".1", path}) {
    const StatusOr<std::string> text = ReadFile(segment);
    if (segment != path) whole = !text.ok();  // an older segment may have been dropped before this one
    if (!text.ok()) continue;
    for (size_t at = 0; at < text->size();) {
      const size_t end = text->find('\n', at);
      ISLA_CHECK(end != std::string::npos);
      const auto line = ParseLogLine(std::string_view(*text).substr(at, end - at));
      ISLA_CHECK(line.has_value());
      std::string& out = read_back[static_cast<size_t>(line->stream)];
      out += line->bytes;
      if (line->full) out += '\n';
      at = end + 1;
    }
    unlink(segment.c_str());
  }
  for (const size_t stream : {0u, 1u}) {
    ISLA_CHECK(whole ? wrote[stream] == read_back[stream] : wrote[stream].ends_with(read_back[stream]));
  }
}

}  // namespace
}  // namespace isla::shim

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  isla::shim::FuzzRequest(bytes);
  (void)isla::shim::ParseCommand(bytes);
  isla::shim::FuzzFilter(bytes);
  (void)isla::shim::ParsePolicy(bytes);
  const size_t half = size / 2;
  (void)isla::FindCgroups(bytes.substr(0, half), bytes.substr(half));
  (void)isla::shim::ParseLogLine(bytes);
  isla::shim::FuzzLog(bytes);
  return 0;
}
