// The scores of a strip of a tile that reach the lowest threshold of their class, column by column, with their rows.
#pragma once

#include "cpu/rank_scan_tile.inl"

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// Column j of the strip has survived[j] scores at survivors + j * (kTileRows + 16), and the bits of their rows within
// the tile at the same places of `survivor_rows`, ascending. lowest: of all classes, padded to a multiple of 16.
template <class T>
__attribute__((always_inline)) inline void find_survivors(const Tile& tile, const LaneOf<T>* lowest, std::int64_t col,
                                                          std::int64_t cols, LaneOf<T>* survivors, float* survivor_rows,
                                                          std::int64_t (&survived)[kStripCols], FirstNan& nan) {
  using Lane = LaneOf<T>;
  constexpr std::int64_t kBuffer = kTileRows + 16;
  constexpr std::int64_t kSize = sizeof(T);
  for (std::int64_t row = tile.first_row; row < tile.first_row + tile.rows; row += 16) {
    const std::int64_t rows = std::min<std::int64_t>(16, tile.first_row + tile.rows - row);
    const std::uint32_t valid = low_bits(rows);
    float numbers[16];
    for (int i = 0; i < 16; ++i) numbers[i] = bit_cast<float>(static_cast<std::uint32_t>(row - tile.first_row) + i);
    const Pack<float> row_numbers = Pack<float>::load(numbers);
    // The block below is a stride away, where no hardware prefetcher looks.
    const std::int64_t next_rows =
        tile.shard->col_stride == kSize ? std::min<std::int64_t>(16, tile.first_row + tile.rows - row - 16) : 0;
    for (std::int64_t block = 0; block < cols; block += 16) {
      const std::int64_t block_cols = std::min<std::int64_t>(16, cols - block);
      for (std::int64_t i = 0; i < next_rows; ++i) {
        const std::byte* const next = tile.shard->at(row + 16 + i, col + block);
        for (std::int64_t byte = 0; byte < 16 * kSize; byte += 64) __builtin_prefetch(next + byte, 0, 2);
      }
      Pack<Lane> packs[16];
      load_block<T>(*tile.shard, row, rows, col + block, block_cols, packs);
      note_nans<Lane>(packs, row, rows, col + block, block_cols, nan);
      transpose(packs);
      const Lane* const of_block = lowest + col + block;
      std::int64_t* const ends = survived + block;
#pragma GCC unroll 16
      for (int j = 0; j < 16; ++j) {
        const std::uint32_t mask = packs[j].greater_equal(Pack<Lane>::broadcast(of_block[j])) & valid;
        const std::int64_t end = (block + j) * kBuffer + ends[j];
        row_numbers.compress_store(survivor_rows + end, mask);
        ends[j] += packs[j].compress_store(survivors + end, mask);
      }
    }
  }
}

// Leaves out the survivors of find_survivors() that are unknown cells. known: of each column.
template <class Lane>
void drop_unknown(const RowMask* known, std::int64_t cols, Lane* survivors, float* survivor_rows,
                  std::int64_t (&survived)[kStripCols]) {
  constexpr std::int64_t kBuffer = kTileRows + 16;
  for (std::int64_t j = 0; j < cols; ++j) {
    Lane* const lanes = survivors + j * kBuffer;
    float* const rows = survivor_rows + j * kBuffer;
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < survived[j]; ++i) {
      lanes[count] = lanes[i];
      rows[count] = rows[i];
      count += known[j].has(bit_cast<std::uint32_t>(rows[i])) ? 1 : 0;
    }
    survived[j] = count;
  }
}

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
