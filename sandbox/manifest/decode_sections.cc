#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "sandbox/manifest/decoder.h"
#include "sandbox/names/constants.h"

namespace isla::sandbox {
namespace {

constexpr size_t kMostItems = 256;

std::vector<std::string> Paths(Decoder& decoder, const Field& field) {
  std::vector<std::string> out;
  for (const Field& item : decoder.Items(field, kMostItems)) {
    if (const auto path = decoder.Path(item)) out.push_back(*path);
    else if (!item.present()) decoder.errors().push_back(item.Missing());
  }
  return out;
}

/// A field that an object must have.
bool Demand(Decoder& decoder, const Field& field) {
  if (!field.present()) decoder.errors().push_back(field.Missing());
  return field.present();
}

FilesSection Files(Decoder& decoder, const Field& field) {
  static const std::vector<std::string> kWords = {"read", "write", "create", "delete", "execute"};
  FilesSection out;
  if (!decoder.Object(field, {"allow", "mask", "readOnly"})) return out;
  for (const Field& item : decoder.Items(field.Get("allow"), kMostItems)) {
    if (!decoder.Object(item, {"path", "access"})) continue;
    PathAccess allowed;
    if (Demand(decoder, item.Get("path"))) allowed.path = decoder.Path(item.Get("path")).value_or("");
    if (Demand(decoder, item.Get("access"))) {
      for (const Field& word : decoder.Items(item.Get("access"), kWords.size())) {
        if (const auto choice = decoder.Choice(word, kWords)) allowed.access = static_cast<uint8_t>(allowed.access | 1u << *choice);
      }
    }
    out.allow.push_back(std::move(allowed));
  }
  out.mask = Paths(decoder, field.Get("mask"));
  out.read_only = Paths(decoder, field.Get("readOnly"));
  return out;
}

/// "443", "1000-2000".
void Ports(Decoder& decoder, const Field& field, NetRule& rule) {
  if (field.present() && field.value().is_number()) {
    rule.first_port = rule.last_port = static_cast<uint16_t>(decoder.Integer(field, 0, 65535).value_or(0));
    return;
  }
  const auto text = decoder.String(field);
  if (!text) return;
  const size_t dash = text->find('-');
  const auto port = [](std::string_view digits, uint16_t& out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return !digits.empty() && error == std::errc() && end == digits.data() + digits.size();
  };
  const std::string_view first = std::string_view(*text).substr(0, dash);
  const std::string_view last = dash == std::string::npos ? first : std::string_view(*text).substr(dash + 1);
  if (!port(first, rule.first_port) || !port(last, rule.last_port) || rule.first_port > rule.last_port) {
    decoder.Bad(field, "must be a port such as 443 or a range such as \"1000-2000\"");
  }
}

void NetAction(Decoder& decoder, const Field& field, NetRule& rule) {
  if (!Demand(decoder, field)) return;
  if (field.is_object()) {
    if (!decoder.Object(field, {"redirect"})) return;
    rule.action = NetRule::Kind::kRedirect;
    rule.redirect = decoder.String(field.Get("redirect")).value_or("");
    if (!AddressFromText(rule.redirect)) {
      if (Demand(decoder, field.Get("redirect"))) decoder.Bad(field.Get("redirect"), "must be an address and a port: \"127.0.0.1:8080\" or \"[::1]:8080\"");
    }
    return;
  }
  const auto choice = decoder.Choice(field, {"allow", "deny"});
  if (choice) rule.action = static_cast<NetRule::Kind>(*choice);
}

NetRule OneNetRule(Decoder& decoder, const Field& field) {
  NetRule rule;
  rule.name = field.path().substr(std::string_view("spec.").size());
  if (!decoder.Object(field, {"name", "operations", "to", "ports", "action"})) return rule;
  if (const auto name = decoder.String(field.Get("name"), 64)) rule.name = *name;
  if (const Field operations = field.Get("operations"); operations.present()) {
    rule.connect = rule.bind = rule.send = false;
    for (const Field& item : decoder.Items(operations, 3)) {
      const auto choice = decoder.Choice(item, {"connect", "bind", "send"});
      if (choice) (*choice == 0 ? rule.connect : *choice == 1 ? rule.bind : rule.send) = true;
    }
  }
  if (const auto to = decoder.String(field.Get("to"))) {
    if (const auto network = IpNetwork::FromText(*to)) rule.network = *network;
    else decoder.Bad(field.Get("to"), "must be an address or a network such as \"10.0.0.0/8\", with no bits after its prefix");
  }
  Ports(decoder, field.Get("ports"), rule);
  NetAction(decoder, field.Get("action"), rule);
  return rule;
}

NetSection Net(Decoder& decoder, const Field& field) {
  NetSection out;
  if (!decoder.Object(field, {"default", "rules"})) return out;
  out.default_allow = decoder.Choice(field.Get("default"), {"allow", "deny"}).value_or(0) == 0;
  for (const Field& item : decoder.Items(field.Get("rules"), kMostItems)) out.rules.push_back(OneNetRule(decoder, item));
  return out;
}

bool IsHostname(std::string_view text) {
  return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

ViewSection View(Decoder& decoder, const Field& field) {
  ViewSection out;
  if (!decoder.Object(field, {"cpus", "memory", "hostname", "files"})) return out;
  out.granted_cpus = decoder.Choice(field.Get("cpus"), {"host", "granted"}).value_or(0) == 1;
  out.granted_memory = decoder.Choice(field.Get("memory"), {"host", "granted"}).value_or(0) == 1;
  if (const auto name = decoder.String(field.Get("hostname"))) {
    out.hostname = *name;
    if (!IsHostname(*name)) decoder.Bad(field.Get("hostname"), "must be of lower-case letters, digits and inner '-', at most 63 of them");
  }
  for (const Field& item : decoder.Items(field.Get("files"), kMostItems)) {
    if (!decoder.Object(item, {"path", "content"})) continue;
    ViewFile file;
    if (Demand(decoder, item.Get("path"))) file.path = decoder.Path(item.Get("path")).value_or("");
    if (Demand(decoder, item.Get("content"))) file.content = decoder.String(item.Get("content"), 64 * 1024).value_or("");
    out.files.push_back(std::move(file));
  }
  return out;
}

void Limits(Decoder& decoder, const Field& field, LimitsSection& out, ResourceLimits& resources) {
  if (!decoder.Object(field, {"callsPerSecond", "deadline", "memory", "cpus", "pids"})) return;
  if (const auto calls = decoder.Integer(field.Get("callsPerSecond"), 1, 1'000'000)) out.calls_per_second = static_cast<uint32_t>(*calls);
  if (const auto us = decoder.Microseconds(field.Get("deadline"), 1'000, 600'000'000)) out.deadline = std::chrono::milliseconds(*us / 1000);
  // Bounds as those of what a session is granted. The first process of a container is one of its tasks.
  resources.memory_bytes = static_cast<uint64_t>(decoder.Bytes(field.Get("memory"), 4 << 20, int64_t{1} << 50).value_or(0));
  resources.cpu_millis = static_cast<uint64_t>(decoder.CpuMillis(field.Get("cpus"), 10, 10'000'000).value_or(0));
  resources.tasks = static_cast<uint64_t>(decoder.Integer(field.Get("pids"), 2, 1 << 22).value_or(0));
}

AuditSection Audit(Decoder& decoder, const Field& field) {
  AuditSection out;
  if (!decoder.Object(field, {"oneOfAllowed", "linesPerSecond"})) return out;
  if (const auto n = decoder.Integer(field.Get("oneOfAllowed"), 0, 1'000'000'000)) out.one_of_allowed = static_cast<uint32_t>(*n);
  if (const auto n = decoder.Integer(field.Get("linesPerSecond"), 1, 1'000'000)) out.lines_per_second = static_cast<uint32_t>(*n);
  return out;
}

ProgramSection TheProgram(Decoder& decoder, const Field& field) {
  ProgramSection out;
  if (!decoder.Object(field, {"language", "source", "memory", "time", "onError"})) return out;
  (void)decoder.Choice(field.Get("language"), {"lua5.4"});
  if (Demand(decoder, field.Get("source"))) out.source = decoder.String(field.Get("source"), kMaxProgramBytes).value_or("");
  if (const auto bytes = decoder.Bytes(field.Get("memory"), 64 << 10, 256 << 20)) out.memory_bytes = static_cast<uint32_t>(*bytes);
  if (const auto us = decoder.Microseconds(field.Get("time"), 100, 1'000'000)) out.time = std::chrono::microseconds(*us);
  if (const Field on_error = field.Get("onError"); on_error.present()) {
    const auto action = DecodeAction(decoder, on_error, {});
    if (action && action->kind == Action::Kind::kErrno) out.on_error = action->error;
    else if (action) decoder.Bad(on_error, "must be {\"errno\": ...}");
  }
  return out;
}

}  // namespace

void DecodeSections(Decoder& decoder, const Field& spec, Sections& out) {
  if (const Field field = spec.Get("files"); field.present()) out.files = Files(decoder, field);
  if (const Field field = spec.Get("exec"); field.present()) {
    if (decoder.Object(field, {"allow"})) out.exec = ExecSection{Paths(decoder, field.Get("allow"))};
  }
  if (const Field field = spec.Get("net"); field.present()) out.net = Net(decoder, field);
  if (const Field field = spec.Get("view"); field.present()) out.view = View(decoder, field);
  if (const Field field = spec.Get("limits"); field.present()) Limits(decoder, field, out.limits, out.resources);
  if (const Field field = spec.Get("audit"); field.present()) out.audit = Audit(decoder, field);
  if (const Field field = spec.Get("program"); field.present()) out.program = TheProgram(decoder, field);
}

}  // namespace isla::sandbox
