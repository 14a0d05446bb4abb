// Work of streams that was issued and has not run yet: VLTR_EMULATOR_DEFER.
//
// Each piece of work has the pieces that must be done before it. Among those that may run now, the order of streams
// that nothing orders is chosen to harm:
//
//   forward   a wait runs only the work that it needs, in the order of issue: other streams are as late as possible
//   reverse   a wait first runs all other work that may run, the latest issued first: other streams are early
//   SEED      a wait runs what may run in random order until its own work is done; issuing runs other work sometimes
//
// Every order is one that a device may choose, so correct code gives the same results in each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

namespace vltr::emulator {

struct Work {
  std::uint64_t number;       // in the order of issue
  std::function<void()> run;  // may be empty
  bool at_once;               // runs as soon as the work before it is done
  bool done = false;
  std::size_t missing = 0;                    // pieces of work before it that are not done
  std::vector<std::shared_ptr<Work>> before;  // those pieces
  std::vector<Work*> after;                   // work that has this one in `before`
};
using WorkPtr = std::shared_ptr<Work>;

// The state of a stream. Never destroyed, so that no handle is given out twice.
struct WorkQueue {
  int device;
  bool waits_for_legacy;  // false for streams made with cudaStreamNonBlocking
  bool is_legacy = false;
  WorkPtr last;  // the last work that was issued on it
};

enum class DeferOrder { kAtOnce, kForward, kReverse, kRandom };

class DeferredWork {
 public:
  static DeferredWork& all();  // of all devices; never destroyed, because work may remain when the process ends

  // Reads VLTR_EMULATOR_DEFER.
  static DeferOrder order();

  // A stream takes part in the order of the legacy default stream of its device from now on.
  void add(WorkQueue& stream);

  // Issues work on a stream, after `other` too if it is not null. Without deferred mode it runs before the call
  // returns.
  WorkPtr issue(WorkQueue& stream, std::function<void()> run, bool at_once = false, const WorkPtr& other = nullptr);

  // Runs work until that is done.
  void finish(const WorkPtr& work);
  void finish_stream(const WorkQueue& stream);
  void finish_all();

  // Runs one piece of work, for callers that look again and again. True if `work` is done.
  bool progress(const WorkPtr& work);

  // A choice of true or false by the seed; fixed in the other orders.
  bool choose(bool in_reverse_order);

  std::size_t pending();

 private:
  using Needed = std::unordered_set<const Work*>;

  static Needed needed_for(const WorkPtr& work);
  Work& pick(const Needed& needed);
  void run(Work& work);
  std::uint64_t random();

  std::mutex mutex_;
  std::uint64_t issued_ = 0;
  std::uint64_t state_ = 0;
  std::uint64_t seed_ = 0;
  std::map<std::uint64_t, WorkPtr> pending_;
  std::map<std::uint64_t, Work*> ready_;
  std::vector<WorkQueue*> streams_;
};

}  // namespace vltr::emulator
