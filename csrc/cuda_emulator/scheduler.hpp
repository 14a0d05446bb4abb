// Runs the threads of a block as fibers, and lets them wait for each other where CUDA lets them.
#pragma once

#include <cstddef>
#include <cstdint>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned size_x = 1, unsigned size_y = 1, unsigned size_z = 1) : x(size_x), y(size_y), z(size_z) {}
};

// Of the CUDA thread that this OS thread is running. (__thread: without the wrapper call of a thread_local.)
extern __thread uint3 threadIdx;
extern __thread uint3 blockIdx;
extern __thread dim3 blockDim;
extern __thread dim3 gridDim;

namespace vltr::emulator {

constexpr unsigned kWarpLanes = 32;

// Where in the sources a thread waits. As the default argument of a function it names the line of the call.
struct Site {
  constexpr Site(const char* what, const char* in_file = __builtin_FILE(), int at_line = __builtin_LINE())
      : operation(what), file(in_file), line(at_line) {}
  const char* operation;
  const char* file;
  int line;
};

// The dynamic shared memory of the running block.
void* dynamic_shared();

// The barrier of the running thread's block. Returns how many of its threads gave `true`.
unsigned meet_block(bool predicate, const Site& site);

// What the lanes of a mask get from each other.
enum class Exchange {
  kNothing,  // ordered memory, as __syncwarp promises
  kShuffle,  // the value of lane `source`
  kBallot,   // which lanes gave something other than 0
  kMatch,    // which lanes gave the same as this one
  kAdd,      // the others: one result of all values, as 64-bit integers
  kMin,
  kMax,
  kAnd,
  kOr,
  kXor,
};
std::uint64_t meet_warp(Exchange exchange, unsigned mask, std::uint64_t value, unsigned source, const Site& site);

// Orders what this thread did before with what others do after: of use to ThreadSanitizer, which knows no fences.
void fence();

// What a launch runs: kernel(arguments) in each thread of each block.
struct Grid {
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes;
  void (*kernel)(const void* arguments);
  const void* arguments;
};

// Returns when every block is done. May be called by several OS threads at once.
void run(const Grid& grid);

}  // namespace vltr::emulator
