#pragma once

#include "cpu/pool.hpp"

namespace vltr::cpu {

// Reads `bytes` once on the runner's threads and returns the exclusive or of its 64-bit words. Its time is a lower
// bound for every evaluation of the same memory; benchmarks report it.
std::uint64_t read_floor(const unsigned char* data, std::int64_t bytes, const Runner& runner);

}  // namespace vltr::cpu
