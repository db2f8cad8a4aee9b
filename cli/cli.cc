#include "cli/cli.h"

#include <array>

#include "cli/commands.h"
#include "cli/options.h"

namespace isla::cli {
namespace {

struct Entry {
  std::string_view name;
  int (*run)(Context& context);
};

constexpr std::array<Entry, 14> kEntries{{{"apply", Apply},
                                          {"create", Create},
                                          {"get", Get},
                                          {"describe", Describe},
                                          {"delete", Delete},
                                          {"logs", Logs},
                                          {"wait", Wait},
                                          {"run", Run},
                                          {"version", Version},
                                          {"api-resources", ApiResources},
                                          {"config", Config},
                                          {"store", Store},
                                          {"completion", Completion},
                                          {"__complete", Complete}}};

}  // namespace

int Main(const std::vector<std::string>& args, Io& io) {
  int code = 1;
  const auto options = ParseCommandLine(args, io, code);
  if (options) {
    for (const Entry& entry : kEntries) {
      if (entry.name != options->command) continue;
      Context context(io, *options);
      code = entry.run(context);
    }
  }
  io.Flush();
  return code;
}

}  // namespace isla::cli
