// A test double of CUDA. It compiles the project's .cu files, unchanged, with a C++17 compiler and runs their kernels
// on the CPU, so that machines without a GPU execute, debug and sanitize the code that nvcc compiles:
//
//   g++ -std=c++17 -x c++ -I csrc/cuda_emulator -I csrc kernels.cu test.cpp csrc/cuda_emulator/*.cpp -pthread
//
// Each CUDA thread is a fiber and each block runs on one OS thread; `__shared__` variables are thread-local. Barriers
// and warp operations are exact: they wait for all participants. A kernel in which a participant is missing is
// stopped with one sentence that has file, line, block and thread. ThreadSanitizer treats each fiber as a thread and
// sees only the order that CUDA guarantees, so it reports a missing barrier, or a plain update that should be atomic,
// as a data race. AddressSanitizer has red zones around device memory and dynamic shared memory, but not around
// static __shared__ arrays.
//
// Stricter than CUDA: a barrier needs every thread of the block and a warp operation every lane of its mask, also after
// some have returned. All participants must be on the same source line.
//
// Deferred mode. By default a launch, a copy or a fill is done when its call returns. With VLTR_EMULATOR_DEFER it is
// queued on its stream, and runs when something waits for it: a synchronization, or work that an event or the legacy
// default stream orders after it. deferred_work.hpp has the orders of streams that nothing orders. Memory belongs to
// nobody before its allocation and after its release in the order of their stream; then it is poisoned at once. These
// faults show, as a wrong result, as one sentence, or as a report of AddressSanitizer: memory that is freed or used
// again while work of another stream uses it; a missing event; an event that is waited for before it is recorded; a
// stream that is used after its end; a result that is read before the stream is waited for; page-locked memory that is
// freed or changed before its copy has run. As in CUDA, kernels get copies of their arguments, a copy from pageable
// memory takes its bytes before it returns, and a destroyed stream still does its work.
//
// Deferred mode is stricter than CUDA: a copy to pageable memory is not done before the stream is waited for,
// cudaFreeHost does not wait, and synchronizing the legacy default stream waits for its own work alone. An allocation
// is work of its stream, as a pool may give memory that another stream still uses, even if this stream has none.
//
// Environment variables, read by each call that uses them:
//   VLTR_EMULATOR_DEFER=forward|reverse|SEED   deferred mode, and the order of work that nothing orders
//   VLTR_EMULATOR_ORDER=forward|reverse|SEED   the order of blocks and of runnable threads
//   VLTR_EMULATOR_THREADS=N     OS threads of every launch; by default a number that suits its size
//   VLTR_EMULATOR_MEMORY=BYTES  memory of each device, by default 8 GiB
//   VLTR_EMULATOR_DEVICES=N     devices, by default 1
//   VLTR_EMULATOR_FAULT=no-device|old-driver|launch   no device; an old driver; or kernels that do not run, and
//                               cudaErrorLaunchFailure from the next cudaStreamSynchronize
//
// The emulator cannot show: speed, coalescing, registers; weak memory order; two kernels that run at the same time;
// host addresses that a kernel gets as device addresses (they are the same here); kernels that spin until another
// thread acts (they hang); two warp operations of the same kind on one line (they count as one).
#pragma once

#include "device_functions.hpp"
#include "language.hpp"
#include "runtime_api.hpp"
