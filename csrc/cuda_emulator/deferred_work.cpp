#include "deferred_work.hpp"

#include <cstdlib>
#include <cstring>
#include <iterator>

#include "order_setting.hpp"

namespace vltr::emulator {

DeferredWork& DeferredWork::all() {
  static auto* const work = new DeferredWork;
  return *work;
}

DeferOrder DeferredWork::order() {
  const char* const order = read_order("VLTR_EMULATOR_DEFER");
  if (*order == '\0') return DeferOrder::kAtOnce;
  if (std::strcmp(order, "forward") == 0) return DeferOrder::kForward;
  if (std::strcmp(order, "reverse") == 0) return DeferOrder::kReverse;
  return DeferOrder::kRandom;
}

void DeferredWork::add(WorkQueue& stream) {
  const std::lock_guard<std::mutex> lock(mutex_);
  streams_.push_back(&stream);
}

WorkPtr DeferredWork::issue(WorkQueue& stream, std::function<void()> run_it, bool at_once, const WorkPtr& other) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (order() == DeferOrder::kAtOnce) {
    while (!pending_.empty()) run(*ready_.begin()->second);
    lock.unlock();  // host threads work side by side
    if (run_it) run_it();
    return nullptr;
  }
  const auto work = std::make_shared<Work>();
  work->number = issued_++;
  work->run = std::move(run_it);
  work->at_once = at_once;
  const auto after = [&](const WorkPtr& earlier) {
    if (earlier == nullptr || earlier->done) return;
    work->before.push_back(earlier);
    earlier->after.push_back(work.get());
    ++work->missing;
  };
  after(stream.last);
  after(other);
  // The legacy default stream is in order with all streams that were not made to be apart.
  for (const WorkQueue* each : streams_) {
    if (each->device != stream.device || each == &stream) continue;
    if (stream.is_legacy ? each->waits_for_legacy : stream.waits_for_legacy && each->is_legacy) after(each->last);
  }
  stream.last = work;
  pending_[work->number] = work;
  if (work->missing == 0) {
    ready_[work->number] = work.get();
    if (at_once) run(*work);
  }
  if (order() == DeferOrder::kRandom && !ready_.empty() && random() % 8 == 0) run(pick({}));
  return work;
}

void DeferredWork::finish(const WorkPtr& work) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (work == nullptr || work->done) return;
  const Needed needed = needed_for(work);
  while (!work->done) run(pick(needed));
}

void DeferredWork::finish_stream(const WorkQueue& stream) {
  WorkPtr last;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    last = stream.last;
  }
  finish(last);
}

void DeferredWork::finish_all() {
  const std::lock_guard<std::mutex> lock(mutex_);
  while (!pending_.empty()) run(pick({}));
}

bool DeferredWork::progress(const WorkPtr& work) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (work == nullptr || work->done) return true;
  run(pick(needed_for(work)));
  return work->done;
}

bool DeferredWork::choose(bool in_reverse_order) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return order() == DeferOrder::kRandom ? random() % 2 == 0 : in_reverse_order && order() == DeferOrder::kReverse;
}

std::size_t DeferredWork::pending() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return pending_.size();
}

DeferredWork::Needed DeferredWork::needed_for(const WorkPtr& work) {
  Needed needed{work.get()};
  std::vector<const Work*> left{work.get()};
  while (!left.empty()) {
    const Work* const next = left.back();
    left.pop_back();
    for (const WorkPtr& earlier : next->before) {
      if (!earlier->done && needed.insert(earlier.get()).second) left.push_back(earlier.get());
    }
  }
  return needed;
}

// The next work to run, of which there is some. `needed`: empty, or the work that something waits for.
Work& DeferredWork::pick(const Needed& needed) {
  switch (order()) {
    case DeferOrder::kRandom: {
      auto chosen = ready_.begin();
      std::advance(chosen, static_cast<std::ptrdiff_t>(random() % ready_.size()));
      return *chosen->second;
    }
    case DeferOrder::kReverse:
      for (auto each = ready_.rbegin(); each != ready_.rend(); ++each) {
        if (needed.count(each->second) == 0) return *each->second;
      }
      return *ready_.rbegin()->second;
    default:
      for (const auto& [number, work] : ready_) {
        if (needed.count(work) != 0) return *work;
      }
      return *ready_.begin()->second;
  }
}

// Runs ready work, and then all that runs at once after it.
void DeferredWork::run(Work& first) {
  std::vector<Work*> now{&first};
  while (!now.empty()) {
    Work* const next = now.back();
    now.pop_back();
    ready_.erase(next->number);
    const WorkPtr kept = std::move(pending_[next->number]);
    pending_.erase(next->number);
    if (kept->run) kept->run();
    kept->run = nullptr;
    kept->done = true;
    kept->before.clear();
    for (Work* const later : kept->after) {
      if (--later->missing != 0) continue;
      ready_[later->number] = later;
      if (later->at_once) now.push_back(later);
    }
    kept->after.clear();
  }
}

std::uint64_t DeferredWork::random() {
  const std::uint64_t chosen = std::strtoull(read_order("VLTR_EMULATOR_DEFER"), nullptr, 10);
  if (chosen != seed_) state_ = seed_ = chosen;
  state_ = state_ * 6364136223846793005u + 1442695040888963407u;
  return state_ >> 33;
}

}  // namespace vltr::emulator
