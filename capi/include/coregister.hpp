// C++17 classes over the C interface of coregister: two overlapping point clouds in, one verified rigid transform out.
//
// Everything frees itself, and failures are thrown as coregister::Error. Clouds, prepared clouds and engines may be
// used by several threads at once. Nothing but the standard library is needed; the types fit Eigen, PCL and ROS
// without knowing them.

#ifndef COREGISTER_HPP
#define COREGISTER_HPP

#if __cplusplus < 201703L && !defined(_MSVC_LANG)
#error "coregister.hpp needs C++17; pass -std=c++17 or newer"
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "coregister.h"

namespace coregister {

/// What failed, in a sentence, and of which kind it is.
class Error : public std::runtime_error {
public:
    Error(coregister_status status, const std::string &message) : std::runtime_error(message), status_(status) {}

    coregister_status status() const noexcept { return status_; }

private:
    coregister_status status_;
};

namespace detail {

inline void check(coregister_status status) {
    if (status != COREGISTER_STATUS_OK) {
        throw Error(status, coregister_last_error());
    }
}

/// A handle of the C interface, freed by `destroy`.
template <typename T, void (*destroy)(T *)>
struct Destroy {
    void operator()(T *handle) const noexcept { destroy(handle); }
};

template <typename T, void (*destroy)(T *)>
using Handle = std::unique_ptr<T, Destroy<T, destroy>>;

template <typename T>
constexpr std::int32_t scalar_of() {
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>, "coordinates are float or double");
    return std::is_same_v<T, float> ? COREGISTER_SCALAR_FLOAT32 : COREGISTER_SCALAR_FLOAT64;
}

template <typename P, typename = void>
struct HasMembers : std::false_type {};

/// Members x, y and z that are data: of functions of these names no address can be taken.
template <typename P>
struct HasMembers<P, std::void_t<decltype(&std::declval<const P &>().x), decltype(&std::declval<const P &>().y),
                                 decltype(&std::declval<const P &>().z)>> : std::true_type {};

template <typename P, typename = void>
struct HasElements : std::false_type {};

/// Elements that lie in the point: of those that are computed no address can be taken.
template <typename P>
struct HasElements<P, std::void_t<decltype(&std::declval<const P &>()[0])>> : std::true_type {};

template <typename P>
using IfPoint = std::enable_if_t<HasMembers<P>::value || HasElements<P>::value>;

/// Where x, y and z of a point lie: members of these names, or the elements 0, 1 and 2.
template <typename P>
auto coordinates_of(const P &point) {
    if constexpr (HasMembers<P>::value) {
        return std::array{&point.x, &point.y, &point.z};
    } else {
        return std::array{&point[0], &point[1], &point[2]};
    }
}

template <typename P>
using Coordinates = decltype(coordinates_of(std::declval<const P &>()));

template <typename P>
using ScalarOf = std::remove_cv_t<std::remove_pointer_t<typename Coordinates<P>::value_type>>;

/// What data() of a container points to.
template <typename Container>
using PointOf = std::remove_cv_t<std::remove_pointer_t<decltype(std::declval<const Container &>().data())>>;

}  // namespace detail

/// Points in the caller's memory, which has to stay there while the view is used.
class View {
public:
    /// Of what coregister.h describes.
    explicit View(const coregister_points &points) noexcept : points_(points) {}

    /// Of x, y, z side by side in each point, `stride` bytes from one point to the next.
    template <typename T>
    View(const T *xyz, std::size_t count, std::size_t stride = 3 * sizeof(T)) noexcept : points_{} {
        points_.data = xyz;
        points_.count = count;
        points_.stride = stride;
        points_.y_offset = sizeof(T);
        points_.z_offset = 2 * sizeof(T);
        points_.scalar = detail::scalar_of<T>();
    }

    /// Of a std::vector or another container with data() and size(), of std::array<float, 3>, Eigen::Vector3d,
    /// pcl::PointXYZ or any other type with members x, y, z or elements 0, 1, 2, of type float or double.
    template <typename Container, typename Point = detail::PointOf<Container>, typename = detail::IfPoint<Point>>
    View(const Container &points) : points_{} {
        points_.scalar = detail::scalar_of<detail::ScalarOf<Point>>();
        points_.count = points.size();
        points_.stride = sizeof(Point);
        if (points_.count > 0) {
            const Point &first = *points.data();
            const auto start = reinterpret_cast<const char *>(&first);
            const auto [x, y, z] = detail::coordinates_of(first);
            points_.data = start;
            points_.x_offset = static_cast<std::size_t>(reinterpret_cast<const char *>(x) - start);
            points_.y_offset = static_cast<std::size_t>(reinterpret_cast<const char *>(y) - start);
            points_.z_offset = static_cast<std::size_t>(reinterpret_cast<const char *>(z) - start);
        }
    }

    const coregister_points &points() const noexcept { return points_; }

private:
    coregister_points points_;
};

/// The points of a sensor_msgs PointCloud2, of ROS 1 or 2, where they lie. x, y and z have to be of one type,
/// FLOAT32 or FLOAT64.
template <typename PointCloud2>
View view_point_cloud2(const PointCloud2 &message) {
    constexpr int float32 = 7;
    constexpr int float64 = 8;
    const auto refusal = [](const std::string &reason) {
        return Error(COREGISTER_STATUS_INVALID_ARGUMENT, "PointCloud2: " + reason);
    };
    const auto field = [&](const char *name) {
        for (const auto &candidate : message.fields) {
            if (candidate.name == name) {
                return std::pair<std::size_t, int>{candidate.offset, candidate.datatype};
            }
        }
        throw refusal(std::string("there is no field ") + name + "; it needs x, y and z");
    };
    const auto x = field("x");
    const auto y = field("y");
    const auto z = field("z");
    const int type = x.second;
    if ((type != float32 && type != float64) || y.second != type || z.second != type) {
        throw refusal("x, y and z have to be of one type, FLOAT32 or FLOAT64");
    }
    const std::size_t width = message.width, height = message.height, step = message.point_step;
    if (height > 1 && message.row_step != width * step) {
        throw refusal("its rows are padded; copy them together");
    }
    if (message.data.size() < width * height * step) {
        throw refusal("its data is shorter than width * height * point_step");
    }
    coregister_points points{};
    points.data = message.data.data();
    points.count = width * height;
    points.stride = step;
    points.x_offset = x.first;
    points.y_offset = y.first;
    points.z_offset = z.first;
    points.scalar = type == float32 ? COREGISTER_SCALAR_FLOAT32 : COREGISTER_SCALAR_FLOAT64;
    points.byte_order = message.is_bigendian ? COREGISTER_BYTE_ORDER_BIG : COREGISTER_BYTE_ORDER_LITTLE;
    const std::size_t size = type == float32 ? sizeof(float) : sizeof(double);
    for (const std::size_t offset : {x.first, y.first, z.first}) {
        if (points.count > 0 && offset + size > step) {
            throw refusal("a field ends beyond point_step");
        }
    }
    return View(points);
}

/// A cloud that the library owns.
class Cloud {
public:
    /// A copy of points in memory; see View for what can be given.
    explicit Cloud(const View &view) {
        coregister_cloud *handle = nullptr;
        detail::check(coregister_cloud_create(&view.points(), &handle));
        handle_.reset(handle);
    }

    /// A copy of points in any kind of container, such as a std::list.
    template <typename Iterator>
    Cloud(Iterator first, Iterator last) : Cloud(View(copy(first, last))) {}

    /// From a .ply, .pcd, .bin (KITTI), .npy, .xyz, .csv or .txt file.
    static Cloud read(const std::string &path) {
        coregister_cloud *handle = nullptr;
        detail::check(coregister_cloud_read(path.c_str(), &handle));
        return Cloud(handle);
    }

    /// Number of points, finite or not.
    std::size_t size() const noexcept { return coregister_cloud_count(handle_.get()); }

    /// A copy of the points.
    std::vector<std::array<double, 3>> points() const {
        std::vector<std::array<double, 3>> points(size());
        double *const first = points.empty() ? nullptr : points.front().data();
        detail::check(coregister_cloud_copy(handle_.get(), first, points.size()));
        return points;
    }

    const coregister_cloud *get() const noexcept { return handle_.get(); }

private:
    explicit Cloud(coregister_cloud *handle) noexcept : handle_(handle) {}

    template <typename Iterator>
    static auto copy(Iterator first, Iterator last) {
        using Point = typename std::iterator_traits<Iterator>::value_type;
        std::vector<std::array<detail::ScalarOf<Point>, 3>> points;
        for (; first != last; ++first) {
            const auto [x, y, z] = detail::coordinates_of(*first);
            points.push_back({*x, *y, *z});
        }
        return points;
    }

    detail::Handle<coregister_cloud, coregister_cloud_destroy> handle_;
};

/// Settings. Those of a new one are right for almost everybody.
class Config {
public:
    Config() {
        coregister_config *handle = nullptr;
        detail::check(coregister_config_create(&handle));
        handle_.reset(handle);
    }

    /// COREGISTER_DEVICE_AUTO, COREGISTER_DEVICE_CPU, or the number of a CUDA device.
    Config &device(std::int32_t device) { return done(coregister_config_set_device(handle_.get(), device)); }

    Config &descriptor(coregister_descriptor descriptor) {
        return done(coregister_config_set_descriptor(handle_.get(), descriptor));
    }

    /// File with the weights of the learned descriptor.
    Config &weights(const std::string &path) {
        return done(coregister_config_set_weights(handle_.get(), path.c_str()));
    }

    Config &azimuth(coregister_azimuth azimuth) { return done(coregister_config_set_azimuth(handle_.get(), azimuth)); }

    /// Edge of the voxels that clouds are thinned to, in their unit; 0 derives it from the data.
    Config &voxel(double size) { return done(coregister_config_set_voxel(handle_.get(), size)); }

    Config &gravity(coregister_gravity gravity) { return done(coregister_config_set_gravity(handle_.get(), gravity)); }

    /// This axis, of any length, points up in both clouds.
    Config &gravity_axis(double x, double y, double z) {
        return done(coregister_config_set_gravity_axis(handle_.get(), x, y, z));
    }

    /// Repeated in results; changes nothing else.
    Config &seed(std::uint64_t seed) { return done(coregister_config_set_seed(handle_.get(), seed)); }

    /// Worker threads; 0 means one per core.
    Config &threads(std::size_t threads) { return done(coregister_config_set_threads(handle_.get(), threads)); }

    /// Most memory of a CUDA device that may be taken, in bytes; 0 stands for all of it.
    Config &max_gpu_memory(std::size_t bytes) {
        return done(coregister_config_set_max_gpu_memory(handle_.get(), bytes));
    }

    /// Whether the estimate is refined on the clouds at the end.
    Config &refine(bool refine) { return done(coregister_config_set_refine(handle_.get(), refine)); }

    const coregister_config *get() const noexcept { return handle_.get(); }

private:
    Config &done(coregister_status status) {
        detail::check(status);
        return *this;
    }

    detail::Handle<coregister_config, coregister_config_destroy> handle_;
};

/// A cloud that is ready to take part in many pairs: what is computed of it is computed once, and kept.
class PreparedCloud {
public:
    /// Number of usable points.
    std::size_t size() const noexcept { return coregister_prepared_count(handle_.get()); }

    const coregister_prepared *get() const noexcept { return handle_.get(); }

private:
    friend class Engine;

    explicit PreparedCloud(coregister_prepared *handle) noexcept : handle_(handle) {}

    detail::Handle<coregister_prepared, coregister_prepared_destroy> handle_;
};

/// What registering a pair gave.
struct Registration {
    /// Whether it can be relied on.
    bool accepted = false;
    /// Why not, one sentence; empty if accepted.
    std::string reason;
    /// T_target_source, row by row: p_target = T_target_source * p_source. With Eigen:
    /// Eigen::Map<const Eigen::Matrix<double, 4, 4, Eigen::RowMajor>>(target_from_source.data()), or matrix().
    std::array<double, 16> target_from_source{};
    /// Probability that the transform is right, 0 to 1.
    double confidence = 0.0;
    /// Share of the source's surface that lies on the target's, 0 to 1.
    double overlap = 0.0;
    /// Matches that agree with the transform.
    std::size_t inliers = 0;
    /// Root mean square distance of overlapping surfaces along the target's normal, in the clouds' unit.
    double inlier_rmse = 0.0;
    /// Fisher information of rotation about x, y, z and translation along x, y, z, in target coordinates, about
    /// `information_centre`; row by row. Units: 1/rad^2 and 1/length^2.
    std::array<double, 36> information{};
    /// Centre of the overlap, target coordinates: with (w, v) the small error that `information` is about, the right
    /// transform maps p to q + w x (q - information_centre) + v, where q is what the answer maps p to.
    std::array<double, 3> information_centre{};
    /// Motions that the overlap does not determine, in words.
    std::vector<std::string> unobserved;
    /// What should be known although there is an answer: points that were left out, a device that failed so that the CPU
    /// took its place.
    std::vector<std::string> warnings;
    /// Stages, in the order of execution, and the seconds that each took.
    std::vector<std::pair<std::string, double>> stage_seconds;
    /// What computed it: "cpu", "cuda:0".
    std::string device;
    /// The seed of the settings.
    std::uint64_t seed = 0;

    /// The transform as a type with operator()(row, column), such as Eigen::Matrix4d or Eigen::Isometry3d.
    template <typename Matrix>
    Matrix matrix() const {
        Matrix result;
        using Entry = std::decay_t<decltype(result(0, 0))>;
        for (int row = 0; row < 4; ++row) {
            for (int column = 0; column < 4; ++column) {
                const auto place = static_cast<std::size_t>(4 * row + column);
                result(row, column) = static_cast<Entry>(target_from_source[place]);
            }
        }
        return result;
    }

    /// Where a point of the source lies in the target.
    std::array<double, 3> apply(const std::array<double, 3> &point) const noexcept {
        const auto &t = target_from_source;
        const auto [x, y, z] = point;
        return {t[0] * x + t[1] * y + t[2] * z + t[3], t[4] * x + t[5] * y + t[6] * z + t[7],
                t[8] * x + t[9] * y + t[10] * z + t[11]};
    }
};

/// A device that is ready to register pairs. Make one, use it for many pairs, from as many threads as you like.
class Engine {
public:
    explicit Engine(const Config &config = Config()) {
        coregister_engine *handle = nullptr;
        detail::check(coregister_engine_create(config.get(), &handle));
        handle_.reset(handle);
    }

    /// Finds the transform that lays the source onto the target, of views or of what they can be made of. A pair
    /// without a confident answer is no error: it is not accepted.
    Registration register_pair(const View &source, const View &target) const {
        coregister_result *result = nullptr;
        detail::check(coregister_register_points(handle_.get(), &source.points(), &target.points(), &result));
        return read(result);
    }

    Registration register_pair(const Cloud &source, const Cloud &target) const {
        coregister_result *result = nullptr;
        detail::check(coregister_register(handle_.get(), source.get(), target.get(), &result));
        return read(result);
    }

    /// Makes a cloud ready to take part in many pairs of engines with these settings.
    PreparedCloud prepare(const Cloud &cloud) const {
        coregister_prepared *prepared = nullptr;
        detail::check(coregister_prepare(handle_.get(), cloud.get(), &prepared));
        return PreparedCloud(prepared);
    }

    Registration register_pair(const PreparedCloud &source, const PreparedCloud &target) const {
        coregister_result *result = nullptr;
        detail::check(coregister_register_prepared(handle_.get(), source.get(), target.get(), &result));
        return read(result);
    }

    const coregister_engine *get() const noexcept { return handle_.get(); }

private:
    /// Takes the result over.
    static Registration read(coregister_result *handle) {
        const detail::Handle<coregister_result, coregister_result_destroy> owner(handle);
        Registration registration;
        registration.accepted = coregister_result_verdict(handle) == COREGISTER_VERDICT_ACCEPTED;
        registration.reason = coregister_result_reason(handle);
        detail::check(coregister_result_transform(handle, registration.target_from_source.data()));
        registration.confidence = coregister_result_confidence(handle);
        registration.overlap = coregister_result_overlap(handle);
        registration.inliers = coregister_result_inliers(handle);
        registration.inlier_rmse = coregister_result_inlier_rmse(handle);
        detail::check(coregister_result_information(handle, registration.information.data()));
        detail::check(coregister_result_information_centre(handle, registration.information_centre.data()));
        for (std::size_t i = 0; i < coregister_result_unobserved_count(handle); ++i) {
            registration.unobserved.emplace_back(coregister_result_unobserved(handle, i));
        }
        for (std::size_t i = 0; i < coregister_result_warning_count(handle); ++i) {
            registration.warnings.emplace_back(coregister_result_warning(handle, i));
        }
        for (std::size_t i = 0; i < coregister_result_stage_count(handle); ++i) {
            registration.stage_seconds.emplace_back(coregister_result_stage_name(handle, i),
                                                    coregister_result_stage_seconds(handle, i));
        }
        registration.device = coregister_result_device(handle);
        registration.seed = coregister_result_seed(handle);
        return registration;
    }

    detail::Handle<coregister_engine, coregister_engine_destroy> handle_;
};

/// The version of the library, such as "0.1.0".
inline std::string version() { return coregister_version(); }

}  // namespace coregister

#endif  // COREGISTER_HPP
