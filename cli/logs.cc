// logs.
#include "api/client/logs.h"

#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/targets.h"

namespace isla::cli {

int Logs(Context& context) {
  const Options& options = context.options();
  if (options.args.empty() || options.args.size() > 2) {
    return context.FailText(
        "expected 'logs [-f] (SESSION | TYPE/NAME)'.\nSee 'isla logs -h' for help and examples");
  }
  auto api = context.Api();
  if (!api.ok()) return context.Fail(api.status());
  const auto targets = ParseTargets(context, options.args, "sessions");
  if (!targets.ok()) return context.Fail(targets.status());
  if (targets->size() != 1 || (*targets)[0].names.size() != 1) {
    return context.FailText("logs are of one session at a time");
  }
  const client::Resource& resource = (*targets)[0].resource;
  if (!resource.namespaced)
    return context.FailText(
        fmt::format("cannot get the logs from {}: only sessions have them", resource.name));
  const std::string& name = (*targets)[0].names[0];
  client::LogOptions log;
  log.follow = options.follow;
  log.timestamps = options.timestamps;
  log.tail_lines = options.tail;
  log.since_seconds = std::chrono::ceil<std::chrono::seconds>(options.since).count();
  if (options.follow) {
    const Status followed = Follower(context, **api, {resource, context.ns(), name}, log).Run();
    return followed.ok() ? 0 : context.Fail(followed);
  }
  client::LogReader reader(**api, LogPath(resource, context.ns(), name), log);
  for (;;) {
    const auto text = reader.Next(options.request_timeout);
    if (!text.ok()) return context.Fail(text.status());
    if (text->empty()) return 0;
    context.Print(*text);
  }
}

}  // namespace isla::cli
