#include "api/server/request_options.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "api/object/field_error.h"

namespace isla::server {

namespace {

StatusOr<int64_t> ParseInt(const std::string& name, const std::string& text, int64_t least) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || value < least) {
    return Errorf(Code::kInvalidArgument, "{} must be an integer of at least {}, not '{}'", name, least, text);
  }
  return value;
}

/// As Go's strconv.ParseBool; without a value it is false.
StatusOr<bool> ParseBool(const Request& request, const std::string& name, bool fallback) {
  const auto text = request.Param(name);
  if (!text) return fallback;
  if (*text == "1" || *text == "t" || *text == "T" || *text == "true" || *text == "TRUE" || *text == "True") return true;
  if (*text == "0" || *text == "f" || *text == "F" || *text == "false" || *text == "FALSE" || *text == "False" ||
      text->empty()) {
    return false;
  }
  return Errorf(Code::kInvalidArgument, "{} must be true or false, not '{}'", name, *text);
}

StatusOr<bool> IsDryRun(const std::string& text) {
  if (text == "All") return true;
  return Errorf(Code::kInvalidArgument, "dryRun: Unsupported value: '{}': supported values: 'All'", text);
}

Status Match(const Request& request, const api::Kind& kind, ListQuery& query) {
  using M = registry::ListOptions::Match;
  const std::string match = request.Param("resourceVersionMatch").value_or("");
  const std::string revision = request.Param("resourceVersion").value_or("");
  if (request.Param("sendInitialEvents")) {
    // 422: clients then list and watch as ever.
    return api::InvalidObject(kind.kind + "ListOptions", "",
                              {{"FieldValueForbidden", "sendInitialEvents",
                                "Forbidden: sendInitialEvents is not supported, list and then watch", {}}});
  }
  if (!match.empty() && match != "NotOlderThan" && match != "Exact") {
    return Errorf(Code::kInvalidArgument, "resourceVersionMatch: Unsupported value: '{}'", match);
  }
  if (!match.empty() && query.watch) {
    return Error(Code::kInvalidArgument, "resourceVersionMatch is forbidden for watch");
  }
  if (!match.empty() && revision.empty()) {
    return Error(Code::kInvalidArgument, "resourceVersionMatch is forbidden unless resourceVersion is given");
  }
  query.options.match = M::kNewest;
  if (revision.empty()) return OkStatus();
  ASSIGN_OR_RETURN(query.revision, ParseInt("resourceVersion", revision, 0));
  if (match == "Exact") {
    return Error(Code::kInvalidArgument, "resourceVersionMatch=Exact is not supported: old lists are not kept");
  }
  query.options.match = query.revision == 0 ? M::kAny : M::kNotOlderThan;
  query.options.revision = query.revision;
  return OkStatus();
}

}  // namespace

Status CheckParams(const Request& request, const std::set<std::string>& known) {
  for (const auto& [name, value] : request.query) {
    if (!known.contains(name)) return Errorf(Code::kInvalidArgument, "unknown parameter '{}'", name.substr(0, 100));
    if (request.query.count(name) > 1) return Errorf(Code::kInvalidArgument, "parameter '{}' is given twice", name);
  }
  return OkStatus();
}

StatusOr<bool> QueryDryRun(const Request& request) {
  const auto [begin, end] = request.query.equal_range("dryRun");
  bool dry = false;
  for (auto it = begin; it != end; ++it) {
    if (it->second.empty()) continue;
    ASSIGN_OR_RETURN(const bool one, IsDryRun(it->second));
    dry = dry || one;
  }
  return dry;
}

bool WantsWatch(const Request& request) {
  const auto watch = ParseBool(request, "watch", false);
  return watch.ok() && *watch;
}

StatusOr<ListQuery> ParseListQuery(const Request& request, const api::Kind& kind) {
  ListQuery query;
  ASSIGN_OR_RETURN(query.watch, ParseBool(request, "watch", false));
  ASSIGN_OR_RETURN(query.bookmarks, ParseBool(request, "allowWatchBookmarks", false));
  RETURN_IF_ERROR(Match(request, kind, query));
  if (const auto text = request.Param("labelSelector")) {
    ASSIGN_OR_RETURN(query.options.labels, api::LabelSelector::Parse(*text));
  }
  if (const auto text = request.Param("fieldSelector")) {
    ASSIGN_OR_RETURN(query.options.fields, api::FieldSelector::Parse(*text));
  }
  if (!request.Param("continue").value_or("").empty()) {
    return Error(Code::kInvalidArgument, "continue: lists are never cut, there is nothing to continue");
  }
  if (const auto text = request.Param("limit"); text && !text->empty()) {
    RETURN_IF_ERROR(ParseInt("limit", *text, 0));  // accepted: a list is always whole
  }
  if (const auto text = request.Param("timeoutSeconds"); text && !text->empty()) {
    ASSIGN_OR_RETURN(const int64_t seconds, ParseInt("timeoutSeconds", *text, 0));
    if (seconds > 0) query.timeout = std::chrono::seconds(std::min<int64_t>(seconds, 10 * 365 * 86400));
  }
  return query;
}

StatusOr<registry::WriteOptions> ParseWriteOptions(const Request& request, const registry::Caller& caller) {
  registry::WriteOptions options;
  options.caller = caller;
  ASSIGN_OR_RETURN(options.dry_run, QueryDryRun(request));
  const std::string validation = request.Param("fieldValidation").value_or("");
  if (!validation.empty() && validation != "Strict" && validation != "Warn" && validation != "Ignore") {
    return Errorf(Code::kInvalidArgument, "fieldValidation: Unsupported value: '{}'", validation);
  }
  return options;
}

namespace {

Status FromDeleteBody(const json::Value& body, registry::DeleteOptions& options) {
  static const std::set<std::string> known = {
      "kind", "apiVersion", "gracePeriodSeconds", "preconditions", "propagationPolicy", "orphanDependents",
      "dryRun", "ignoreStoreReadErrorWithClusterBreakingPotential"};
  if (body.is_null()) return OkStatus();
  if (!body.is_object()) return Error(Code::kInvalidArgument, "DeleteOptions must be a JSON object");
  for (const json::Member& member : body.members()) {
    if (!known.contains(member.name)) {
      return Errorf(Code::kInvalidArgument, "DeleteOptions has no field '{}'", member.name);
    }
  }
  if (const json::Value* dry = body.Find("dryRun"); dry != nullptr && !dry->is_null()) {
    if (!dry->is_array()) return Error(Code::kInvalidArgument, "DeleteOptions.dryRun must be an array");
    for (const json::Value& item : dry->items()) {
      if (!item.is_string()) return Error(Code::kInvalidArgument, "DeleteOptions.dryRun must hold strings");
      ASSIGN_OR_RETURN(const bool one, IsDryRun(item.as_string()));
      options.dry_run = options.dry_run || one;
    }
  }
  if (const json::Value* grace = body.Find("gracePeriodSeconds"); grace != nullptr && !grace->is_null()) {
    const auto seconds = grace->ToInt64();
    if (!seconds || *seconds < 0) {
      return Error(Code::kInvalidArgument, "DeleteOptions.gracePeriodSeconds must be an integer of at least 0");
    }
    options.grace_period_seconds = *seconds;
  }
  const json::Value* conditions = body.Find("preconditions");
  if (conditions == nullptr || conditions->is_null()) return OkStatus();
  if (!conditions->is_object()) return Error(Code::kInvalidArgument, "DeleteOptions.preconditions must be an object");
  for (const json::Member& member : conditions->members()) {
    if (member.value.is_null()) continue;
    if (!member.value.is_string() || (member.name != "uid" && member.name != "resourceVersion")) {
      return Error(Code::kInvalidArgument, "DeleteOptions.preconditions has uid and resourceVersion, both strings");
    }
    (member.name == "uid" ? options.uid : options.resource_version) = member.value.as_string();
  }
  return OkStatus();
}

}  // namespace

StatusOr<registry::DeleteOptions> ParseDeleteOptions(const Request& request, const registry::Caller& caller) {
  registry::DeleteOptions options;
  options.caller = caller;
  ASSIGN_OR_RETURN(options.dry_run, QueryDryRun(request));
  if (const auto text = request.Param("gracePeriodSeconds"); text && !text->empty()) {
    ASSIGN_OR_RETURN(options.grace_period_seconds, ParseInt("gracePeriodSeconds", *text, 0));
  }
  if (request.body.find_first_not_of(" \t\r\n") == std::string::npos) return options;
  const std::string type = MediaType(request);
  if (!type.empty() && type != "application/json") {
    return Errorf(Code::kInvalidArgument, "DeleteOptions must be application/json, not '{}'", type);
  }
  ASSIGN_OR_RETURN(const json::Value body, json::Parse(request.body));
  RETURN_IF_ERROR(FromDeleteBody(body, options));
  return options;
}

Status ParseLogQuery(const Request& request, LogRequest& log) {
  ASSIGN_OR_RETURN(log.follow, ParseBool(request, "follow", false));
  ASSIGN_OR_RETURN(log.timestamps, ParseBool(request, "timestamps", false));
  ASSIGN_OR_RETURN(const bool previous, ParseBool(request, "previous", false));
  if (previous) return Error(Code::kInvalidArgument, "previous: logs of earlier incarnations are not served");
  log.container = request.Param("container").value_or("");
  if (const auto text = request.Param("tailLines"); text && !text->empty()) {
    ASSIGN_OR_RETURN(log.tail_lines, ParseInt("tailLines", *text, 0));
  }
  if (const auto text = request.Param("sinceSeconds"); text && !text->empty()) {
    ASSIGN_OR_RETURN(log.since_seconds, ParseInt("sinceSeconds", *text, 1));
  }
  return OkStatus();
}

std::string MediaType(const Request& request) {
  std::string type = request.Header("content-type");
  type = type.substr(0, type.find(';'));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return type;
}

}  // namespace isla::server
