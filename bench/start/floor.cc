#include "bench/start/floor.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace isla::bench {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

void Check(int result, const char* what) {
  if (result >= 0) return;
  std::fprintf(stderr, "bench: %s: error %d\n", what, -result);
  std::exit(1);
}

struct Removed {
  std::string job;
  bool done = false;
};

int OnJobRemoved(sd_bus_message* message, void* userdata, sd_bus_error*) {
  uint32_t id = 0;
  const char *job = nullptr, *unit = nullptr, *result = nullptr;
  if (sd_bus_message_read(message, "uoss", &id, &job, &unit, &result) < 0) return 0;
  auto* removed = static_cast<Removed*>(userdata);
  removed->done = removed->done || removed->job == job;
  return 0;
}

sd_bus* Bus() {
  static sd_bus* bus = [] {
    sd_bus* made = nullptr;
    Check(sd_bus_new(&made), "sd_bus_new");
    Check(sd_bus_set_address(made, "unix:path=/run/systemd/private"), "sd_bus_set_address");
    Check(sd_bus_start(made), "sd_bus_start");
    return made;
  }();
  return bus;
}

}  // namespace

double RawTransactions(store::Store& store, int count, size_t bytes) {
  const auto begin = Clock::now();
  for (int i = 0; i < count; ++i) {
    store::Transaction txn;
    txn.success.push_back(store::Operation::Put("/floor/" + std::to_string(i % 8), std::string(bytes, 'x')));
    const auto result = store.Txn(txn);
    if (!result.ok()) Check(-1, ToString(result.status()).c_str());
  }
  return MillisecondsSince(begin);
}

double BareScope(const std::string& name) {
  static Removed removed;
  static const bool subscribed = [] {
    Check(sd_bus_match_signal(Bus(), nullptr, nullptr, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
                              "JobRemoved", OnJobRemoved, &removed),
          "match JobRemoved");
    return true;
  }();
  (void)subscribed;
  const auto begin = Clock::now();
  int go[2], executed[2];
  Check(pipe2(go, O_CLOEXEC), "pipe");
  Check(pipe2(executed, O_CLOEXEC), "pipe");
  const pid_t child = fork();
  if (child == 0) {
    char byte = 0;
    close(go[1]);
    if (read(go[0], &byte, 1) != 1) _exit(1);
    execl("/bin/true", "true", nullptr);
    _exit(127);
  }
  sd_bus_message *request = nullptr, *reply = nullptr;
  sd_bus_error error = SD_BUS_ERROR_NULL;
  Check(sd_bus_message_new_method_call(Bus(), &request, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                       "org.freedesktop.systemd1.Manager", "StartTransientUnit"),
        "new call");
  Check(sd_bus_message_append(request, "ssa(sv)a(sa(sv))", name.c_str(), "fail", 7, "PIDs", "au", 1,
                              static_cast<uint32_t>(child), "Delegate", "b", 1, "CollectMode", "s", "inactive-or-failed",
                              "MemoryMax", "t", uint64_t{64} << 20, "CPUQuotaPerSecUSec", "t", uint64_t{1000000}, "TasksMax",
                              "t", uint64_t{64}, "Slice", "s", "system.slice", 0),
        "append");
  removed = {};
  Check(sd_bus_call(Bus(), request, 0, &error, &reply), "StartTransientUnit");
  const char* job = nullptr;
  Check(sd_bus_message_read(reply, "o", &job), "read reply");
  removed.job = job;
  while (!removed.done) {
    const int worked = sd_bus_process(Bus(), nullptr);
    Check(worked, "process");
    if (worked == 0) Check(sd_bus_wait(Bus(), UINT64_MAX), "wait");
  }
  sd_bus_message_unref(request);
  sd_bus_message_unref(reply);
  close(executed[1]);
  Check(static_cast<int>(write(go[1], "g", 1)), "go");
  char byte = 0;
  (void)!read(executed[0], &byte, 1);  // end of file: execve closed it
  const double took = MillisecondsSince(begin);
  close(go[0]);
  close(go[1]);
  close(executed[0]);
  waitpid(child, nullptr, 0);
  return took;
}

}  // namespace isla::bench
