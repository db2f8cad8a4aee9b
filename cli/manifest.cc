#include "cli/manifest.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "api/base/json_mistake.h"
#include "api/base/unique_fd.h"

namespace isla::cli {
namespace {

constexpr size_t kMaxFileBytes = size_t{64} << 20;
constexpr size_t kMaxDepth = 64;

Status ParseError(const Status& status, const std::string& file) {
  const std::optional<json::Mistake> mistake = json::MistakeOf(status);
  const std::string text = mistake ? fmt::format("{}:{}:{}: {}", file, mistake->position.line, mistake->position.column, mistake->what)
                                   : fmt::format("{}: {}", file, Message(status));
  const bool yaml = file.ends_with(".yaml") || file.ends_with(".yml");
  return Errorf(Code::kInvalidArgument, "error parsing {}{}", text,
                yaml ? " (isla reads JSON; kubectl can turn YAML into it)" : "");
}

Status Undecodable(const json::Value& value, const std::string& file, std::string_view why) {
  return Errorf(Code::kInvalidArgument, "unable to decode \"{}:{}:{}\": {}", file,
                value.position().line, value.position().column, why);
}

void AddObject(json::Value value, const std::string& file, bool first, Manifests& out) {
  if (!value.is_object()) {
    out.push_back(
        Undecodable(value, file, fmt::format("expected an object, not a {}", value.type_name())));
    return;
  }
  for (const auto& [field, shown] :
       {std::pair{"kind", "Kind"}, std::pair{"apiVersion", "apiVersion"}}) {
    const json::Value* found = value.Find(field);
    if (found == nullptr || !found->is_string() || found->as_string().empty()) {
      out.push_back(Undecodable(value, file, fmt::format("Object '{}' is missing", shown)));
      return;
    }
  }
  json::Value* items = value.Find("items");
  if (value.StringAt({"kind"}).ends_with("List") && items != nullptr && items->is_array()) {
    for (json::Value& item : items->items()) AddObject(std::move(item), file, false, out);
    return;
  }
  Manifest manifest;
  manifest.file = file;
  manifest.source = first ? file : fmt::format("{}:{}", file, value.position().line);
  manifest.object = std::move(value);
  out.push_back(std::move(manifest));
}

bool IsManifestFile(const std::string& path) {
  return path.ends_with(".json") || path.ends_with(".yaml") || path.ends_with(".yml");
}

/// The manifest files of a folder, sorted.
StatusOr<std::vector<std::string>> FilesOf(const std::string& folder, bool recursive) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  std::error_code error;
  if (recursive) {
    for (auto it = fs::recursive_directory_iterator(folder, error);
         !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
      if (it->is_regular_file(error) && IsManifestFile(it->path())) files.push_back(it->path());
    }
  } else {
    for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator();
         it.increment(error)) {
      if (it->is_regular_file(error) && IsManifestFile(it->path())) files.push_back(it->path());
    }
  }
  if (error) return FromErrno(error.value(), fmt::format("read '{}'", folder));
  if (files.empty()) {
    return Errorf(Code::kNotFound,
                  "error reading [{}]: recognized file extensions are [.json .yaml .yml]", folder);
  }
  std::sort(files.begin(), files.end());
  return files;
}

void ReadOne(const std::string& file, Manifests& out) {
  auto text = ReadFile(file, kMaxFileBytes);
  if (!text.ok()) {
    out.push_back(text.status());
    return;
  }
  for (auto& entry : ParseManifests(*text, file)) out.push_back(std::move(entry));
}

void ReadPath(const std::string& path, bool recursive, Io& io, Manifests& out) {
  if (path == "-") {
    auto text = io.ReadInput(kMaxFileBytes);
    if (!text.ok())
      out.push_back(text.status());
    else
      for (auto& entry : ParseManifests(*text, "STDIN")) out.push_back(std::move(entry));
    return;
  }
  if (path.starts_with("http://") || path.starts_with("https://")) {
    out.push_back(Errorf(Code::kUnimplemented,
                         "manifests are not fetched from URLs: curl -s '{}' | isla apply -f -",
                         path));
    return;
  }
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) {
    out.push_back(errno == ENOENT || errno == ENOTDIR
                      ? Errorf(Code::kNotFound, "the path \"{}\" does not exist", path)
                      : FromErrno(errno, fmt::format("the path \"{}\" cannot be accessed", path)));
    return;
  }
  if (!S_ISDIR(st.st_mode)) return ReadOne(path, out);
  auto files = FilesOf(path, recursive);
  if (!files.ok()) {
    out.push_back(files.status());
    return;
  }
  for (const std::string& file : *files) ReadOne(file, out);
}

/// The next step of a field path at `at`: a name, or an index in brackets (a name too:
/// labels[a.b/c]).
std::string_view NextStep(std::string_view path, size_t& at) {
  if (at < path.size() && path[at] == '.') ++at;
  if (at < path.size() && path[at] == '[') {
    const size_t close = std::min(path.find(']', at), path.size());
    const std::string_view step = path.substr(at + 1, close - at - 1);
    at = std::min(close + 1, path.size());
    return step;
  }
  const size_t end = std::min(path.find_first_of(".[", at), path.size());
  const std::string_view step = path.substr(at, end - at);
  at = end;
  return step;
}

}  // namespace

std::string Manifest::Place(std::string_view field) const {
  const json::Value* value = &object;
  json::Position position = object.position();
  for (size_t at = 0; at < field.size();) {
    const std::string_view step = NextStep(field, at);
    const json::Value* next = nullptr;
    if (value->is_array()) {
      size_t index = value->items().size();
      std::from_chars(step.data(), step.data() + step.size(), index);
      if (index < value->items().size()) next = &value->items()[index];
    } else {
      next = value->Find(step);
    }
    if (next == nullptr) break;
    value = next;
    if (value->position().line > 0) position = value->position();
  }
  return position.line == 0 ? "" : fmt::format(" ({}:{}:{})", file, position.line, position.column);
}

Manifests ParseManifests(std::string_view text, const std::string& file) {
  // Each stretch between "---" lines is read by itself, so that a broken one doesn't hide the rest.
  // Empty lines in front keep the line numbers right.
  Manifests out;
  bool first = true;
  std::string stretch;
  size_t lines = 0;
  json::Limits limits;
  limits.max_bytes = 2 * kMaxFileBytes;
  limits.max_depth = kMaxDepth;
  bool blank = true;
  const auto flush = [&] {
    if (std::exchange(blank, true)) return;
    auto values = json::ParseAll(stretch, limits);
    if (!values.ok())
      out.push_back(ParseError(values.status(), file));
    else
      for (json::Value& value : *values)
        AddObject(std::move(value), file, std::exchange(first, false), out);
    stretch.assign(lines, '\n');
  };
  for (size_t start = 0; start < text.size(); ++lines) {
    const size_t end = std::min(text.find('\n', start), text.size());
    std::string_view line = text.substr(start, end - start);
    start = end + 1;
    std::string_view trimmed = line;
    while (!trimmed.empty() && (trimmed.back() == '\r' || trimmed.back() == ' '))
      trimmed.remove_suffix(1);
    if (trimmed == "---") {
      flush();
      stretch += "\n";
      continue;
    }
    blank = blank && trimmed.find_first_not_of(" \t\r") == std::string_view::npos;
    stretch += line;
    stretch += "\n";
  }
  flush();
  return out;
}

Manifests ReadManifests(const std::vector<std::string>& files, bool recursive, Io& io) {
  Manifests out;
  for (const std::string& file : files) ReadPath(file, recursive, io, out);
  return out;
}

}  // namespace isla::cli
