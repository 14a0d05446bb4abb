// The core of vltr_eval/_base/arrays.py: borrowed arrays, DLPack, devices, and the library's own device memory.
#include <memory>

#include "bindings/bindings.hpp"
#include "bindings/dlpack.hpp"
#include "core/matrix.hpp"
#include "core/tensor.hpp"
#ifdef VLTR_HAVE_CUDA
#include "cuda/device.hpp"
#endif

namespace vltr {
namespace {

// In the order of DType.
constexpr const char* kDTypeNames[] = {"bool",   "uint8", "int8",    "uint16",   "int16",   "uint32", "int32",
                                       "uint64", "int64", "float16", "bfloat16", "float32", "float64"};

#ifdef VLTR_HAVE_CUDA
cuda::Stream stream_of(const Tensor& tensor) { return {tensor.device, tensor.stream}; }
#endif

// One element as a Python number, from CPU or device memory.
py::object item(const Tensor& tensor, const std::vector<std::int64_t>& index) {
  const std::byte* ptr = tensor.data;
  bool inside = index.size() == tensor.shape.size();
  for (std::size_t axis = 0; inside && axis < index.size(); ++axis) {
    inside = index[axis] >= 0 && index[axis] < tensor.shape[axis];
    ptr += index[axis] * tensor.strides[axis];
  }
  if (!inside) throw py::index_error("index: expected one within the array");
  return with_element_type(tensor.dtype, [&](auto tag) -> py::object {
    using T = typename decltype(tag)::type;
#ifdef VLTR_HAVE_CUDA
    std::byte copy[sizeof(T)];
    if (tensor.on_device()) {
      const py::gil_scoped_release release;
      cuda::copy_to_host(stream_of(tensor), copy, ptr, sizeof(T));
      cuda::synchronize(stream_of(tensor));
      ptr = copy;
    }
#endif
    const T value = load_element<T>(ptr);
    if constexpr (std::is_integral_v<T>) {
      return py::cast(value);
    } else {
      return py::float_(static_cast<double>(to_lane(value)));
    }
  });
}

// Fills a tensor from a numpy array of the same bytes. Asynchronous on a device.
void assign(const Tensor& tensor, const py::array& values) {
  const std::int64_t bytes = tensor.size() * size_of(tensor.dtype);
  if (!tensor.contiguous() || values.nbytes() != bytes || (values.flags() & py::array::c_style) == 0) {
    throw py::value_error("values: expected as many bytes as the tensor has, both in C order");
  }
  if (bytes == 0) return;
#ifdef VLTR_HAVE_CUDA
  if (tensor.on_device()) return cuda::copy_to_device(stream_of(tensor), tensor.data, values.data(), bytes);
#endif
  std::memcpy(tensor.data, values.data(), static_cast<std::size_t>(bytes));
}

// DLPack

std::string dtype_name(const dlpack::DataType& dtype) {
  constexpr const char* kKinds[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  if (dtype.code == dlpack::kBool && dtype.bits == 8 && dtype.lanes == 1) return "bool";
  if (dtype.code >= std::size(kKinds)) {
    return "type code " + std::to_string(dtype.code) + " of " + std::to_string(dtype.bits) + " bits";
  }
  std::string name = kKinds[dtype.code] + std::to_string(dtype.bits);
  if (dtype.lanes != 1) name += "x" + std::to_string(dtype.lanes);
  return name;
}

// Takes the tensor of a capsule: (address, shape, strides in bytes, dtype name, owner, writable, (device type,
// device)). Marks the capsule as used. The owner is a Python object; its destructor runs with the GIL and calls the
// producer's deleter once.
template <class Managed>
py::tuple take(const py::object& capsule) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), Managed::kName));
  const py::capsule owner(managed, [](void* pointer) {
    auto* owned = static_cast<Managed*>(pointer);
    if (owned->deleter != nullptr) owned->deleter(owned);
  });
  if (PyCapsule_SetName(capsule.ptr(), Managed::kUsedName) != 0) throw py::error_already_set();
  bool writable = true;  // capsules before version 1 have no flag
  if constexpr (std::is_same_v<Managed, dlpack::ManagedVersioned>) {
    if (managed->major != 1) {  // other major versions may lay out the tensor differently
      throw py::buffer_error("expected DLPack version 1, got " + std::to_string(managed->major));
    }
    writable = (managed->flags & dlpack::kReadOnly) == 0;
  }
  const dlpack::Tensor& tensor = managed->tensor;
  constexpr std::int32_t kMaxRank = 64;
  if (tensor.ndim < 0 || tensor.ndim > kMaxRank || (tensor.ndim > 0 && tensor.shape == nullptr)) {
    throw py::buffer_error("expected a shape of at most 64 axes, got " + std::to_string(tensor.ndim));
  }
  const auto rank = static_cast<std::size_t>(tensor.ndim);
  const std::int64_t itemsize = (std::int64_t{tensor.dtype.bits} * tensor.dtype.lanes + 7) / 8;
  py::tuple shape(rank);
  py::tuple strides(rank);
  py::int_ stride(itemsize);  // of any size: Python checks that the array fits in memory
  for (std::size_t axis = rank; axis-- > 0;) {
    const py::int_ extent(tensor.shape[axis]);
    shape[axis] = extent;
    strides[axis] = tensor.strides != nullptr ? py::int_(itemsize) * py::int_(tensor.strides[axis]) : stride;
    stride = stride * extent;
  }
  // Null plus an offset stays null. Python adds the numbers, because its integers do not wrap.
  const auto data = reinterpret_cast<std::uintptr_t>(tensor.data);
  const py::object address = py::int_(data) + py::int_(data == 0 ? 0 : tensor.byte_offset);
  const auto device = py::make_tuple(tensor.device.type, tensor.device.index);
  return py::make_tuple(address, shape, strides, dtype_name(tensor.dtype), owner, writable, device);
}

py::tuple from_dlpack(const py::object& capsule) {
  if (PyCapsule_IsValid(capsule.ptr(), dlpack::ManagedVersioned::kName) != 0) {
    return take<dlpack::ManagedVersioned>(capsule);
  }
  if (PyCapsule_IsValid(capsule.ptr(), dlpack::Managed::kName) != 0) return take<dlpack::Managed>(capsule);
  throw py::buffer_error("expected an unused DLPack capsule, got a used one or another object");
}

#ifdef VLTR_HAVE_CUDA

// The library's own device memory, for results in arrays that no other library allocates. It exports itself by every
// protocol. It is freed in stream order when neither Python nor a consumer refers to it.
class DeviceArray {
 public:
  DeviceArray(std::vector<std::int64_t> shape, DType dtype, const cuda::Stream& stream)
      : shape_(std::move(shape)), dtype_(dtype), memory_(stream, bytes_of(shape_, dtype)) {}
  const std::vector<std::int64_t>& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  const cuda::Stream& stream() const { return memory_.stream(); }
  std::byte* data() const { return static_cast<std::byte*>(memory_.data()); }
  std::int64_t bytes() const { return memory_.bytes(); }

 private:
  static std::int64_t bytes_of(const std::vector<std::int64_t>& shape, DType dtype) {
    std::int64_t bytes = size_of(dtype);
    for (const std::int64_t extent : shape) {
      if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes)) {
        throw py::value_error("shape: expected one with fewer than 2^63 bytes");
      }
    }
    return bytes;
  }

  std::vector<std::int64_t> shape_;
  DType dtype_;
  cuda::Memory memory_;
};
using SharedArray = std::shared_ptr<DeviceArray>;

const char* name_of(DType dtype) { return kDTypeNames[static_cast<int>(dtype)]; }

dlpack::DataType dlpack_type(DType dtype) {
  const std::string name = name_of(dtype);
  const std::uint8_t code = dtype == DType::kBool ? dlpack::kBool
                            : name[0] == 'b'      ? dlpack::kBFloat
                            : name[0] == 'f'      ? dlpack::kFloat
                            : name[0] == 'u'      ? dlpack::kUInt
                                                  : dlpack::kInt;
  return {code, static_cast<std::uint8_t>(8 * size_of(dtype)), 1};
}

py::dict cuda_array_interface(const DeviceArray& array) {
  const std::string kind = array.dtype() == DType::kBool       ? "|b"
                           : array.dtype() == DType::kBFloat16 ? "<V"  // as ml_dtypes names it
                                                               : "<" + std::string(1, name_of(array.dtype())[0]);
  // In this protocol the legacy default stream is 1, and 0 is not allowed.
  const std::uintptr_t stream = std::max<std::uintptr_t>(1, array.stream().handle);
  return py::dict("shape"_a = py::tuple(py::cast(array.shape())),
                  "typestr"_a = kind + std::to_string(size_of(array.dtype())),
                  "data"_a = py::make_tuple(reinterpret_cast<std::uintptr_t>(array.data()), false),
                  "strides"_a = py::none(), "version"_a = 3, "stream"_a = stream);
}

template <class Managed>
py::capsule export_as(const SharedArray& array, const std::optional<cuda::Stream>& consumer) {
  struct Export {
    SharedArray array;
    std::optional<cuda::Stream> consumer;
    std::vector<std::int64_t> strides;
    Managed managed{};

    // The memory is freed in the order of the array's stream, which therefore waits for the consumer's work. A stream
    // that the consumer made may be destroyed by now, with work still on it, and the per-thread stream may be that of
    // another thread. So only the legacy default stream can be waited for alone.
    ~Export() {
      try {
        if (!consumer) return;
        if (consumer->handle == 1) {
          cuda::wait_for(array->stream(), *consumer);
        } else {
          cuda::synchronize_device(array->stream().device);
        }
      } catch (const cuda::Error&) {  // the process ends, or a kernel failed, and later calls will say so
      }
    }
  };
  auto* out = new Export{array, consumer, std::vector<std::int64_t>(array->shape().size()), {}};
  std::int64_t stride = 1;
  for (std::size_t axis = out->strides.size(); axis-- > 0; stride *= array->shape()[axis]) out->strides[axis] = stride;
  out->managed.tensor = {array->data(),
                         {dlpack::kCuda, array->stream().device},
                         static_cast<std::int32_t>(out->strides.size()),
                         dlpack_type(array->dtype()),
                         const_cast<std::int64_t*>(array->shape().data()),  // consumers do not write to it
                         out->strides.data(),
                         0};
  out->managed.context = out;
  out->managed.deleter = [](Managed* managed) { delete static_cast<Export*>(managed->context); };
  if constexpr (std::is_same_v<Managed, dlpack::ManagedVersioned>) out->managed.major = 1;
  return py::capsule(&out->managed, Managed::kName, [](PyObject* capsule) {
    if (PyCapsule_IsValid(capsule, Managed::kName) == 0) return;  // a consumer took it and will delete it
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, Managed::kName));
    managed->deleter(managed);
  });
}

using IntPair = std::pair<int, int>;

py::capsule to_dlpack(const SharedArray& array, std::optional<std::int64_t> stream, std::optional<IntPair> max_version,
                      std::optional<IntPair> dl_device, std::optional<bool> copy) {
  const cuda::Stream& array_stream = array->stream();
  if (dl_device && *dl_device != IntPair(dlpack::kCuda, array_stream.device)) {
    throw py::buffer_error("dl_device: expected device " + std::to_string(array_stream.device) +
                           ", that of the array, got " + std::to_string(dl_device->second) + " of type " +
                           std::to_string(dl_device->first));
  }
  if (copy.value_or(false)) throw py::buffer_error("copy: expected None or False; the memory is shared");
  // The protocol's rules: None is the legacy default stream, -1 is no synchronization, and 0 is ambiguous.
  const std::int64_t consumer = stream.value_or(1);
  if (consumer == 0 || consumer < -1) {
    throw py::value_error("stream: expected None, -1, 1, 2 or a CUDA stream, got " + std::to_string(consumer));
  }
  std::optional<cuda::Stream> consumer_stream;
  if (consumer != -1) {
    consumer_stream = cuda::Stream{array_stream.device, static_cast<std::uintptr_t>(consumer)};
    cuda::wait_for(*consumer_stream, array_stream);
  }
  return max_version && max_version->first >= 1 ? export_as<dlpack::ManagedVersioned>(array, consumer_stream)
                                                : export_as<dlpack::Managed>(array, consumer_stream);
}

py::array to_host(const DeviceArray& array) {
  py::array out(py::dtype::from_args(py::str(name_of(array.dtype()))), array.shape());
  void* const data = out.mutable_data();
  const py::gil_scoped_release release;
  cuda::copy_to_host(array.stream(), data, array.data(), array.bytes());
  cuda::synchronize(array.stream());
  return out;
}

void bind_devices(py::module_& module) {
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const cuda::OutOfMemory& error) {
      PyErr_SetString(PyExc_MemoryError, error.what());
    }
  });
  module.def("device_count", &cuda::device_count);
  module.def("why_no_device", &cuda::why_no_device);
  module.def("device_of",
             [](std::uintptr_t address) { return cuda::device_of(reinterpret_cast<const void*>(address)); });
  module.def(
      "wait_for",
      [](int device, std::uintptr_t stream, std::uintptr_t other) {
        cuda::wait_for({device, stream}, {device, other});
      },
      "device"_a, "stream"_a, "other"_a, "Later work on `stream` waits for all present work on `other`.");
  py::class_<cuda::Event>(module, "Event",
                          "A point in the work of a stream: all work before the construction of the event.")
      .def(py::init([](int device, std::uintptr_t stream) {
             return std::make_unique<cuda::Event>(cuda::Stream{device, stream});
           }),
           "device"_a, "stream"_a)
      .def("done", &cuda::Event::done, "True once the device has finished that work. Does not wait.");
  py::class_<DeviceArray, SharedArray>(module, "DeviceArray", "An array in device memory, not yet filled.")
      .def(py::init([](std::vector<std::int64_t> shape, int dtype, int device, std::uintptr_t stream) {
             return std::make_shared<DeviceArray>(std::move(shape), static_cast<DType>(dtype),
                                                  cuda::Stream{device, stream});
           }),
           "shape"_a, "dtype"_a, "device"_a, "stream"_a)
      .def_property_readonly("address", [](const DeviceArray& a) { return reinterpret_cast<std::uintptr_t>(a.data()); })
      .def_property_readonly("shape", [](const DeviceArray& a) { return py::tuple(py::cast(a.shape())); })
      .def_property_readonly("dtype", [](const DeviceArray& a) { return name_of(a.dtype()); })
      .def_property_readonly("__cuda_array_interface__", &cuda_array_interface)
      .def("__dlpack_device__", [](const DeviceArray& a) { return IntPair(dlpack::kCuda, a.stream().device); })
      .def("__dlpack__", &to_dlpack, py::kw_only(), "stream"_a = py::none(), "max_version"_a = py::none(),
           "dl_device"_a = py::none(), "copy"_a = py::none())
      .def("to_numpy", &to_host, "Copies the array to CPU memory once the work on its stream is done.");
}

#else

void bind_devices(py::module_& module) {
  module.def("device_count", [] { return 0; });
  module.def("why_no_device", [] { return "this build has no CUDA kernels"; });
}

#endif

}  // namespace

void bind_arrays(py::module_& module) {
  module.attr("DTYPES") = py::tuple(py::cast(std::vector<std::string>(std::begin(kDTypeNames), std::end(kDTypeNames))));
  py::class_<Tensor>(module, "Tensor", "A borrowed array of any rank. The caller keeps the memory alive.")
      .def(py::init([](std::uintptr_t address, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides,
                       int dtype, int device, std::uintptr_t stream) {
             if (shape.size() != strides.size()) throw py::value_error("strides: expected one for each axis");
             const auto itemsize = static_cast<std::uintptr_t>(size_of(static_cast<DType>(dtype)));
             std::uintptr_t offsets = address;
             for (const std::int64_t stride : strides) offsets |= static_cast<std::uintptr_t>(stride);
             // A misaligned load would make the device unusable for this process.
             if (device >= 0 && offsets % itemsize != 0) {
               throw py::value_error(
                   "address: expected elements at multiples of their size in device memory, got a misaligned address "
                   "or stride");
             }
             return Tensor{reinterpret_cast<std::byte*>(address),
                           std::move(shape),
                           std::move(strides),
                           static_cast<DType>(dtype),
                           device,
                           stream};
           }),
           "address"_a, "shape"_a, "strides"_a, "dtype"_a, "device"_a, "stream"_a)
      .def("item", &item, "index"_a, "Returns one element as a Python number, from CPU or device memory.")
      .def("assign", &assign, "values"_a, "Copies a numpy array of the same bytes into the tensor, in C order.");
  module.def("address_of", [](const py::array& array) { return reinterpret_cast<std::uintptr_t>(array.data()); });
  module.def(
      "from_dlpack", &from_dlpack, "capsule"_a,
      "(address, shape, strides in bytes, dtype name, owner, writable, (device type, device)) of a DLPack capsule "
      "of either kind.");
  bind_devices(module);
}

}  // namespace vltr
