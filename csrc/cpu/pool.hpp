// One persistent pool of std::threads for the whole process.
//
// OpenMP is not used, because its runtime would be shared with torch and hangs after a fork. An atomic counter gives
// out the items of work; results never depend on the thread that processes an item. A forked child starts its own
// threads. The pool is never destroyed: at exit its threads sleep until the process ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <vector>

namespace vltr::cpu {

// Thrown by run() after the caller's poll returned true.
struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("cancelled") {}
};

// The execution of a call: its number of threads, and a poll. Between items the calling thread calls the poll, about
// every 50 ms, with the fraction of the work that is done. If the poll returns true, the call is cancelled.
struct Runner {
  int threads = 1;
  std::function<bool(double)> poll;
  mutable std::chrono::steady_clock::time_point last_poll = std::chrono::steady_clock::now();  // of all runs
  double first = 0.0;  // the fractions of the call that are done before and after the runs of this runner
  double last = 1.0;

  // Calls task(item, worker) once for each item in [0, items), worker < threads. The calling thread is worker 0. An
  // exception of a task ends the run and is thrown again here.
  void run(std::int64_t items, const std::function<void(std::int64_t item, int worker)>& task) const;

  // A runner for part of the work: from fraction `from` to fraction `to` of this runner's work.
  Runner share(double from, double to) const;

  // A runner for work that takes one thread about so many nanoseconds: the calling thread alone if waking the others
  // would take as long.
  Runner for_cost(double nanoseconds) const;
};

// Runners for the phases of a call, in order, so that the reported fraction rises through all of them. Costs are
// nanoseconds of one thread, roughly: the ratios give the fractions, and a short phase runs on the calling thread
// alone. A phase may be skipped.
class Phases {
 public:
  Phases(const Runner& runner, std::initializer_list<double> costs);
  Runner phase(std::size_t number) const {
    return runner_.share(done_[number], done_[number + 1]).for_cost(cost_[number]);
  }

 private:
  const Runner& runner_;
  std::vector<double> cost_;
  std::vector<double> done_{0.0};  // the fraction that is done before each phase, and after the last
};

// The number of items in one step of a run: at most `most`, and low enough for several steps per thread.
std::int64_t items_per_step(std::int64_t items, std::int64_t most, int threads);

}  // namespace vltr::cpu
