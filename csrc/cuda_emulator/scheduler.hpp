// Runs the threads of a block as fibers, with the barriers and warp operations of CUDA.
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

// The indices of the CUDA thread that this OS thread runs. __thread avoids the wrapper call of a thread_local.
extern __thread uint3 threadIdx;
extern __thread uint3 blockIdx;
extern __thread dim3 blockDim;
extern __thread dim3 gridDim;

namespace vltr::emulator {

constexpr unsigned kWarpLanes = 32;

// The source line at which a thread waits. As the default argument of a function it is the line of the call.
struct Site {
  constexpr Site(const char* what, const char* in_file = __builtin_FILE(), int at_line = __builtin_LINE())
      : operation(what), file(in_file), line(at_line) {}
  const char* operation;
  const char* file;
  int line;
};

// The dynamic shared memory of the running block.
void* dynamic_shared();

// The barrier of the running thread's block. Returns the number of its threads that passed `true`.
unsigned meet_block(bool predicate, const Site& site);

// The kinds of warp operations.
enum class Exchange {
  kNothing,  // orders memory, as __syncwarp does
  kShuffle,  // the value of lane `source`
  kBallot,   // the lanes that passed something other than 0
  kMatch,    // the lanes that passed the same value as this one
  kAdd,      // this and the next kinds: one result of all values, as 64-bit integers
  kMin,
  kMax,
  kAnd,
  kOr,
  kXor,
};
std::uint64_t meet_warp(Exchange exchange, unsigned mask, std::uint64_t value, unsigned source, const Site& site);

// Orders the earlier accesses of this thread before later accesses of others, for
// ThreadSanitizer, which ignores fences.
void fence();

// The work of a launch: kernel(arguments) in each thread of each block.
struct Grid {
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes;
  void (*kernel)(const void* arguments);
  const void* arguments;
};

// Returns when every block is done. Several OS threads may call it at once.
void run(const Grid& grid);

}  // namespace vltr::emulator
