// The gathers and draws of vltr_train. Outputs are tensors that Python allocates in the caller's library.
#include <variant>

#include "bindings/tensors.hpp"
#include "cpu/frames.hpp"
#include "cuda/frames.hpp"

namespace vltr {
namespace {

bool is_float(DType dtype) { return dtype >= DType::kFloat16; }
bool is_index(DType dtype) { return dtype > DType::kBool && dtype < DType::kFloat16; }

// Frames are copied whole, so the numbers of a frame must be contiguous.
bool has_whole_frames(const Tensor& tensor) {
  return is_float(tensor.dtype) && (tensor.shape.back() == 1 || tensor.strides.back() == size_of(tensor.dtype));
}

Column column_of(const Tensor& tensor) { return {tensor.data, tensor.strides[0], tensor.dtype}; }
Grid grid_of(const Tensor& tensor) { return {tensor.data, tensor.strides[0], tensor.strides[1], tensor.dtype}; }
Clips clips_of(const Tensor& tensor) { return {tensor.data, tensor.strides[0], tensor.strides[1]}; }
Column no_column() { return {nullptr, 0, DType::kInt64}; }

Column ids_of(const MaybeTensor& ids, std::int64_t samples) {
  if (!ids) return no_column();
  expect(has_shape(*ids, {samples}) && is_index(ids->dtype), "samples: expected an integer for each sample");
  return column_of(*ids);
}

StackPlan stack_plan(std::int64_t samples, std::int64_t mixed, std::int64_t frames, std::int64_t clip_length,
                     const Tensor& partner, bool partner_first) {
  const auto is_count = [](std::int64_t count) { return count >= 1 && count <= kMostClipFrames; };
  expect(is_count(frames) && is_count(clip_length), "features: expected clips of 1 to 65536 frames");
  expect(mixed >= 0 && mixed <= samples && (mixed == samples || frames == clip_length),
         "num_mixed: expected at most all samples, or clips as long as those of features");
  expect(partner.shape.size() == 1 && partner.shape[0] >= mixed && is_index(partner.dtype),
         "partner: expected an integer for each mixed sample");
  return {samples,
          mixed,
          static_cast<std::uint32_t>(frames),
          static_cast<std::uint32_t>(clip_length),
          column_of(partner),
          partner_first};
}

void frame_stack(const Tensor& features, const MaybeTensor& targets, const MaybeTensor& rap, const Tensor& partner,
                 const std::variant<std::monostate, float, Tensor>& beta, std::int64_t mixed, int label_rule,
                 bool per_class, bool partner_first, const Tensor& out_features, const MaybeTensor& out_targets,
                 const Tensor& out_beta, const MaybeTensor& out_partner, int threads) {
  expect(features.shape.size() == 3 && features.size() > 0 && has_whole_frames(features),
         "features: expected (B, T, D) floats with D one after another");
  const std::int64_t samples = features.shape[0];
  expect(out_features.shape.size() == 3 && is_output(out_features, features.dtype) &&
             has_shape(out_features, {samples, out_features.shape[1], features.shape[2]}) &&
             has_shape(out_beta, {samples}) && is_output(out_beta, DType::kFloat32),
         "out: expected outputs of the shape and dtype of frame_stack's results");
  FrameStack request{};
  request.plan = stack_plan(samples, mixed, features.shape[1], out_features.shape[1], partner, partner_first);
  request.features = clips_of(features);
  request.dtype = features.dtype;
  request.frame_bytes = features.shape[2] * size_of(features.dtype);
  if (const auto* constant = std::get_if<float>(&beta)) {
    expect(is_share(*constant), "beta: expected from 0 to 1");
    request.constant_beta = *constant;
  } else if (const auto* given = std::get_if<Tensor>(&beta)) {
    expect(has_shape(*given, {samples}) && given->dtype == DType::kFloat32, "beta: expected a float32 for each sample");
    request.given_beta = column_of(*given);
  }
  const bool has_beta = !std::holds_alternative<std::monostate>(beta);
  expect(has_beta || targets, "beta: expected one if there are no targets, got None");
  if (targets) {
    expect(targets->shape.size() == 2 && targets->shape[0] == samples && out_targets &&
               out_targets->shape == targets->shape &&
               is_output(*out_targets, is_float(targets->dtype) ? targets->dtype : DType::kFloat32),
           "targets: expected (B, C) and an output of their float type");
    request.targets = grid_of(*targets);
    request.classes = targets->shape[1];
    request.out_targets = out_targets->data;
    if (!has_beta) {
      expect(rap && has_shape(*rap, {request.classes}), "rap: expected a number for each class");
      request.rap = column_of(*rap);
    }
  }
  if (out_partner) {
    expect(has_shape(*out_partner, {samples}) && is_output(*out_partner, DType::kInt64),
           "out: expected an int64 for the partner of each sample");
    request.out_partner = reinterpret_cast<std::int64_t*>(out_partner->data);
  }
  request.rule = {static_cast<LabelRule>(label_rule), per_class};
  request.out_features = out_features.data;
  request.out_beta = reinterpret_cast<float*>(out_beta.data);
  run_on_device_of(
      features, threads, [&](const cpu::Runner& runner) { cpu::frame_stack(request, runner); },
      [&](const auto& stream) { cuda::frame_stack(request, stream); });
}

void frame_stack_gradient(const Tensor& gradient, const Tensor& partner, const Tensor& beta, std::int64_t mixed,
                          bool partner_first, const Tensor& out, int threads) {
  expect(gradient.shape.size() == 3 && gradient.size() > 0 && has_whole_frames(gradient),
         "gradient: expected (B, L, D) floats with D one after another");
  const std::int64_t samples = gradient.shape[0];
  expect(out.shape.size() == 3 && has_shape(out, {samples, out.shape[1], gradient.shape[2]}) &&
             is_output(out, gradient.dtype),
         "out: expected (B, T, D) of the gradient's type");
  expect(has_shape(beta, {samples}) && beta.dtype == DType::kFloat32, "beta: expected a float32 for each sample");
  FrameStackGradient request{};
  request.plan = stack_plan(samples, mixed, out.shape[1], gradient.shape[1], partner, partner_first);
  request.gradient = clips_of(gradient);
  request.dtype = gradient.dtype;
  request.dims = gradient.shape[2];
  request.beta = column_of(beta);
  request.out = out.data;
  run_on_device_of(
      gradient, threads, [&](const cpu::Runner& runner) { cpu::frame_stack_gradient(request, runner); },
      [&](const auto& stream) { cuda::frame_stack_gradient(request, stream); });
}

void gather_frames(const Tensor& store, const Tensor& offsets, const Tensor& videos, const Tensor& picks,
                   const Tensor& out, int threads) {
  expect(store.shape.size() == 2 && store.shape[1] >= 1 && has_whole_frames(store),
         "store: expected (F, D) floats with D one after another");
  expect(offsets.shape.size() == 1 && offsets.shape[0] >= 1 && is_index(offsets.dtype),
         "offsets: expected V + 1 integers");
  expect(picks.shape.size() == 2 && is_index(picks.dtype), "frame_indices: expected (B, K) integers");
  expect(has_shape(videos, {picks.shape[0]}) && is_index(videos.dtype), "videos: expected B integers");
  expect(has_shape(out, {picks.shape[0], picks.shape[1], store.shape[1]}) && is_float(out.dtype) && out.contiguous(),
         "out: expected (B, K, D) floats one after another");
  if (picks.size() == 0) return;
  FrameGather request{};
  request.store = store.data;
  request.frame_stride = store.strides[0];
  request.dtype = store.dtype;
  request.frame_bytes = store.shape[1] * size_of(store.dtype);
  request.frames = store.shape[0];
  request.offsets = column_of(offsets);
  request.num_videos = offsets.shape[0] - 1;
  request.videos = column_of(videos);
  request.picks = grid_of(picks);
  request.samples = picks.shape[0];
  request.num_picks = picks.shape[1];
  request.out_dtype = out.dtype;
  request.out = out.data;
  run_on_device_of(
      store, threads, [&](const cpu::Runner& runner) { cpu::gather_frames(request, runner); },
      [&](const auto& stream) { cuda::gather_frames(request, stream); });
}

void sample_frames(const Tensor& lengths, const MaybeTensor& ids, int mode, std::uint64_t seed, std::uint32_t epoch,
                   const Tensor& out, int threads) {
  expect(lengths.shape.size() == 1 && is_index(lengths.dtype), "lengths: expected B integers");
  expect(out.shape.size() == 2 && out.shape[0] == lengths.shape[0] && is_output(out, DType::kInt64),
         "out: expected (B, K) int64");
  expect(out.shape[1] >= 1 && out.shape[1] <= kDrawBlocks, "num_frames: expected 1 to 16777216");
  FrameSample request{};
  request.lengths = column_of(lengths);
  request.samples = lengths.shape[0];
  request.ids = ids_of(ids, request.samples);
  request.num_frames = static_cast<std::uint32_t>(out.shape[1]);
  request.mode = static_cast<SampleMode>(mode);
  request.seed = seed;
  request.epoch = epoch;
  request.out = reinterpret_cast<std::int64_t*>(out.data);
  if (request.samples == 0) return;
  run_on_device_of(
      lengths, threads, [&](const cpu::Runner& runner) { cpu::sample_frames(request, runner); },
      [&](const auto& stream) { cuda::sample_frames(request, stream); });
}

void dynamic_frame_masks(const Tensor& targets, const Tensor& bounds, const MaybeTensor& ids, std::uint64_t seed,
                         std::uint32_t epoch, const Tensor& out, int threads) {
  expect(targets.shape.size() == 2 && has_shape(bounds, {targets.shape[1]}), "bounds: expected one for each class");
  expect(out.shape.size() == 3 && out.shape[0] == targets.shape[0] && is_output(out, DType::kBool),
         "out: expected (B, M, T) bool");
  expect(out.shape[1] >= 1 && out.shape[1] <= kDrawBlocks / 4, "num_masks: expected 1 to 4194304");
  expect(out.shape[2] >= 1 && out.shape[2] <= kDrawBlocks, "num_frames: expected 1 to 16777216");
  FrameMasks request{};
  request.targets = grid_of(targets);
  request.bounds = column_of(bounds);
  request.classes = targets.shape[1];
  request.samples = targets.shape[0];
  request.ids = ids_of(ids, request.samples);
  request.num_masks = static_cast<std::uint32_t>(out.shape[1]);
  request.num_frames = static_cast<std::uint32_t>(out.shape[2]);
  request.seed = seed;
  request.epoch = epoch;
  request.out = out.data;
  if (request.samples == 0) return;
  run_on_device_of(
      targets, threads, [&](const cpu::Runner& runner) { cpu::dynamic_frame_masks(request, runner); },
      [&](const auto& stream) { cuda::dynamic_frame_masks(request, stream); });
}

}  // namespace

void bind_frames(py::module_& module) {
  module.def("frame_stack", &frame_stack, "features"_a, "targets"_a, "rap"_a, "partner"_a, "beta"_a, "mixed"_a,
             "label_rule"_a, "per_class"_a, "partner_first"_a, "out_features"_a, "out_targets"_a, "out_beta"_a,
             "out_partner"_a, "threads"_a);
  module.def("frame_stack_gradient", &frame_stack_gradient, "gradient"_a, "partner"_a, "beta"_a, "mixed"_a,
             "partner_first"_a, "out"_a, "threads"_a);
  module.def("gather_frames", &gather_frames, "store"_a, "offsets"_a, "videos"_a, "frame_indices"_a, "out"_a,
             "threads"_a);
  module.def("sample_frames", &sample_frames, "lengths"_a, "samples"_a, "mode"_a, "seed"_a, "epoch"_a, "out"_a,
             "threads"_a);
  module.def("dynamic_frame_masks", &dynamic_frame_masks, "targets"_a, "bounds"_a, "samples"_a, "seed"_a, "epoch"_a,
             "out"_a, "threads"_a);
}

}  // namespace vltr
