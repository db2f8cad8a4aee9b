// store: exports, imports and single keys, by way of islad.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <string_view>

#include "api/archive/format.h"
#include "api/archive/lines.h"
#include "api/base/base64.h"
#include "api/base/unique_fd.h"
#include "api/client/api_error.h"
#include "api/client/url.h"
#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/output.h"
#include "cli/table.h"

namespace isla::cli {
namespace {

constexpr const char* kPath = "/apis/isla/v1/store/";
constexpr int kTries = 3;
constexpr size_t kBlock = size_t{256} << 10;
constexpr size_t kMaxValue = size_t{1} << 20;
constexpr const char* kUsage =
    "expected 'store export FILE', 'store import FILE', 'store unseal', 'store list [PREFIX]', 'store get KEY' or "
    "'store put KEY -f FILE'.\nSee 'isla store -h' for help and examples";

/// A file that appears under its name only when it is whole, readable by its owner only.
class NewFile {
 public:
  ~NewFile() {
    if (fd_.valid()) (void)unlink(temporary_.c_str());
  }

  Status Open(const std::string& path) {
    struct stat there {};
    path_ = path;
    if (stat(path.c_str(), &there) == 0) {
      // What rename would replace isn't what is meant.
      if (!S_ISREG(there.st_mode)) {
        return Errorf(Code::kInvalidArgument, "'{}' is no regular file; - is standard output", path);
      }
      std::error_code error;
      path_ = std::filesystem::canonical(path, error).string();
      if (error) return Errorf(Code::kInvalidArgument, "'{}': {}", path, error.message());
    }
    temporary_ = path_ + ".XXXXXX";
    fd_.Reset(mkostemp(temporary_.data(), O_CLOEXEC));  // 0600
    return fd_.valid() ? OkStatus() : FromErrno(errno, "write '" + temporary_ + "'");
  }
  Status Write(std::string_view bytes) { return Annotate(WriteAll(fd_.get(), bytes), "write '" + temporary_ + "'"); }
  Status Finish() {
    if (fsync(fd_.get()) != 0) return FromErrno(errno, "sync '" + temporary_ + "'");
    if (rename(temporary_.c_str(), path_.c_str()) != 0) return FromErrno(errno, "rename to '" + path_ + "'");
    fd_.Reset();
    const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
    const UniqueFd dir(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!dir.valid() || fsync(dir.get()) != 0) return FromErrno(errno, "sync the folder of '" + path_ + "'");
    return OkStatus();
  }

 private:
  std::string path_;
  std::string temporary_;
  UniqueFd fd_;
};

// ---- export ----------------------------------------------------------------------------------------------

struct Exported {
  archive::Header header;
  uint64_t keys = 0;
};

/// Takes all of an export, and checks it as an import would: what is kept is whole. ABORTED: worth another try.
StatusOr<Exported> Receive(Context& context, client::ApiClient& api, NewFile* file) {
  client::HttpRequest request;
  request.target = std::string(kPath) + "export";
  request.accept = "application/x-ndjson, application/json";
  ASSIGN_OR_RETURN(const client::HttpClient::Opened opened, api.http().Open(request));
  if (opened.stream == nullptr) return client::ErrorOfResponse(opened.head);
  archive::LineBuffer lines(archive::kMaxLineBytes);
  archive::Reader reader;
  Exported exported;
  for (;;) {
    const StatusOr<std::string> bytes = opened.stream->Read(context.options().request_timeout);
    if (bytes.status().code() == Code::kUnavailable) {
      return Errorf(Code::kAborted, "the export broke off: {}", Message(bytes.status()));
    }
    RETURN_IF_ERROR(bytes);
    if (bytes->empty()) break;
    if (file != nullptr) {
      RETURN_IF_ERROR(file->Write(*bytes));
    } else {
      context.Print(*bytes);
    }
    lines.Append(*bytes);
    for (;;) {
      ASSIGN_OR_RETURN(const auto line, lines.Next());
      if (!line) break;
      ASSIGN_OR_RETURN(archive::Reader::Item item, reader.Take(*line));
      if (auto* header = std::get_if<archive::Header>(&item)) exported.header = std::move(*header);
    }
  }
  RETURN_IF_ERROR(Annotate(reader.Close(lines.rest()), "what the server sent is no whole export"));
  exported.keys = reader.keys();
  return exported;
}

Status Seal(Context& context, client::ApiClient& api) {
  ASSIGN_OR_RETURN(const json::Value sealed, api.Post(std::string(kPath) + "seal", json::Value::MakeObject()));
  context.Complain(fmt::format("the store of cluster {} is sealed: nothing is written or decided there any more; 'isla store "
                               "unseal' opens it again\n",
                               Printable(sealed.StringAt({"cluster"}))));
  return OkStatus();
}

int Export(Context& context, const std::string& path) {
  const bool to_stdout = path == "-";
  // So that Ctrl-C leaves no half of a file.
  if (!to_stdout) context.io().CatchInterrupts();
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  if (context.options().store.seal) {
    if (const Status sealed = Seal(context, **api); !sealed.ok()) return context.Fail(sealed);
  }
  for (int attempt = 1;; ++attempt) {
    NewFile file;
    Status status = to_stdout ? OkStatus() : file.Open(path);
    if (!status.ok()) return context.Fail(status);
    const StatusOr<Exported> exported = Receive(context, **api, to_stdout ? nullptr : &file);
    status = exported.status();
    if (status.ok() && !to_stdout) status = file.Finish();
    if (status.ok()) {
      context.io().Flush();
      context.Complain(fmt::format("{} keys of cluster {} at revision {} exported{}\n", exported->keys,
                                   Printable(exported->header.cluster_id), exported->header.revision,
                                   exported->header.sealed ? ", sealed" : ""));
      return 0;
    }
    // What was printed can't be taken back.
    if (to_stdout || status.code() != Code::kAborted || attempt == kTries) return context.Fail(status);
    context.Complain(fmt::format("{}; beginning anew\n", Printable(Message(status))));
  }
}

// ---- import ----------------------------------------------------------------------------------------------

struct Source {
  UniqueFd fd;  // none: standard input

  StatusOr<std::string> Next(Io& io) const {
    if (!fd.valid()) return io.ReadSomeInput();
    std::string block(kBlock, '\0');
    for (;;) {
      const ssize_t got = read(fd.get(), block.data(), block.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return FromErrno(errno, "read the file");
      block.resize(static_cast<size_t>(got));
      return block;
    }
  }
};

void ShowImported(Context& context, const json::Value& result) {
  const auto count = [&result](std::string_view name) { return result.Int64At({name}).value_or(0); };
  const auto is = [&result](std::string_view name) {
    const json::Value* value = result.Find(name);
    return value != nullptr && value->is_bool() && value->as_bool();
  };
  const std::string cluster = Printable(result.StringAt({"cluster"}));
  if (is("already")) {
    context.Print(fmt::format("cluster {} unchanged: this file was imported before, and nothing was done (--replace imports it again)\n", cluster));
    return;
  }
  context.Print(fmt::format("cluster {} imported{}: {} keys written, {} deleted, {} unchanged{}\n", cluster,
                            is("dryRun") ? " (server dry run)" : (is("resumed") ? ", going on where another import broke off" : ""),
                            count("written"), count("deleted"), count("unchanged"),
                            count("invalid") == 0 ? "" : fmt::format(", {} of them make no sense", count("invalid"))));
}

/// Nothing: go on. Else the exit code.
StatusOr<std::optional<int>> TakeLine(Context& context, std::string_view line, std::string& phase) {
  ASSIGN_OR_RETURN(const json::Value tree, client::ParseAnswer(std::string(line)));
  if (const json::Value* error = tree.Find("error"); error != nullptr) return client::ErrorOfStatusObject(*error);
  if (const json::Value* result = tree.Find("result"); result != nullptr) {
    if (context.options().output == "json") {
      context.Print(json::Pretty(*result) + "\n");
    } else {
      ShowImported(context, *result);
    }
    return std::optional<int>(0);
  }
  const std::string now = tree.StringAt({"progress", "phase"});
  if (!now.empty() && now != phase) {
    phase = now;
    context.Complain(Printable(now) + " ...\n");
  }
  return std::optional<int>();
}

StatusOr<int> Send(Context& context, client::ApiClient& api, const Source& source) {
  const Options& options = context.options();
  std::vector<std::pair<std::string, std::string>> query;
  if (options.dry_run == DryRun::kServer) query.emplace_back("dryRun", "All");
  if (options.store.replace) query.emplace_back("replace", "true");
  if (options.store.keep_invalid) query.emplace_back("keepInvalid", "true");
  client::HttpRequest request;
  request.method = "POST";
  request.target = std::string(kPath) + "import" + client::Query(query);
  request.accept = "application/x-ndjson, application/json";
  request.content_type = "application/x-ndjson";
  request.body_source = [&context, &source] { return source.Next(context.io()); };
  ASSIGN_OR_RETURN(const client::HttpClient::Opened opened, api.http().Open(request));
  if (opened.stream == nullptr) return client::ErrorOfResponse(opened.head);
  archive::LineBuffer lines(archive::kMaxLineBytes);
  std::string phase;
  for (;;) {
    const StatusOr<std::string> bytes = opened.stream->Read(options.request_timeout);
    if (!bytes.ok() || bytes->empty()) {
      return Errorf(Code::kUnavailable,
                    "the connection broke before the end of the import ({}): it may go on, or have broken off; repeat it with the "
                    "same file",
                    bytes.ok() ? "it was closed" : Message(bytes.status()));
    }
    lines.Append(*bytes);
    for (;;) {
      ASSIGN_OR_RETURN(const auto line, lines.Next());
      if (!line) break;
      ASSIGN_OR_RETURN(const std::optional<int> code, TakeLine(context, *line, phase));
      if (code) return *code;
    }
  }
}

int Import(Context& context, const std::string& path) {
  if (context.options().dry_run == DryRun::kClient) return context.FailText("only the server can say what an import would do: --dry-run=server");
  Source source;
  if (path != "-") {
    source.fd.Reset(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!source.fd.valid()) return context.Fail(FromErrno(errno, "open '" + path + "'"));
  }
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  const StatusOr<int> code = Send(context, **api, source);
  return code.ok() ? *code : context.Fail(code.status());
}

int Unseal(Context& context) {
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  const auto opened = (*api)->Post(std::string(kPath) + "unseal", json::Value::MakeObject());
  if (!opened.ok()) return context.Fail(opened.status());
  context.Print(fmt::format("the store of cluster {} is open\n", Printable(opened->StringAt({"cluster"}))));
  return 0;
}

// ---- single keys -----------------------------------------------------------------------------------------

std::string TextOf(const json::Value& object, const std::string& name) {
  if (object.Find(name) != nullptr) return object.StringAt({name});
  const StatusOr<std::string> bytes = DecodeStrictBase64(object.StringAt({name + "Base64"}));
  return bytes.ok() ? *bytes : std::string();
}

int List(Context& context, const std::string& prefix) {
  const Options& options = context.options();
  if (const std::string bad = CheckFormat(options.output, {"json", "name"}); !bad.empty()) return context.FailText(bad);
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  json::Value all = json::Value::MakeArray();
  std::string after;
  for (bool more = true; more;) {
    const auto page = (*api)->Get(std::string(kPath) + "keys" + client::Query({{"prefix", prefix}, {"after", after}}));
    if (!page.ok()) return context.Fail(page.status());
    const json::Value* items = page->Find("items");
    const json::Value* rest = page->Find("more");
    if (items == nullptr || !items->is_array()) return context.FailText("the server's answer has no items");
    for (const json::Value& item : items->items()) {
      after = TextOf(item, "key");
      if (options.output == "name") context.Print(Printable(after) + "\n");
      else all.Append(item);
    }
    more = rest != nullptr && rest->is_bool() && rest->as_bool() && !items->items().empty();
  }
  if (options.output == "json") context.Print(json::Pretty(all) + "\n");
  if (!options.output.empty()) return 0;
  if (all.items().empty()) {
    context.Complain("No keys found.\n");
    return 0;
  }
  std::vector<std::vector<std::string>> rows{{"KEY", "CLASS", "REVISION", "BYTES"}};
  for (const json::Value& item : all.items()) {
    rows.push_back({TextOf(item, "key"), item.StringAt({"class"}), std::to_string(item.Int64At({"modRevision"}).value_or(0)),
                    std::to_string(item.Int64At({"bytes"}).value_or(0))});
  }
  context.Print(Columns().Format(rows));
  return 0;
}

int GetKey(Context& context, const std::string& key) {
  const Options& options = context.options();
  if (const std::string bad = CheckFormat(options.output, {"json"}); !bad.empty()) return context.FailText(bad);
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  const auto found = (*api)->Get(std::string(kPath) + "keys/" + client::Escape(key));
  if (!found.ok()) return context.Fail(found.status());
  // As it is: it is for a file, or for another program.
  context.Print(options.output == "json" ? json::Pretty(*found) + "\n" : TextOf(*found, "value"));
  return 0;
}

StatusOr<std::string> ReadValue(Context& context) {
  const std::vector<std::string>& files = context.options().files;
  if (files.size() != 1) return Error(Code::kInvalidArgument, "put needs one -f FILE with the value");
  if (files[0] == "-") return context.io().ReadInput(kMaxValue);
  return ReadFile(files[0], kMaxValue);
}

int PutKey(Context& context, const std::string& key) {
  const Options& options = context.options();
  if (options.dry_run == DryRun::kClient) return context.FailText("only the server can say whether a key can be put: --dry-run=server");
  const auto value = ReadValue(context);
  if (!value.ok()) return context.Fail(value.status());
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  std::vector<std::pair<std::string, std::string>> query{{"revision", std::to_string(options.store.revision)}};
  if (options.force) query.emplace_back("force", "true");
  const bool dry_run = options.dry_run == DryRun::kServer;
  if (dry_run) query.emplace_back("dryRun", "All");
  client::HttpRequest request;
  request.method = "PUT";
  request.target = std::string(kPath) + "keys/" + client::Escape(key) + client::Query(query);
  request.content_type = "application/octet-stream";
  request.body = *value;
  const auto response = (*api)->http().Do(request);
  if (!response.ok()) return context.Fail(response.status());
  if (response->status != 200) return context.Fail(client::ErrorOfResponse(*response));
  const auto put = client::ParseAnswer(response->body);
  if (!put.ok()) return context.Fail(put.status());
  if (options.output == "json") {
    context.Print(json::Pretty(*put) + "\n");
  } else {
    context.Print(dry_run ? fmt::format("{} put (server dry run)\n", Printable(key))
                          : fmt::format("{} put, revision {}\n", Printable(key), put->Int64At({"modRevision"}).value_or(0)));
  }
  return 0;
}


/// A flag of another of the store's commands would be overlooked: 'export --seal --dry-run' would seal.
std::string ForeignFlag(const Options& options, const std::string& what) {
  struct Given {
    bool given;
    const char* flag;
    std::initializer_list<std::string_view> of;
  };
  const Given flags[] = {{options.store.seal, "--seal", {"export"}},
                         {options.store.replace, "--replace", {"import"}},
                         {options.store.keep_invalid, "--keep-invalid", {"import"}},
                         {!options.files.empty(), "--filename", {"put"}},
                         {options.store.revision != 0, "--revision", {"put"}},
                         {options.force, "--force", {"put"}},
                         {options.dry_run != DryRun::kNone, "--dry-run", {"import", "put"}}};
  for (const Given& flag : flags) {
    if (!flag.given || std::find(flag.of.begin(), flag.of.end(), what) != flag.of.end()) continue;
    return fmt::format("{} is a flag of 'isla store {}', not of 'isla store {}'", flag.flag, fmt::join(flag.of, "' and 'isla store "), what);
  }
  return {};
}

}  // namespace

int Store(Context& context) {
  const std::vector<std::string>& args = context.options().args;
  const std::string what = args.empty() ? "" : args[0];
  const std::string name = args.size() == 2 ? args[1] : "";
  if (const std::string wrong = ForeignFlag(context.options(), what); !wrong.empty()) return context.FailText(wrong);
  if (what == "list" && args.size() <= 2) return List(context, name);
  if (what == "unseal" && args.size() == 1) return Unseal(context);
  if (args.size() != 2 || name.empty()) return context.FailText(kUsage);
  if (what == "export") return Export(context, name);
  if (what == "import") return Import(context, name);
  if (what == "get") return GetKey(context, name);
  if (what == "put") return PutKey(context, name);
  return context.FailText(kUsage);
}

}  // namespace isla::cli
