// The frame of the kernel benchmarks: each is one file and prints a line with one number for each shape.
//
//   bench_rank_scan [THREADS]     1 thread by default; VLTR_SIMD selects the instruction set
//
// The number is the median of the repeats. Compare builds on the same idle machine.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "cpu/pool.hpp"
#include "cpu/simd.hpp"

namespace vltr::bench {

inline cpu::Runner runner_of(int argc, char** argv) {
  cpu::Runner runner;
  if (argc > 1) runner.threads = std::max(1, std::atoi(argv[1]));
  return runner;
}

// The median time of a call in seconds: at least 11 calls, after one that warms up, and at least one second in total.
template <class Function>
double median_seconds(const Function& function) {
  using Clock = std::chrono::steady_clock;
  function();
  std::vector<double> seconds;
  const auto begin = Clock::now();
  while (seconds.size() < 11 || Clock::now() - begin < std::chrono::seconds(1)) {
    const auto start = Clock::now();
    function();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  return *middle;
}

inline void print(const char* kernel, const char* shape, const cpu::Runner& runner, double value, const char* unit) {
  std::printf("%-16s %-44s %-8s %2d threads %10.3f %s\n", kernel, shape, cpu::simd_name(cpu::simd_level()),
              runner.threads, value, unit);
}

// `count` words of a fixed sequence.
inline std::vector<std::uint32_t> random_words(std::int64_t count) {
  std::mt19937 engine(7);
  std::vector<std::uint32_t> words(static_cast<std::size_t>(count));
  for (std::uint32_t& word : words) word = static_cast<std::uint32_t>(engine());
  return words;
}

}  // namespace vltr::bench
