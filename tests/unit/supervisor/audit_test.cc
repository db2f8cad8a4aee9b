#include "sandbox/supervisor/audit.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <thread>
#include <vector>

#include "api/base/json.h"

namespace isla::supervisor {
namespace {

struct Pipe {
  Pipe() {
    int fds[2];
    ISLA_CHECK(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    read_end.Reset(fds[0]);
    write_end.Reset(fds[1]);
  }
  std::string Take() const {
    std::string out;
    char text[4096];
    for (ssize_t got = 0; (got = read(read_end.get(), text, sizeof text)) > 0;) out.append(text, static_cast<size_t>(got));
    return out;
  }
  UniqueFd read_end, write_end;
};

AuditEvent Event() {
  AuditEvent event;
  event.policy_version = "v7";
  event.rule = "rules[3]";
  event.tid = 42;
  event.executable = "/bin/x";
  event.number = SYS_openat;
  event.arguments = {static_cast<uint64_t>(-100), 0x1000, 2, 0, 0, 0};
  event.paths[0] = "/etc/shadow";
  event.verdict = "errno EACCES";
  event.took = std::chrono::microseconds(12);
  return event;
}

void WriteIfAdmitted(Audit& audit, const AuditEvent& event) {
  if (audit.Admit()) audit.Write(event);
}

TEST(Audit, ALineIsOneJsonObject) {
  Pipe pipe;
  FakeClock clock;
  Audit audit(std::move(pipe.write_end), {}, clock);
  WriteIfAdmitted(audit, Event());
  EXPECT_EQ(pipe.Take(),
            "{\"time\":\"2023-11-14T22:13:20.000000Z\",\"policyVersion\":\"v7\",\"rule\":\"rules[3]\",\"tid\":42,\"exe\":\"/bin/x\","
            "\"syscall\":\"openat\",\"args\":{\"folder\":-100,\"path\":\"/etc/shadow\",\"a2\":\"0x2\",\"a3\":\"0x0\",\"a4\":\"0x0\","
            "\"a5\":\"0x0\"},\"verdict\":\"errno EACCES\",\"us\":12}\n");
}

TEST(Audit, WhateverBytesAPathHasTheLineIsValidAndFits) {
  Pipe pipe;
  FakeClock clock;
  Audit audit(std::move(pipe.write_end), {}, clock);
  AuditEvent event = Event();
  std::string bytes = "/\n\"\\\xff\x01";
  bytes.append(4000, '\n');
  event.paths[0] = bytes;
  event.executable = bytes;
  WriteIfAdmitted(audit, event);
  const std::string line = pipe.Take();
  EXPECT_LE(line.size(), 4096u);
  EXPECT_TRUE(json::Parse(line).ok()) << line;
  EXPECT_EQ(audit.written(), 1u);
}

TEST(Audit, AFullReaderIsNotWaitedForAndTheLossIsTold) {
  Pipe pipe;
  FakeClock clock;
  Audit audit(std::move(pipe.write_end), {.lines_per_second = 0}, clock);
  for (int i = 0; i < 2000; ++i) WriteIfAdmitted(audit, Event());
  EXPECT_GT(audit.dropped(), 0u);
  EXPECT_EQ(audit.written() + audit.dropped(), 2000u);
  std::string text = pipe.Take();
  WriteIfAdmitted(audit, Event());
  text += pipe.Take();
  uint64_t told = 0;
  for (size_t at = 0; (at = text.find("\"dropped\":", at)) != std::string::npos; at += 10) told += std::strtoull(&text[at + 10], nullptr, 10);
  EXPECT_EQ(told, audit.dropped());
}

TEST(Audit, LinesOfManyThreadsAreAllThereInAMemfd) {
  const UniqueFd memory(memfd_create("audit", MFD_CLOEXEC));
  FakeClock clock;
  Audit audit(UniqueFd(dup(memory.get())), {.lines_per_second = 0}, clock);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&audit] {
        for (int n = 0; n < 5000; ++n) WriteIfAdmitted(audit, Event());
      });
    }
  }
  EXPECT_EQ(audit.written(), 20'000u);
  struct stat st {};
  ASSERT_EQ(fstat(memory.get(), &st), 0);
  std::string text(static_cast<size_t>(st.st_size), '\0');
  ASSERT_EQ(pread(memory.get(), text.data(), text.size(), 0), st.st_size);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 20'000);
}

TEST(Audit, MoreThanTheRateIsCountedOnly) {
  Pipe pipe;
  FakeClock clock;
  Audit audit(std::move(pipe.write_end), {.lines_per_second = 10}, clock);
  for (int i = 0; i < 25; ++i) WriteIfAdmitted(audit, Event());
  EXPECT_EQ(audit.written(), 10u);
  EXPECT_EQ(audit.dropped(), 15u);
  clock.Advance(std::chrono::seconds(1));
  WriteIfAdmitted(audit, Event());
  EXPECT_EQ(audit.written(), 11u);
}

TEST(Audit, OneOfSoManyAllowedCallsIsSampled) {
  FakeClock clock;
  Audit none(UniqueFd(), {}, clock), every_third(UniqueFd(), {.one_of_allowed = 3}, clock);
  int sampled = 0;
  for (int i = 0; i < 9; ++i) {
    EXPECT_FALSE(none.Sample());
    sampled += every_third.Sample() ? 1 : 0;
  }
  EXPECT_EQ(sampled, 3);
}

TEST(Audit, ItsPlaceAndItsBoundsChangeWhileOthersWrite) {
  FakeClock clock;
  Audit audit(UniqueFd(), {}, clock);
  Pipe one, two;
  std::atomic<bool> stop{false};
  std::jthread writer([&audit, &stop] {
    while (!stop) WriteIfAdmitted(audit, Event());
  });
  audit.SetSink(std::move(one.write_end));
  audit.SetOptions({.one_of_allowed = 2, .lines_per_second = 0});
  audit.SetSink(std::move(two.write_end));
  stop = true;
  writer.join();
  one.Take();
  two.Take();
  WriteIfAdmitted(audit, Event());
  EXPECT_EQ(one.Take(), "");
  EXPECT_NE(two.Take(), "");
  EXPECT_TRUE(audit.Sample());
  EXPECT_FALSE(audit.Sample());
  EXPECT_TRUE(audit.Sample());
}

}  // namespace
}  // namespace isla::supervisor
