#include "tests/unit/cli/fake_api.h"

#include "api/object/object.h"

namespace isla::testing {
namespace {

constexpr const char* kDiscovery =
    R"({"kind":"APIResourceList","groupVersion":"isla/v1","resources":[
  {"name":"sessions","singularName":"session","namespaced":true,"kind":"Session","shortNames":["se"],"categories":["all"],"verbs":["create","delete","get","list","patch","watch"]},
  {"name":"nodes","singularName":"node","namespaced":false,"kind":"Node","shortNames":["no"],"categories":[],"verbs":["get","list"]},
  {"name":"projects","singularName":"project","namespaced":false,"kind":"Project","shortNames":[],"categories":[],"verbs":["list"]}]})";

FakeReply StatusReply(int http, const std::string& reason, const std::string& message) {
  return FakeReply{.status = http,
                   .body = json::Serialize(json::Value::MakeObject({{"kind", "Status"},
                                                                    {"status", "Failure"},
                                                                    {"reason", reason},
                                                                    {"message", message},
                                                                    {"code", http}}))};
}

std::string Decoded(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out.push_back(static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16)));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::string Parameter(const FakeRequest& request, const std::string& name) {
  const std::string query = "&" + request.query;
  const size_t at = query.find("&" + name + "=");
  if (at == std::string::npos) return "";
  const size_t start = at + name.size() + 2;
  return Decoded(query.substr(start, query.find('&', start) - start));
}

bool WantsTable(const FakeRequest& request) {
  const auto accept = request.headers.find("accept");
  return accept != request.headers.end() && accept->second.find("as=Table") != std::string::npos;
}

json::Value TableOf(const std::vector<json::Value>& objects, bool columns = true) {
  json::Value table =
      json::Value::MakeObject({{"kind", "Table"}, {"apiVersion", "meta.k8s.io/v1"}});
  json::Value definitions = json::Value::MakeArray();
  for (const auto& [name, priority] :
       {std::pair{"Name", 0}, std::pair{"Phase", 0}, std::pair{"Image", 1}}) {
    definitions.Append(
        json::Value::MakeObject({{"name", name}, {"type", "string"}, {"priority", priority}}));
  }
  table.Set("columnDefinitions", columns ? definitions : json::Value());
  json::Value rows = json::Value::MakeArray();
  for (const json::Value& object : objects) {
    const std::string phase = object.StringAt({"status", "phase"});
    json::Value cells = json::Value::MakeArray({object.StringAt({"metadata", "name"}),
                                                phase.empty() ? json::Value() : json::Value(phase),
                                                object.StringAt({"spec", "image"}, "host")});
    json::Value row = json::Value::MakeObject({{"cells", cells}});
    row.Member("object").Set("metadata", *object.Find("metadata"));
    rows.Append(row);
  }
  table.Set("rows", rows);
  return table;
}

/// Of the selectors only metadata.name, and one label a=b.
bool Selected(const FakeRequest& request, const std::string& ns, const json::Value& object) {
  if (!ns.empty() && object.StringAt({"metadata", "namespace"}) != ns) return false;
  const std::string field = Parameter(request, "fieldSelector");
  if (!field.empty() && "metadata.name=" + object.StringAt({"metadata", "name"}) != field)
    return false;
  const std::string label = Parameter(request, "labelSelector");
  const size_t equals = label.find('=');
  return label.empty() || object.StringAt({"metadata", "labels", label.substr(0, equals)}) ==
                              label.substr(equals + 1);
}

}  // namespace

FakeApi::FakeApi() {
  server_ =
      std::make_unique<FakeServer>([this](const FakeRequest& request) { return Handle(request); });
}
FakeApi::~FakeApi() = default;

void FakeApi::Record(const std::string& key, const std::string& type) {
  json::Value& object = objects_[key];
  object.Member("metadata").Set("resourceVersion", std::to_string(++version_));
  changes_.push_back({version_, type, object});
}

void FakeApi::Put(const std::string& ns, const std::string& name,
                  const std::function<void(json::Value&)>& change) {
  const std::string key = ns + "/" + name;
  MutexLock lock(mu_);
  const bool fresh = !objects_.contains(key);
  json::Value& object = objects_[key];
  if (fresh) {
    object = json::Value::MakeObject({{"apiVersion", "isla/v1"}, {"kind", "Session"}});
    object.Member("metadata").Set("name", name);
    object.Member("metadata").Set("namespace", ns);
    object.Member("metadata").Set("uid", "uid-" + std::to_string(++created_));
    object.Member("metadata").Set("generation", 1);
  }
  if (change) change(object);
  Record(key, fresh ? "ADDED" : "MODIFIED");
}

void FakeApi::SetPhase(const std::string& name, const std::string& phase) {
  Put("default", name,
      [&phase](json::Value& object) { object.Member("status").Set("phase", phase); });
}

void FakeApi::Remove(const std::string& ns, const std::string& name) {
  const std::string key = ns + "/" + name;
  MutexLock lock(mu_);
  if (!objects_.contains(key)) return;
  Record(key, "DELETED");
  objects_.erase(key);
}

json::Value FakeApi::Get(const std::string& ns, const std::string& name) {
  MutexLock lock(mu_);
  const auto it = objects_.find(ns + "/" + name);
  return it == objects_.end() ? json::Value() : it->second;
}

void FakeApi::Log(const std::string& text, bool end) {
  MutexLock lock(mu_);
  log_ += text;
  log_ended_ = end;
}

void FakeApi::Intercept(const std::string& call,
                        std::function<FakeReply(const FakeRequest&)> reply) {
  MutexLock lock(mu_);
  intercepted_ = call;
  interceptor_ = std::move(reply);
}

void FakeApi::StopIntercepting() { Intercept("", nullptr); }

void FakeApi::OnCreate(std::function<void(const std::string& name)> hook) {
  MutexLock lock(mu_);
  on_create_ = std::move(hook);
}

FakeReply FakeApi::Handle(const FakeRequest& request) {
  std::function<FakeReply(const FakeRequest&)> interceptor;
  {
    MutexLock lock(mu_);
    if (interceptor_ && (request.method + " " + request.path).starts_with(intercepted_))
      interceptor = interceptor_;
  }
  if (interceptor) return interceptor(request);
  if (request.path == "/apis/isla/v1") return FakeReply{.body = kDiscovery};
  if (request.path == "/version")
    return FakeReply{.body = R"({"gitVersion":"v1.32.0-fake","major":"1"})"};
  if (request.path == "/apis/isla/v1/nodes") {
    const json::Value node = *json::Parse(
        R"({"apiVersion":"isla/v1","kind":"Node","metadata":{"name":"n1"},"status":{"connected":true,"features":["a","b"]}})");
    if (WantsTable(request)) return FakeReply{.body = json::Serialize(TableOf({node}))};
    return FakeReply{.body = json::Serialize(json::Value::MakeObject(
                         {{"kind", "NodeList"}, {"items", json::Value::MakeArray({node})}}))};
  }
  if (request.path == "/apis/isla/v1/projects") {
    return FakeReply{
        .body =
            R"({"kind":"ProjectList","items":[{"metadata":{"name":"default"}},{"metadata":{"name":"demo"}}]})"};
  }
  std::string rest = request.path;
  if (rest == "/apis/isla/v1/sessions") return HandleSessions(request, "", "");
  const std::string prefix = "/apis/isla/v1/namespaces/";
  if (!rest.starts_with(prefix))
    return StatusReply(404, "NotFound", "the server could not find the requested resource");
  rest = rest.substr(prefix.size());
  const std::string ns = rest.substr(0, rest.find('/'));
  rest = rest.substr(ns.size());
  if (rest == "/sessions") return HandleSessions(request, ns, "");
  if (!rest.starts_with("/sessions/"))
    return StatusReply(404, "NotFound", "the server could not find the requested resource");
  return HandleSessions(request, ns, Decoded(rest.substr(10)));
}

FakeReply FakeApi::HandleSessions(const FakeRequest& request, const std::string& ns,
                                  const std::string& name) {
  if (name.empty() && request.method == "POST") return Create(request, ns);
  if (name.empty() && request.query.find("watch=true") != std::string::npos)
    return WatchFrom(request, ns);
  if (name.empty()) return List(request, ns);
  std::string own = name;
  const bool log = own.ends_with("/log");
  if (log) own.resize(own.size() - 4);
  const std::string key = ns + "/" + own;
  {
    MutexLock lock(mu_);
    const auto it = objects_.find(key);
    if (it == objects_.end())
      return StatusReply(404, "NotFound", "sessions \"" + own + "\" not found");
    if (log && it->second.StringAt({"status", "phase"}) == "Pending")
      return StatusReply(400, "BadRequest", "session \"" + own + "\" has not been started yet");
    if (!log && request.method == "GET") {
      return FakeReply{
          .body = json::Serialize(WantsTable(request) ? TableOf({it->second}) : it->second)};
    }
  }
  if (log) return LogOf(request);
  return request.method == "PATCH" ? Patch(request, key) : Delete(request, key);
}

FakeReply FakeApi::List(const FakeRequest& request, const std::string& ns) {
  MutexLock lock(mu_);
  std::vector<json::Value> found;
  for (const auto& [key, object] : objects_) {
    if (Selected(request, ns, object)) found.push_back(object);
  }
  json::Value list = WantsTable(request)
                         ? TableOf(found)
                         : json::Value::MakeObject({{"kind", "SessionList"},
                                                    {"apiVersion", "isla/v1"},
                                                    {"items", json::Value(json::Array(found))}});
  list.Member("metadata").Set("resourceVersion", std::to_string(version_));
  return FakeReply{.body = json::Serialize(list)};
}

FakeReply FakeApi::WatchFrom(const FakeRequest& request, const std::string& ns) {
  const int64_t from = std::stoll(Parameter(request, "resourceVersion"));
  return FakeReply{.stream = [this, request, ns, from](StreamWriter& writer) {
    int64_t seen = from;
    bool first = true;
    for (;;) {
      std::string text;
      const bool go = writer.Wait([this, &text, &seen, &first, &request, &ns] {
        MutexLock lock(mu_);
        for (const Change& change : changes_) {
          if (change.version <= seen) continue;
          seen = change.version;
          if (!Selected(request, ns, change.object)) continue;
          json::Value event = json::Value::MakeObject({{"type", change.type}});
          event.Set("object", WantsTable(request)
                                  ? TableOf({change.object}, std::exchange(first, false))
                                  : change.object);
          text += json::Serialize(event) + "\n";
        }
        return !text.empty();
      });
      if (!go) return;
      writer.Chunk(text);
    }
  }};
}

FakeReply FakeApi::Create(const FakeRequest& request, const std::string& ns) {
  auto object = json::Parse(request.body);
  if (!object.ok()) return StatusReply(400, "BadRequest", Message(object.status()));
  std::string name = object->StringAt({"metadata", "name"});
  if (name.empty()) name = object->StringAt({"metadata", "generateName"}) + "abcde";
  if (object->FindPath({"spec", "bad"}) != nullptr) {
    return FakeReply{
        .status = 422,
        .body =
            R"({"kind":"Status","status":"Failure","reason":"Invalid","code":422,"message":"Session \")" +
            name + R"(\" is invalid","details":{"kind":"Session","name":")" + name +
            R"(","causes":[{"reason":"FieldValueInvalid","field":"spec.bad","message":"Unknown field"},)"
            R"({"reason":"FieldValueInvalid","field":"spec.env[1].name","message":"Invalid value: \"=\""}]}})"};
  }
  if (!Get(ns, name).is_null())
    return StatusReply(409, "AlreadyExists", "sessions \"" + name + "\" already exists");
  if (Parameter(request, "dryRun") == "All")
    return FakeReply{.status = 201, .body = json::Serialize(*object)};
  Put(ns, name, [&object, &name](json::Value& there) {
    const json::Value uid = *there.FindPath({"metadata", "uid"});
    there = *object;
    there.Member("metadata").Set("name", name);
    there.Member("metadata").Set("uid", uid);
    there.Member("spec").Set("type", "batch");  // a default
    there.Member("status").Set("phase", "Pending");
  });
  std::function<void(const std::string&)> hook;
  {
    MutexLock lock(mu_);
    hook = on_create_;
  }
  const json::Value created = Get(ns, name);
  if (hook) hook(name);
  return FakeReply{.status = 201, .body = json::Serialize(created)};
}

FakeReply FakeApi::Patch(const FakeRequest& request, const std::string& key) {
  const auto patch = json::Parse(request.body);
  if (!patch.ok()) return StatusReply(400, "BadRequest", Message(patch.status()));
  const size_t slash = key.find('/');
  json::Value merged = api::MergePatch(Get(key.substr(0, slash), key.substr(slash + 1)), *patch);
  if (Parameter(request, "dryRun") != "All") {
    Put(key.substr(0, slash), key.substr(slash + 1),
        [&merged](json::Value& there) { there = merged; });
  }
  return FakeReply{.body = json::Serialize(merged)};
}

FakeReply FakeApi::Delete(const FakeRequest& request, const std::string& key) {
  const size_t slash = key.find('/');
  const std::string ns = key.substr(0, slash);
  const std::string name = key.substr(slash + 1);
  json::Value object = Get(ns, name);
  if (request.body.find("\"dryRun\":[\"All\"]") != std::string::npos)
    return FakeReply{.body = json::Serialize(object)};
  const json::Value* finalizers = object.FindPath({"metadata", "finalizers"});
  if (finalizers == nullptr) {
    Remove(ns, name);
    return FakeReply{.body = R"({"kind":"Status","status":"Success","details":{"uid":")" +
                             object.StringAt({"metadata", "uid"}) + "\"}}"};
  }
  Put(ns, name, [](json::Value& there) {
    there.Member("metadata").Set("deletionTimestamp", "2026-01-01T00:00:00Z");
  });
  return FakeReply{.body = json::Serialize(Get(ns, name))};
}

FakeReply FakeApi::LogOf(const FakeRequest& request) {
  const bool timed = Parameter(request, "timestamps") == "true";
  const bool follow = Parameter(request, "follow") == "true";
  return FakeReply{.content_type = "text/plain",
                   .stream = [this, timed, follow](StreamWriter& writer) {
                     size_t sent = 0;
                     bool ended = false;
                     while (!ended) {
                       std::string text;
                       const bool go = writer.Wait([this, &sent, &text, &ended, follow] {
                         MutexLock lock(mu_);
                         text = log_.substr(sent);
                         sent = log_.size();
                         ended = log_ended_ || !follow;
                         return !text.empty() || ended;
                       });
                       if (!go) return;
                       std::string out;
                       for (size_t start = 0; start < text.size();) {
                         const size_t end = std::min(text.find('\n', start), text.size() - 1);
                         const std::string line = text.substr(start, end + 1 - start);
                         // The log is kept with its times.
                         out += timed ? line : line.substr(line.find(' ') + 1);
                         start = end + 1;
                       }
                       writer.Chunk(out);
                     }
                   }};
}

}  // namespace isla::testing
