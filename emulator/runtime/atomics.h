// CUDA's atomics. They order no other memory (`__ATOMIC_RELAXED`), as on a device. Each returns the former value.
//
// They are templates, so that `uint64_t` and `unsigned long long` both work, which are different types on Linux. The
// operand is a type of its own (`Plain`), so that the address alone decides, as among CUDA's overloads.
#pragma once

namespace emulator {

template <class T>
struct PlainType { using type = T; };
template <class T>
using Plain = typename PlainType<T>::type;

/// Replaces `*address` by `change(*address)`.
template <class T, class Change>
inline T update(T* address, Change change) {
    T former, wanted;
    __atomic_load(address, &former, __ATOMIC_RELAXED);
    do {
        wanted = change(former);
    } while (!__atomic_compare_exchange(address, &former, &wanted, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return former;
}

template <class T>
constexpr bool is_word = std::is_integral_v<T> && (sizeof(T) == 4 || sizeof(T) == 8);

}  // namespace emulator

template <class T>
inline T atomicAdd(T* address, emulator::Plain<T> value) {
    static_assert(emulator::is_word<T> || std::is_same_v<T, float> || std::is_same_v<T, double>);
    static_assert(!(std::is_signed_v<T> && std::is_integral_v<T> && sizeof(T) == 8), "CUDA has no such atomicAdd");
    if constexpr (std::is_integral_v<T>) {
        return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
    } else {
        return emulator::update(address, [=](T former) { return former + value; });
    }
}

template <class T>
inline T atomicSub(T* address, emulator::Plain<T> value) {
    static_assert(emulator::is_word<T> && sizeof(T) == 4, "CUDA has no such atomicSub");
    return __atomic_fetch_sub(address, value, __ATOMIC_RELAXED);
}

template <class T>
inline T atomicMin(T* address, emulator::Plain<T> value) {
    static_assert(emulator::is_word<T>, "CUDA has no such atomicMin");
    return emulator::update(address, [=](T former) { return value < former ? value : former; });
}

template <class T>
inline T atomicMax(T* address, emulator::Plain<T> value) {
    static_assert(emulator::is_word<T>, "CUDA has no such atomicMax");
    return emulator::update(address, [=](T former) { return former < value ? value : former; });
}

template <class T>
inline T atomicAnd(T* address, emulator::Plain<T> value) {
    static_assert(emulator::is_word<T>, "CUDA has no such atomicAnd");
    return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
}

template <class T>
inline T atomicOr(T* address, emulator::Plain<T> value) {
    static_assert(emulator::is_word<T>, "CUDA has no such atomicOr");
    return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}

template <class T>
inline T atomicXor(T* address, emulator::Plain<T> value) {
    static_assert(emulator::is_word<T>, "CUDA has no such atomicXor");
    return __atomic_fetch_xor(address, value, __ATOMIC_RELAXED);
}

template <class T>
inline T atomicExch(T* address, emulator::Plain<T> value) {
    static_assert(emulator::is_word<T> || std::is_same_v<T, float>, "CUDA has no such atomicExch");
    T former;
    __atomic_exchange(address, &value, &former, __ATOMIC_RELAXED);
    return former;
}

template <class T>
inline T atomicCAS(T* address, emulator::Plain<T> expected, emulator::Plain<T> value) {
    static_assert(emulator::is_word<T>, "CUDA has no such atomicCAS");
    __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}
