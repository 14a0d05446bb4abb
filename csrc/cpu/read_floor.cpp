#include "cpu/read_floor.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace vltr::cpu {

std::uint64_t read_floor(const unsigned char* data, std::int64_t bytes, const Runner& runner) {
  constexpr std::int64_t kChunk = std::int64_t{1} << 20;
  std::atomic<std::uint64_t> total{0};
  runner.run((bytes + kChunk - 1) / kChunk, [&](std::int64_t item, int) {
    const std::int64_t end = std::min(bytes, (item + 1) * kChunk);
    std::uint64_t sum[8] = {};
    for (std::int64_t i = item * kChunk; i + 64 <= end; i += 64) {
      std::uint64_t word[8];
      std::memcpy(word, data + i, sizeof(word));
      for (int j = 0; j < 8; ++j) sum[j] ^= word[j];
    }
    for (const std::uint64_t word : sum) total ^= word;
  });
  return total;
}

}  // namespace vltr::cpu
