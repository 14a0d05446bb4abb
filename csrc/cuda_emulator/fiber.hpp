// Fibers: separate stacks that are switched explicitly. The sanitizers are informed of each switch.
#pragma once

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <new>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
// The sanitizers' functions are called if they are linked in. No macro shows that, because the scheduler itself is
// compiled without sanitizers: ThreadSanitizer does not know that fibers of one OS thread need no locks between them,
// and AddressSanitizer would report the red zones of the frames that an ended fiber leaves on its stack.
extern "C" {
__attribute__((weak)) void* __tsan_get_current_fiber();
__attribute__((weak)) void* __tsan_create_fiber(unsigned flags);
__attribute__((weak)) void __tsan_switch_to_fiber(void* fiber, unsigned flags);
__attribute__((weak)) void __tsan_acquire(void* address);
__attribute__((weak)) void __tsan_release(void* address);
__attribute__((weak)) void __sanitizer_start_switch_fiber(void** fake_stack, const void* stack, std::size_t bytes);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void* fake_stack, const void** left, std::size_t* bytes);
__attribute__((weak)) void __asan_poison_memory_region(const volatile void* address, std::size_t bytes);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void* address, std::size_t bytes);
}

namespace vltr::emulator {

// Accesses before release(address) are ordered before accesses after acquire(address).
inline void release(void* address) {
  if (__tsan_release) __tsan_release(address);
}
inline void acquire(void* address) {
  if (__tsan_acquire) __tsan_acquire(address);
}

#if defined(__x86_64__)
// Pushes the callee-saved registers onto the old stack, stores its stack pointer, and returns on the new stack. It
// takes some nanoseconds; swapcontext() would enter the kernel for the signal mask.
[[gnu::naked, gnu::noinline]] inline void switch_stack(void** /*left: rdi*/, void* /*entered: rsi*/) {
  __asm__ volatile(
      "pushq %rbp\n\t"
      "pushq %rbx\n\t"
      "pushq %r12\n\t"
      "pushq %r13\n\t"
      "pushq %r14\n\t"
      "pushq %r15\n\t"
      "movq %rsp, (%rdi)\n\t"
      "movq %rsi, %rsp\n\t"
      "popq %r15\n\t"
      "popq %r14\n\t"
      "popq %r13\n\t"
      "popq %r12\n\t"
      "popq %rbx\n\t"
      "popq %rbp\n\t"
      "ret");
}
#endif

class Fiber {
 public:
  // The OS thread itself, for switches from it and back.
  Fiber() {
    if (__sanitizer_start_switch_fiber) {
      pthread_attr_t attributes;
      void* lowest = nullptr;
      pthread_getattr_np(pthread_self(), &attributes);
      pthread_attr_getstack(&attributes, &lowest, &size_);
      pthread_attr_destroy(&attributes);
      stack_ = static_cast<std::byte*>(lowest);
    }
    if (__tsan_get_current_fiber) tsan_ = __tsan_get_current_fiber();
  }

  // A fiber with a stack that is never freed; `number` counts the fibers.
  explicit Fiber(unsigned number) : size_(kStackBytes) {
    // With equal addresses within a page, the hot ends of all stacks would compete for one set of the cache.
    offset_ = number % 61 * 64;
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* mapped =
        mmap(nullptr, page + kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    mprotect(mapped, page, PROT_NONE);  // an overflow faults
    stack_ = static_cast<std::byte*>(mapped) + page;
    if (__tsan_create_fiber) tsan_ = __tsan_create_fiber(0);
  }

  // The next switch to this fiber calls `entry` on its empty stack. It must not return.
  void start_with(void (*entry)()) {
#if defined(__x86_64__)
    // The stack as after a call of `entry` and, in it, of switch_stack(): a return address and six registers.
    auto* top = reinterpret_cast<void**>(stack_ + kStackBytes - offset_ - 64);
    *--top = nullptr;  // where entry would return to
    *--top = reinterpret_cast<void*>(entry);
    left_at_ = top - 6;
#else
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_;
    context_.uc_stack.ss_size = kStackBytes - offset_;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
#endif
  }

  // To be called first in `entry`.
  static void entered() {
    if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
  }

  // Returns when something switches back. With `for_good` nothing may switch back before the next start_with().
  void switch_to(Fiber& other, bool for_good = false) {
    constexpr unsigned kUnordered = 1;  // a switch is no synchronization
    if (__sanitizer_start_switch_fiber) {
      __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, other.stack_, other.size_);
    }
    if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(other.tsan_, kUnordered);
#if defined(__x86_64__)
    switch_stack(&left_at_, other.left_at_);
#else
    swapcontext(&context_, &other.context_);
#endif
    if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
  }

 private:
  // Kernels use little. The system allocates a page at its first access.
  static constexpr std::size_t kStackBytes = 256 * 1024;

  std::byte* stack_ = nullptr;
  std::size_t size_ = 0;
  std::size_t offset_ = 0;
#if defined(__x86_64__)
  void* left_at_ = nullptr;
#else
  ucontext_t context_;
#endif
  void* tsan_ = nullptr;
  void* fake_stack_ = nullptr;
};

}  // namespace vltr::emulator
