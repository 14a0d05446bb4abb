// One persistent pool of std::threads for the whole process.
//
// No OpenMP: its runtime would be torch's too, and hangs after fork. Work is handed out by an atomic counter, item by
// item; results never depend on which thread took which item. A forked child starts threads of its own. The pool is
// never destroyed: at exit its threads sleep until the process ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stdexcept>

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
  mutable std::chrono::steady_clock::time_point last_poll = std::chrono::steady_clock::now();  // of all runs of a call

  // Calls task(item, worker) once for each item in [0, items), worker < threads; the calling thread is worker 0.
  // An exception of a task ends the run and is thrown again here.
  void run(std::int64_t items, const std::function<void(std::int64_t item, int worker)>& task) const;
};

}  // namespace vltr::cpu
