// A bit for each row of a tile.
#pragma once

#include <cstdint>
#include <cstring>

namespace vltr::cpu {

constexpr int kTileRows = 1024;  // rows of a tile; with a strip's columns and survivors they fit in a 1 MiB L2 cache
constexpr std::int64_t kTileBlocks = kTileRows / 16;

struct RowMask {
  std::uint16_t block[kTileBlocks];

  bool has(std::int64_t row) const { return (block[row / 16] >> (row % 16) & 1) != 0; }
  // Rows before this one.
  std::int64_t count_before(std::int64_t row) const {
    std::int64_t count = __builtin_popcount(block[row / 16] & ((1u << (row % 16)) - 1u));
    std::int64_t i = 0;
    for (; i + 4 <= row / 16; i += 4) {
      std::uint64_t four;
      std::memcpy(&four, block + i, sizeof(four));
      count += __builtin_popcountll(four);
    }
    for (; i < row / 16; ++i) count += __builtin_popcount(block[i]);
    return count;
  }
};

}  // namespace vltr::cpu
