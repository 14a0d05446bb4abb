// A test double of CUDA: it compiles the project's .cu files, unchanged, with a C++17 compiler and runs their kernels
// on the CPU, so that machines without a GPU execute, debug and sanitize the very code that nvcc compiles:
//
//   g++ -std=c++17 -x c++ -I csrc/cuda_emulator -I csrc kernels.cu test.cpp csrc/cuda_emulator/*.cpp -pthread
//
// Each CUDA thread is a fiber and each block runs on one OS thread; `__shared__` variables are that OS thread's own.
// Barriers and warp operations are exact: whoever must meet is waited for, and a kernel in which they do not is stopped
// by one sentence with file, line, block and thread. Under ThreadSanitizer a fiber counts as a thread of its own, and
// only what CUDA orders is ordered: a missing barrier or a plain update that should be atomic is a reported data race.
// Under AddressSanitizer device memory and dynamic shared memory have red zones (static __shared__ arrays have none).
//
// Stricter than CUDA: a barrier wants every thread of the block and a warp operation every lane of its mask, also when
// some have returned; who meets must do so on the same line.
//
// Environment variables, read by each call that they concern:
//   VLTR_EMULATOR_ORDER=forward|reverse|SEED   which block, and which of the threads that can go on, runs next
//   VLTR_EMULATOR_THREADS=N     OS threads of a launch, however small; else as many as its size repays
//   VLTR_EMULATOR_MEMORY=BYTES  memory of each device, else 8 GiB
//   VLTR_EMULATOR_DEVICES=N     devices, else 1
//   VLTR_EMULATOR_FAULT=no-device|old-driver|launch   nothing to run on; or: kernels do not run, and the next
//                               cudaStreamSynchronize says cudaErrorLaunchFailure
//
// What it cannot show: speed, coalescing, registers; weak memory order; races between a stream and the host, for a
// launch returns when it is done; host addresses taken for device addresses, for here they are the same; kernels that
// spin until another thread has done something (they hang); two warp operations of the same kind on one line, taken for
// one.
#pragma once

#include "device_functions.hpp"
#include "language.hpp"
#include "runtime_api.hpp"
