// CHECK and a runner of named tests: the whole framework of the C++ tests.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <random>
#include <string>
#include <vector>

namespace vltr::test {

inline std::atomic<int> failures{0};

// A description of the current case, for the message of a failed CHECK. Each thread has one.
inline thread_local std::string trying;

inline void fail(const char* file, int line, const char* condition) {
  constexpr int kShown = 20;
  if (failures.fetch_add(1) < kShown) {
    std::fprintf(stderr, "%s:%d: CHECK(%s) failed; %s\n", file, line, condition, trying.c_str());
  }
}

// The same numbers on every platform: the standard fixes the engine, but not its distributions.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t bits() { return engine_(); }
  // A number in [0, bound). The bias of the remainder does not matter here.
  int below(int bound) { return static_cast<int>(engine_() % static_cast<std::uint64_t>(bound)); }

 private:
  std::mt19937_64 engine_;
};

struct Test {
  const char* name;
  void (*run)();
};

// The exit status of main(): 0 if every CHECK held and no test threw.
inline int run_tests(const std::vector<Test>& tests) {
  for (const Test& test : tests) {
    const auto start = std::chrono::steady_clock::now();
    const int before = failures.load();
    trying.clear();
    try {
      test.run();
    } catch (const std::exception& error) {
      failures.fetch_add(1);
      std::fprintf(stderr, "%s: threw '%s'; %s\n", test.name, error.what(), trying.c_str());
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("%-6s %-48s %6.2f s\n", failures.load() == before ? "ok" : "FAILED", test.name, took.count());
    std::fflush(stdout);
  }
  return failures.load() == 0 ? 0 : 1;
}

}  // namespace vltr::test

#define CHECK(...) ((__VA_ARGS__) ? static_cast<void>(0) : ::vltr::test::fail(__FILE__, __LINE__, #__VA_ARGS__))

// Checks that the expression throws the given type or one derived from it.
#define CHECK_THROWS(Type, ...)                                                         \
  do {                                                                                  \
    bool thrown = false;                                                                \
    try {                                                                               \
      __VA_ARGS__;                                                                      \
    } catch (const Type&) {                                                             \
      thrown = true;                                                                    \
    }                                                                                   \
    if (!thrown) ::vltr::test::fail(__FILE__, __LINE__, #__VA_ARGS__ " throws " #Type); \
  } while (false)
