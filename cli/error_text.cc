#include "cli/error_text.h"

#include <algorithm>
#include <vector>

#include "api/client/http.h"

namespace isla::cli {
namespace {

using client::ApiError;
using client::Fault;

std::string InvalidText(const ApiError& error) {
  std::string text = "The request is invalid";
  if (!error.has_details) return text + (error.message.empty() ? "" : ": " + error.message) + "\n";
  if (!error.kind.empty() || !error.name.empty()) {
    text = fmt::format("The {} \"{}\" is invalid", error.kind, error.name);
  } else if (!error.message.empty() && error.causes.empty()) {
    text += ": " + error.message;
  }
  std::vector<std::string> causes;
  for (const ApiError::Cause& cause : error.causes) {
    std::string line = cause.field.empty() ? cause.message : cause.field + ": " + cause.message;
    if (std::find(causes.begin(), causes.end(), line) == causes.end())
      causes.push_back(std::move(line));
  }
  if (causes.empty()) return text + "\n";
  if (causes.size() == 1) return text + ": " + causes[0] + "\n";
  text += ": \n";
  for (const std::string& cause : causes) text += "* " + cause + "\n";
  return text;
}

std::string ApiText(const ApiError& error) {
  if (error.reason == "Invalid") return InvalidText(error);
  if (error.reason == "Unauthorized") {
    return fmt::format("error: You must be logged in to the server ({})\n", error.message);
  }
  if (error.reason.empty()) return fmt::format("Error from server: {}\n", error.message);
  return fmt::format("Error from server ({}): {}\n", error.reason, error.message);
}

std::string FaultText(Fault fault, const std::string& message, const std::string& server) {
  const std::string refused = fmt::format(
      "The connection to the server {} was refused - did you specify the right host or port?\n",
      server);
  switch (fault) {
    case Fault::kRefused:
      return refused;
    case Fault::kNoSocket:
      return refused +
             "There is no such socket: start islad, or name another server with --server, --socket "
             "or --kubeconfig.\n";
    case Fault::kDenied:
      return fmt::format(
          "Unable to connect to the server: {}\nYour user may not open that socket: run isla as "
          "root or as a member of its "
          "group, or use a config file with a token (--kubeconfig).\n",
          message);
    case Fault::kTls:
      return fmt::format(
          "Unable to connect to the server: {}\nThe certificate-authority of the config file must "
          "be that of the server: "
          "islad writes a matching file as kubeconfig in its data folder.\n",
          message);
    case Fault::kProtocol:
      return fmt::format("error: {}\n", message);
    default:
      return fmt::format("Unable to connect to the server: {}\n", message);
  }
}

}  // namespace

std::string ErrorText(const Status& status, const std::string& server) {
  std::string text;
  if (const auto error = client::ApiErrorOf(status))
    text = ApiText(*error);
  else if (const Fault fault = client::FaultOf(status); fault != Fault::kNone)
    text = FaultText(fault, Message(status), server);
  else
    text = fmt::format("error: {}\n", Message(status));
  return Printable(text, /*lines=*/true);
}

Status WithSource(const Status& status, const std::string& what,
                  const std::function<std::string(const std::string& field)>& place) {
  const auto error = client::ApiErrorOf(status);
  if (!error) return client::FaultOf(status) == Fault::kNone ? Annotate(status, what) : status;
  json::Value object = json::Value::MakeObject({{"code", error->code}, {"reason", error->reason}});
  object.Set("message", fmt::format("{}: {}", what, error->message));
  if (error->has_details) {
    json::Value causes = json::Value::MakeArray();
    for (const ApiError::Cause& cause : error->causes) {
      causes.Append(json::Value::MakeObject({{"reason", cause.reason},
                                             {"field", cause.field},
                                             {"message", cause.message + place(cause.field)}}));
    }
    object.Set("details", json::Value::MakeObject(
                              {{"kind", error->kind}, {"name", error->name}, {"causes", causes}}));
  }
  return client::ErrorOfStatusObject(object);
}

std::string Printable(std::string_view text, bool lines) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (lines && (c == '\n' || c == '\t')) {
      out.push_back(c);
    } else if (byte < 0x20 || byte == 0x7f) {
      out.push_back('^');
      out.push_back(static_cast<char>(byte ^ 0x40));
    } else {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace isla::cli
