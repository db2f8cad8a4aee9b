#include "api/client/watch.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "api/client/api_error.h"
#include "api/client/url.h"

namespace isla::client {
namespace {

constexpr size_t kMaxLineBytes = size_t{8} << 20;
constexpr Duration kFirstBackoff = std::chrono::milliseconds(20);
constexpr Duration kMaxBackoff = std::chrono::seconds(1);
constexpr Duration kSilentOutage = std::chrono::seconds(2);

std::string KeyOf(const json::Value& metadata) {
  return metadata.StringAt({"namespace"}) + "/" + metadata.StringAt({"name"});
}

std::optional<int64_t> Number(const std::string& text) {
  int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string QueryOf(const WatchSpec& spec, Parameters parameters) {
  parameters.emplace_back("labelSelector", spec.label_selector);
  parameters.emplace_back("fieldSelector", spec.field_selector);
  parameters.insert(parameters.end(), spec.parameters.begin(), spec.parameters.end());
  return Query(parameters);
}

/// A Table of this one row.
json::Value TableOfRow(const json::Value& columns, const json::Value& row) {
  return json::Value::MakeObject({{"kind", "Table"},
                                  {"apiVersion", "meta.k8s.io/v1"},
                                  {"columnDefinitions", columns},
                                  {"rows", json::Value::MakeArray({row})}});
}

/// The objects of a list, or its rows as Tables of one row.
std::vector<json::Value> Items(const json::Value& list) {
  const bool table = list.StringAt({"kind"}) == "Table";
  const json::Value* items = list.Find(table ? "rows" : "items");
  if (items == nullptr || !items->is_array()) return {};
  if (!table) return items->items();
  const json::Value* columns = list.Find("columnDefinitions");
  std::vector<json::Value> out;
  for (const json::Value& row : items->items())
    out.push_back(TableOfRow(columns ? *columns : json::Value(), row));
  return out;
}

}  // namespace

std::string_view WatchTypeName(WatchEvent::Type type) {
  switch (type) {
    case WatchEvent::Type::kAdded:
      return "ADDED";
    case WatchEvent::Type::kModified:
      return "MODIFIED";
    case WatchEvent::Type::kDeleted:
      return "DELETED";
  }
  return "";
}

const json::Value* MetadataOf(const json::Value& object) {
  if (object.StringAt({"kind"}) != "Table") return object.Find("metadata");
  const json::Value* rows = object.Find("rows");
  if (rows == nullptr || !rows->is_array() || rows->items().empty()) return nullptr;
  return rows->items()[0].FindPath({"object", "metadata"});
}

Watch::Watch(ApiClient& api, WatchSpec spec, const json::Value& list)
    : api_(api), spec_(std::move(spec)) {
  Remember(list);
}

Watch::~Watch() = default;

StatusOr<json::Value> Watch::List(ApiClient& api, const WatchSpec& spec) {
  return api.Get(spec.collection + QueryOf(spec, {}), spec.table ? kAcceptTable : "application/json");
}

void Watch::Remember(const json::Value& list) {
  version_ = list.StringAt({"metadata", "resourceVersion"});
  if (const json::Value* columns = list.Find("columnDefinitions");
      columns != nullptr && columns->is_array()) {
    columns_ = *columns;
  }
  known_.clear();
  for (json::Value& item : Items(list)) {
    const json::Value* metadata = MetadataOf(item);
    if (metadata == nullptr) continue;
    const std::string key = KeyOf(*metadata);
    const std::string version = metadata->StringAt({"resourceVersion"});
    known_[key] = Known{version, std::move(item)};
  }
}

Status Watch::Connect() {
  HttpRequest request;
  request.target = spec_.collection + QueryOf(spec_, {{"watch", "true"},
                                                      {"allowWatchBookmarks", "true"},
                                                      {"resourceVersion", version_}});
  if (spec_.table) request.accept = std::string(kAcceptTable);
  ASSIGN_OR_RETURN(HttpClient::Opened opened, api_.http().Open(request));
  api_.Warn(opened.head.warnings);
  if (!opened.stream) return ErrorOfResponse(opened.head);
  stream_ = std::move(opened.stream);
  partial_.clear();
  outage_since_ = {};
  outage_told_ = false;
  return OkStatus();
}

Status Watch::Relist(std::vector<WatchEvent>& events) {
  ASSIGN_OR_RETURN(const json::Value list, List(api_, spec_));
  Difference(list, events);
  return OkStatus();
}

/// True if the list can't be of the history that we saw: it is older than our place in it, or has
/// an object from before our place that we don't know like that.
bool Watch::IsAnotherHistory(const json::Value& list) const {
  const auto last = Number(version_);
  const auto now = Number(list.StringAt({"metadata", "resourceVersion"}));
  if (!last || !now) return false;
  if (*now < *last) return true;
  for (const json::Value& item : Items(list)) {
    const json::Value* metadata = MetadataOf(item);
    if (metadata == nullptr) continue;
    const std::string version = metadata->StringAt({"resourceVersion"});
    const auto number = Number(version);
    if (!number || *number > *last) continue;
    const auto known = known_.find(KeyOf(*metadata));
    if (known == known_.end() || known->second.version != version) return true;
  }
  return false;
}

Status Watch::CheckHistory(std::vector<WatchEvent>& events) {
  ASSIGN_OR_RETURN(const json::Value list, List(api_, spec_));
  if (IsAnotherHistory(list)) Difference(list, events);
  check_ = false;
  return OkStatus();
}

void Watch::Difference(const json::Value& list, std::vector<WatchEvent>& events) {
  const std::map<std::string, Known> before = std::move(known_);
  Remember(list);
  for (const auto& [key, known] : before) {
    if (!known_.contains(key)) events.push_back({WatchEvent::Type::kDeleted, known.object});
  }
  for (const auto& [key, known] : known_) {
    const auto old = before.find(key);
    if (old == before.end()) {
      events.push_back({WatchEvent::Type::kAdded, known.object});
      continue;
    }
    const json::Value* was = MetadataOf(old->second.object);
    const json::Value* is = MetadataOf(known.object);
    if (was->StringAt({"uid"}) != is->StringAt({"uid"})) {
      events.push_back({WatchEvent::Type::kDeleted, old->second.object});
      events.push_back({WatchEvent::Type::kAdded, known.object});
    } else if (old->second.version != known.version) {
      events.push_back({WatchEvent::Type::kModified, known.object});
    }
  }
  relist_ = false;
  check_ = false;
}

/// Puts off the next try. Only what may pass is waited for.
Status Watch::Lost(const std::string& why, MonotonicTime deadline) {
  stream_.reset();
  check_ = true;
  const MonotonicTime now = Clock::Real().Monotonic();
  if (outage_since_ == MonotonicTime{}) outage_since_ = now;
  if (now - outage_since_ >= kSilentOutage && !std::exchange(outage_told_, true) &&
      spec_.on_outage) {
    spec_.on_outage(why);
  }
  const Duration left = deadline - now;
  if (left <= Duration::zero()) return Error(Code::kDeadlineExceeded, "no event in time");
  const Duration pause = std::min(backoff_, left);
  backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, kMaxBackoff);
  return pause > Duration::zero() ? api_.http().Pause(pause) : OkStatus();
}

StatusOr<std::vector<WatchEvent>> Watch::Next(Duration wait) {
  const MonotonicTime start = Clock::Real().Monotonic();
  const MonotonicTime deadline =
      wait > MonotonicTime::max() - start ? MonotonicTime::max() : start + wait;
  std::vector<WatchEvent> events;
  for (;;) {
    Status status;
    if (!stream_) {
      if (relist_) {
        status = Relist(events);
      } else if (check_) {
        status = CheckHistory(events);
      }
      if (status.ok() && !events.empty()) return events;
      if (status.ok()) status = Connect();
      if (status.code() == Code::kOutOfRange) relist_ = true;
      const bool passing =
          status.code() == Code::kUnavailable || status.code() == Code::kDeadlineExceeded ||
          status.code() == Code::kResourceExhausted || status.code() == Code::kOutOfRange;
      if (!status.ok() && !passing) return status;
      if (!status.ok()) {
        RETURN_IF_ERROR(Lost(Message(status), deadline));
        continue;
      }
    }
    auto bytes = stream_->Read(deadline - Clock::Real().Monotonic());
    if (!bytes.ok() && bytes.status().code() != Code::kUnavailable) return bytes.status();
    if (!bytes.ok() || bytes->empty()) {
      RETURN_IF_ERROR(
          Lost(bytes.ok() ? "the server ended the watch" : Message(bytes.status()), deadline));
      continue;
    }
    ASSIGN_OR_RETURN(events, Lines(*bytes));
    if (relist_) stream_.reset();
    if (!events.empty()) {
      backoff_ = Duration::zero();
      return events;
    }
  }
}

StatusOr<std::vector<WatchEvent>> Watch::Lines(const std::string& bytes) {
  std::vector<WatchEvent> events;
  size_t searched = partial_.size();  // what was left has no end of line: an endless line must not cost its square
  partial_ += bytes;
  size_t start = 0;
  for (size_t end; !relist_ && (end = partial_.find('\n', searched)) != std::string::npos;
       searched = start = end + 1) {
    if (end > start) RETURN_IF_ERROR(Decode(partial_.substr(start, end - start), events));
  }
  partial_.erase(0, start);
  if (partial_.size() > kMaxLineBytes) {
    return Errorf(Code::kResourceExhausted, "an event of the watch is larger than {} bytes",
                  kMaxLineBytes);
  }
  return events;
}

Status Watch::Decode(const std::string& line, std::vector<WatchEvent>& events) {
  auto parsed = ParseAnswer(line);
  if (!parsed.ok()) return Annotate(parsed.status(), "watch");
  const std::string type = parsed->StringAt({"type"});
  json::Value* object = parsed->Find("object");
  if (object == nullptr || !object->is_object()) {
    return Error(Code::kInternal, "watch: the server sent an event without an object");
  }
  if (type == "ERROR") {
    const Status error = ErrorOfStatusObject(*object);
    if (error.code() != Code::kOutOfRange) return error;
    relist_ = true;
    return OkStatus();
  }
  if (type == "BOOKMARK") {
    const std::string version = object->StringAt({"metadata", "resourceVersion"});
    if (!version.empty()) version_ = version;
    return OkStatus();
  }
  WatchEvent event;
  if (type == "MODIFIED")
    event.type = WatchEvent::Type::kModified;
  else if (type == "DELETED")
    event.type = WatchEvent::Type::kDeleted;
  else if (type != "ADDED")
    return OkStatus();  // a newer server's
  event.object = std::move(*object);
  return Apply(std::move(event), events);
}

Status Watch::Apply(WatchEvent event, std::vector<WatchEvent>& events) {
  if (event.object.StringAt({"kind"}) == "Table") {
    // Only the first event has the columns.
    const json::Value* columns = event.object.Find("columnDefinitions");
    if (columns != nullptr && columns->is_array() && !columns->items().empty())
      columns_ = *columns;
    else
      event.object.Set("columnDefinitions", columns_);
  }
  const json::Value* metadata = MetadataOf(event.object);
  if (metadata == nullptr)
    return Error(Code::kInternal, "watch: the server sent an object without metadata");
  const std::string version = metadata->StringAt({"resourceVersion"});
  const std::string key = KeyOf(*metadata);
  if (!version.empty()) version_ = version;
  if (event.type == WatchEvent::Type::kDeleted)
    known_.erase(key);
  else
    known_[key] = Known{version, event.object};
  events.push_back(std::move(event));
  return OkStatus();
}

}  // namespace isla::client
