#include "sandbox/runner/lower.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "sandbox/default_policy.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/catalogue.h"

namespace isla::runner {
namespace {

using sandbox::Action;
using sandbox::CallRule;
using sandbox::Condition;
using sandbox::IntervalSet;
using sandbox::NetRule;
using sandbox::NetSection;
using sandbox::Number;
using sandbox::Policy;
using sandbox::RuleId;
using sandbox::Width;

constexpr const char* kSends[] = {"sendto", "sendmsg", "sendmmsg"};

bool LetsGoOn(const Action& action) { return action.Continues() || action.kind == Action::Kind::kPerform; }

/// The rules of a call with the default at the end, if it lets calls go on.
std::vector<CallRule>& RulesOf(Policy& policy, int number) {
  std::vector<CallRule>& rules = policy.calls[number];
  const bool ends = !rules.empty() && rules.back().when.kind() == Condition::Kind::kTrue;
  if (!ends && LetsGoOn(policy.rules[0].action)) rules.push_back({0, {}});
  return rules;
}

/// Of rules of which the first that holds decides, those that refuse, each as it does after those before it.
std::vector<CallRule> RefusalsOf(const Policy& policy, const std::vector<CallRule>& rules) {
  std::vector<CallRule> out;
  std::vector<Condition> others;
  for (const CallRule& rule : rules) {
    if (!policy.ActionOf(rule.rule).Restricts()) {
      others.push_back(rule.when);
      continue;
    }
    Condition when = others.empty() ? rule.when : Condition::And({rule.when, Condition::Not(others.size() == 1 ? others[0] : Condition::Or(others))});
    out.push_back({rule.rule, std::move(when)});
  }
  return out;
}

/// Before each rule of the call that lets it go on, `first` decides; and what goes on then is performed if `perform` is a rule. A
/// function of the policy may let a call be performed: before it decides what `first` refuses.
void Interpose(std::vector<CallRule>& rules, const Policy& policy, const std::vector<CallRule>& first, std::optional<RuleId> perform) {
  const std::vector<CallRule> refusals = RefusalsOf(policy, first);
  std::vector<CallRule> out;
  for (CallRule& rule : rules) {
    if (policy.ActionOf(rule.rule).kind == Action::Kind::kProgram) {
      for (const CallRule& each : refusals) out.push_back({each.rule, Condition::And({rule.when, each.when})});
      out.push_back(std::move(rule));
      continue;
    }
    if (!LetsGoOn(policy.ActionOf(rule.rule))) {
      out.push_back(std::move(rule));
      continue;
    }
    for (const CallRule& each : first) out.push_back({each.rule, Condition::And({rule.when, each.when})});
    if (perform && policy.ActionOf(rule.rule).Continues()) rule.rule = *perform;
    out.push_back(std::move(rule));
  }
  rules = std::move(out);
}

RuleId Add(Policy& policy, std::string name, Action action, std::string where) {
  const RuleId id = policy.AddRule(std::move(name), std::move(action));
  policy.rules[id].where = std::move(where);
  return id;
}

Condition NumberIs(Number number, IntervalSet values, uint64_t mask = 0xffffffffu) { return sandbox::NumberTest{number, Width::k32, mask, std::move(values)}; }

// net -------------------------------------------------------------------------------------------------------

Condition Matches(const NetRule& rule) {
  std::vector<Condition> parts = {sandbox::NetworkTest{rule.network}};
  if (rule.first_port != 0 || rule.last_port != 65535) parts.push_back(NumberIs(Number::kPort, IntervalSet::Range(rule.first_port, rule.last_port)));
  return Condition::And(std::move(parts));
}

Action ActionOf(const NetRule& rule) {
  switch (rule.action) {
    case NetRule::Kind::kAllow: return Action::Of(Action::Kind::kPerform);
    case NetRule::Kind::kDeny: return Action::Of(Action::Kind::kDeny);
    case NetRule::Kind::kRedirect: return Action::Of(Action::Kind::kRedirectAddress, rule.redirect);
  }
  return Action::Of(Action::Kind::kDeny);
}

bool RestrictsSending(const NetSection& net, std::string& field) {
  for (size_t i = 0; i < net.rules.size(); ++i) {
    const NetRule& rule = net.rules[i];
    if (!rule.send) continue;
    if (rule.action != NetRule::Kind::kAllow) {
      field = fmt::format("spec.net.rules[{}]", i);
      return true;
    }
    const bool everything = rule.network.prefix_bits == 0 && rule.first_port == 0 && rule.last_port == 65535;
    if (everything) return false;
  }
  field = "spec.net.default";
  return !net.default_allow;
}

/// Whether some call that sends datagrams to an address may go on.
bool CanSend(const Policy& policy) {
  for (const char* call : kSends) {
    const auto found = policy.calls.find(*sandbox::SyscallNumber(policy.arch, call));
    bool decided = false;
    // What stands behind a rule that always holds decides nothing.
    for (size_t i = 0; found != policy.calls.end() && !decided && i < found->second.size(); ++i) {
      const CallRule& rule = found->second[i];
      const Action& action = policy.ActionOf(rule.rule);
      if (LetsGoOn(action) || action.kind == Action::Kind::kProgram) return true;
      decided = rule.when.kind() == Condition::Kind::kTrue;
    }
    if (!decided && LetsGoOn(policy.rules[0].action)) return true;
  }
  return false;
}

void LowerOperation(Policy& policy, const NetSection& net, std::string_view call, bool NetRule::*operation, const std::vector<std::pair<RuleId, const NetRule*>>& ids, RuleId refuse,
                    RuleId perform) {
  std::vector<CallRule> first;
  for (const auto& [id, rule] : ids) {
    if (rule->*operation) first.push_back({id, Matches(*rule)});
  }
  if (!net.default_allow) first.push_back({refuse, sandbox::NetworkTest{sandbox::IpNetwork{}}});
  const int number = *sandbox::SyscallNumber(policy.arch, call);
  Interpose(RulesOf(policy, number), policy, first, perform);
}

/// Sockets of the internet families that aren't `known` protocols, or neither streams nor datagrams (which may be a protocol by default).
void CloseProtocols(Policy& policy, IntervalSet known) {
  const RuleId no_protocol = Add(policy, "net: protocols", Action::Errno(EPROTONOSUPPORT), "net");
  const IntervalSet internet = {{AF_INET, AF_INET}, {AF_INET6, AF_INET6}}, types = {{SOCK_STREAM, SOCK_DGRAM}};
  constexpr uint64_t kTypeMask = 0xf;  // the rest are flags
  const Condition other = Condition::Or({Condition::Not(NumberIs(Number::kArgument2, std::move(known))), Condition::Not(NumberIs(Number::kArgument1, types, kTypeMask))});
  const CallRule rule = {no_protocol, Condition::And({NumberIs(Number::kArgument0, internet), other})};
  Interpose(RulesOf(policy, *sandbox::SyscallNumber(policy.arch, "socket")), policy, {rule}, std::nullopt);
}

/// Connections that are made without connect().
void CloseFastOpen(Policy& policy) {
  for (const char* call : kSends) RulesOf(policy, *sandbox::SyscallNumber(policy.arch, call));
  sandbox::RefuseFastOpen(Add(policy, "net: fast open", Action::Errno(EOPNOTSUPP), "net"), policy);
}

Status LowerNet(Policy& policy, const NetSection& net, bool has_network) {
  std::string field;
  if (has_network && RestrictsSending(net, field) && CanSend(policy)) {
    return Errorf(Code::kFailedPrecondition,
                  "{}: it restricts 'send', but here nothing can decide about datagrams by their address: let them pass by a rule {{\"operations\": [\"send\"], \"action\": \"allow\"}}, "
                  "deny sendto, sendmsg and sendmmsg, or run it without network (--unshare=net)",
                  field);
  }
  const RuleId refuse = Add(policy, "net.default", Action::Of(Action::Kind::kDeny), "net.default");
  const RuleId perform = Add(policy, "net: others", Action::Of(Action::Kind::kPerform), "net");
  std::vector<std::pair<RuleId, const NetRule*>> ids;
  for (size_t i = 0; i < net.rules.size(); ++i) ids.emplace_back(Add(policy, net.rules[i].name, ActionOf(net.rules[i]), fmt::format("net.rules[{}]", i)), &net.rules[i]);
  LowerOperation(policy, net, "connect", &NetRule::connect, ids, refuse, perform);
  LowerOperation(policy, net, "bind", &NetRule::bind, ids, refuse, perform);
  CloseFastOpen(policy);
  CloseProtocols(policy, {{IPPROTO_IP, IPPROTO_ICMP}, {IPPROTO_TCP, IPPROTO_TCP}, {IPPROTO_UDP, IPPROTO_UDP}, {IPPROTO_ICMPV6, IPPROTO_ICMPV6}, {IPPROTO_UDPLITE, IPPROTO_UDPLITE}, {IPPROTO_MPTCP, IPPROTO_MPTCP}});
  return OkStatus();
}

// files.allow of performed calls ------------------------------------------------------------------------------

/// The path isn't below any that has this access.
Condition Outside(const std::vector<sandbox::PathAccess>& allow, uint8_t access) {
  std::vector<Condition> under;
  for (const sandbox::PathAccess& each : allow) {
    if ((each.access & access) != 0) under.push_back(sandbox::TextTest{sandbox::Text::kPath0, sandbox::Match::kUnder, each.path});
  }
  return Condition::Not(under.empty() ? Condition::False() : Condition::Or(std::move(under)));
}

/// What an open asks for, from its flags, where they are.
std::vector<Condition> OpenLimits(const std::vector<sandbox::PathAccess>& allow, Number flags) {
  const auto has = [flags](uint64_t mask, IntervalSet values) { return NumberIs(flags, std::move(values), mask); };
  const Condition reads = has(O_ACCMODE, {{O_RDONLY, O_RDONLY}, {O_RDWR, O_RDWR}}), writes = has(O_ACCMODE, {{O_WRONLY, O_RDWR}});
  const Condition creates = Condition::Or({has(O_CREAT, IntervalSet::Of(O_CREAT)), has(__O_TMPFILE, IntervalSet::Of(__O_TMPFILE))});
  return {Condition::And({reads, Outside(allow, sandbox::kRead)}), Condition::And({writes, Outside(allow, sandbox::kWrite)}),
          Condition::And({has(O_TRUNC, IntervalSet::Of(O_TRUNC)), Outside(allow, sandbox::kWrite)}),
          // Not to write where nothing may be made, either: whether the file is there isn't known before it is opened.
          Condition::And({creates, Outside(allow, sandbox::kCreate), Outside(allow, sandbox::kWrite)})};
}

void LowerFiles(Policy& policy, const std::vector<sandbox::PathAccess>& allow) {
  const auto performed = [&policy](const CallRule& each) {
    const Action::Kind kind = policy.ActionOf(each.rule).kind;
    return kind == Action::Kind::kPerform || kind == Action::Kind::kProgram;
  };
  std::optional<RuleId> refuse;
  for (const std::string_view call : sandbox::PerformableCalls()) {
    if (!sandbox::CanReadPaths(call)) continue;
    const auto number = sandbox::SyscallNumber(policy.arch, call);
    if (!number || !policy.calls.contains(*number)) continue;
    std::vector<CallRule>& rules = policy.calls[*number];
    if (std::none_of(rules.begin(), rules.end(), performed)) continue;
    std::vector<Condition> limits;
    if (call == "open") limits = OpenLimits(allow, Number::kArgument1);
    else if (call == "openat") limits = OpenLimits(allow, Number::kArgument2);
    else if (call == "openat2") limits = OpenLimits(allow, Number::kField0);
    else if (call == "creat") limits = {Outside(allow, sandbox::kWrite)};
    else limits = {Outside(allow, sandbox::kCreate)};
    if (!refuse) refuse = Add(policy, "files.allow", Action::Errno(EACCES), "files.allow");
    std::vector<CallRule> first;
    for (Condition& limit : limits) first.push_back({*refuse, std::move(limit)});
    Interpose(rules, policy, first, std::nullopt);
  }
}

}  // namespace

Status LowerSections(Policy& policy, const sandbox::Sections& sections, NetBy net_by) {
  if (sections.net && net_by == NetBy::kGroup) {
    CloseProtocols(policy, {{IPPROTO_IP, IPPROTO_IP}, {IPPROTO_TCP, IPPROTO_TCP}, {IPPROTO_UDP, IPPROTO_UDP}, {IPPROTO_UDPLITE, IPPROTO_UDPLITE}});
  } else if (sections.net) {
    RETURN_IF_ERROR(LowerNet(policy, *sections.net, net_by == NetBy::kSupervisor));
  }
  if (sections.files && !sections.files->allow.empty()) LowerFiles(policy, sections.files->allow);
  return OkStatus();
}

}  // namespace isla::runner
