#pragma once

#include "cpu/pool.hpp"

namespace vltr::cpu {

// Reads `bytes` once on the runner's threads and returns the exclusive or of its 64-bit words: the least that any
// evaluation of the same memory can cost, as benchmarks report it.
std::uint64_t read_floor(const unsigned char* data, std::int64_t bytes, const Runner& runner);

}  // namespace vltr::cpu
