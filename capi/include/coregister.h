/* The C interface of coregister: two overlapping point clouds in, one verified rigid transform out.
 *
 * This file is made from the sources by cbindgen; do not edit it. C++ programs include coregister.hpp instead.
 *
 * Handles. What a function gives through its last parameter is the caller's, who hands it to the destroy function of
 * its type once, when no other thread uses it any more. Destroying NULL does nothing. Engines, clouds, prepared clouds
 * and results may be used by several threads at once; a configuration by one at a time.
 *
 * Errors. Functions that can fail return a coregister_status; anything but COREGISTER_STATUS_OK comes with a sentence,
 * coregister_last_error(), on the same thread. On failure, handles that were asked for are set to NULL. NULL where
 * something is needed is such an error, never a crash. Functions that read a value out of a handle give 0, "" or
 * the like for NULL.
 *
 * Strings are UTF-8 and end in a NUL byte. Those that are returned belong to the library.
 *
 * Transforms are named by their frames: T_target_source maps source coordinates to target coordinates. Matrices are
 * row-major. Lengths are in the unit of the clouds, angles in radians.
 */

#ifndef COREGISTER_H
#define COREGISTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The best device that works, for coregister_config_set_device().
 */
#define COREGISTER_DEVICE_AUTO -2

/**
 * The processor, for coregister_config_set_device().
 */
#define COREGISTER_DEVICE_CPU -1

/**
 * How a call ended.
 */
typedef enum {
    /**
     * It did what was asked for.
     */
    COREGISTER_STATUS_OK = 0,
    /**
     * An argument cannot be meant: null, an unknown number, points that overlap each other.
     */
    COREGISTER_STATUS_INVALID_ARGUMENT = 1,
    /**
     * A setting is out of its range, or does not go with another.
     */
    COREGISTER_STATUS_CONFIG = 2,
    /**
     * A cloud cannot be registered: too few usable points, or no extent.
     */
    COREGISTER_STATUS_CLOUD = 3,
    /**
     * A file could not be opened or read.
     */
    COREGISTER_STATUS_FILE = 4,
    /**
     * A file's content is not what its format promises.
     */
    COREGISTER_STATUS_FORMAT = 5,
    /**
     * The device is missing or failed.
     */
    COREGISTER_STATUS_DEVICE = 6,
    /**
     * The operating system gave no threads.
     */
    COREGISTER_STATUS_THREADS = 7,
    /**
     * There is not enough memory for the points.
     */
    COREGISTER_STATUS_MEMORY = 8,
    /**
     * A fault of the library itself; please report the message.
     */
    COREGISTER_STATUS_INTERNAL = 9,
} coregister_status;

/**
 * Whether a result can be relied on.
 */
typedef enum {
    /**
     * No confident answer; the transform is the best guess.
     */
    COREGISTER_VERDICT_REJECTED = 0,
    /**
     * The clouds agree under this transform, and under no other.
     */
    COREGISTER_VERDICT_ACCEPTED = 1,
} coregister_verdict;

/**
 * The type of coordinates, for coregister_points.
 */
typedef enum {
    /**
     * float
     */
    COREGISTER_SCALAR_FLOAT32 = 0,
    /**
     * double
     */
    COREGISTER_SCALAR_FLOAT64 = 1,
} coregister_scalar;

/**
 * The order of the bytes of a coordinate, for coregister_points.
 */
typedef enum {
    /**
     * That of this machine.
     */
    COREGISTER_BYTE_ORDER_NATIVE = 0,
    /**
     * The lowest first.
     */
    COREGISTER_BYTE_ORDER_LITTLE = 1,
    /**
     * The highest first.
     */
    COREGISTER_BYTE_ORDER_BIG = 2,
} coregister_byte_order;

/**
 * What describes the surroundings of a point, for coregister_config_set_descriptor().
 */
typedef enum {
    /**
     * The classic one for a first look, the learned one where that leaves a doubt.
     */
    COREGISTER_DESCRIPTOR_AUTO = 0,
    /**
     * A small network.
     */
    COREGISTER_DESCRIPTOR_LEARNED = 1,
    /**
     * Hand-made, without weights.
     */
    COREGISTER_DESCRIPTOR_CLASSIC = 2,
} coregister_descriptor;

/**
 * How the angle between two matched patches is found, for coregister_config_set_azimuth().
 */
typedef enum {
    /**
     * Where the circular correlation of their maps peaks.
     */
    COREGISTER_AZIMUTH_CORRELATION = 0,
    /**
     * By the cost volume of a converted checkpoint.
     */
    COREGISTER_AZIMUTH_COST_VOLUME = 1,
} coregister_azimuth;

/**
 * What is known about the vertical, for coregister_config_set_gravity().
 */
typedef enum {
    /**
     * Found in the data where both clouds show it, and used where nothing else gives a sure answer.
     */
    COREGISTER_GRAVITY_AUTO = 0,
    /**
     * Unknown; any rotation is searched.
     */
    COREGISTER_GRAVITY_NONE = 1,
} coregister_gravity;

/**
 * What registering a pair gave.
 */
typedef struct coregister_result coregister_result;

/**
 * A cloud of points that the library owns.
 */
typedef struct coregister_cloud coregister_cloud;

/**
 * Settings of an engine.
 */
typedef struct coregister_config coregister_config;

/**
 * A device that is ready to register pairs. Make one, use it for many pairs, from as many threads as you like.
 */
typedef struct coregister_engine coregister_engine;

/**
 * A cloud that is ready to take part in many pairs: what is computed of it is computed once, and kept.
 */
typedef struct coregister_prepared coregister_prepared;

/**
 * Points in the caller's memory. They are read during the call and not kept.
 *
 * The x of point i lies at `data + i * stride + x_offset`, its y and z likewise; no address needs to be aligned.
 * So an array of any struct can be given as it is, and a ROS PointCloud2 (its data, width * height, point_step and the
 * offsets of its fields), and three arrays for x, y and z within one buffer (`stride` 4, `y_offset` 4 * count).
 * NaN and infinite points are passed over.
 */
typedef struct {
    /**
     * The first point; may be NULL if there are none.
     */
    const void *data;
    /**
     * Number of points.
     */
    size_t count;
    /**
     * Bytes from one point to the next.
     */
    size_t stride;
    /**
     * Bytes from a point's start to its x.
     */
    size_t x_offset;
    /**
     * Bytes from a point's start to its y.
     */
    size_t y_offset;
    /**
     * Bytes from a point's start to its z.
     */
    size_t z_offset;
    /**
     * A coregister_scalar; 0 is float.
     */
    int32_t scalar;
    /**
     * A coregister_byte_order; 0 is that of this machine.
     */
    int32_t byte_order;
} coregister_points;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library, such as "0.1.0".
 */
const char *coregister_version(void);

/**
 * Copies points into a cloud. What was passed may be freed afterwards.
 */
coregister_status coregister_cloud_create(const coregister_points *points, coregister_cloud **cloud);

/**
 * Reads a cloud from a file: .ply, .pcd, .bin (KITTI), .npy, .xyz, .csv or .txt.
 */
coregister_status coregister_cloud_read(const char *path_utf8, coregister_cloud **cloud);

/**
 * Number of points, finite or not.
 */
size_t coregister_cloud_count(const coregister_cloud *cloud);

/**
 * Writes x, y and z of the first points to `xyz`, which has room for 3 * `count` numbers. `count` may not be more than
 * coregister_cloud_count().
 */
coregister_status coregister_cloud_copy(const coregister_cloud *cloud,
                                        double *xyz,
                                        size_t count);

/**
 * Frees a cloud.
 */
void coregister_cloud_destroy(coregister_cloud *cloud);

/**
 * Makes settings that are right for almost everybody.
 */
coregister_status coregister_config_create(coregister_config **config);

/**
 * Where to compute: COREGISTER_DEVICE_AUTO, COREGISTER_DEVICE_CPU, or the number of a CUDA device, from 0.
 */
coregister_status coregister_config_set_device(coregister_config *config, int32_t device);

/**
 * What describes the surroundings of a point: a coregister_descriptor.
 */
coregister_status coregister_config_set_descriptor(coregister_config *config, int32_t descriptor);

/**
 * File with the weights of the learned descriptor; NULL takes those built in.
 */
coregister_status coregister_config_set_weights(coregister_config *config, const char *path_utf8);

/**
 * How the angle between two matched patches is found: a coregister_azimuth.
 */
coregister_status coregister_config_set_azimuth(coregister_config *config, int32_t azimuth);

/**
 * Edge of the voxels that clouds are thinned to, in their unit; 0 derives it from the data.
 */
coregister_status coregister_config_set_voxel(coregister_config *config, double size);

/**
 * What is known about the vertical: a coregister_gravity.
 */
coregister_status coregister_config_set_gravity(coregister_config *config, int32_t gravity);

/**
 * The axis x, y, z, of any length, points up in both clouds.
 */
coregister_status coregister_config_set_gravity_axis(coregister_config *config, double x, double y, double z);

/**
 * Repeated in results. Nothing in the method is random, so it changes nothing.
 */
coregister_status coregister_config_set_seed(coregister_config *config, uint64_t seed);

/**
 * Worker threads; 0 means one per core. Does not change results.
 */
coregister_status coregister_config_set_threads(coregister_config *config, size_t threads);

/**
 * Whether the estimate is refined on the clouds at the end, as it is unless this says otherwise.
 */
coregister_status coregister_config_set_refine(coregister_config *config, bool refine);

/**
 * Most memory of a CUDA device that may be taken, in bytes; 0 stands for all of it.
 */
coregister_status coregister_config_set_max_gpu_memory(coregister_config *config, size_t bytes);

/**
 * Frees settings. Engines that were made of them stay as they are.
 */
void coregister_config_destroy(coregister_config *config);

/**
 * Checks the settings and opens the device. `config` is copied; NULL stands for the default settings.
 */
coregister_status coregister_engine_create(const coregister_config *config, coregister_engine **engine);

/**
 * Finds the transform that lays the source onto the target. A pair without a confident answer is no error: its result
 * has the verdict COREGISTER_VERDICT_REJECTED.
 */
coregister_status coregister_register(const coregister_engine *engine,
                                      const coregister_cloud *source,
                                      const coregister_cloud *target,
                                      coregister_result **result);

/**
 * As coregister_register(), of points in the caller's memory.
 */
coregister_status coregister_register_points(const coregister_engine *engine,
                                             const coregister_points *source,
                                             const coregister_points *target,
                                             coregister_result **result);

/**
 * Makes a cloud ready to take part in many pairs of engines with these settings. It may be freed afterwards.
 */
coregister_status coregister_prepare(const coregister_engine *engine,
                                     const coregister_cloud *cloud,
                                     coregister_prepared **prepared);

/**
 * As coregister_register(), of clouds that this engine, or one with the same settings, has prepared.
 */
coregister_status coregister_register_prepared(const coregister_engine *engine,
                                               const coregister_prepared *source,
                                               const coregister_prepared *target,
                                               coregister_result **result);

/**
 * Number of usable points: without those that are not finite or far from all others.
 */
size_t coregister_prepared_count(const coregister_prepared *prepared);

/**
 * Frees a prepared cloud.
 */
void coregister_prepared_destroy(coregister_prepared *prepared);

/**
 * Frees an engine and closes its device.
 */
void coregister_engine_destroy(coregister_engine *engine);

/**
 * Whether the result can be relied on. COREGISTER_VERDICT_REJECTED for NULL.
 */
coregister_verdict coregister_result_verdict(const coregister_result *result);

/**
 * Why it was rejected, one sentence; "" when accepted. Valid as long as the result.
 */
const char *coregister_result_reason(const coregister_result *result);

/**
 * Writes T_target_source to `matrix`: 16 numbers, row by row; p_target = T_target_source * p_source.
 */
coregister_status coregister_result_transform(const coregister_result *result, double *matrix);

/**
 * Probability that the transform is right, 0 to 1.
 */
double coregister_result_confidence(const coregister_result *result);

/**
 * Share of the source's surface that lies on the target's, 0 to 1.
 */
double coregister_result_overlap(const coregister_result *result);

/**
 * Matches that agree with the transform.
 */
size_t coregister_result_inliers(const coregister_result *result);

/**
 * Root mean square distance of overlapping surfaces along the target's normal.
 */
double coregister_result_inlier_rmse(const coregister_result *result);

/**
 * Writes the Fisher information to `matrix`: 36 numbers, row by row, of rotation about x, y, z and translation along
 * x, y, z, in target coordinates, about the centre of `coregister_result_information_centre`. Units: 1/rad^2 and 1/length^2.
 */
coregister_status coregister_result_information(const coregister_result *result,
                                                double *matrix);

/**
 * Writes the centre of the overlap, x, y, z in target coordinates, to `point`: with (w, v) the small error that the
 * information is about, the right transform maps p to q + w x (q - centre) + v, where q is what the answer maps p to.
 */
coregister_status coregister_result_information_centre(const coregister_result *result,
                                                       double *point);

/**
 * Number of motions that the overlap does not determine.
 */
size_t coregister_result_unobserved_count(const coregister_result *result);

/**
 * Such a motion in words, such as "translation along (0.00, 1.00, 0.00)"; "" beyond the last. Valid as long as the
 * result.
 */
const char *coregister_result_unobserved(const coregister_result *result,
                                         size_t index);

/**
 * Number of warnings: what should be known although there is a result, such as points that were left out.
 */
size_t coregister_result_warning_count(const coregister_result *result);

/**
 * Such a warning, one sentence; "" beyond the last. Valid as long as the result.
 */
const char *coregister_result_warning(const coregister_result *result, size_t index);

/**
 * Number of stages that were timed.
 */
size_t coregister_result_stage_count(const coregister_result *result);

/**
 * Name of a stage, in the order of execution; "" beyond the last. Valid as long as the result.
 */
const char *coregister_result_stage_name(const coregister_result *result, size_t index);

/**
 * Time spent in a stage; 0 beyond the last.
 */
double coregister_result_stage_seconds(const coregister_result *result, size_t index);

/**
 * What computed it: "cpu", "cuda:0". Valid as long as the result.
 */
const char *coregister_result_device(const coregister_result *result);

/**
 * The seed of the settings.
 */
uint64_t coregister_result_seed(const coregister_result *result);

/**
 * Frees a result, and the strings read out of it.
 */
void coregister_result_destroy(coregister_result *result);

/**
 * Why the last failed call on this thread failed, in one sentence; "" if none did. Valid until the next call on this
 * thread that fails.
 */
const char *coregister_last_error(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* COREGISTER_H */
