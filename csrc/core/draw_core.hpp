// The draw of sampled AP: a keyed permutation of the negatives of a class, evaluated at single points.
//
// The negatives are numbered 0 .. n-1 (row_of_negative). Trial t of class c takes the negatives permutation(0) ..
// permutation(d-1), d = min(positives, negatives). The permutation is a Feistel network over the mixed radix a * b >= n
// (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). A point is (left, right) with left < a and
// right < b. Each round adds a keyed hash of one half to the other half, modulo its radix. A point beyond n is permuted
// again until it falls below n (cycle walking); because a * b - n < a ~ sqrt(n), that is rare. All operations are on
// 32-bit integers, so every device gives the same rows.
//
// Key   (seed, class, trial) through Philox: independent of other classes, of threads and of the call order
// Bound n < 2^32
// Test  csrc/tests/test_core.cpp (a permutation for every n), tests/eval/test_sampled.py (uniformity, moments)
#pragma once

#include "core/philox_core.hpp"

namespace vltr {

// Rounds that make the draw uniform. Small grids mix slowly. Exact enumeration over random round functions gives the
// error of the probability of the worst subset: for 2 of 4 it is 1/4 after 4 rounds, and each further two rounds divide
// it by 4; for 2 of 6 they divide it by 6. The gain of two rounds grows with the grid.
constexpr int kMostDrawRounds = 16;
VLTR_HD int draw_rounds(std::uint32_t size) { return size < 1024 ? kMostDrawRounds : 8; }

struct KeyedPermutation {
  std::uint32_t size;         // n
  std::uint32_t left_radix;   // a
  std::uint32_t right_radix;  // b
  int rounds;
  std::uint32_t round_key[kMostDrawRounds];
};

// The permutation of `size` points, before its keys are set.
VLTR_HD KeyedPermutation permutation_grid(std::uint32_t size) {
  KeyedPermutation permutation{};
  permutation.size = size;
  std::uint32_t root = 1;  // ceil(sqrt(size)) by bits: floating point could round differently on a device
  for (std::uint32_t bit = 1u << 16; bit != 0; bit >>= 1) {
    const std::uint64_t candidate = std::uint64_t{root} + bit;
    if ((candidate - 1) * (candidate - 1) < size) root = static_cast<std::uint32_t>(candidate);
  }
  const std::uint32_t rows = static_cast<std::uint32_t>((std::uint64_t{size} + root - 1) / root);
  permutation.left_radix = root;
  permutation.right_radix = rows == 0 ? 1 : rows;
  permutation.rounds = draw_rounds(size);
  return permutation;
}

constexpr int kKeysOfBlock = 4;
static_assert(kMostDrawRounds % kKeysOfBlock == 0, "the rounds must be whole blocks of keys");

// Writes the keys of rounds 4 * block to 4 * block + 3. Blocks are independent of each other.
VLTR_HD void set_keys_of_block(KeyedPermutation& permutation, std::uint64_t seed, std::uint32_t cls,
                               std::uint32_t trial, std::uint32_t block) {
  const Philox random =
      philox4x32({{cls, trial, block, 0}}, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
  for (std::uint32_t i = 0; i < kKeysOfBlock; ++i) permutation.round_key[kKeysOfBlock * block + i] = random.word[i];
}

VLTR_HD void set_keys(KeyedPermutation& permutation, std::uint64_t seed, std::uint32_t cls, std::uint32_t trial) {
  for (std::uint32_t block = 0; kKeysOfBlock * block < static_cast<std::uint32_t>(permutation.rounds); ++block) {
    set_keys_of_block(permutation, seed, cls, trial, block);
  }
}

VLTR_HD KeyedPermutation keyed_permutation(std::uint32_t size, std::uint64_t seed, std::uint32_t cls,
                                           std::uint32_t trial) {
  KeyedPermutation permutation = permutation_grid(size);
  set_keys(permutation, seed, cls, trial);
  return permutation;
}

// The 32-bit finaliser of MurmurHash3 (Appleby, public domain) of value + key.
VLTR_HD std::uint32_t keyed_hash(std::uint32_t value, std::uint32_t key) {
  value += key;
  value ^= value >> 16;
  value *= 0x85EBCA6Bu;
  value ^= value >> 13;
  value *= 0xC2B2AE35u;
  value ^= value >> 16;
  return value;
}

// (half + a hash scaled into [0, radix)) modulo radix.
VLTR_HD std::uint32_t rotate_half(std::uint32_t half, std::uint32_t other, std::uint32_t key, std::uint32_t radix) {
  const std::uint32_t step = static_cast<std::uint32_t>((std::uint64_t{keyed_hash(other, key)} * radix) >> 32);
  const std::uint32_t room = radix - half;
  return step >= room ? step - room : half + step;
}

// left_radix and right_radix are at most 2^16, so a point fits in 32 bits.
VLTR_HD std::uint32_t permute_once(const KeyedPermutation& permutation, std::uint32_t left, std::uint32_t right) {
  for (int round = 0; round < permutation.rounds; round += 2) {
    left = rotate_half(left, right, permutation.round_key[round], permutation.left_radix);
    right = rotate_half(right, left, permutation.round_key[round + 1], permutation.right_radix);
  }
  return right * permutation.left_radix + left;
}

// permutation(index), index < size.
VLTR_HD std::uint32_t permute(const KeyedPermutation& permutation, std::uint32_t index) {
  std::uint32_t point = index;
  do {
    point = permute_once(permutation, point % permutation.left_radix, point / permutation.left_radix);
  } while (point >= permutation.size);
  return point;
}

// The row of negative `number`, in [0, n). Negative i is row i unless row i is a positive; those numbers go, in order,
// to the negatives at rows >= n. So number and row differ only for displaced rows.
//
// positives (P,) ascending; displaced: the negative rows >= n, ascending; there is one for each positive below n.
VLTR_HD std::uint32_t row_of_negative(const std::uint32_t* positives, std::uint32_t count,
                                      const std::uint32_t* displaced, std::uint32_t number) {
  std::uint32_t below = 0;  // positives before `number`
  for (std::uint32_t left = count; left != 0;) {
    const std::uint32_t half = left / 2;
    const bool before = positives[below + half] < number;
    below = before ? below + half + 1 : below;
    left = before ? left - half - 1 : half;
  }
  return below < count && positives[below] == number ? displaced[below] : number;
}

// Writes the displaced negatives of a class with `count` positives among `rows` rows. Returns their
// number, at most `count`.
VLTR_HD std::uint32_t displaced_negatives(const std::uint32_t* positives, std::uint32_t count, std::uint32_t rows,
                                          std::uint32_t* displaced) {
  const std::uint32_t negatives = rows - count;
  std::uint32_t next = 0;
  while (next < count && positives[next] < negatives) ++next;
  std::uint32_t written = 0;
  for (std::uint32_t row = negatives; row < rows; ++row) {
    if (next < count && positives[next] == row) {
      ++next;
    } else {
      displaced[written++] = row;
    }
  }
  return written;
}

}  // namespace vltr
