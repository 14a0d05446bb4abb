#include "scheduler.hpp"

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "fiber.hpp"
#include "order_setting.hpp"

__thread uint3 threadIdx = {};
__thread uint3 blockIdx = {};
__thread dim3 blockDim;
__thread dim3 gridDim;

namespace vltr::emulator {
namespace {

constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kMaxWarps = kMaxThreads / kWarpLanes;
constexpr std::size_t kMaxShared = 227 * 1024;

bool operator==(const Site& a, const Site& b) {
  return a.line == b.line && std::strcmp(a.operation, b.operation) == 0 && std::strcmp(a.file, b.file) == 0;
}
bool operator!=(const Site& a, const Site& b) { return !(a == b); }

std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string text(const char* format, ...) {
  char line[400];
  va_list values;
  va_start(values, format);
  std::vsnprintf(line, sizeof(line), format, values);
  va_end(values);
  return line;
}

std::string text(const Site& site) { return text("%s at %s:%d", site.operation, site.file, site.line); }

unsigned lowest_bit(unsigned bits) { return static_cast<unsigned>(__builtin_ctz(bits)); }

// The order of blocks and of runnable threads. A kernel's results must not depend on it.
class Order {
 public:
  // Reads VLTR_EMULATOR_ORDER.
  Order() {
    const char* const order = read_order("VLTR_EMULATOR_ORDER");
    if (*order == '\0' || std::strcmp(order, "forward") == 0) return;
    if (std::strcmp(order, "reverse") == 0) {
      kind_ = Kind::kReverse;
      return;
    }
    kind_ = Kind::kRandom;
    seed_ = std::strtoull(order, nullptr, 10);
  }

  std::uint64_t block(std::uint64_t turn, std::uint64_t blocks) const {
    if (kind_ == Kind::kForward) return turn;
    if (kind_ == Kind::kReverse) return blocks - 1 - turn;
    std::uint64_t step = mix(seed_) % blocks + 1;  // coprime to `blocks`, so that each block is visited once
    while (std::gcd(step, blocks) != 1) ++step;
    return static_cast<std::uint64_t>((static_cast<Wide>(step) * turn + mix(seed_ + 1)) % blocks);
  }

  void start_block(std::uint64_t block) { state_ = mix(seed_ ^ mix(block)); }

  // The index of one of the set bits.
  unsigned pick(unsigned bits) {
    if (kind_ == Kind::kForward) return lowest_bit(bits);
    if (kind_ == Kind::kReverse) return 31 - static_cast<unsigned>(__builtin_clz(bits));
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    const auto from = static_cast<unsigned>(state_ >> 59);
    return (lowest_bit(bits >> from | bits << (32 - from) % 32) + from) % 32;
  }

 private:
  enum class Kind { kForward, kReverse, kRandom };
  __extension__ using Wide = unsigned __int128;

  // The finalizer of MurmurHash3.
  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ x >> 33) * 0xFF51AFD7ED558CCDu;
    x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53u;
    return x ^ x >> 33;
  }

  Kind kind_ = Kind::kForward;
  std::uint64_t seed_ = 0;
  std::uint64_t state_ = 0;
};

struct Thread {
  explicit Thread(unsigned thread_number)
      : number(thread_number), lane(thread_number % kWarpLanes), fiber(thread_number) {}
  unsigned number;
  unsigned lane;
  uint3 index{};
  Fiber fiber;
  const Site* site = nullptr;  // the line at which it waits, or null
};

// A warp operation in progress, with the lanes that wait in it.
struct Meeting {
  const Site* site;
  Exchange exchange;
  unsigned mask;
  unsigned arrived;
  char* ordered;  // address for release() and acquire() of a __syncwarp
};

// Sets of lanes as bits. A lane is in one of ready, at_barrier, meeting, returned, or is the running thread.
struct Warp {
  unsigned lanes;  // that exist in the block
  unsigned ready;
  unsigned at_barrier;
  unsigned returned;
  unsigned open;  // the number of `meetings` in progress; at most one per lane
  Meeting meetings[kWarpLanes];
  std::uint64_t given[kWarpLanes];
  unsigned source[kWarpLanes];
  std::uint64_t received[kWarpLanes];
  // Consecutive meetings use different addresses. Otherwise a lane that leaves the first would appear ordered after a
  // lane that arrives at the next.
  char ordered[8];
  unsigned next_ordered;
};

// Runs blocks, one after another, on the calling OS thread. Blocks reuse the fibers.
class BlockRunner {
 public:
  void run_block(const Grid& grid, const Order& order, std::uint64_t block);
  unsigned meet_block(bool predicate, const Site& site);
  std::uint64_t meet_warp(Exchange exchange, unsigned mask, std::uint64_t value, unsigned source, const Site& site);

  // The block that runs on this OS thread.
  static BlockRunner& active() { return *active_; }
  void* shared() const { return shared_.get(); }

 private:
  static void run_thread();
  Thread& take_ready();
  void pass_on(bool for_good);
  static void complete(Warp& warp, const Meeting& meeting);
  void stop(const Thread& thread, const Site& site, const std::string& fault) const __attribute__((noreturn));
  void stop_deadlock() const __attribute__((noreturn));
  std::string what_it_does(const Warp& warp, const Thread& thread) const;
  void prepare_shared(std::size_t bytes);

  Warp& warp_of(const Thread& thread) { return warps_[thread.number / kWarpLanes]; }

  static __thread BlockRunner* active_;

  const Grid* grid_ = nullptr;
  Order order_;
  unsigned count_ = 0;  // threads of the block
  unsigned live_ = 0;   // those that have not returned
  Thread* current_ = nullptr;
  unsigned ready_warps_ = 0;
  Warp warps_[kMaxWarps];

  unsigned arrived_ = 0;  // at the barrier
  unsigned votes_ = 0;
  unsigned result_ = 0;
  unsigned barriers_ = 0;  // passed so far
  const Site* barrier_ = nullptr;

  std::vector<std::unique_ptr<Thread>> threads_;
  Fiber* host_ = nullptr;  // the OS thread, which continues when all threads have returned
  std::unique_ptr<std::byte[]> shared_;
  char started_, ended_, barrier_ordered_[2];  // addresses for release() and acquire()
};

__thread BlockRunner* BlockRunner::active_ = nullptr;

void BlockRunner::run_block(const Grid& grid, const Order& order, std::uint64_t block) {
  const dim3& size = grid.threads;
  grid_ = &grid;
  order_ = order;
  order_.start_block(block);
  blockIdx = {static_cast<unsigned>(block % grid.blocks.x),
              static_cast<unsigned>(block / grid.blocks.x % grid.blocks.y),
              static_cast<unsigned>(block / grid.blocks.x / grid.blocks.y)};
  blockDim = grid.threads;
  gridDim = grid.blocks;
  prepare_shared(grid.shared_bytes);
  count_ = live_ = size.x * size.y * size.z;
  arrived_ = votes_ = barriers_ = 0;

  uint3 index{0, 0, 0};
  for (unsigned i = 0; i < count_; ++i) {
    if (i == threads_.size()) threads_.push_back(std::make_unique<Thread>(i));
    Thread& thread = *threads_[i];
    thread.index = index;
    thread.fiber.start_with(&run_thread);
    if (++index.x == size.x) {
      index.x = 0;
      if (++index.y == size.y) {
        index.y = 0;
        ++index.z;
      }
    }
  }
  const unsigned warps = (count_ + kWarpLanes - 1) / kWarpLanes;
  for (unsigned i = 0; i < warps; ++i) {
    Warp& warp = warps_[i];
    const unsigned lanes = std::min(count_ - i * kWarpLanes, kWarpLanes);
    warp.lanes = warp.ready = ~0u >> (kWarpLanes - lanes);
    warp.at_barrier = warp.returned = warp.open = warp.next_ordered = 0;
  }
  ready_warps_ = ~0u >> (kMaxWarps - warps);

  static thread_local Fiber this_thread;
  host_ = &this_thread;
  active_ = this;
  release(&started_);
  current_ = &take_ready();
  host_->switch_to(current_->fiber);
  acquire(&ended_);
}

void BlockRunner::run_thread() {
  Fiber::entered();
  BlockRunner& block = active();
  acquire(&block.started_);
  block.grid_->kernel(block.grid_->arguments);
  release(&block.ended_);
  Thread& self = *block.current_;
  block.warp_of(self).returned |= 1u << self.lane;
  --block.live_;
  block.pass_on(true);
}

// Chooses the next thread to run.
Thread& BlockRunner::take_ready() {
  const unsigned number = order_.pick(ready_warps_);
  Warp& warp = warps_[number];
  const unsigned lane = order_.pick(warp.ready);
  warp.ready &= ~(1u << lane);
  if (warp.ready == 0) ready_warps_ &= ~(1u << number);
  Thread& thread = *threads_[number * kWarpLanes + lane];
  threadIdx = thread.index;
  return thread;
}

// Runs another thread, and returns when it is this thread's turn again.
void BlockRunner::pass_on(bool for_good) {
  Thread& self = *current_;
  if (live_ == 0) self.fiber.switch_to(*host_, for_good);
  if (ready_warps_ == 0) stop_deadlock();
  current_ = &take_ready();
  if (current_ != &self) self.fiber.switch_to(current_->fiber, for_good);
}

unsigned BlockRunner::meet_block(bool predicate, const Site& site) {
  Thread& self = *current_;
  if (arrived_ == 0) barrier_ = &site;
  if (site != *barrier_) stop(self, site, "other threads of the block wait in " + text(*barrier_));
  self.site = &site;
  warp_of(self).at_barrier |= 1u << self.lane;
  votes_ += predicate ? 1 : 0;
  char* ordered = &barrier_ordered_[barriers_ % 2];
  release(ordered);
  if (++arrived_ == count_) {
    result_ = votes_;
    arrived_ = votes_ = 0;
    ++barriers_;
    for (unsigned i = 0; i * kWarpLanes < count_; ++i) {
      warps_[i].ready = warps_[i].lanes;
      warps_[i].at_barrier = 0;
      ready_warps_ |= 1u << i;
    }
  }
  pass_on(false);
  acquire(ordered);
  return result_;
}

std::uint64_t BlockRunner::meet_warp(Exchange exchange, unsigned mask, std::uint64_t value, unsigned source,
                                     const Site& site) {
  Thread& self = *current_;
  Warp& warp = warp_of(self);
  const unsigned bit = 1u << self.lane;
  self.site = &site;
  if ((mask & bit) == 0) stop(self, site, text("lane %u is not in its own mask 0x%08x", self.lane, mask));
  if ((mask & ~warp.lanes) != 0) {
    stop(self, site,
         text("the mask 0x%08x names lane %u, which the block has not", mask, lowest_bit(mask & ~warp.lanes)));
  }
  if (exchange == Exchange::kShuffle && (mask & 1u << source) == 0) {
    stop(self, site, text("lane %u reads lane %u, which is not in the mask 0x%08x", self.lane, source, mask));
  }
  Meeting* meeting = nullptr;
  for (unsigned i = 0; i < warp.open; ++i) {
    Meeting& other = warp.meetings[i];
    if (other.exchange != exchange || (other.mask & mask) == 0 || *other.site != site) continue;
    if (other.mask != mask) {
      stop(self, site,
           text("lane %u gives the mask 0x%08x, lane %u gave 0x%08x", self.lane, mask, lowest_bit(other.arrived),
                other.mask));
    }
    meeting = &other;
  }
  if (meeting == nullptr) {
    meeting = &warp.meetings[warp.open++];
    *meeting = {&site, exchange, mask, 0, &warp.ordered[warp.next_ordered++ % sizeof(warp.ordered)]};
  }
  meeting->arrived |= bit;
  warp.given[self.lane] = value;
  warp.source[self.lane] = source;
  char* ordered = exchange == Exchange::kNothing ? meeting->ordered : nullptr;
  if (ordered != nullptr) release(ordered);
  if (meeting->arrived == mask) {
    complete(warp, *meeting);
    *meeting = warp.meetings[--warp.open];
    warp.ready |= mask;
    ready_warps_ |= 1u << self.number / kWarpLanes;
  }
  pass_on(false);
  if (ordered != nullptr) acquire(ordered);
  return warp.received[self.lane];
}

// Stores the result of each lane at once, so that no lane must keep its value until the others have read it.
void BlockRunner::complete(Warp& warp, const Meeting& meeting) {
  const auto each_lane = [&](auto&& function) {
    for (unsigned left = meeting.mask; left != 0; left &= left - 1) function(lowest_bit(left));
  };
  const auto combine = [&](auto&& function) {
    std::uint64_t all = warp.given[lowest_bit(meeting.mask)];
    for (unsigned left = meeting.mask & (meeting.mask - 1); left != 0; left &= left - 1) {
      all = function(all, warp.given[lowest_bit(left)]);
    }
    each_lane([&](unsigned lane) { warp.received[lane] = all; });
  };
  const auto equal_to = [&](std::uint64_t value) {
    unsigned lanes = 0;
    each_lane([&](unsigned lane) { lanes |= warp.given[lane] == value ? 1u << lane : 0u; });
    return lanes;
  };
  using Signed = std::int64_t;
  switch (meeting.exchange) {
    case Exchange::kNothing:
      break;
    case Exchange::kShuffle:
      each_lane([&](unsigned lane) { warp.received[lane] = warp.given[warp.source[lane]]; });
      break;
    case Exchange::kBallot: {
      const unsigned yes = meeting.mask & ~equal_to(0);
      each_lane([&](unsigned lane) { warp.received[lane] = yes; });
      break;
    }
    case Exchange::kMatch:
      each_lane([&](unsigned lane) { warp.received[lane] = equal_to(warp.given[lane]); });
      break;
    case Exchange::kAdd:
      combine([](std::uint64_t a, std::uint64_t b) { return a + b; });
      break;
    case Exchange::kMin:
      combine([](std::uint64_t a, std::uint64_t b) { return static_cast<Signed>(a) < static_cast<Signed>(b) ? a : b; });
      break;
    case Exchange::kMax:
      combine([](std::uint64_t a, std::uint64_t b) { return static_cast<Signed>(a) > static_cast<Signed>(b) ? a : b; });
      break;
    case Exchange::kAnd:
      combine([](std::uint64_t a, std::uint64_t b) { return a & b; });
      break;
    case Exchange::kOr:
      combine([](std::uint64_t a, std::uint64_t b) { return a | b; });
      break;
    case Exchange::kXor:
      combine([](std::uint64_t a, std::uint64_t b) { return a ^ b; });
      break;
  }
}

void BlockRunner::stop(const Thread& thread, const Site& site, const std::string& fault) const {
  std::fprintf(stderr, "CUDA emulator: %s:%d: %s: %s; block (%u, %u, %u), thread (%u, %u, %u)\n", site.file, site.line,
               site.operation, fault.c_str(), blockIdx.x, blockIdx.y, blockIdx.z, thread.index.x, thread.index.y,
               thread.index.z);
  std::fflush(stderr);
  std::abort();
}

std::string BlockRunner::what_it_does(const Warp& warp, const Thread& thread) const {
  if ((warp.returned >> thread.lane & 1) != 0) return "has returned";
  return "waits in " + text(*thread.site);
}

// No thread can run: a warp operation or the barrier lacks a participant.
void BlockRunner::stop_deadlock() const {
  for (unsigned i = 0; i * kWarpLanes < count_; ++i) {
    const Warp& warp = warps_[i];
    if (warp.open == 0) continue;
    const Meeting& meeting = warp.meetings[0];
    const unsigned missing = lowest_bit(meeting.mask & ~meeting.arrived);
    const Thread& waiting = *threads_[i * kWarpLanes + lowest_bit(meeting.arrived)];
    const Thread& other = *threads_[i * kWarpLanes + missing];
    stop(waiting, *meeting.site,
         text("lane %u of the mask 0x%08x never comes: it %s", missing, meeting.mask,
              what_it_does(warp, other).c_str()));
  }
  const Thread* waiting = nullptr;
  const Thread* returned = nullptr;
  for (unsigned i = 0; i < count_; ++i) {
    const Thread& thread = *threads_[i];
    const bool has_returned = (warps_[i / kWarpLanes].returned >> thread.lane & 1) != 0;
    const Thread*& found = has_returned ? returned : waiting;
    if (found == nullptr) found = &thread;
  }
  stop(*waiting, *barrier_,
       text("%u of %u threads never come: the first of them, thread (%u, %u, %u), has returned", count_ - arrived_,
            count_, returned->index.x, returned->index.y, returned->index.z));
}

void BlockRunner::prepare_shared(std::size_t bytes) {
  if (!shared_) shared_.reset(new (std::align_val_t{128}) std::byte[kMaxShared]);
  if (__asan_poison_memory_region) {
    __asan_unpoison_memory_region(shared_.get(), bytes);
    __asan_poison_memory_region(shared_.get() + bytes, kMaxShared - bytes);
  }
  constexpr int kUninitialized = 0xCD;
  std::memset(shared_.get(), kUninitialized, bytes);
}

// Runners with their fibers, kept for the next launch. Never destroyed: kernels may run until the process ends.
class Runners {
 public:
  static Runners& all() {
    static auto* const runners = new Runners;
    return *runners;
  }
  std::unique_ptr<BlockRunner> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) return std::make_unique<BlockRunner>();
    std::unique_ptr<BlockRunner> runner = std::move(idle_.back());
    idle_.pop_back();
    return runner;
  }
  void give_back(std::unique_ptr<BlockRunner> runner) {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(runner));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<BlockRunner>> idle_;
};

// An OS thread is started only if it has enough work: a start takes as long as running some hundred CUDA threads.
std::uint64_t os_threads(std::uint64_t blocks, std::uint64_t threads_of_block) {
  constexpr std::uint64_t kWorthAnother = 4096;
  const char* requested = std::getenv("VLTR_EMULATOR_THREADS");
  const std::uint64_t most = requested != nullptr ? std::strtoull(requested, nullptr, 10)
                                                  : std::min<std::uint64_t>(std::thread::hardware_concurrency(),
                                                                            blocks * threads_of_block / kWorthAnother);
  return std::clamp<std::uint64_t>(most, 1, blocks);
}

}  // namespace

void* dynamic_shared() { return BlockRunner::active().shared(); }

unsigned meet_block(bool predicate, const Site& site) { return BlockRunner::active().meet_block(predicate, site); }

std::uint64_t meet_warp(Exchange exchange, unsigned mask, std::uint64_t value, unsigned source, const Site& site) {
  return BlockRunner::active().meet_warp(exchange, mask, value, source, site);
}

void fence() {
  static char everything;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  acquire(&everything);
  release(&everything);
}

void run(const Grid& grid) {
  const Order order;
  const std::uint64_t blocks = std::uint64_t{grid.blocks.x} * grid.blocks.y * grid.blocks.z;
  const std::uint64_t threads = std::uint64_t{grid.threads.x} * grid.threads.y * grid.threads.z;
  std::atomic<std::uint64_t> next_turn{0};
  const auto work = [&] {
    std::unique_ptr<BlockRunner> runner = Runners::all().take();
    for (std::uint64_t turn; (turn = next_turn.fetch_add(1)) < blocks;) {
      runner->run_block(grid, order, order.block(turn, blocks));
    }
    Runners::all().give_back(std::move(runner));
  };
  std::vector<std::thread> others;
  for (std::uint64_t i = os_threads(blocks, threads); i > 1; --i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

}  // namespace vltr::emulator
