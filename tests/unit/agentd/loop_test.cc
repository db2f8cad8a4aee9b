#include "agentd/loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <csignal>
#include <thread>
#include <vector>

namespace isla::agent {
namespace {

std::unique_ptr<Loop> NewLoop() {
  auto loop = Loop::Create();
  EXPECT_TRUE(loop.ok());
  return *std::move(loop);
}

TEST(Loop, WhatManyThreadsPostRunsOnceEachInTheirOrder) {
  const auto loop = NewLoop();
  constexpr int kEach = 1000;
  std::vector<int> last(4, -1);
  int ran = 0;
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < last.size(); ++t) {
    threads.emplace_back([&loop, &last, &ran, t] {
      for (int i = 0; i < kEach; ++i) {
        loop->Post([&loop, &last, &ran, t, i] {
          EXPECT_EQ(last[t] + 1, i);
          last[t] = i;
          if (++ran == 4 * kEach) loop->Exit(3);
        });
      }
    });
  }
  const auto code = loop->Run();
  ASSERT_TRUE(code.ok());
  EXPECT_EQ(*code, 3);
}

TEST(Loop, TimersFireInOrderAndACancelledOneDoesNot) {
  const auto loop = NewLoop();
  std::vector<int> fired;
  loop->After(std::chrono::milliseconds(20), [&loop] { loop->Exit(0); });
  loop->After(std::chrono::milliseconds(10), [&fired] { fired.push_back(2); });
  const TimerId cancelled = loop->After(std::chrono::milliseconds(5), [&fired] { fired.push_back(0); });
  loop->After(std::chrono::milliseconds(1), [&loop, &fired, cancelled] {
    fired.push_back(1);
    loop->Cancel(cancelled);
  });
  ASSERT_TRUE(loop->Run().ok());
  EXPECT_EQ(fired, (std::vector<int>{1, 2}));
}

TEST(Loop, AWatchMayEndItselfInItsOwnCallback) {
  const auto loop = NewLoop();
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  std::unique_ptr<Watch> watch;
  int calls = 0;
  const std::string captured(100, 'x');  // freed with the callback, were it freed too early
  auto made = loop->WatchFd(pipe_fds[0], EPOLLIN, [&watch, &calls, &loop, captured](uint32_t) {
    watch.reset();
    ++calls;
    EXPECT_EQ(captured.size(), 100u);
    loop->After(std::chrono::milliseconds(5), [&loop] { loop->Exit(0); });
  });
  ASSERT_TRUE(made.ok());
  watch = *std::move(made);
  ASSERT_EQ(write(pipe_fds[1], "x", 1), 1);
  ASSERT_TRUE(loop->Run().ok());
  EXPECT_EQ(calls, 1);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST(Loop, ABlockedSignalIsACall) {
  sigset_t mask, old;
  sigemptyset(&mask);
  sigaddset(&mask, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &mask, &old);
  {
    const auto loop = NewLoop();
    const auto watch = loop->WatchSignal(SIGHUP, [&loop] { loop->Exit(7); });
    ASSERT_TRUE(watch.ok());
    kill(getpid(), SIGHUP);
    EXPECT_EQ(*loop->Run(), 7);
  }
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

}  // namespace
}  // namespace isla::agent
