#include "cpu/pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "cpu/float_environment.hpp"

namespace vltr::cpu {
namespace {

struct Job {
  std::int64_t items = 0;
  const std::function<void(std::int64_t, int)>* task = nullptr;
  std::atomic<std::int64_t> next{0};
  std::atomic<std::int64_t> done{0};
  std::exception_ptr failure;
  std::mutex failure_guard;

  void stop() { next.store(items); }

  // Keeps an exception until the helpers are done: this job is on the caller's stack, which must not unwind before.
  template <class Function>
  void keep_failure(const Function& function) {
    try {
      function();
    } catch (...) {
      const std::lock_guard<std::mutex> lock(failure_guard);
      if (!failure) failure = std::current_exception();
      stop();
    }
  }

  bool take_one(int worker) {
    const std::int64_t item = next.fetch_add(1);
    if (item >= items) return false;
    keep_failure([&] { (*task)(item, worker); });
    done.fetch_add(1);
    return true;
  }
};

class Pool {
 public:
  // Returns false if another call is using the pool. The caller then does all work itself.
  bool try_run(Job& job, int helpers, const std::function<void()>& work) {
    if (inside_) return false;  // called from a poll: this thread has the turn already
    const std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (!turn.owns_lock()) return false;
    inside_ = true;
    {
      const std::lock_guard<std::mutex> lock(guard_);
      helpers = start_threads(helpers);
      job_ = &job;
      helpers_ = busy_ = helpers;
      ++generation_;
    }
    wake_.notify_all();
    work();
    std::unique_lock<std::mutex> lock(guard_);
    idle_.wait(lock, [this] { return busy_ == 0; });
    job_ = nullptr;
    inside_ = false;
    return true;
  }

 private:
  // Returns the number of threads, which is lower if the system starts no more.
  int start_threads(int requested) {
    try {
      while (static_cast<int>(threads_.size()) < requested) {
        const int worker = static_cast<int>(threads_.size()) + 1;
        threads_.emplace_back([this, worker] { serve(worker); });
      }
    } catch (const std::system_error&) {
      return static_cast<int>(threads_.size());
    }
    return requested;
  }

  void serve(int worker) {
    const DefaultFloatEnvironment environment;
    std::uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(guard_);
    for (;;) {
      wake_.wait(lock, [&] { return generation_ != seen && worker <= helpers_; });
      seen = generation_;
      Job* job = job_;
      lock.unlock();
      while (job->take_one(worker)) {
      }
      lock.lock();
      if (--busy_ == 0) idle_.notify_one();
    }
  }

  static thread_local bool inside_;
  std::mutex turn_;
  std::mutex guard_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::vector<std::thread> threads_;
  Job* job_ = nullptr;
  int helpers_ = 0;
  int busy_ = 0;
  std::uint64_t generation_ = 0;
};

thread_local bool Pool::inside_ = false;

std::atomic<Pool*> process_pool{nullptr};

// After a fork the parent's threads do not exist in the child. The child cannot join or use its copy, and leaks it.
Pool& pool_of_this_process() {
  static const int forget_in_children = pthread_atfork(nullptr, nullptr, [] { process_pool.store(nullptr); });
  (void)forget_in_children;
  if (process_pool.load() == nullptr) {
    auto fresh = std::make_unique<Pool>();
    Pool* none = nullptr;
    if (process_pool.compare_exchange_strong(none, fresh.get())) static_cast<void>(fresh.release());
  }
  return *process_pool.load();
}

}  // namespace

void Runner::run(std::int64_t items, const std::function<void(std::int64_t, int)>& task) const {
  if (items <= 0) return;
  Job job;
  job.items = items;
  job.task = &task;
  const auto work = [&] {
    using Clock = std::chrono::steady_clock;
    while (job.take_one(0)) {
      if (!poll || Clock::now() - last_poll < std::chrono::milliseconds(50)) continue;
      last_poll = Clock::now();
      job.keep_failure([&] {
        const double share = static_cast<double>(job.done.load()) / static_cast<double>(items);
        if (poll(first + (last - first) * share)) throw Cancelled();
      });
    }
  };
  const int helpers = static_cast<int>(std::min<std::int64_t>(std::max(threads, 1), items)) - 1;
  if (helpers == 0 || !pool_of_this_process().try_run(job, helpers, work)) work();
  if (job.failure) std::rethrow_exception(job.failure);
}

Runner Runner::share(double from, double to) const {
  Runner part = *this;
  part.first = first + (last - first) * from;
  part.last = first + (last - first) * to;
  return part;
}

Runner Runner::for_cost(double nanoseconds) const {
  constexpr double kWakeNanoseconds = 30'000.0;  // 5 to 50 microseconds, on an idle machine
  Runner part = *this;
  if (nanoseconds < kWakeNanoseconds) part.threads = 1;
  return part;
}

Phases::Phases(const Runner& runner, std::initializer_list<double> costs) : runner_(runner), cost_(costs) {
  double total = 0.0;
  for (const double cost : costs) total += cost;
  double done = 0.0;
  for (const double cost : costs) done_.push_back(total > 0.0 ? std::min(1.0, (done += cost) / total) : 1.0);
}

std::int64_t items_per_step(std::int64_t items, std::int64_t most, int threads) {
  constexpr std::int64_t kStepsPerThread = 8;
  return std::clamp<std::int64_t>(items / (kStepsPerThread * std::max(threads, 1)), 1, most);
}

}  // namespace vltr::cpu
