// Sixteen lanes in plain C++: the fallback on every processor, and the reference that the SIMD packs are tested
// against. Included inside the namespace of an instruction set (scan_tile.inl).

template <class Lane>
struct Pack {
  Lane lane[16];

  static Pack load(const Lane* place) {
    Pack pack;
    for (int i = 0; i < 16; ++i) pack.lane[i] = place[i];
    return pack;
  }
  static Pack broadcast(Lane value) {
    Pack pack;
    for (int i = 0; i < 16; ++i) pack.lane[i] = value;
    return pack;
  }
  template <class T>
  static Pack load_elements(const std::byte* place) {
    Pack pack;
    for (int i = 0; i < 16; ++i) pack.lane[i] = to_lane(load_element<T>(place + i * sizeof(T)));
    return pack;
  }
  // Lanes in which this or the other is NaN.
  std::uint32_t nan_mask(const Pack& other) const {
    std::uint32_t mask = 0;
    for (int i = 0; i < 16; ++i)
      mask |= static_cast<std::uint32_t>(lane[i] != lane[i] || other.lane[i] != other.lane[i]) << i;
    return mask;
  }
  std::uint32_t greater(const Pack& other) const {
    std::uint32_t mask = 0;
    for (int i = 0; i < 16; ++i) mask |= static_cast<std::uint32_t>(lane[i] > other.lane[i]) << i;
    return mask;
  }
  std::uint32_t greater_equal(const Pack& other) const {
    std::uint32_t mask = 0;
    for (int i = 0; i < 16; ++i) mask |= static_cast<std::uint32_t>(lane[i] >= other.lane[i]) << i;
    return mask;
  }
  // Writes the lanes in `mask` one after another; up to 16 lanes behind them may be overwritten.
  int compress_store(Lane* place, std::uint32_t mask) const {
    int count = 0;
    for (int i = 0; i < 16; ++i) {
      place[count] = lane[i];
      count += static_cast<int>(mask >> i & 1u);
    }
    return count;
  }
};

template <class Lane>
void transpose(Pack<Lane> (&packs)[16]) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < i; ++j) {
      const Lane swapped = packs[i].lane[j];
      packs[i].lane[j] = packs[j].lane[i];
      packs[j].lane[i] = swapped;
    }
  }
}

// How many of a node's 16 ascending keys are <= score; an unreachable NaN key is not.
template <class Lane>
int keys_reached(const Lane* node, Lane score) {
  int count = 0;
  for (int i = 0; i < kNodeKeys; ++i) count += node[i] <= score;
  return count;
}

// Room for an instruction set that can search small classes in registers.
template <class Lane>
bool find_buckets_of_few(const Lane*, std::int64_t, const Lane*, std::int64_t, std::uint32_t*) {
  return false;
}

// For sixteen rows, how many classes rank before the best label of each.
class BeatenCounts {
 public:
  void start(const std::int32_t* best_class) {
    std::copy(best_class, best_class + 16, best_class_);
    std::fill(count_, count_ + 16, 0);
  }
  // Column c of the sixteen rows: a class ranks before when it scores more, or the same with a lower index.
  template <class Lane>
  void add(const Pack<Lane>& column, const Pack<Lane>& best, std::int32_t c) {
    const std::uint32_t greater = column.greater(best);
    const std::uint32_t greater_equal = column.greater_equal(best);
    for (int i = 0; i < 16; ++i) {
      count_[i] += static_cast<std::int32_t>((best_class_[i] > c ? greater_equal : greater) >> i & 1u);
    }
  }
  void store(std::int32_t* counts) const { std::copy(count_, count_ + 16, counts); }

 private:
  std::int32_t best_class_[16];
  std::int32_t count_[16];
};

// Sixteen halves of the draw's permutation (core/draw_core.hpp).
struct Halves {
  std::uint32_t lane[16];

  static Halves load(const std::uint32_t* place) {
    Halves halves;
    std::copy(place, place + 16, halves.lane);
    return halves;
  }
  void store(std::uint32_t* place) const { std::copy(lane, lane + 16, place); }
  void rotate(const Halves& other, std::uint32_t key, std::uint32_t radix) {
    for (int i = 0; i < 16; ++i) lane[i] = rotate_half(lane[i], other.lane[i], key, radix);
  }
};
