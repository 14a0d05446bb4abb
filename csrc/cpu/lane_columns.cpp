#include "cpu/lane_columns.hpp"

#include "cpu/class_path.hpp"

namespace vltr::cpu {
namespace {

template <class T>
class TypedColumns : public LaneColumns {
 public:
  using Lane = LaneOf<T>;

  TypedColumns(const Matrix& scores, const RankTable& table, int workers)
      : scores_(scores), thresholds_(thresholds_of<Lane>(table, search_all(scores.cols).searched)), workers_(workers) {}

  void read(std::int64_t first_row, std::int64_t rows, std::int64_t col, std::int64_t cols, int id) override {
    Worker& worker = workers_[id];
    if (worker.lanes.data() == nullptr) {
      worker.lanes.resize(kMostCols * kColumnStride);
      worker.scratch.resize(kColumnStride);
    }
    const Shard& shard = scores_.shard_of(first_row);
    worker.has_nan |= read_columns(shard, first_row, rows, col, cols, sizeof(T), copy_columns_, worker.lanes.data());
    worker.rows = rows;
    worker.col = col;
  }

  void reach(std::int64_t j, int id, RowMask& mask) const override {
    const Worker& worker = workers_[id];
    if (thresholds_.count(worker.col + j) == 0) {
      mask = {};
    } else {
      reach_mask_(worker.lanes.data() + j * kColumnStride, worker.rows, thresholds_.lowest[worker.col + j], mask);
    }
  }

  std::int64_t find_buckets(std::int64_t j, int id, const RowMask& mask, std::uint32_t* buckets) override {
    Worker& worker = workers_[id];
    const std::int64_t c = worker.col + j;
    if (thresholds_.count(c) == 0) return 0;
    return masked_buckets_(thresholds_.tree.data() + thresholds_.tree_offset[c], thresholds_.count(c),
                           worker.lanes.data() + j * kColumnStride, worker.rows, mask, worker.scratch.data(), buckets);
  }

  bool has_nan() const override {
    return std::any_of(workers_.begin(), workers_.end(), [](const Worker& worker) { return worker.has_nan; });
  }

 private:
  struct Worker {
    AlignedLanes<Lane> lanes;  // kMostCols x kColumnStride
    AlignedLanes<Lane> scratch;
    std::int64_t rows = 0;
    std::int64_t col = 0;
    bool has_nan = false;
  };

  const Matrix& scores_;
  const Thresholds<Lane> thresholds_;
  Array<Worker> workers_;
  const CopyColumns<Lane> copy_columns_ = copy_columns_kernel<T>();
  const ReachMask<Lane> reach_mask_ = reach_mask_kernel<Lane>();
  const MaskedBuckets<Lane> masked_buckets_ = masked_buckets_kernel<Lane>();
};

}  // namespace

std::unique_ptr<LaneColumns> LaneColumns::make(const Matrix& scores, const RankTable& thresholds, int workers) {
  return with_element_type(scores.dtype, [&](auto tag) -> std::unique_ptr<LaneColumns> {
    return std::make_unique<TypedColumns<typename decltype(tag)::type>>(scores, thresholds, workers);
  });
}

}  // namespace vltr::cpu
