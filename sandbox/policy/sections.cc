#include "sandbox/policy/sections.h"

#include <algorithm>
#include <initializer_list>
#include <limits>

namespace isla::sandbox {
namespace {

json::Value Strings(const std::vector<std::string>& all) {
  json::Array out;
  for (const std::string& each : all) out.emplace_back(each);
  return out;
}

json::Value ToJson(const FilesSection& files) {
  json::Array allow;
  for (const PathAccess& each : files.allow) {
    allow.push_back(json::Value::MakeObject({{"path", each.path}, {"access", int{each.access}}}));
  }
  return json::Value::MakeObject(
      {{"allow", allow}, {"mask", Strings(files.mask)}, {"readOnly", Strings(files.read_only)}});
}

json::Value ToJson(const NetSection& net) {
  json::Array rules;
  for (const NetRule& rule : net.rules) {
    rules.push_back(json::Value::MakeObject({{"name", rule.name},
                                             {"connect", rule.connect},
                                             {"bind", rule.bind},
                                             {"send", rule.send},
                                             {"network", rule.network.ToText()},
                                             {"firstPort", int{rule.first_port}},
                                             {"lastPort", int{rule.last_port}},
                                             {"action", static_cast<int>(rule.action)},
                                             {"redirect", rule.redirect}}));
  }
  return json::Value::MakeObject({{"defaultAllow", net.default_allow}, {"rules", rules}});
}

json::Value ToJson(const ViewSection& view) {
  json::Array files;
  for (const ViewFile& each : view.files) {
    files.push_back(json::Value::MakeObject({{"path", each.path}, {"content", each.content}}));
  }
  return json::Value::MakeObject({{"grantedCpus", view.granted_cpus},
                                  {"grantedMemory", view.granted_memory},
                                  {"hostname", view.hostname},
                                  {"files", files}});
}

json::Value ToJson(const ResourceLimits& resources) {
  return json::Value::MakeObject({{"memoryBytes", resources.memory_bytes}, {"cpuMillis", resources.cpu_millis}, {"tasks", resources.tasks}});
}

/// Reads the normal form. The first thing that isn't as it should be is remembered, and reading goes on.
class Reader {
 public:
  const json::Value* Object(const json::Value& in, std::string_view name) {
    const json::Value* found = in.Find(name);
    if (found != nullptr && !found->is_object()) Fail(name);
    return found != nullptr && found->is_object() ? found : nullptr;
  }
  bool Bool(const json::Value& in, std::string_view name) {
    const json::Value* found = in.Find(name);
    if (found == nullptr || !found->is_bool()) return Fail(name);
    return found->as_bool();
  }
  std::string String(const json::Value& in, std::string_view name) {
    const json::Value* found = in.Find(name);
    if (found == nullptr || !found->is_string()) return Fail(name), std::string();
    return found->as_string();
  }
  template <typename Integer>
  Integer Whole(const json::Value& in, std::string_view name, int64_t max = std::numeric_limits<Integer>::max()) {
    const auto value = in.Int64At({name});
    if (!value || *value < 0 || *value > max) return Fail(name), Integer{0};
    return static_cast<Integer>(*value);
  }
  const json::Array& Items(const json::Value& in, std::string_view name) {
    static const json::Array kNone;
    const json::Value* found = in.Find(name);
    if (found == nullptr || !found->is_array()) return Fail(name), kNone;
    return found->items();
  }
  std::vector<std::string> Strings(const json::Value& in, std::string_view name) {
    std::vector<std::string> out;
    for (const json::Value& each : Items(in, name)) {
      if (!each.is_string()) return Fail(name), out;
      out.push_back(each.as_string());
    }
    return out;
  }
  bool Fail(std::string_view name) {
    if (status_.ok()) status_ = Errorf(Code::kInvalidArgument, "sections of a compiled policy: '{}'", name);
    return false;
  }
  const Status& status() const { return status_; }

 private:
  Status status_;
};

FilesSection ReadFiles(Reader& read, const json::Value& in) {
  FilesSection out;
  for (const json::Value& each : read.Items(in, "allow")) {
    out.allow.push_back({read.String(each, "path"), read.Whole<uint8_t>(each, "access", 31)});
  }
  out.mask = read.Strings(in, "mask");
  out.read_only = read.Strings(in, "readOnly");
  return out;
}

NetSection ReadNet(Reader& read, const json::Value& in) {
  NetSection out;
  out.default_allow = read.Bool(in, "defaultAllow");
  for (const json::Value& each : read.Items(in, "rules")) {
    NetRule rule;
    rule.name = read.String(each, "name");
    rule.connect = read.Bool(each, "connect");
    rule.bind = read.Bool(each, "bind");
    rule.send = read.Bool(each, "send");
    const auto network = IpNetwork::FromText(read.String(each, "network"));
    if (network) rule.network = *network;
    else read.Fail("network");
    rule.first_port = read.Whole<uint16_t>(each, "firstPort");
    rule.last_port = read.Whole<uint16_t>(each, "lastPort");
    rule.action = static_cast<NetRule::Kind>(read.Whole<uint8_t>(each, "action", 2));
    rule.redirect = read.String(each, "redirect");
    if (rule.action == NetRule::Kind::kRedirect && !AddressFromText(rule.redirect)) read.Fail("redirect");
    out.rules.push_back(std::move(rule));
  }
  return out;
}

ViewSection ReadView(Reader& read, const json::Value& in) {
  ViewSection out;
  out.granted_cpus = read.Bool(in, "grantedCpus");
  out.granted_memory = read.Bool(in, "grantedMemory");
  out.hostname = read.String(in, "hostname");
  for (const json::Value& each : read.Items(in, "files")) {
    out.files.push_back({read.String(each, "path"), read.String(each, "content")});
  }
  return out;
}

ResourceLimits ReadResources(Reader& read, const json::Value& in) {
  // As signed numbers, in which they are handed on.
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  return {read.Whole<uint64_t>(in, "memoryBytes", kMost), read.Whole<uint64_t>(in, "cpuMillis", kMost), read.Whole<uint64_t>(in, "tasks", kMost)};
}

}  // namespace

ResourceLimits Smaller(const ResourceLimits& a, const ResourceLimits& b) {
  const auto smaller = [](uint64_t x, uint64_t y) { return x == 0 ? y : y == 0 ? x : std::min(x, y); };
  return {smaller(a.memory_bytes, b.memory_bytes), smaller(a.cpu_millis, b.cpu_millis), smaller(a.tasks, b.tasks)};
}

const NetRule* NetSection::Decide(NetOperation operation, const SocketAddress& address) const {
  if (address.family != AF_INET && address.family != AF_INET6) return nullptr;
  for (const NetRule& rule : rules) {
    const bool of_operation = operation == NetOperation::kConnect ? rule.connect
                              : operation == NetOperation::kBind  ? rule.bind
                                                                  : rule.send;
    if (of_operation && rule.network.Contains(address.ip) && address.port >= rule.first_port &&
        address.port <= rule.last_port) {
      return &rule;
    }
  }
  return nullptr;
}

json::Value ToJson(const Sections& sections) {
  json::Value out = json::Value::MakeObject();
  if (sections.files) out.Set("files", ToJson(*sections.files));
  if (sections.exec) out.Set("exec", json::Value::MakeObject({{"allow", Strings(sections.exec->allow)}}));
  if (sections.net) out.Set("net", ToJson(*sections.net));
  if (sections.view) out.Set("view", ToJson(*sections.view));
  out.Set("limits", json::Value::MakeObject({{"callsPerSecond", uint64_t{sections.limits.calls_per_second}},
                                             {"deadlineMs", int64_t{sections.limits.deadline.count()}}}));
  // A section of its own, and only if it says something: a program of before it refuses what it can't keep, and takes all else.
  if (sections.resources.any()) out.Set("resources", ToJson(sections.resources));
  out.Set("audit", json::Value::MakeObject({{"oneOfAllowed", uint64_t{sections.audit.one_of_allowed}},
                                            {"linesPerSecond", uint64_t{sections.audit.lines_per_second}}}));
  if (sections.program) {
    const ProgramSection& program = *sections.program;
    out.Set("program", json::Value::MakeObject({{"source", program.source},
                                                {"memoryBytes", uint64_t{program.memory_bytes}},
                                                {"timeUs", int64_t{program.time.count()}},
                                                {"onError", int{program.on_error}}}));
  }
  return out;
}

StatusOr<Sections> SectionsFromJson(const json::Value& value) {
  Reader read;
  Sections out;
  // One that isn't known can't be enforced: whoever reads it is of an older package than whoever wrote it.
  for (const json::Member& member : value.is_object() ? value.members() : std::vector<json::Member>()) {
    constexpr std::string_view kKnown[] = {"files", "exec", "net", "view", "limits", "resources", "audit", "program"};
    if (std::find(std::begin(kKnown), std::end(kKnown), member.name) != std::end(kKnown)) continue;
    return Errorf(Code::kUnimplemented, "a compiled policy has a section '{}', which this program doesn't know: they are of different packages", member.name);
  }
  if (const json::Value* files = read.Object(value, "files")) out.files = ReadFiles(read, *files);
  if (const json::Value* exec = read.Object(value, "exec")) out.exec = ExecSection{read.Strings(*exec, "allow")};
  if (const json::Value* net = read.Object(value, "net")) out.net = ReadNet(read, *net);
  if (const json::Value* view = read.Object(value, "view")) out.view = ReadView(read, *view);
  const json::Value *limits = read.Object(value, "limits"), *audit = read.Object(value, "audit");
  if (limits == nullptr || audit == nullptr) {
    read.Fail("limits, audit");
  } else {
    out.limits.calls_per_second = read.Whole<uint32_t>(*limits, "callsPerSecond");
    out.limits.deadline = std::chrono::milliseconds(read.Whole<int32_t>(*limits, "deadlineMs"));
    out.audit.one_of_allowed = read.Whole<uint32_t>(*audit, "oneOfAllowed");
    out.audit.lines_per_second = read.Whole<uint32_t>(*audit, "linesPerSecond");
  }
  if (const json::Value* resources = read.Object(value, "resources")) out.resources = ReadResources(read, *resources);
  if (const json::Value* in = read.Object(value, "program")) {
    ProgramSection program;
    program.source = read.String(*in, "source");
    program.memory_bytes = read.Whole<uint32_t>(*in, "memoryBytes");
    program.time = std::chrono::microseconds(read.Whole<int32_t>(*in, "timeUs"));
    program.on_error = read.Whole<uint16_t>(*in, "onError", 4095);
    if (program.source.size() > kMaxProgramBytes || program.on_error == 0) read.Fail("program");
    out.program = std::move(program);
  }
  RETURN_IF_ERROR(read.status());
  return out;
}

}  // namespace isla::sandbox
