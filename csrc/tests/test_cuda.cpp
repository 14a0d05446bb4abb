// Tests of csrc/cuda: on the emulator, or on a GPU when built for one. Kernels are compared with their CPU twins.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/sort.hpp"
#include "tests/check.hpp"
#include "tests/process.hpp"

#if defined(VLTR_CUDA_EMULATED)
#include "runtime_api.hpp"
#endif

namespace {

using namespace vltr::cuda;
using vltr::test::Ending;
using vltr::test::in_child;
using vltr::test::Random;
using vltr::test::Setting;
using vltr::test::trying;

const Stream kStream{0, 0};

// Devices and memory

void copies_come_back() {
  for (const std::uintptr_t handle : {0, 1, 2}) {
    const Stream stream{0, handle};
    std::vector<int> values(100003);
    std::iota(values.begin(), values.end(), -5);
    const DeviceArray<int> array(stream, values);
    const DeviceArray<int> other(stream, array.size());
    other.fill(0xFF);
    CHECK(other.to_host() == std::vector<int>(values.size(), -1));
    copy_within_device(stream, other.data(), array.data() + 3, 12);
    std::vector<int> back(4);
    copy_to_host(stream, back.data(), other.data(), 16);
    synchronize(stream);
    CHECK(back == std::vector<int>({-2, -1, 0, -1}));
    CHECK(array.to_host() == values);
  }
}

void host_memory_may_go_at_once() {
  const std::int64_t count = 1 << 20;
  const DeviceArray<int> array(kStream, count);
  {
    std::vector<int> values(count, 7);
    copy_to_device(kStream, array.data(), values.data(), count * 4);
    std::fill(values.begin(), values.end(), 8);
  }
  CHECK(array.to_host() == std::vector<int>(count, 7));
}

void empty_arrays_need_no_memory() {
  const DeviceArray<double> nothing(kStream, 0);
  CHECK(nothing.data() == nullptr && nothing.size() == 0 && nothing.to_host().empty());
  const DeviceArray<double> from_nothing(kStream, std::vector<double>{});
  from_nothing.fill(1);
  CHECK(from_nothing.to_host().empty());
}

void memory_moves() {
  DeviceArray<int> first(kStream, std::vector<int>{1, 2, 3});
  int* data = first.data();
  DeviceArray<int> second = std::move(first);
  CHECK(second.data() == data && second.to_host() == std::vector<int>({1, 2, 3}));
  DeviceArray<int> third(kStream, std::vector<int>{4});
  std::swap(second, third);
  CHECK(third.data() == data && second.to_host() == std::vector<int>{4});
}

void addresses_know_their_device() {
  const DeviceArray<int> array(kStream, 10);
  CHECK(device_of(array.data()) == 0 && device_of(array.data() + 9) == 0);
#if !defined(VLTR_CUDA_EMULATED)
  const int host = 0;
  CHECK_THROWS(Error, device_of(&host));
#endif
}

void streams_wait_for_each_other() {
  const DeviceArray<int> array(kStream, std::vector<int>(1000, 3));
  const Stream other{0, 2};
  wait_for(other, kStream);
  wait_for(kStream, kStream);
  const DeviceArray<int> copied(other, array.size());
  copy_within_device(other, copied.data(), array.data(), 4000);
  CHECK(copied.to_host() == std::vector<int>(1000, 3));
}

void absent_devices_are_refused() {
  CHECK(device_count() > 0 && why_no_device().empty());
  CHECK_THROWS(Error, const DeviceGuard guard(device_count()));
  CHECK_THROWS(Error, const DeviceGuard guard(-1));
  CHECK_THROWS(Error, DeviceArray<int>(Stream{device_count(), 0}, 1));
  CHECK_THROWS(Error, synchronize(Stream{device_count(), 0}));
}

void out_of_memory_is_survived() {
  try {
    const DeviceArray<char> too_much(kStream, std::int64_t{1} << 50);
    CHECK(false);
  } catch (const OutOfMemory& error) {
    const std::string message = error.what();
    trying = message;
    CHECK(message.find("CUDA out of memory: expected 1,125,899,906,842,624 bytes on cuda:0, got ") == 0);
  }
  CHECK(DeviceArray<int>(kStream, std::vector<int>{5}).to_host() == std::vector<int>{5});
}

// Sorting

// Sorts segments of these sizes, filled by key(index in the array), and compares them with std::sort.
template <class Key, class KeyAt>
void check_sort(const std::vector<std::int64_t>& sizes, const KeyAt& key) {
  std::vector<std::int64_t> offset{0};
  std::vector<std::uint32_t> segment;
  std::vector<Key> keys;
  std::int64_t longest = 0;
  for (const std::int64_t size : sizes) {
    segment.insert(segment.end(), static_cast<std::size_t>(size), static_cast<std::uint32_t>(offset.size() - 1));
    for (std::int64_t i = 0; i < size; ++i) keys.push_back(key(static_cast<std::int64_t>(keys.size())));
    offset.push_back(static_cast<std::int64_t>(keys.size()));
    longest = std::max(longest, size);
  }
  DeviceArray<Key> sorted(kStream, keys);
  sort_within_segments(sorted, DeviceArray<std::uint32_t>(kStream, segment), DeviceArray<std::int64_t>(kStream, offset),
                       longest);
  for (std::size_t s = 0; s < sizes.size(); ++s) {
    std::sort(keys.begin() + offset[s], keys.begin() + offset[s + 1]);
  }
  CHECK(sorted.to_host() == keys);
}

std::string text_of(const std::vector<std::int64_t>& sizes) {
  std::string text = "segments of";
  for (const std::int64_t size : sizes) text += " " + std::to_string(size);
  return text;
}

// A segment begins and ends at, before and after the ends of tiles, with neighbours that fill the rest of its tiles.
void segments_are_sorted_wherever_they_begin_and_end() {
  Random random(1);
  for (const std::int64_t before : {0, 1, 1000, 1023, 1024, 1025, 2047}) {
    for (const std::int64_t size : {1, 2, 1022, 1023, 1024, 1025, 2048, 2049, 3073, 4097}) {
      const std::vector<std::int64_t> sizes{before, size, 0, 1, 30};
      trying = text_of(sizes);
      check_sort<float>(sizes, [&](std::int64_t) { return static_cast<float>(random.below(1 << 20)) - 1000.0f; });
    }
  }
}

void segments_of_many_sizes_are_sorted() {
  Random random(2);
  for (int round = 0; round < 15; ++round) {
    std::vector<std::int64_t> sizes;
    for (int s = 1 + random.below(30); s > 0; --s) {
      const int kind = random.below(8);
      sizes.push_back(kind < 2    ? 0
                      : kind < 6  ? random.below(200)
                      : kind == 6 ? random.below(2200)
                                  : random.below(9000));
    }
    const int values = random.below(2) == 0 ? 3 : 1 << 30;  // mostly equal, or mostly distinct
    trying = std::to_string(values) + " values, " + text_of(sizes);
    check_sort<std::uint32_t>(sizes, [&](std::int64_t) { return static_cast<std::uint32_t>(random.below(values)); });
  }
}

// The runs of a merge: all keys of one are below those of the other, or they alternate, or all are equal.
template <class Key>
void check_long_segments() {
  using Limits = std::numeric_limits<Key>;
  const Key lowest = Limits::has_infinity ? static_cast<Key>(0 - Limits::infinity()) : Limits::min();
  const Key highest = Limits::has_infinity ? Limits::infinity() : Limits::max();
  const std::vector<std::int64_t> sizes{700, 0, 9000, 5, 1025, 0};
  Random random(3);
  trying = "equal keys";
  check_sort<Key>(sizes, [](std::int64_t) { return Key{7}; });
  trying = "the highest key alone";
  check_sort<Key>(sizes, [=](std::int64_t) { return highest; });
  trying = "ascending keys";
  check_sort<Key>(sizes, [](std::int64_t i) { return static_cast<Key>(i); });
  trying = "descending keys";
  check_sort<Key>(sizes, [](std::int64_t i) { return static_cast<Key>(100000 - i); });
  trying = "alternating keys";
  check_sort<Key>(sizes, [](std::int64_t i) { return static_cast<Key>(i % 2 == 0 ? i : 100000 - i); });
  trying = "random keys and the ends of the type";
  check_sort<Key>(sizes, [&](std::int64_t) {
    const int kind = random.below(10);
    return kind == 0 ? lowest : kind == 1 ? highest : static_cast<Key>(random.bits() >> 33);
  });
}

void long_segments_of_every_type_are_sorted() {
  Random random(4);
  trying = "a long segment";
  check_sort<float>({5, 40000, 3}, [&](std::int64_t) { return static_cast<float>(random.below(1 << 24)); });
  check_long_segments<std::uint32_t>();
  check_long_segments<float>();
  check_long_segments<double>();
  check_long_segments<std::int64_t>();
}

void arrays_without_keys_are_sorted() {
  check_sort<float>({}, [](std::int64_t) { return 0.0f; });
  check_sort<float>({0, 0, 0}, [](std::int64_t) { return 0.0f; });
}

// Faults that only the emulator can produce

#if defined(VLTR_CUDA_EMULATED)

// A process searches for devices once, so each search runs in a child process, before any other test.
void missing_drivers_are_explained() {
  const Ending none = in_child([] {
    const Setting fault("VLTR_EMULATOR_FAULT", "no-device");
    CHECK(device_count() == 0 && why_no_device() == "no CUDA driver was found");
    CHECK_THROWS(Error, DeviceArray<int>(kStream, 1));
    synchronize(kStream);
  });
  trying = none.message;
  CHECK(none.message == "threw 'CUDA: no CUDA driver was found'\n");
  const Ending old = in_child([] {
    const Setting fault("VLTR_EMULATOR_FAULT", "old-driver");
    CHECK(device_count() == 0);
    device_of(&fault);
  });
  trying = old.message;
  CHECK(old.message == "threw 'CUDA: the CUDA driver (12.4) is older than this build needs (13.0)'\n");
}

void memory_is_given_back() {
  const std::int64_t before = vltr::emulator::live_bytes();
  {
    const DeviceArray<int> array(kStream, 1000);
    CHECK(vltr::emulator::live_bytes() == before + 4000);
    const Setting limit("VLTR_EMULATOR_MEMORY", std::to_string(before + 6000));
    try {
      const DeviceArray<char> more(kStream, 2001);
      CHECK(false);
    } catch (const OutOfMemory& error) {
      CHECK(error.what() == std::string("CUDA out of memory: expected 2,001 bytes on cuda:0, got 2,000 free"));
    }
    CHECK(DeviceArray<char>(kStream, 2000).size() == 2000);
  }
  CHECK(vltr::emulator::live_bytes() == before);
}

void unknown_streams_are_refused() {
  CHECK_THROWS(Error, synchronize(Stream{0, 12345}));
  CHECK_THROWS(Error, DeviceArray<int>(Stream{0, 12345}, 1));
  CHECK_THROWS(Error, wait_for(kStream, Stream{0, 12345}));
}

void failed_kernels_are_reported() {
  DeviceArray<float> keys(kStream, std::vector<float>{3, 1, 2});
  const DeviceArray<std::uint32_t> segment(kStream, std::vector<std::uint32_t>{0, 0, 0});
  const DeviceArray<std::int64_t> offset(kStream, std::vector<std::int64_t>{0, 3});
  {
    const Setting fault("VLTR_EMULATOR_FAULT", "launch");
    sort_within_segments(keys, segment, offset, 3);
    CHECK_THROWS(Error, keys.to_host());
  }
  sort_within_segments(keys, segment, offset, 3);
  CHECK(keys.to_host() == std::vector<float>({1, 2, 3}));
}

#endif

}  // namespace

int main() {
  int failed = 0;
#if defined(VLTR_CUDA_EMULATED)
  failed |= vltr::test::run_tests({{"missing_drivers_are_explained", missing_drivers_are_explained}});
#endif
  if (device_count() == 0) {
    std::printf("NOT RUN: no device; %s\n", why_no_device().c_str());
    return failed;
  }
  return failed |
         vltr::test::run_tests({
             {"copies_come_back", copies_come_back},
             {"host_memory_may_go_at_once", host_memory_may_go_at_once},
             {"empty_arrays_need_no_memory", empty_arrays_need_no_memory},
             {"memory_moves", memory_moves},
             {"addresses_know_their_device", addresses_know_their_device},
             {"streams_wait_for_each_other", streams_wait_for_each_other},
             {"absent_devices_are_refused", absent_devices_are_refused},
             {"out_of_memory_is_survived", out_of_memory_is_survived},
             {"segments_are_sorted_wherever_they_begin_and_end", segments_are_sorted_wherever_they_begin_and_end},
             {"segments_of_many_sizes_are_sorted", segments_of_many_sizes_are_sorted},
             {"long_segments_of_every_type_are_sorted", long_segments_of_every_type_are_sorted},
             {"arrays_without_keys_are_sorted", arrays_without_keys_are_sorted},
#if defined(VLTR_CUDA_EMULATED)
             {"memory_is_given_back", memory_is_given_back},
             {"unknown_streams_are_refused", unknown_streams_are_refused},
             {"failed_kernels_are_reported", failed_kernels_are_reported},
#endif
         });
}
