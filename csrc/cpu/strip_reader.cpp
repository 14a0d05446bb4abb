#include "cpu/strip_reader.hpp"

#include "cpu/class_path.hpp"

namespace vltr::cpu {
namespace {

template <class T>
class TypedReader : public StripReader {
 public:
  using Lane = LaneOf<T>;

  TypedReader(const Matrix& scores, const RankTable& table, int workers)
      : StripReader(workers),
        scores_(scores),
        thresholds_(thresholds_of<Lane>(table, search_all(scores.cols).searched)),
        lanes_(workers) {}

  void read(std::int64_t first_row, std::int64_t rows, std::int64_t col, std::int64_t cols, int worker) override {
    Strip& strip = strips_[worker];
    if (lanes_[worker].data() == nullptr) {
      lanes_[worker].resize(kStripCols * Strip::kColumn);
      strip.buckets.resize(kStripCols * Strip::kColumn);
      strip.row_bits.resize(kStripCols * Strip::kColumn);
    }
    read_strip_(thresholds_, {&scores_.shard_of(first_row), first_row, rows}, col, cols, lanes_[worker].data(), strip);
  }

 private:
  const Matrix& scores_;
  const Thresholds<Lane> thresholds_;
  Array<AlignedLanes<Lane>> lanes_;
  const ReadStrip<Lane> read_strip_ = read_strip_kernel<T>();
};

}  // namespace

std::unique_ptr<StripReader> StripReader::make(const Matrix& scores, const RankTable& thresholds, int workers) {
  return with_element_type(scores.dtype, [&](auto tag) -> std::unique_ptr<StripReader> {
    return std::make_unique<TypedReader<typename decltype(tag)::type>>(scores, thresholds, workers);
  });
}

void StripReader::throw_if_nan_was_read() const { throw_first_nan(strips_); }

}  // namespace vltr::cpu
