// One persistent pool of std::threads for the whole process.
//
// No OpenMP: its runtime would be torch's too, and hangs after fork. Work is handed out by an atomic counter, item by
// item; results never depend on which thread took which item. A forked child starts threads of its own. The pool is
// never destroyed: at exit its threads sleep until the process ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <vector>

namespace vltr::cpu {

// Thrown by run() after the caller's poll asked to stop.
struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("cancelled") {}
};

// How a call runs: on how many threads, and what its calling thread asks between items, about every 50 ms and with the
// share of the work that is done. Returning true cancels the call.
struct Runner {
  int threads = 1;
  std::function<bool(double)> poll;
  mutable std::chrono::steady_clock::time_point last_poll = std::chrono::steady_clock::now();  // of all runs
  double first = 0.0;  // the shares of the call that are done before and after the runs of this runner
  double last = 1.0;

  // Calls task(item, worker) once for each item in [0, items), worker < threads; the calling thread is worker 0.
  // An exception of a task ends the run and is thrown again here.
  void run(std::int64_t items, const std::function<void(std::int64_t item, int worker)>& task) const;

  // A runner for a part of the work, from one share of it to another.
  Runner part(double from, double to) const;
};

// The phases of a call one after the other, so that the share that is done moves through all of them. Each has a cost,
// of which only the ratios matter; a phase may be left out.
class Phases {
 public:
  Phases(const Runner& runner, std::initializer_list<double> costs);
  Runner phase(std::size_t number) const { return runner_.part(done_[number], done_[number + 1]); }

 private:
  const Runner& runner_;
  std::vector<double> done_{0.0};  // the share that is done before each phase, and after the last
};

// How many of some items one step of a run takes: at most `most`, but so few that there are several steps a thread.
std::int64_t items_per_step(std::int64_t items, std::int64_t most, int threads);

}  // namespace vltr::cpu
