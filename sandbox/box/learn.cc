#include "sandbox/box/learn.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "sandbox/compiled_policy.h"
#include "sandbox/names/constants.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/catalogue.h"
#include "sandbox/policy/sections.h"
#include "sandbox/policy/signature.h"

namespace isla::sandbox {
namespace {

/// The argument that says what a call is for.
struct Learnt {
  std::string_view call;
  size_t argument;
  uint64_t mask;
};
constexpr Learnt kLearnt[] = {{"socket", 0, 0xffffffff},  {"socketpair", 0, 0xffffffff}, {"ioctl", 1, 0xffffffff}, {"fcntl", 1, 0xffffffff}, {"prctl", 0, 0xffffffff},
                              {"mmap", 2, 0xffffffff},    {"mprotect", 2, 0xffffffff},   {"personality", 0, 0xffffffff}, {"arch_prctl", 0, 0xffffffff}};
constexpr size_t kMostValues = 32;

// What happens by time and chance, and no policy is for: what C libraries do, and calls that only wait for what the caller has already.
// Whether a shell's child has ended when it is waited for is chance; refused, the wait becomes a loop without end.
constexpr std::string_view kByChance[] = {"brk", "getrandom", "madvise", "munmap", "rseq", "sched_yield",
                                          "clock_nanosleep", "epoll_pwait", "epoll_pwait2", "epoll_wait", "nanosleep", "pause", "poll", "ppoll", "pselect6",
                                          "rt_sigsuspend", "rt_sigtimedwait", "select", "wait4", "waitid"};

const Learnt* LearntOf(std::string_view call) {
  const auto found = std::find_if(std::begin(kLearnt), std::end(kLearnt), [call](const Learnt& each) { return each.call == call; });
  return found == std::end(kLearnt) ? nullptr : &*found;
}

std::string Member(const json::Value& object, std::string_view name) {
  const json::Value* const found = object.Find(name);
  return found != nullptr && found->is_string() ? found->as_string() : std::string();
}

uint64_t Hex(const json::Value& arguments, size_t index) {
  const std::string text = Member(arguments, fmt::format("a{}", index));
  uint64_t out = 0;
  if (text.starts_with("0x")) std::from_chars(text.data() + 2, text.data() + text.size(), out, 16);
  return out;
}

/// A path as the audit has it, if it is all there.
bool IsWhole(const std::string& path) { return path.starts_with('/') && !path.ends_with("...") && path.find("\\x") == std::string::npos; }

void ObserveOpen(const std::string& path, uint64_t flags, Observed& out) {
  if ((flags & O_PATH) != 0) return;
  uint8_t access = 0;
  const uint64_t mode = flags & O_ACCMODE;
  if (mode == O_RDONLY || mode == O_RDWR) access |= kRead;
  if (mode != O_RDONLY || (flags & O_TRUNC) != 0) access |= kWrite;
  const bool temporary = (flags & __O_TMPFILE) == __O_TMPFILE;
  if ((flags & O_CREAT) != 0 && !temporary && !path.starts_with("/dev/")) {
    // Others will be made beside it: its name is the folder's business.
    out.files[ParentOf(path)] |= static_cast<uint8_t>(access | kCreate);
    return;
  }
  out.files[path] |= static_cast<uint8_t>(access | (temporary ? kCreate | kWrite : 0));
}

void ObservePaths(const std::string& call, const json::Value& arguments, Observed& out) {
  const std::string path = Member(arguments, "path"), other = Member(arguments, "newPath");
  if (path.empty() || !IsWhole(path)) return;
  if (call == "open") return ObserveOpen(path, Hex(arguments, 1), out);
  if (call == "openat") return ObserveOpen(path, Hex(arguments, 2), out);
  if (call == "creat") return ObserveOpen(path, O_WRONLY | O_CREAT | O_TRUNC, out);
  // Its flags aren't in the line: whatever it may be.
  if (call == "openat2") return ObserveOpen(path, O_RDONLY, out);
  if (call == "truncate") out.files[path] |= kWrite;
  if (call == "mkdir" || call == "mkdirat" || call == "mknod" || call == "mknodat" || call == "symlink" || call == "symlinkat") {
    out.files[ParentOf(other.empty() ? path : other)] |= kCreate;
  }
  if (call == "unlink" || call == "unlinkat" || call == "rmdir") out.files[ParentOf(path)] |= kDelete;
  if (call.starts_with("rename")) {
    out.files[ParentOf(path)] |= kDelete | kCreate;
    if (!other.empty() && IsWhole(other)) out.files[ParentOf(other)] |= kCreate | kDelete;
  }
  if (call == "link" || call == "linkat") {
    out.files[ParentOf(path)] |= kCreate;
    if (!other.empty() && IsWhole(other)) out.files[ParentOf(other)] |= kCreate;
  }
}

void ObserveAddress(const std::string& call, const std::string& address, Observed& out) {
  if (address.starts_with("unix:/")) {
    if (call == "bind" && IsWhole(address.substr(5))) out.files[ParentOf(address.substr(5))] |= kCreate;
    return;
  }
  const auto parsed = AddressFromText(address);
  if (!parsed) return;
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  (call == "bind" ? out.binds : out.connects).emplace(host, parsed->port);
  out.internet = true;
}

}  // namespace

Policy LearnPolicy(Arch arch) {
  Policy policy;
  policy.arch = arch;
  policy.mode = Mode::kLearn;
  policy.rules[0].action = Action::Allow();
  // Rules that never hold: they make the supervisor look. No path and no address is like these.
  const RuleId look = policy.AddRule("look", Action::Of(Action::Kind::kDeny));
  const auto path = [](sandbox::Text which) { return TextTest{which, Match::kExact, "/\x01"}; };
  for (const Syscall& call : AllSyscalls()) {
    const int number = call.NumberOn(arch);
    if (number < 0) continue;
    if (CanReadPaths(call.name)) {
      const std::vector<Argument> arguments = SignatureOf(call);
      const auto paths = std::count_if(arguments.begin(), arguments.end(), [](const Argument& each) { return each.type != nullptr && each.type->kind == ArgumentKind::kPath; });
      policy.Append(number, look, path(sandbox::Text::kPath0));
      if (paths > 1) policy.Append(number, look, path(sandbox::Text::kPath1));
    } else if (CanReadAddress(call.name)) {
      policy.Append(number, look, TextTest{sandbox::Text::kAddressPath, Match::kExact, "/\x01"});
    }
  }
  return policy;
}

Status Observe(std::string_view line, Observed& out) {
  ASSIGN_OR_RETURN(const json::Value value, json::Parse(line, {.max_bytes = 16 * 1024}));
  if (const auto dropped = value.Int64At({"dropped"})) {
    out.dropped += static_cast<uint64_t>(*dropped);
    return OkStatus();
  }
  const std::string call = Member(value, "syscall");
  const json::Value* const arguments = value.Find("args");
  if (call.empty() || arguments == nullptr || !arguments->is_object()) return Error(Code::kInvalidArgument, "no line of an audit");
  if (FindSyscall(call) == nullptr) return OkStatus();  // a number without a name
  out.calls.insert(call);
  if (const Learnt* const learnt = LearntOf(call)) out.values[call].insert(Hex(*arguments, learnt->argument) & learnt->mask);
  if (const std::string exe = Member(value, "exe"); IsWhole(exe)) out.executables.insert(exe.ends_with(" (deleted)") ? exe.substr(0, exe.size() - 10) : exe);
  if (const std::string address = Member(*arguments, "address"); !address.empty()) ObserveAddress(call, address, out);
  if (CanReadPaths(call)) ObservePaths(call, *arguments, out);
  return OkStatus();
}

// The manifest ------------------------------------------------------------------------------------------------

namespace {

std::string ValueText(const Learnt& learnt, uint64_t value, Arch arch) {
  const std::vector<Argument> arguments = SignatureOf(*FindSyscall(learnt.call));
  const std::string_view domain = arguments.at(learnt.argument).type->domain;
  std::string out;
  uint64_t left = value;
  const std::vector<Constant> constants = domain.empty() ? std::vector<Constant>() : ConstantsOf(arch, domain);
  for (const Constant& each : constants) {
    if (each.value == value) return std::string(each.name);
  }
  const bool bits = domain == "prot";
  for (const Constant& each : constants) {
    if (!bits || each.value == 0 || (each.value & (each.value - 1)) != 0 || (left & each.value) == 0) continue;
    out += (out.empty() ? "" : "|") + std::string(each.name);
    left &= ~each.value;
  }
  return left == 0 && !out.empty() ? out : fmt::format("{:#x}", value);
}

/// Names of rules have no '_'.
std::string RuleNameOf(std::string call) {
  std::replace(call.begin(), call.end(), '_', '-');
  return "learnt-" + call;
}

json::Value Object(std::initializer_list<std::pair<std::string, json::Value>> members) {
  json::Value out = json::Value::MakeObject();
  for (const auto& [name, value] : members) out.Set(name, value);
  return out;
}

json::Value AccessWords(uint8_t access) {
  json::Array out;
  const std::pair<uint8_t, const char*> words[] = {{kRead, "read"}, {kWrite, "write"}, {kCreate, "create"}, {kDelete, "delete"}, {kExecute, "execute"}};
  for (const auto& [bit, word] : words) {
    if ((access & bit) != 0) out.emplace_back(word);
  }
  return out;
}

void AddRules(const Observed& observed, Arch arch, std::set<std::string>& groups, json::Array& rules) {
  for (const auto& [call, values] : observed.values) {
    if (values.size() > kMostValues) continue;
    const Learnt& learnt = *LearntOf(call);
    std::string list;
    for (const uint64_t value : values) list += (list.empty() ? "" : ", ") + ValueText(learnt, value, arch);
    const std::string name(SignatureOf(*FindSyscall(call)).at(learnt.argument).name);
    groups.erase(call);
    rules.push_back(Object({{"name", RuleNameOf(call)}, {"syscalls", json::Array{call}}, {"when", fmt::format("{} in [{}]", name, list)}, {"action", "allow"}}));
  }
  json::Array others;
  for (const auto& [call, values] : observed.values) {
    if (values.size() <= kMostValues) others.emplace_back(call);
  }
  if (!others.empty()) rules.push_back(Object({{"name", "learnt-others"}, {"syscalls", others}, {"action", Object({{"errno", "EPERM"}})}}));
}

bool IsLoopback(const std::string& address) {
  const auto network = IpNetwork::FromText(address);
  return network && (IpNetwork::FromText("127.0.0.0/8")->Contains(network->ip) || IpNetwork::FromText("::1")->Contains(network->ip));
}

json::Value NetOf(const Observed& observed, const FileFacts& facts) {
  json::Array rules;
  const bool takes_any = std::any_of(observed.binds.begin(), observed.binds.end(), [](const auto& each) { return each.second == 0; });
  const std::string free_ports = fmt::format("{}-{}", facts.first_free_port, facts.last_free_port);
  std::set<std::string> own;
  const auto add = [&](const char* operation, const std::set<std::pair<std::string, uint16_t>>& all) {
    for (const auto& [address, port] : all) {
      // Who listens on whatever port is free connects to another one the next time.
      const bool is_own = takes_any && &all == &observed.connects && IsLoopback(address) && port >= facts.first_free_port && port <= facts.last_free_port;
      if (is_own && !own.insert(address).second) continue;
      rules.push_back(Object({{"operations", json::Array{operation}}, {"to", address}, {"ports", is_own ? json::Value(free_ports) : json::Value(int{port})}, {"action", "allow"}}));
    }
  };
  add("connect", observed.connects);
  add("bind", observed.binds);
  // Of datagrams with an address nothing is known: who may send them is a question of calls.
  rules.push_back(Object({{"name", "learnt-datagrams"}, {"operations", json::Array{"send"}}, {"action", "allow"}}));
  return Object({{"default", "deny"}, {"rules", rules}});
}

}  // namespace

json::Value LearntManifest(const Observed& observed, const std::string& name, const FileFacts& facts, Arch arch, std::vector<std::string>* too_wide) {
  std::set<std::string> groups = observed.calls;
  for (const std::string_view call : NeverNotified()) groups.emplace(call);
  for (const std::string_view call : kByChance) groups.emplace(call);
  json::Array rules, base, allow;
  AddRules(observed, arch, groups, rules);
  for (const std::string& call : groups) {
    if (SyscallNumber(arch, call)) base.emplace_back(call);
  }
  for (const auto& [path, access] : CollapseFiles(observed, facts, too_wide)) allow.push_back(Object({{"path", path}, {"access", AccessWords(access)}}));
  json::Value spec = Object({{"base", Object({{"groups", base}})}});
  if (!rules.empty()) spec.Set("rules", rules);
  if (!allow.empty()) spec.Set("files", Object({{"allow", allow}}));
  if (observed.internet) spec.Set("net", NetOf(observed, facts));
  return Object({{"apiVersion", "isla/v1"}, {"kind", "SandboxPolicy"}, {"metadata", Object({{"name", name}})}, {"spec", spec}});
}

// Merging -----------------------------------------------------------------------------------------------------

namespace {

const json::Value* At(const json::Value& root, std::initializer_list<std::string_view> names) {
  const json::Value* at = &root;
  for (const std::string_view name : names) {
    at = at->is_object() ? at->Find(name) : nullptr;
    if (at == nullptr) return nullptr;
  }
  return at;
}

json::Array ItemsAt(const json::Value& root, std::initializer_list<std::string_view> names) {
  const json::Value* const found = At(root, names);
  return found != nullptr && found->is_array() ? found->items() : json::Array();
}

bool IsLearnt(const json::Value& rule) { return rule.is_object() && Member(rule, "name").starts_with("learnt-"); }

/// "request in [A, B]" as {A, B}.
std::set<std::string> ListOf(const std::string& when) {
  std::set<std::string> out;
  const size_t begin = when.find('['), end = when.rfind(']');
  if (begin == std::string::npos || end == std::string::npos) return out;
  for (size_t at = begin + 1; at < end;) {
    const size_t comma = std::min(when.find(',', at), end);
    const size_t first = when.find_first_not_of(' ', at);
    if (first < comma) out.insert(when.substr(first, comma - first));
    at = comma + 1;
  }
  return out;
}

void MergeRules(const json::Value& earlier, const json::Value& learnt, std::set<std::string>& groups, json::Array& out) {
  std::map<std::string, std::pair<std::string, std::set<std::string>>> lists;  // call: argument, values
  for (const json::Value* const policy : {&earlier, &learnt}) {
    for (const json::Value& rule : ItemsAt(*policy, {"spec", "rules"})) {
      if (!IsLearnt(rule)) {
        if (policy == &earlier) out.push_back(rule);
        continue;
      }
      const std::string when = Member(rule, "when");
      const json::Array calls = ItemsAt(rule, {"syscalls"});
      if (when.empty() || calls.size() != 1 || !calls[0].is_string()) continue;
      const std::string& call = calls[0].as_string();
      lists[call].first = when.substr(0, when.find(' '));
      lists[call].second.merge(ListOf(when));
    }
  }
  json::Array others;
  for (const auto& [call, list] : lists) {
    if (groups.contains(call)) continue;  // one of them lets all of it pass
    std::string text;
    for (const std::string& each : list.second) text += (text.empty() ? "" : ", ") + each;
    out.push_back(Object({{"name", RuleNameOf(call)}, {"syscalls", json::Array{call}}, {"when", fmt::format("{} in [{}]", list.first, text)}, {"action", "allow"}}));
    others.emplace_back(call);
  }
  if (!others.empty()) out.push_back(Object({{"name", "learnt-others"}, {"syscalls", others}, {"action", Object({{"errno", "EPERM"}})}}));
}

json::Array MergeFiles(const json::Value& earlier, const json::Value& learnt) {
  std::map<std::string, std::set<std::string>> all;
  for (const json::Value* const policy : {&earlier, &learnt}) {
    for (const json::Value& entry : ItemsAt(*policy, {"spec", "files", "allow"})) {
      for (const json::Value& word : ItemsAt(entry, {"access"})) all[Member(entry, "path")].insert(word.is_string() ? word.as_string() : "");
    }
  }
  json::Array out;
  for (const auto& [path, words] : all) {
    json::Array access;
    for (const char* word : {"read", "write", "create", "delete", "execute"}) {
      if (words.contains(word)) access.emplace_back(word);
    }
    out.push_back(Object({{"path", path}, {"access", access}}));
  }
  return out;
}

void MergeNet(const json::Value& earlier, const json::Value& learnt, json::Value& spec) {
  const json::Value *const old = At(earlier, {"spec", "net"}), *const now = At(learnt, {"spec", "net"});
  if (old == nullptr || now == nullptr) {
    // Whoever had none didn't use it.
    if (old != nullptr) spec.Set("net", *old);
    if (now != nullptr) spec.Set("net", *now);
    return;
  }
  json::Array rules = ItemsAt(earlier, {"spec", "net", "rules"});
  for (const json::Value& rule : ItemsAt(learnt, {"spec", "net", "rules"})) {
    const std::string text = json::Serialize(rule);
    if (std::none_of(rules.begin(), rules.end(), [&text](const json::Value& each) { return json::Serialize(each) == text; })) rules.push_back(rule);
  }
  json::Value net = *old;
  net.Set("rules", rules);
  spec.Set("net", net);
}

}  // namespace

StatusOr<json::Value> MergeManifests(const json::Value& earlier, const json::Value& learnt) {
  if (At(earlier, {"spec", "base", "groups"}) == nullptr) return Error(Code::kInvalidArgument, "spec.base.groups: only a policy that is made of groups and calls can be merged with");
  json::Value out = earlier;
  json::Value spec = *earlier.Find("spec");
  std::set<std::string> groups;
  for (const json::Value* const policy : {&earlier, &learnt}) {
    for (const json::Value& each : ItemsAt(*policy, {"spec", "base", "groups"})) groups.insert(each.is_string() ? each.as_string() : "");
  }
  json::Array base, rules;
  MergeRules(earlier, learnt, groups, rules);
  for (const std::string& each : groups) {
    if (!groups.contains("!" + each)) base.emplace_back(each);
  }
  spec.Set("base", Object({{"groups", base}}));
  if (!rules.empty()) spec.Set("rules", rules);
  // An earlier policy without files.allow restricts no files: it stays so.
  const bool open = At(earlier, {"spec", "files", "allow"}) == nullptr;
  if (!open) {
    json::Value files = *At(earlier, {"spec", "files"});
    files.Set("allow", MergeFiles(earlier, learnt));
    spec.Set("files", files);
  }
  MergeNet(earlier, learnt, spec);
  out.Set("spec", spec);
  return out;
}

}  // namespace isla::sandbox
